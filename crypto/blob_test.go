package crypto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

func TestParseBlobNamesTheKey(t *testing.T) {
	t.Parallel()
	for _, keyID := range []string{uuidKey, mrkKey, "00000000-0000-0000-0000-000000000000", "mrk-ffffffffffffffffffffffffffffffff"} {
		m := openMaterial(t, keyID, planted)
		blob, err := crypto.ParseBlob(encrypt(t, m, nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		if blob.KeyID != keyID || blob.MaterialID != m.ID()[:32] {
			t.Errorf("got key %s, material %s, want %s, %s", blob.KeyID, blob.MaterialID, keyID, m.ID()[:32])
		}
	}
}

func TestParseBlobRefuses(t *testing.T) {
	t.Parallel()
	good := encrypt(t, openMaterial(t, uuidKey, planted), nil, nil)
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, raw := range map[string][]byte{
		"nil": nil, "short": good[:len(good)-1], "long": make([]byte, crypto.MaxBlob+1),
		"version 0": change(0, 0), "version 2": change(0, 2), "algorithm 0": change(1, 0), "algorithm 2": change(1, 2),
		"form 0": change(2, 0), "form 3": change(2, 3), "AWS's own": append([]byte{1, 2, 2, 0, 0x78}, make([]byte, 179)...),
	} {
		if _, err := crypto.ParseBlob(raw); !errors.Is(err, crypto.ErrCiphertext) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What parses names a valid key, and its ids stand in it exactly once: they encode
// back to the same bytes.
func FuzzParseBlob(f *testing.F) {
	m := openMaterial(f, uuidKey, planted)
	mrk := openMaterial(f, mrkKey, planted)
	f.Add(encrypt(f, m, nil, []byte("x")))
	f.Add(encrypt(f, mrk, nil, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		blob, err := crypto.ParseBlob(raw)
		if err != nil {
			if !errors.Is(err, crypto.ErrCiphertext) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		form, digits := byte(1), strings.ReplaceAll(blob.KeyID, "-", "")
		if d, ok := strings.CutPrefix(blob.KeyID, "mrk-"); ok {
			form, digits = 2, d
		}
		if !kms.ValidKeyID(blob.KeyID) || raw[2] != form || hex.EncodeToString(raw[3:19]) != digits || hex.EncodeToString(raw[19:35]) != blob.MaterialID {
			t.Fatalf("%x parses as key %s, material %s", raw, blob.KeyID, blob.MaterialID)
		}
		// No blob was made under this context.
		if got, err := m.Decrypt(nil, []byte("fuzz"), blob); err == nil {
			t.Fatalf("%x decrypts to %q", raw, got)
		}
	})
}
