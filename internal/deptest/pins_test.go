package deptest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	// The cluster's libraries must build together. raft-boltdb imports a package
	// of go-metrics that its version 0.7.0, which raft and memberlist ask for, has
	// no longer; the replacement in go.mod brings it back.
	_ "github.com/hashicorp/memberlist"
	_ "github.com/hashicorp/raft"
	_ "github.com/hashicorp/raft-boltdb/v2"
	_ "go.etcd.io/bbolt"
)

// pins are the versions that were read, measured and wrapped. A newer one is
// taken on purpose, together with this table.
var pins = map[string]string{
	"github.com/hashicorp/memberlist":     "v0.7.0",
	"github.com/hashicorp/raft":           "v1.8.0",
	"github.com/hashicorp/raft-boltdb/v2": "v2.3.1",
	"go.etcd.io/bbolt":                    "v1.4.3",
}

// replacement is the only replacement that go.mod may hold.
const replacement = "github.com/hashicorp/go-metrics => github.com/hashicorp/go-metrics v0.6.1"

func TestPinnedLibraries(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	required := map[string][]string{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require|\t)\s*(\S+) (v\S+)`).FindAllStringSubmatch(string(text), -1) {
		required[m[1]] = append(required[m[1]], m[2])
	}
	for module, want := range pins {
		if got := required[module]; len(got) != 1 || got[0] != want {
			t.Errorf("go.mod requires %s %q, want %s", module, got, want)
		}
	}
	replaced := regexp.MustCompile(`(?m)^(?:replace\s|\t)\s*(\S.* => .*?)\s*$`).FindAllStringSubmatch(string(text), -1)
	if len(replaced) != 1 || replaced[0][1] != replacement {
		t.Errorf("go.mod replaces %q, want only %s", replaced, replacement)
	}
}
