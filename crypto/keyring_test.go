package crypto_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

const cluster = "0f6e2a52-7c1d-4a3e-9a55-3f2f6a1f5d10"

// newKeyring has the given terms and the planted root.
func newKeyring(t testing.TB, clusterID string, terms ...uint32) *crypto.Keyring {
	t.Helper()
	root, err := crypto.ParseRoot(bytes.Clone(planted))
	if err != nil {
		t.Fatal(err)
	}
	k := crypto.NewKeyring(clusterID, root)
	load(t, k, wrap(t, k, terms...))
	return k
}

func wrap(t testing.TB, k *crypto.Keyring, terms ...uint32) map[uint32][]byte {
	t.Helper()
	wrapped := map[uint32][]byte{}
	for _, n := range terms {
		w, err := k.NewTerm(n)
		if err != nil {
			t.Fatal(err)
		}
		wrapped[n] = w
	}
	return wrapped
}

func load(t testing.TB, k *crypto.Keyring, terms map[uint32][]byte) {
	t.Helper()
	if err := k.Load(terms); err != nil {
		t.Fatal(err)
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	a, err := crypto.ParseRoot(bytes.Clone(planted))
	if err != nil {
		t.Fatal(err)
	}
	// Computed once with HKDF-SHA-256(planted, no salt, "kmsd/root-id/v1", 16).
	if want := "f3a4ab3596a5a1f643322efe04f71767"; a.ID() != want {
		t.Errorf("root id %s, want %s", a.ID(), want)
	}
	if !bytes.Equal(a.Bytes(), planted) {
		t.Error("Bytes is not the key")
	}
	if b, c := crypto.NewRoot(), crypto.NewRoot(); b.ID() == c.ID() || len(b.Bytes()) != crypto.RootSize {
		t.Error("NewRoot is not random")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := crypto.ParseRoot(make([]byte, n)); err == nil {
			t.Errorf("a root key of %d bytes was taken", n)
		}
	}
}

func TestRootSealBindsEverything(t *testing.T) {
	t.Parallel()
	root := crypto.NewRoot()
	sealed := root.Seal("node-key", "n1", planted)
	if got, err := root.Open("node-key", "n1", sealed); err != nil || !bytes.Equal(got, planted) {
		t.Fatalf("got %q, %v", got, err)
	}
	refuse := func(name string, r *crypto.Root, purpose, id string, sealed []byte) {
		t.Helper()
		if got, err := r.Open(purpose, id, sealed); got != nil || !errors.Is(err, crypto.ErrOpen) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	refuse("other purpose", root, "node-ke", "yn1", sealed)
	refuse("other id", root, "node-key", "n2", sealed)
	refuse("other root", crypto.NewRoot(), "node-key", "n1", sealed)
	refuse("trailing byte", root, "node-key", "n1", append(bytes.Clone(sealed), 0))
	everyFlip(sealed, func(at int, changed []byte) { refuse("flip", root, "node-key", "n1", changed) })
	everyPrefix(sealed, func(cut []byte) { refuse("cut", root, "node-key", "n1", cut) })
}

// everyFlip calls f with each byte changed in turn.
func everyFlip(b []byte, f func(at int, changed []byte)) {
	for at := range b {
		changed := bytes.Clone(b)
		changed[at] ^= 1 << (at % 8)
		f(at, changed)
	}
}

func everyPrefix(b []byte, f func(cut []byte)) {
	for n := range b {
		f(b[:n])
	}
}

func TestKeyringLoad(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	if k.Current() != 0 || k.ClusterID() != cluster || k.RootID() != "f3a4ab3596a5a1f643322efe04f71767" {
		t.Errorf("term %d, cluster %s, root %s", k.Current(), k.ClusterID(), k.RootID())
	}
	terms := wrap(t, k, 1, 2, 7)
	if k.Current() != 0 {
		t.Error("NewTerm changed the keyring")
	}
	load(t, k, terms)
	if k.Current() != 7 {
		t.Errorf("term %d, want 7", k.Current())
	}
	sealed := seal(t, k, "p", "id", []byte("x"))
	delete(terms, 7)
	load(t, k, terms)
	if k.Current() != 2 {
		t.Errorf("term %d after 7 was dropped, want 2", k.Current())
	}
	if _, err := k.Open("p", "id", sealed); !errors.Is(err, crypto.ErrUnknownTerm) || !strings.Contains(err.Error(), "term 7") {
		t.Errorf("opening under a dropped term: %v", err)
	}
}

func TestKeyringLoadRefusesAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	good := wrap(t, k, 1)
	load(t, k, good)
	sealed := seal(t, k, "p", "id", []byte("x"))
	other := newKeyring(t, "another-cluster")
	for name, terms := range map[string]map[uint32][]byte{
		"term 0":            {0: good[1]},
		"moved term":        {1: good[1], 2: good[1]},
		"other cluster":     {1: good[1], 2: wrap(t, other, 2)[2]},
		"other root":        {1: good[1], 2: wrap(t, crypto.NewKeyring(cluster, crypto.NewRoot()), 2)[2]},
		"empty":             {1: good[1], 2: nil},
		"trailing byte":     {1: good[1], 2: append(wrap(t, k, 2)[2], 0)},
		"term 1 with a new": {1: wrap(t, k, 1)[1]},
	} {
		if err := k.Load(terms); err == nil {
			t.Errorf("%s: loaded", name)
		}
		if got, err := k.Open("p", "id", sealed); k.Current() != 1 || err != nil || string(got) != "x" {
			t.Errorf("%s: the refusal changed the keyring: %v", name, err)
		}
	}
	everyFlip(good[1], func(at int, changed []byte) {
		if err := newKeyring(t, cluster).Load(map[uint32][]byte{1: changed}); err == nil {
			t.Errorf("byte %d of a wrapped term was changed and it loaded", at)
		}
	})
	if _, err := k.NewTerm(0); err == nil {
		t.Error("NewTerm made term 0")
	}
}

func TestKeyringCountsSeals(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	terms := wrap(t, k, 1)
	load(t, k, terms)
	seal(t, k, "p", "id", nil)
	sealEntry(t, k, crypto.EntryHeader{}, nil)
	sealStream(t, k, nil)
	if k.Seals() != 3 {
		t.Errorf("%d seals, want 3", k.Seals())
	}
	load(t, k, terms)
	if k.Seals() != 3 {
		t.Errorf("%d seals after the same term was loaded again, want 3", k.Seals())
	}
	terms[2] = wrap(t, k, 2)[2]
	load(t, k, terms)
	if k.Seals() != 0 {
		t.Errorf("%d seals under a new term", k.Seals())
	}
}

func TestKeyringConcurrently(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	both := wrap(t, k, 1, 2)
	first := map[uint32][]byte{1: both[1]}
	load(t, k, both)
	stream := sealStream(t, k, planted)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				sealed, err := k.Seal("p", "id", planted)
				if err != nil {
					t.Error(err)
				}
				if _, err := k.Open("p", "id", sealed); err != nil && !errors.Is(err, crypto.ErrUnknownTerm) {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			if err := errors.Join(k.Load(first), k.Load(both)); err != nil {
				t.Error(err)
			}
			if _, err := k.OpenStream(bytes.NewReader(stream)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func seal(t testing.TB, k *crypto.Keyring, purpose, id string, plaintext []byte) []byte {
	t.Helper()
	sealed, err := k.Seal(purpose, id, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealRecord(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	for _, n := range []int{0, 1, 15, 16, 17, 32, 2400, crypto.MaxRecordSecret} {
		plaintext := bytes.Repeat([]byte{3}, n)
		sealed := seal(t, k, "material", "k/1", plaintext)
		if got, err := k.Open("material", "k/1", sealed); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := k.Seal("p", "id", make([]byte, crypto.MaxRecordSecret+1)); !errors.Is(err, crypto.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := newKeyring(t, cluster).Seal("p", "id", nil); !errors.Is(err, crypto.ErrNoTerm) {
		t.Errorf("before the first term: %v", err)
	}
	if bytes.Equal(seal(t, k, "p", "id", planted), seal(t, k, "p", "id", planted)) {
		t.Error("sealing is not randomised")
	}
}

func TestOpenRecordRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	terms := wrap(t, k, 1, 2)
	load(t, k, terms)
	sealed := seal(t, k, "material", "k/1", planted)
	refuse := func(name string, k *crypto.Keyring, purpose, id string, sealed []byte) {
		t.Helper()
		if got, err := k.Open(purpose, id, sealed); got != nil || !errors.Is(err, crypto.ErrOpen) && !errors.Is(err, crypto.ErrUnknownTerm) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	refuse("other purpose", k, "access-key", "k/1", sealed)
	refuse("other id", k, "material", "k/2", sealed)
	refuse("moved border", k, "materialk", "/1", sealed)
	refuse("other cluster", newKeyring(t, "x", 1, 2), "material", "k/1", sealed)
	refuse("other key of the term", newKeyring(t, cluster, 1, 2), "material", "k/1", sealed)
	refuse("trailing byte", k, "material", "k/1", append(bytes.Clone(sealed), 0))
	everyFlip(sealed, func(at int, changed []byte) { refuse("flip", k, "material", "k/1", changed) })
	everyPrefix(sealed, func(cut []byte) { refuse("cut", k, "material", "k/1", cut) })
}
