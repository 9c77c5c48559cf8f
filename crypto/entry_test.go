package crypto_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

var header = crypto.EntryHeader{ClusterVersion: 0x01020304, Type: 0x0506, Version: 7, ReqKey: [16]byte{8, 9, 15: 10}}

func sealEntry(t testing.TB, k *crypto.Keyring, h crypto.EntryHeader, body []byte) []byte {
	t.Helper()
	data, err := k.SealEntry(h, body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1, 3)
	for _, n := range []int{0, 1, 15, 16, 17, 4096, crypto.MaxEntry - crypto.EntryOverhead} {
		body := bytes.Repeat([]byte{0x5a}, n)
		h := header
		h.Term = 99 // the keyring decides
		data := sealEntry(t, k, h, body)
		if len(data) != n+crypto.EntryOverhead {
			t.Errorf("%d bytes became %d", n, len(data))
		}
		got, gotBody, err := k.OpenEntry(data)
		h.Term = 3
		if err != nil || got != h || !bytes.Equal(gotBody, body) {
			t.Errorf("%d bytes: got header %+v, %v, want %+v", n, got, err, h)
		}
	}
	if _, err := k.SealEntry(header, make([]byte, crypto.MaxEntry-crypto.EntryOverhead+1)); !errors.Is(err, crypto.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func TestEntryHeaderLayout(t *testing.T) {
	t.Parallel()
	data := sealEntry(t, newKeyring(t, cluster, 0x0b0c0d0e), header, nil)
	want := "\x01" + "\x01\x02\x03\x04" + "\x05\x06" + "\x07" + "\x08\x09" + strings.Repeat("\x00", 13) + "\x0a" + "\x0b\x0c\x0d\x0e"
	if got := string(data[:len(want)]); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

// The first entry of a cluster is sealed under term 0, on a node that knows only
// the root, and opens on every node, also when it is replayed later.
func TestEntryOfTermZero(t *testing.T) {
	t.Parallel()
	data := sealEntry(t, newKeyring(t, cluster), header, []byte("genesis"))
	h, body, err := newKeyring(t, cluster, 1).OpenEntry(data)
	if err != nil || h.Term != 0 || string(body) != "genesis" {
		t.Errorf("got term %d, %q, %v", h.Term, body, err)
	}
	if _, _, err := newKeyring(t, "another-cluster").OpenEntry(data); !errors.Is(err, crypto.ErrOpen) {
		t.Errorf("another cluster with the same root: %v", err)
	}
	if _, _, err := crypto.NewKeyring(cluster, crypto.NewRoot()).OpenEntry(data); !errors.Is(err, crypto.ErrOpen) {
		t.Errorf("another root: %v", err)
	}
}

func TestEntryRestoreEpoch(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	old := sealEntry(t, k, header, nil)
	k.SetRestoreEpoch(1)
	if _, _, err := k.OpenEntry(old); !errors.Is(err, crypto.ErrOpen) {
		t.Errorf("an entry from before the restore: %v", err)
	}
	if _, _, err := k.OpenEntry(sealEntry(t, k, header, nil)); err != nil {
		t.Error(err)
	}
}

func TestOpenEntryRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	terms := wrap(t, k, 1, 2)
	load(t, k, terms)
	data := sealEntry(t, k, header, []byte("the body"))
	refuse := func(name string, data []byte) {
		t.Helper()
		if _, body, err := k.OpenEntry(data); body != nil || !errors.Is(err, crypto.ErrOpen) && !errors.Is(err, crypto.ErrUnknownTerm) {
			t.Errorf("%s: got %q, %v", name, body, err)
		}
	}
	everyFlip(data, func(at int, changed []byte) { refuse("flip", changed) })
	everyPrefix(data, func(cut []byte) { refuse("cut", cut) })
	refuse("trailing byte", append(bytes.Clone(data), 0))
	refuse("too long", append(bytes.Clone(data), make([]byte, crypto.MaxEntry)...))

	delete(terms, 2)
	load(t, k, terms)
	h, _, err := k.OpenEntry(data)
	if !errors.Is(err, crypto.ErrUnknownTerm) || h.Term != 2 || h.Type != header.Type {
		t.Errorf("an unknown term: %+v, %v", h, err)
	}
}

// A record's secret, an entry and a term are sealed with different keys, so that
// one is never taken for another.
func TestFormatsDoNotMix(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	if _, _, err := k.OpenEntry(seal(t, k, "p", "id", make([]byte, 200))); err == nil {
		t.Error("a record's secret opened as an entry")
	}
	if _, err := k.Open("p", "id", sealEntry(t, k, header, make([]byte, 200))); err == nil {
		t.Error("an entry opened as a record's secret")
	}
}

// The golden entries are the only ones that exist under the golden keyring.
func FuzzOpenEntry(f *testing.F) {
	k, g := goldenKeyring(f)
	f.Add([]byte(g.Genesis))
	f.Add([]byte(g.Entry))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, body, err := k.OpenEntry(data)
		if err == nil && !bytes.Equal(data, g.Genesis) && !bytes.Equal(data, g.Entry) {
			t.Fatalf("forged: %+v, %q", h, body)
		}
		if err != nil && (body != nil || !errors.Is(err, crypto.ErrOpen) && !errors.Is(err, crypto.ErrUnknownTerm)) {
			t.Fatalf("%q, %v", body, err)
		}
	})
}
