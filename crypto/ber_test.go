package crypto_test

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// The values and their DER are from X.690 §8 and §10.
func TestToDER(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, ber, der string }{
		{"DER", "30 03 020105", "30 03 020105"},
		{"long length", "30 84 00000003 020105", "30 03 020105"},
		{"many zeros", "30 89 000000000000000003 020105", "30 03 020105"},
		{"no end", "30 80 020105 0000", "30 03 020105"},
		{"no end twice", "30 80 30 80 0000 0000", "30 02 3000"},
		{"octets in pieces", "24 08 0402aabb 0402ccdd", "04 04 aabbccdd"},
		{"octets in pieces of no end", "24 80 0401aa 24 80 0401bb 0401cc 0000 0000", "04 03 aabbcc"},
		{"no pieces", "24 00", "04 00"},
		{"bits in pieces", "23 80 0303 000a3b 0305 045f291cd0 0000", "03 07 04 0a3b5f291cd0"},
		{"context", "a0 80 020105 0000", "a0 03 020105"},
		{"long", "30 82 0084 04 81 81" + strings.Repeat("00", 129), "30 81 84 04 81 81" + strings.Repeat("00", 129)},
	} {
		got, err := crypto.ToDER(spaced(t, tt.ber))
		if err != nil || !bytes.Equal(got, spaced(t, tt.der)) {
			t.Errorf("%s: %x, error %v", tt.name, got, err)
		}
	}
	for _, ber := range []string{
		"", "30", "30 01", "3080 020105", "3080 020105 00", "30 80", "0000", "04 80 aa 0000", "30 03 020105 00", "1f 01 00", "30 ff 00", "3f 01 00",
		"24 03 020105", "24 05 2403 020105", "23 00", "23 02 0300", "23 08 0302 0480 0302 0080", "30 85 0100000003 020105", "24 02 0000",
		strings.Repeat("3080", 20) + strings.Repeat("0000", 20),
	} {
		if got, err := crypto.ToDER(spaced(t, ber)); !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s: %x, error %v", ber, got, err)
		}
	}
}

func spaced(t testing.TB, text string) []byte {
	t.Helper()
	return unhex(t, strings.ReplaceAll(text, " ", ""))
}

// loosen returns DER in BER: values have no end, strings are in pieces.
func loosen(t testing.TB, der []byte) (ber []byte) {
	t.Helper()
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			t.Fatal(err)
		}
		der = rest
		switch {
		case v.IsCompound:
			ber = append(append(append(ber, v.FullBytes[0], 0x80), loosen(t, v.Bytes)...), 0, 0)
		case v.Tag == asn1.TagOctetString && v.Class == asn1.ClassUniversal && len(v.Bytes) > 1:
			ber = append(ber, 0x24, 0x80, 4, 1, v.Bytes[0], 4, 0x84, 0, 0, byte((len(v.Bytes)-1)>>8), byte(len(v.Bytes)-1))
			ber = append(append(ber, v.Bytes[1:]...), 0, 0)
		default:
			ber = append(ber, v.FullBytes...)
		}
	}
	return ber
}

// Private keys in BER, within their string of octets too, are the keys that they are in
// DER.
func TestImportKeyBER(t *testing.T) {
	t.Parallel()
	for _, spec := range []kms.KeySpec{kms.RSA2048, kms.ECCNistP256, kms.ECCNistP384, kms.ECCNistP521, kms.ECCSecgP256K1, kms.ECCNistEdwards25519} {
		secret, public, err := crypto.GenerateKey(spec)
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Version    int
			Algorithm  asn1.RawValue
			PrivateKey []byte
		}
		if _, err := asn1.Unmarshal(secret, &info); err != nil {
			t.Fatal(err)
		}
		info.PrivateKey = loosen(t, info.PrivateKey)
		again, err := asn1.Marshal(info)
		if err != nil {
			t.Fatal(err)
		}
		for name, ber := range map[string][]byte{"outside": loosen(t, secret), "inside": again, "both": loosen(t, again)} {
			got, pub, err := crypto.ImportKey(spec, ber)
			if err != nil || !bytes.Equal(got, secret) || !bytes.Equal(pub, public) {
				t.Errorf("%s, BER %s: error %v, or another key", spec, name, err)
			}
		}
	}
}

func FuzzToDER(f *testing.F) {
	f.Add(spaced(f, "30 80 24 80 0401aa 0401bb 0000 a0 80 020105 0000 0000"))
	f.Add(spaced(f, "23 80 0303 000a3b 0305 045f291cd0 0000"))
	f.Fuzz(func(t *testing.T, ber []byte) {
		der, err := crypto.ToDER(ber)
		if err != nil {
			return
		}
		if again, err := crypto.ToDER(der); err != nil || !bytes.Equal(again, der) || len(der) > len(ber) {
			t.Errorf("%x became %x, and that %x, error %v", ber, der, again, err)
		}
	})
}
