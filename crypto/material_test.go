package crypto_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

const (
	uuidKey = "1234abcd-12ab-34cd-56ef-1234567890ab"
	mrkKey  = "mrk-1234abcd12ab34cd56ef1234567890ab" // the same digits
)

func openMaterial(t testing.TB, keyID string, secret []byte) *crypto.Material {
	t.Helper()
	m, err := crypto.OpenMaterial(keyID, bytes.Clone(secret))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encrypt(t testing.TB, m *crypto.Material, context, plaintext []byte) []byte {
	t.Helper()
	blob, err := m.Encrypt(nil, context, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// decrypt goes the way that a request goes.
func decrypt(m *crypto.Material, context, raw []byte) ([]byte, error) {
	blob, err := crypto.ParseBlob(raw)
	if err != nil {
		return nil, err
	}
	return m.Decrypt(nil, context, blob)
}

func TestMaterialID(t *testing.T) {
	t.Parallel()
	mac := hmac.New(sha256.New, []byte("kmsd/material-id/v1"))
	mac.Write([]byte("\x00\x00\x00\x24" + uuidKey))
	mac.Write(planted)
	want := hex.EncodeToString(mac.Sum(nil))
	if got := crypto.MaterialID(uuidKey, planted); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := openMaterial(t, uuidKey, planted).ID(); got != want {
		t.Errorf("Material.ID is %s, want %s", got, want)
	}
	if crypto.MaterialID(mrkKey, planted) == want || crypto.MaterialID(uuidKey, planted[1:]) == want {
		t.Error("another key or material has the same id")
	}
}

func TestEncryptRoundTrip(t *testing.T) {
	t.Parallel()
	contexts := [][]byte{nil, canonical(t, map[string]string{"a": "b"}), bytes.Repeat([]byte{7}, crypto.MaxContext)}
	for _, keyID := range []string{uuidKey, mrkKey} {
		m := openMaterial(t, keyID, planted)
		for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 4095, 4096, crypto.MaxPlaintext - 1, crypto.MaxPlaintext} {
			for _, context := range contexts {
				plaintext := bytes.Repeat([]byte{0xa5}, n)
				raw := encrypt(t, m, context, plaintext)
				if len(raw) != n+crypto.BlobOverhead {
					t.Errorf("%d bytes gave a blob of %d", n, len(raw))
				}
				got, err := decrypt(m, context, raw)
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%s, %d bytes: %v", keyID, n, err)
				}
			}
		}
	}
}

func TestBlobSizes(t *testing.T) {
	t.Parallel()
	// AWS: CiphertextBlob has at most 6,144 bytes; 4,096 of plaintext must fit.
	if got := 4096 + crypto.BlobOverhead; got > 6144 {
		t.Errorf("the blob of 4,096 bytes has %d", got)
	}
	m := openMaterial(t, uuidKey, planted)
	if _, err := m.Encrypt(nil, nil, make([]byte, crypto.MaxPlaintext+1)); !errors.Is(err, crypto.ErrPlaintextTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, err := crypto.ParseBlob(append(encrypt(t, m, nil, make([]byte, crypto.MaxPlaintext)), 0)); !errors.Is(err, crypto.ErrCiphertext) {
		t.Errorf("a blob of 6,145 bytes: %v", err)
	}
}

func TestEncryptAppends(t *testing.T) {
	t.Parallel()
	m := openMaterial(t, uuidKey, planted)
	out, err := m.Encrypt([]byte("front"), nil, []byte("text"))
	if err != nil || string(out[:5]) != "front" {
		t.Fatalf("%q, %v", out, err)
	}
	blob, err := crypto.ParseBlob(out[5:])
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Decrypt([]byte("before "), nil, blob)
	if err != nil || string(got) != "before text" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEncryptIsRandomised(t *testing.T) {
	t.Parallel()
	m := openMaterial(t, uuidKey, planted)
	a, b := encrypt(t, m, nil, planted), encrypt(t, m, nil, planted)
	const idsEnd = 2 + 17 + 16
	if !bytes.Equal(a[:idsEnd], b[:idsEnd]) {
		t.Error("version and ids differ")
	}
	for at := idsEnd; at+16 <= len(a); at += 16 {
		if bytes.Equal(a[at:at+16], b[at:at+16]) {
			t.Errorf("bytes %d to %d of two blobs are equal", at, at+16)
		}
	}
}

func TestDecryptRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	context := canonical(t, map[string]string{"tenant": "1"})
	m := openMaterial(t, uuidKey, planted)
	raw := encrypt(t, m, context, []byte("plaintext"))
	other := slices.Concat(planted[:31], []byte{planted[31] ^ 1})
	for name, try := range map[string]func() ([]byte, error){
		"no context":      func() ([]byte, error) { return decrypt(m, nil, raw) },
		"other context":   func() ([]byte, error) { return decrypt(m, canonical(t, map[string]string{"tenant": "2"}), raw) },
		"other material":  func() ([]byte, error) { return decrypt(openMaterial(t, uuidKey, other), context, raw) },
		"other key":       func() ([]byte, error) { return decrypt(openMaterial(t, mrkKey, planted), context, raw) },
		"zero Blob":       func() ([]byte, error) { return m.Decrypt(nil, context, crypto.Blob{}) },
		"trailing byte":   func() ([]byte, error) { return decrypt(m, context, append(bytes.Clone(raw), 0)) },
		"a byte less":     func() ([]byte, error) { return decrypt(m, context, raw[:len(raw)-1]) },
		"empty":           func() ([]byte, error) { return decrypt(m, context, nil) },
		"dummy":           func() ([]byte, error) { return nil, crypto.DummyDecrypt(context, raw) },
		"dummy, empty":    func() ([]byte, error) { return nil, crypto.DummyDecrypt(nil, nil) },
		"dummy, too long": func() ([]byte, error) { return nil, crypto.DummyDecrypt(nil, make([]byte, 1<<20)) },
	} {
		got, err := try()
		if got != nil || !errors.Is(err, crypto.ErrCiphertext) || err.Error() != crypto.ErrCiphertext.Error() {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestDecryptRefusesEveryFlip(t *testing.T) {
	t.Parallel()
	m := openMaterial(t, uuidKey, planted)
	raw := encrypt(t, m, nil, []byte("sixteen bytes ..and more"))
	for at := range raw {
		for bit := range 8 {
			raw[at] ^= 1 << bit
			if got, err := decrypt(m, nil, raw); got != nil || !errors.Is(err, crypto.ErrCiphertext) {
				t.Errorf("bit %d of byte %d: got %q, %v", bit, at, got, err)
			}
			raw[at] ^= 1 << bit
		}
	}
	for n := range raw {
		if _, err := decrypt(m, nil, raw[:n]); !errors.Is(err, crypto.ErrCiphertext) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// Every failure does the same work; what it allocates stands for that here, as GCM
// and HKDF both allocate. Not parallel: allocations are counted process-wide.
func TestFailedDecryptsDoTheSameWork(t *testing.T) {
	m := openMaterial(t, uuidKey, planted)
	raw := encrypt(t, m, nil, []byte("plaintext"))
	change := func(at int) []byte {
		b := bytes.Clone(raw)
		b[at] ^= 1
		return b
	}
	allocs := func(m *crypto.Material, context, raw []byte) float64 {
		blob, err := crypto.ParseBlob(raw)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(100, func() { _, _ = m.Decrypt(nil, context, blob) })
	}
	want := allocs(m, nil, raw)
	for name, got := range map[string]float64{
		"context":    allocs(m, []byte("other"), raw),
		"material":   allocs(openMaterial(t, uuidKey, bytes.Repeat([]byte{1}, 32)), nil, raw),
		"key id":     allocs(m, nil, change(3)),
		"salt":       allocs(m, nil, change(crypto.BlobHeadSize-40)),
		"commitment": allocs(m, nil, change(crypto.BlobHeadSize-1)),
		"nonce":      allocs(m, nil, change(crypto.BlobHeadSize)),
		"tag":        allocs(m, nil, change(len(raw)-1)),
		"dummy":      testing.AllocsPerRun(100, func() { _ = crypto.DummyDecrypt(nil, raw) }) - 1, // its copy of the blob
	} {
		if got != want {
			t.Errorf("%s: %v allocations, success has %v", name, got, want)
		}
	}
}

// A blob whose tag fits another key is what the commitment is against. It is built
// here from the published layout alone, which also pins the layout.
func TestBlobLayoutAndCommitment(t *testing.T) {
	t.Parallel()
	m := openMaterial(t, mrkKey, planted)
	id, err := hex.DecodeString(m.ID())
	if err != nil {
		t.Fatal(err)
	}
	digits, err := hex.DecodeString(mrkKey[4:])
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Concat([]byte{2}, digits, id[:16])
	salt := bytes.Repeat([]byte{9}, 16)
	keys := crypto.DeriveKey(planted, salt, "kmsd/enc/v1"+string(ids), 64)
	head := slices.Concat([]byte{1, 1}, ids, salt, keys[32:])
	context := canonical(t, map[string]string{"a": "b"})

	raw := crypto.SealGCM(keys[:32], bytes.Clone(head), []byte("text"), slices.Concat(head, context))
	if got, err := decrypt(m, context, raw); err != nil || string(got) != "text" {
		t.Fatalf("a blob built by the published layout: %q, %v", got, err)
	}

	foreign := bytes.Clone(head)
	foreign[3] ^= 1 // another key's id, under the keys of this one
	raw = crypto.SealGCM(keys[:32], bytes.Clone(foreign), []byte("text"), slices.Concat(foreign, context))
	if got, err := decrypt(m, context, raw); got != nil || !errors.Is(err, crypto.ErrCiphertext) {
		t.Errorf("a genuine tag under another key's id: %q, %v", got, err)
	}

	head[len(head)-1] ^= 1
	raw = crypto.SealGCM(keys[:32], bytes.Clone(head), []byte("text"), slices.Concat(head, context))
	if got, err := decrypt(m, context, raw); got != nil || !errors.Is(err, crypto.ErrCiphertext) {
		t.Errorf("a genuine tag under a wrong commitment: %q, %v", got, err)
	}
}

// goldenBlob was made by version 1 of the format. It must open for ever.
const goldenBlob = "0101011234abcd12ab34cd56ef1234567890abe1e3c58b9415709682c8f89aa47f37743e60003af1b5f21e1ef889c098" +
	"a2a59a8c64e905a6b226a0e2bff8087f60b8bcc215dd3ce399d1d378bb70b04995ed15719fa0d9bc40ea98e30538206c" +
	"20c136c3a29967741cb6778a7a7e98383a267cc693b277f3927ac4470806dee88d3124"

func TestGoldenBlob(t *testing.T) {
	t.Parallel()
	raw, err := hex.DecodeString(goldenBlob)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decrypt(openMaterial(t, uuidKey, planted), canonical(t, map[string]string{"purpose": "golden"}), raw)
	if err != nil || string(got) != "the golden plaintext" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOpenMaterialRefuses(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 31, 33} {
		if _, err := crypto.OpenMaterial(uuidKey, make([]byte, n)); err == nil {
			t.Errorf("material of %d bytes was taken", n)
		}
	}
	for _, keyID := range []string{"", "mrk-", uuidKey[1:], "1234ABCD" + uuidKey[8:], "mrk-" + uuidKey} {
		secret := bytes.Clone(planted)
		if _, err := crypto.OpenMaterial(keyID, secret); err == nil {
			t.Errorf("key id %q was taken", keyID)
		} else if !bytes.Equal(secret, make([]byte, 32)) {
			t.Errorf("key id %q: the refused secret was not wiped", keyID)
		}
	}
}

func TestWipedMaterialPanics(t *testing.T) {
	t.Parallel()
	m := openMaterial(t, uuidKey, planted)
	m.Wipe()
	if !panics(func() { _, _ = m.Encrypt(nil, nil, nil) }) {
		t.Error("Encrypt worked with material that was wiped")
	}
}
