package crypto_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// What GenerateKey made is imported as it is.
func TestImportKeyOwn(t *testing.T) {
	t.Parallel()
	for _, spec := range []kms.KeySpec{
		kms.RSA2048, kms.ECCNistP256, kms.ECCNistP384, kms.ECCNistP521, kms.ECCSecgP256K1, kms.ECCNistEdwards25519,
		kms.HMAC224, kms.HMAC512,
	} {
		secret, public, err := crypto.GenerateKey(spec)
		if err != nil {
			t.Fatal(err)
		}
		got, pub, err := crypto.ImportKey(spec, secret)
		if err != nil || !bytes.Equal(got, secret) || !bytes.Equal(pub, public) {
			t.Errorf("%s: error %v, or another key", spec, err)
		}
		if _, _, err := crypto.ImportKey(spec, append(bytes.Clone(secret), make([]byte, 128)...)); !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s with bytes behind it: error %v", spec, err)
		}
		other := kms.RSA3072
		if _, _, err := crypto.ImportKey(other, secret); !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s as %s: error %v", spec, other, err)
		}
	}
}

// AWS's limits: 32 bytes for AES; for HMAC from the hash's length to 1,024 bits.
func TestImportKeyLengths(t *testing.T) {
	t.Parallel()
	for spec, sizes := range map[kms.KeySpec][2]int{
		kms.SymmetricDefault: {32, 32}, kms.HMAC224: {28, 128}, kms.HMAC256: {32, 128}, kms.HMAC384: {48, 128}, kms.HMAC512: {64, 128},
	} {
		for size := range 140 {
			_, _, err := crypto.ImportKey(spec, make([]byte, size))
			if want := size >= sizes[0] && size <= sizes[1]; (err == nil) != want {
				t.Errorf("%s of %d bytes: error %v", spec, size, err)
			}
		}
	}
	for _, spec := range []kms.KeySpec{kms.MLDSA44, kms.MLDSA87, kms.MLKEM512, kms.MLKEM1024} {
		secret, _, err := crypto.GenerateKey(spec)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := crypto.ImportKey(spec, secret); !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%s: error %v, want ErrKeySpec", spec, err)
		}
	}
}

// The forms of RFC 5915 that AWS takes: with and without the curve and the point, the
// point compressed or not.
func TestImportKeyForms(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	short := append([]byte{2 | point[64]&1}, point[1:33]...)
	p256, p384 := asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, asn1.ObjectIdentifier{1, 3, 132, 0, 34}
	foreign := bytes.Clone(point)
	foreign[40] ^= 1
	odd := bytes.Clone(short)
	odd[0] ^= 1
	for name, tt := range map[string]struct {
		der []byte
		ok  bool
	}{
		"bare":            {ecDER(t, 1, scalar, nil, nil), true},
		"curve":           {ecDER(t, 1, scalar, p256, nil), true},
		"point":           {ecDER(t, 1, scalar, p256, point), true},
		"compressed":      {ecDER(t, 1, scalar, nil, short), true},
		"another curve":   {ecDER(t, 1, scalar, p384, nil), false},
		"another point":   {ecDER(t, 1, scalar, nil, foreign), false},
		"another half":    {ecDER(t, 1, scalar, nil, odd), false},
		"another version": {ecDER(t, 2, scalar, nil, nil), false},
		"zero":            {ecDER(t, 1, make([]byte, 32), nil, nil), false},
		"short":           {ecDER(t, 1, scalar[:31], nil, nil), false},
	} {
		got, _, err := crypto.ImportKey(kms.ECCNistP256, tt.der)
		if tt.ok && (err != nil || !bytes.Equal(got, want)) || !tt.ok && !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s: error %v, or another encoding", name, err)
		}
	}
}

// ecDER writes a key on P-256 in PKCS #8.
func ecDER(t *testing.T, version int, scalar []byte, curve asn1.ObjectIdentifier, point []byte) []byte {
	t.Helper()
	inner, err := asn1.Marshal(struct {
		Version int
		Scalar  []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Point   asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}{version, scalar, curve, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1},
		Parameters: asn1.RawValue{FullBytes: []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}}}, inner})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// What is imported is read back by the scheme, and imported again stays as it is.
func FuzzImportKey(f *testing.F) {
	specs := []kms.KeySpec{kms.RSA2048, kms.ECCNistP256, kms.ECCNistP521, kms.ECCSecgP256K1, kms.ECCNistEdwards25519}
	for i, spec := range specs {
		secret, _, err := crypto.GenerateKey(spec)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), secret)
	}
	f.Fuzz(func(t *testing.T, i uint8, material []byte) {
		spec := specs[int(i)%len(specs)]
		secret, public, err := crypto.ImportKey(spec, material)
		if err != nil {
			return
		}
		again, _, err := crypto.ImportKey(spec, secret)
		if err != nil || !bytes.Equal(again, secret) {
			t.Errorf("%s: its own encoding is not its own: %v", spec, err)
		}
		if _, err := crypto.OpenPrivateKey(spec, secret, public); err != nil {
			t.Errorf("%s: what was imported does not open: %v", spec, err)
		}
	})
}
