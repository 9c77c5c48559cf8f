package crypto_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// golden is what version 1 of each format looked like, made once with the planted
// root in the cluster of the tests. It must open for ever.
type golden struct {
	Term1   hexBytes // wrapped
	Root    hexBytes // Root.Seal("purpose", "id", "root box")
	Record  hexBytes // Keyring.Seal("purpose", "id", "record"), term 1
	Genesis hexBytes // SealEntry(header, "genesis"), term 0
	Entry   hexBytes // SealEntry(header, "entry"), term 1
	Stream  hexBytes // SealStream(42), "stream", term 1
}

func readGolden(t testing.TB) (g golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g
}

// goldenKeyring has the golden term 1.
func goldenKeyring(t testing.TB) (*crypto.Keyring, golden) {
	t.Helper()
	g, k := readGolden(t), newKeyring(t, cluster)
	load(t, k, map[uint32][]byte{1: g.Term1})
	return k, g
}

func TestGoldenFormats(t *testing.T) {
	t.Parallel()
	k, g := goldenKeyring(t)
	root, err := crypto.ParseRoot(bytes.Clone(planted))
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string, got []byte, err error) {
		t.Helper()
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	got, err := root.Open("purpose", "id", g.Root)
	check("root box", got, err)
	got, err = k.Open("purpose", "id", g.Record)
	check("record", got, err)
	got, err = openStream(newKeyring(t, cluster), g.Stream)
	check("stream", got, err)
	for body, data := range map[string][]byte{"genesis": g.Genesis, "entry": g.Entry} {
		h, got, err := k.OpenEntry(data)
		check(body, got, err)
		h.Term = 0
		if h != header {
			t.Errorf("%s: header %+v, want %+v", body, h, header)
		}
	}
}
