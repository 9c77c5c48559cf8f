package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/mux"
)

const (
	// socketMode lets the owner of the process and root connect.
	socketMode = 0o600
	// maxSocketPath is what the narrowest system takes, in bytes (macOS: 104 with a
	// final zero).
	maxSocketPath = 103
	// maxSocketConnections bounds the connections of the socket, apart from the
	// listeners': whoever floods those must not lock the operator out.
	maxSocketConnections = 64
)

// ListenAdmin listens on a unix socket that only this user and root can open. The
// mode is set just after the socket has come to be, so the directory must be closed
// to others as well. It takes the place of a socket that an earlier process left:
// the caller holds the directory's lock. Anything else in that place is an error,
// and so is a path of more than 103 bytes.
func ListenAdmin(path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the admin socket has %d bytes, and %d are possible: choose a shorter data directory", len(path), maxSocketPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("looking for an old admin socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is in the way of the admin socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing an old admin socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on the admin socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the admin socket to others: %w", err), l.Close())
	}
	return l, nil
}

// newSocketServer makes the HTTP server of the admin socket: the admin API and
// health, nothing of AWS's.
func (s *Server) newSocketServer() *http.Server {
	r := mux.NewRouter().SkipClean(true)
	s.handleAdmin(r)
	s.handleRest(r)
	return &http.Server{
		Handler:                      r,
		ReadHeaderTimeout:            headerTimeout,
		WriteTimeout:                 headerTimeout + bodyTimeout + adminTimeout + s.cfg.Drain,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
		ConnContext:                  s.withPeer,
	}
}

// ServeAdmin serves the admin API and health on a socket of ListenAdmin until
// Shutdown, then returns nil; any other end is an error. It closes l, which removes
// the socket. Config.Admin must be set.
func (s *Server) ServeAdmin(l *net.UnixListener) error {
	if s.cfg.Admin == nil {
		return errors.Join(errors.New("httpapi: Config lacks Admin"), l.Close())
	}
	err := s.socket.Serve(newLimitedListener(l, make(chan struct{}, maxSocketConnections)))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// peerKey is the context's key of a connection's peer: its uid.
type peerKey struct{}

// withPeer notes who is at the other end of the socket. Where the kernel does not
// say, calls need a signature.
func (s *Server) withPeer(ctx context.Context, c net.Conn) context.Context {
	if limited, ok := c.(*limitedConn); ok {
		c = limited.Conn
	}
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(unix)
	if err != nil {
		s.cfg.Logger.Error("the peer of the admin socket is not known", "error", err)
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// peerOf returns the uid at the other end of the admin socket, and whether the
// request came over it.
func peerOf(ctx context.Context) (uint32, bool) {
	uid, ok := ctx.Value(peerKey{}).(uint32)
	return uid, ok
}
