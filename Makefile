# What a developer types. CI runs .ci/run, which needs no make.

GO ?= go
# Which benchmarks "make bench" runs, and for how long each.
BENCH ?= .
BENCHTIME ?= 1s

.PHONY: build test lint generate clients bench vulncheck ci

build: # a static binary, bin/kmsd
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/kmsd ./cmd/kmsd

test: # everything that needs only Go and a C compiler
	$(GO) test -race ./...

lint: # formatting, vet, staticcheck, go.mod, generated code
	bash .ci/lint

generate: # wire types from AWS's API models, the tables of operations and quotas, the settings
	$(GO) generate ./...
	$(GO) test ./cmd/kmsd -run '^Test(CompatibilityTable|SettingsDocument|ClusterSettingsDocument|RequestQuotasDocument)$$' -update

clients: # real clients: needs the packages awscli, python3-boto3 and haproxy, and Node.js 20
	npm --prefix test/clients/testdata/js ci --omit=dev --ignore-scripts --no-audit --no-fund
	cd test/clients && $(GO) test -count=1 ./...

bench: # every benchmark, side by side: two-level state against a flat one, and so on
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./... | awk -f bench/table.awk

vulncheck: # known vulnerabilities: needs the database at vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

ci:
	bash .ci/run
