package crypto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

func canonical(t testing.TB, context map[string]string) []byte {
	t.Helper()
	out, err := crypto.CanonicalContext(context)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCanonicalContextEncoding(t *testing.T) {
	t.Parallel()
	got := canonical(t, map[string]string{"b": "22", "": "", "a": "1", "B": "x"})
	want := []byte("\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x01B\x00\x00\x00\x01x" +
		"\x00\x00\x00\x01a\x00\x00\x00\x011" + "\x00\x00\x00\x01b\x00\x00\x00\x0222")
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(canonical(t, nil)) != 0 || len(canonical(t, map[string]string{})) != 0 {
		t.Error("an empty context is not the absent one")
	}
}

func TestCanonicalContextLimit(t *testing.T) {
	t.Parallel()
	canonical(t, map[string]string{"key": strings.Repeat("v", 8189)})
	_, err := crypto.CanonicalContext(map[string]string{"key": strings.Repeat("v", 8190)})
	if !errors.Is(err, crypto.ErrContextTooLarge) {
		t.Fatalf("got %v", err)
	}
	if e, ok := kms.AsError(err); !ok || e.Code != "ValidationException" {
		t.Errorf("the client would see %v", e)
	}
}

// decodeContext reads the canonical form back: it can because the form has one
// reading only, which is what makes different contexts differ.
func decodeContext(t *testing.T, b []byte) map[string]string {
	t.Helper()
	field := func() string {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			t.Fatalf("cut short: %q", b)
		}
		n := binary.BigEndian.Uint32(b)
		s := string(b[4 : 4+n])
		b = b[4+n:]
		return s
	}
	out := map[string]string{}
	for len(b) > 0 {
		key := field()
		if _, ok := out[key]; ok {
			t.Fatalf("key %q stands twice", key)
		}
		out[key] = field()
	}
	return out
}

func TestCanonicalContextIsInjective(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	// A small alphabet with a zero byte makes neighbours likely.
	word := func() string {
		b := make([]byte, rng.IntN(4))
		for i := range b {
			b[i] = "\x00\x01aé"[rng.IntN(5)]
		}
		return string(b)
	}
	seen := map[string]map[string]string{}
	for range 20_000 {
		context := map[string]string{}
		for range rng.IntN(4) {
			context[word()] = word()
		}
		b := canonical(t, context)
		if got := decodeContext(t, b); !maps.Equal(got, context) {
			t.Fatalf("%q decodes to %q", context, got)
		}
		if other, ok := seen[string(b)]; ok && !maps.Equal(other, context) {
			t.Fatalf("%q and %q have one encoding", context, other)
		}
		seen[string(b)] = context
		if !bytes.Equal(b, canonical(t, maps.Clone(context))) {
			t.Fatalf("%q has two encodings", context)
		}
	}
}
