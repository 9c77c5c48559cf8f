package deptest_test

import (
	"maps"
	"slices"
	"strings"
)

// all stands for every package of the module.
const all = "*"

// The sets that many rows share.
var (
	wires = []string{"wire", "wire/admin", "wire/iam", "wire/kms", "wire/sts"}
	// serving is what the pipeline and the handlers are made of.
	serving = slices.Concat([]string{"iam", "iam/sigv4", "audit", "fsm", "crypto", "kms"}, wires)
)

// imports is the table: which packages of the module the code of a package may
// import. Dependencies point downwards. Every package has a row.
var imports = map[string][]string{
	"cmd/kmsd": {all},

	"httpapi": slices.Concat([]string{"service", "iam/sigv4", "kms"}, wires),

	"service":            append([]string{"crypto/attestation"}, serving...),
	"service/kmsapi":     append([]string{"service", "crypto/attestation"}, serving...),
	"service/iamapi":     append([]string{"service"}, serving...),
	"service/adminapi":   append([]string{"service"}, serving...),
	"cluster":            {"cluster/gossip", "cluster/lease", "cluster/trust", "fsm", "crypto", "crypto/seal", "kms", "internal/durable", "internal/failpoint", "internal/apitls"},
	"cluster/gossip":     {"cluster/trust"}, // its tests run over real handshakes
	"cluster/lease":      {},
	"cluster/trust":      {"crypto", "kms", "internal/durable"},
	"fsm":                {"kms"},
	"iam":                {"kms"},
	"iam/sigv4":          {"kms"},
	"audit":              {"kms", "internal/durable"},
	"crypto":             {"kms"},
	"crypto/attestation": {"crypto", "kms"},
	"crypto/seal":        {"kms", "internal/durable"},
	"kms":                {},
	"wire":               {},
	"wire/kms":           {"wire"},
	"wire/sts":           {"wire"},
	"wire/iam":           {"wire"},
	"wire/admin":         {"wire"},
	// The API's authority, made beside the cluster's, and the certificates under it.
	"internal/apitls": {},
	// What the operator's commands speak to a running node.
	"internal/adminclient": {"kms", "wire", "wire/admin"},
	"internal/deptest":     {},
	"internal/durable":     {"kms", "internal/failpoint"},
	"internal/failpoint":   {},
	"internal/canary":      {},
	"internal/testport":    {},
	// The test kit builds whole nodes; only tests may import it.
	"internal/testkit": {all},
	// Programs of the developer's.
	"internal/wiregen": {},
	"bench":            {"kms"},
	// Real processes, seen from outside.
	"test/integration": {"kms"},
	// Three whole nodes against a model of a key's life.
	"test/model": {all},
}

// testOnly are packages that only tests may import.
var testOnly = []string{"internal/canary", "internal/testkit", "internal/testport"}

// libraries lists the modules that are used directly, and whose code may import
// each; tests may import all of them. An empty list is for tests alone.
var libraries = map[string][]string{
	// The recovery key pair, whose identity leaves the process once.
	"filippo.io/age": {"cmd/kmsd"},
	// ML-DSA, until Go 1.27 has it.
	"filippo.io/mldsa":           {"crypto"},
	"github.com/alecthomas/kong": {"cmd/kmsd"},
	// ML-KEM-512, which crypto/mlkem lacks.
	"github.com/cloudflare/circl": {"crypto"},
	// ECDSA on a curve that crypto/ecdsa lacks.
	"github.com/decred/dcrd/dcrec/secp256k1/v4": {"crypto"},
	"github.com/fxamacker/cbor/v2":              {"fsm", "service", "cluster", "audit", "crypto", "crypto/attestation"},
	// The configuration file: strict, without dependencies of its own, maintained.
	"github.com/goccy/go-yaml":            {"cmd/kmsd"},
	"github.com/gorilla/mux":              {"httpapi"},
	"github.com/hashicorp/go-hclog":       {"cluster"},
	"github.com/hashicorp/memberlist":     {"cluster/gossip"},
	"github.com/hashicorp/raft":           {"cluster"},
	"github.com/hashicorp/raft-boltdb/v2": {"cluster"},
	// The PROXY protocol, version 2: the load balancer's word for who the client is.
	// The library is small, fuzzed, bounds lengths before it allocates and refuses
	// families that its specification does not name. v0.16.0 asks for Go 1.26.9.
	"github.com/pires/go-proxyproto":      {"httpapi"},
	"github.com/prometheus/client_golang": {"cmd/kmsd", "httpapi", "service", "cluster", "cluster/gossip", "audit", "internal/apitls"},
	"github.com/tidwall/btree":            {"fsm"},
	"go.etcd.io/bbolt":                    {"cluster"},
	"golang.org/x/crypto":                 {"crypto", "crypto/seal", "cluster/trust"},
	"golang.org/x/sys":                    {"internal/durable", "cluster", "audit", "cmd/kmsd", "httpapi"},
	"golang.org/x/time":                   {"service"}, // token buckets
	"github.com/aws/aws-sdk-go-v2":        {"internal/adminclient"},
	"github.com/aws/smithy-go":            {},
	"github.com/c2sp/wycheproof":          {},
	"github.com/google/go-cmp":            {},
	"github.com/prometheus/client_model":  {},
	"go.uber.org/goleak":                  {},
}

// library returns the module of the table that an import path belongs to.
func library(path string) (string, bool) {
	var found string
	for module := range libraries {
		if (path == module || strings.HasPrefix(path, module+"/")) && len(module) > len(found) {
			found = module
		}
	}
	return found, found != ""
}

// below returns what may be imported from a package, directly or through others.
func below(pkg string) map[string]bool {
	reached := map[string]bool{pkg: true}
	for queue := []string{pkg}; len(queue) > 0; queue = queue[1:] {
		next := imports[queue[0]]
		if slices.Contains(next, all) {
			next = slices.Collect(maps.Keys(imports))
		}
		for _, p := range next {
			if !reached[p] {
				reached[p] = true
				queue = append(queue, p)
			}
		}
	}
	return reached
}

// allowed tells why a file of pkg may not import path, or returns "". path is a
// package of the module without the module's name, or a library's path.
func allowed(pkg, path string, ours, test bool) string {
	switch {
	case imports[pkg] == nil:
		return "the package is not in the table"
	case !ours:
		return allowedLibrary(pkg, path, test)
	case imports[path] == nil:
		return "what is imported is not in the table"
	case test && (slices.Contains(testOnly, path) || strings.HasPrefix(path, "internal/") || below(pkg)[path]):
		return ""
	case test:
		return "nothing that the package may import leads there"
	case slices.Contains(testOnly, path):
		return "only tests may import it"
	case !slices.Contains(imports[pkg], path) && !slices.Contains(imports[pkg], all):
		return "the table does not allow it"
	}
	return ""
}

func allowedLibrary(pkg, path string, test bool) string {
	module, known := library(path)
	switch {
	case !known:
		return "the library is not in the table; a new one needs a written reason"
	case test || pkg == "internal/testkit" || slices.Contains(libraries[module], pkg):
		return ""
	case len(libraries[module]) == 0:
		return "only tests may import the library"
	default:
		return "the library is for " + strings.Join(libraries[module], ", ")
	}
}
