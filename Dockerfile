# kmsd in a container: a static binary and nothing else.
#
#     docker build --tag kmsd .
#
# deploy/compose runs three of them.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags="-s -w" -o /out/kmsd ./cmd/kmsd
# Volumes take owner and mode from the image's directories.
RUN install -d -m 0700 /out/root/var/lib/kmsd /out/root/media/kmsd-seal && install -d -m 0755 /out/root/etc/kmsd

FROM scratch
COPY --from=build --chown=65532:65532 /out/root/ /
COPY --from=build /out/kmsd /kmsd
# Not root, by number: there is no /etc/passwd.
USER 65532:65532
ENV PATH=/ \
    KMSD_DATA=/var/lib/kmsd \
    KMSD_SEAL=file:/media/kmsd-seal/seal.key
# All that is ever written. Run it with a read-only root file system.
VOLUME ["/var/lib/kmsd", "/media/kmsd-seal"]
# API; cluster port.
EXPOSE 9400/tcp 9500/tcp 9500/udp
STOPSIGNAL SIGTERM
# Over the admin socket in the data directory. A node that waits for a majority is not
# healthy, and must not be restarted for that.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/kmsd", "status"]
ENTRYPOINT ["/kmsd"]
CMD ["server"]
