package crypto_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// asymmetricSpecs are the specs that have a public key.
var asymmetricSpecs = []kms.KeySpec{
	"RSA_2048", "RSA_3072", "RSA_4096",
	"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519",
	"ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024",
}

// keyFixture is a key as a record keeps it.
type keyFixture struct{ Secret, Public hexBytes }

// opensslKeys were made once by OpenSSL 3.0 (genpkey; pkcs8 -topk8 -nocrypt; pkey
// -pubout). kmsd's encodings are the same, and must stay so: records keep them.
var opensslKeys = sync.OnceValues(func() (map[kms.KeySpec]keyFixture, error) {
	data, err := os.ReadFile("testdata/openssl_keys.json")
	if err != nil {
		return nil, err
	}
	keys := map[kms.KeySpec]keyFixture{}
	return keys, json.Unmarshal(data, &keys)
})

// fixture returns a key of the spec, made quickly.
func fixture(t testing.TB, spec kms.KeySpec) keyFixture {
	t.Helper()
	keys, err := opensslKeys()
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := keys[spec]; ok {
		return key
	}
	return generate(t, spec)
}

func generate(t testing.TB, spec kms.KeySpec) keyFixture {
	t.Helper()
	secret, public, err := crypto.GenerateKey(spec)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return keyFixture{secret, public}
}

func (f keyFixture) open(t testing.TB, spec kms.KeySpec) *crypto.PrivateKey {
	t.Helper()
	key, err := crypto.OpenPrivateKey(spec, bytes.Clone(f.Secret), f.Public)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return key
}

func openFixture(t testing.TB, spec kms.KeySpec) *crypto.PrivateKey {
	t.Helper()
	return fixture(t, spec).open(t, spec)
}

func parsePublic(t testing.TB, spec kms.KeySpec, der []byte) *crypto.PublicKey {
	t.Helper()
	key, err := crypto.ParsePublicKey(spec, der)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return key
}

func TestGeneratedKeys(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		spec kms.KeySpec
		// prefix is the hexadecimal beginning of the public key; the sizes are in bytes.
		prefix         string
		secret, public int
	}{
		// SEQUENCE, SEQUENCE{rsaEncryption, NULL}, BIT STRING, SEQUENCE, INTEGER n.
		{"RSA_2048", "30820122300d06092a864886f70d01010105000382010f003082010a0282010100", 0, 294},
		{"RSA_3072", "308201a2300d06092a864886f70d01010105000382018f003082018a0282018100", 0, 422},
		{"RSA_4096", "30820222300d06092a864886f70d01010105000382020f003082020a0282020100", 0, 550},
		{"ECC_NIST_P256", "3059301306072a8648ce3d020106082a8648ce3d03010703420004", 138, 91},
		{"ECC_NIST_P384", "3076301006072a8648ce3d020106052b8104002203620004", 185, 120},
		{"ECC_NIST_P521", "30819b301006072a8648ce3d020106052b810400230381860004", 241, 158},
		{"ECC_SECG_P256K1", "3056301006072a8648ce3d020106052b8104000a03420004", 135, 88},
		{"ECC_NIST_EDWARDS25519", "302a300506032b6570032100", 48, 44},
		{"ML_DSA_44", "30820532300b06096086480165030403110382052100", 32, 22 + 1312},
		{"ML_DSA_65", "308207b2300b0609608648016503040312038207a100", 32, 22 + 1952},
		{"ML_DSA_87", "30820a32300b060960864801650304031303820a2100", 32, 22 + 2592},
		{"ML_KEM_512", "30820332300b06096086480165030404010382032100", 64, 22 + 800},
		{"ML_KEM_768", "308204b2300b0609608648016503040402038204a100", 64, 22 + 1184},
		{"ML_KEM_1024", "30820632300b06096086480165030404030382062100", 64, 22 + 1568},
		{"HMAC_224", "", 28, 0},
		{"HMAC_256", "", 32, 0},
		{"HMAC_384", "", 48, 0},
		{"HMAC_512", "", 64, 0},
	} {
		t.Run(string(tc.spec), func(t *testing.T) {
			t.Parallel()
			key := generate(t, tc.spec)
			if got := hex.EncodeToString(key.Public); len(key.Public) != tc.public || got[:len(tc.prefix)] != tc.prefix {
				t.Errorf("public key of %d bytes %s, want %d that begin with %s", len(key.Public), got, tc.public, tc.prefix)
			}
			if tc.secret != 0 && len(key.Secret) != tc.secret {
				t.Errorf("a secret of %d bytes, want %d", len(key.Secret), tc.secret)
			}
			if bytes.Equal(key.Secret, make([]byte, len(key.Secret))) {
				t.Error("the secret is zero")
			}
			if tc.public == 0 {
				return
			}
			if tc.spec[:3] == "RSA" && hex.EncodeToString(key.Public[tc.public-5:]) != "0203010001" {
				t.Error("the public exponent is not 65537")
			}
			opened := key.open(t, tc.spec)
			if got := opened.Spec(); got != tc.spec {
				t.Errorf("spec %s", got)
			}
			if got := opened.Public().DER(); !bytes.Equal(got, key.Public) {
				t.Errorf("the opened key's public key is %x, want %x", got, key.Public)
			}
			if got := parsePublic(t, tc.spec, key.Public); got.Spec() != tc.spec || !bytes.Equal(got.DER(), key.Public) {
				t.Errorf("the parsed public key is %x, want %x", got.DER(), key.Public)
			}
		})
	}
}

// The standard library is another reader and writer of the same encodings.
func TestEncodingsAreX509s(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		f := fixture(t, spec)
		f.open(t, spec)
		parsePublic(t, spec, f.Public)
		if spec[:3] == "ML_" || spec == "ECC_SECG_P256K1" {
			continue // unknown to crypto/x509
		}
		key, err := x509.ParsePKCS8PrivateKey(f.Secret)
		if err != nil {
			t.Fatalf("%s: %v", spec, err)
		}
		again, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil || !bytes.Equal(again, f.Secret) {
			t.Errorf("%s: crypto/x509 writes %x, %v, want %x", spec, again, err, f.Secret)
		}
		der, err := x509.MarshalPKIXPublicKey(key.(stdcrypto.Signer).Public())
		if err != nil || !bytes.Equal(der, f.Public) {
			t.Errorf("%s: crypto/x509 writes %x, %v, want %x", spec, der, err, f.Public)
		}
	}
}

func TestMarshalPKCS8(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		spec   kms.KeySpec
		prefix string // of forms that hold a seed: version 0, the algorithm, [0]
	}{
		{"RSA_2048", ""}, {"ECC_NIST_P256", ""}, {"ECC_NIST_P384", ""}, {"ECC_NIST_P521", ""},
		{"ECC_SECG_P256K1", ""}, {"ECC_NIST_EDWARDS25519", ""},
		{"ML_DSA_44", "3034020100300b060960864801650304031104228020"},
		{"ML_DSA_65", "3034020100300b060960864801650304031204228020"},
		{"ML_DSA_87", "3034020100300b060960864801650304031304228020"},
		{"ML_KEM_512", "3054020100300b060960864801650304040104428040"},
		{"ML_KEM_768", "3054020100300b060960864801650304040204428040"},
		{"ML_KEM_1024", "3054020100300b060960864801650304040304428040"},
	} {
		f := fixture(t, tc.spec)
		got, err := crypto.MarshalPKCS8(tc.spec, f.Secret)
		want := tc.prefix + hex.EncodeToString(f.Secret)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: got %x, %v, want %s", tc.spec, got, err, want)
		}
		got[0]++
		if bytes.Equal(got[:1], f.Secret[:1]) && tc.prefix == "" {
			t.Errorf("%s: the secret itself was returned", tc.spec)
		}
		if tc.prefix == "" {
			continue
		}
		if _, err := crypto.MarshalPKCS8(tc.spec, f.Secret[1:]); !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s: a short seed: %v", tc.spec, err)
		}
	}
}

func TestSpecsWithoutAsymmetricKeys(t *testing.T) {
	t.Parallel()
	for _, spec := range []kms.KeySpec{"SYMMETRIC_DEFAULT", "SM2", "", "RSA_1024", "HMAC_256"} {
		if _, err := crypto.OpenPrivateKey(spec, nil, nil); !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%q: OpenPrivateKey: %v", spec, err)
		}
		if _, err := crypto.ParsePublicKey(spec, nil); !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%q: ParsePublicKey: %v", spec, err)
		}
		if _, err := crypto.MarshalPKCS8(spec, nil); !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%q: MarshalPKCS8: %v", spec, err)
		}
		if _, _, err := crypto.GenerateKey(spec); spec != "HMAC_256" && !errors.Is(err, crypto.ErrKeySpec) {
			t.Errorf("%q: GenerateKey: %v", spec, err)
		}
	}
}

func TestKeysOpenUnderTheirSpecOnly(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		f, other := fixture(t, spec), generateOther(t, spec)
		for _, as := range asymmetricSpecs {
			if as == spec {
				continue
			}
			if _, err := crypto.OpenPrivateKey(as, bytes.Clone(f.Secret), f.Public); !errors.Is(err, crypto.ErrPrivateKey) {
				t.Errorf("%s opened as %s: %v", spec, as, err)
			}
			if _, err := crypto.ParsePublicKey(as, f.Public); !errors.Is(err, crypto.ErrPublicKey) {
				t.Errorf("%s parsed as %s: %v", spec, as, err)
			}
		}
		for name, public := range map[string][]byte{
			"another key's": other.Public, "no": nil, "a longer": append(bytes.Clone(f.Public), 0), "a shorter": f.Public[:len(f.Public)-1],
		} {
			if _, err := crypto.OpenPrivateKey(spec, bytes.Clone(f.Secret), public); !errors.Is(err, crypto.ErrPrivateKey) {
				t.Errorf("%s: opened with %s public key: %v", spec, name, err)
			}
		}
	}
}

// generateOther makes a key other than the fixture. RSA keys of the test are of 2,048
// bits, except where their making is what is tested: it takes its time.
func generateOther(t testing.TB, spec kms.KeySpec) keyFixture {
	t.Helper()
	if spec == "RSA_3072" || spec == "RSA_4096" {
		spec = "RSA_2048"
	}
	return generate(t, spec)
}

func TestPrivateKeysHaveOneEncoding(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		f := fixture(t, spec)
		refuse := func(name string, secret []byte) {
			t.Helper()
			if _, err := crypto.OpenPrivateKey(spec, bytes.Clone(secret), f.Public); !errors.Is(err, crypto.ErrPrivateKey) {
				t.Errorf("%s: %s: %v", spec, name, err)
			}
		}
		refuse("nothing", nil)
		refuse("a trailing byte", append(bytes.Clone(f.Secret), 0))
		refuse("a missing byte", f.Secret[:len(f.Secret)-1])
		flips := f.Secret
		switch {
		case spec[:3] == "RSA":
			flips = flips[:80] // its checks take long, and are the same further on
		case spec[:6] == "ML_KEM":
			flips = flips[:32] // the public key depends on d only, not on z
		}
		everyFlip(flips, func(at int, changed []byte) {
			refuse("a flipped bit", append(changed, f.Secret[len(flips):]...))
		})
	}
}

func TestOpenPrivateKeyWipesTheSecret(t *testing.T) {
	t.Parallel()
	for _, spec := range append([]kms.KeySpec{"SM2"}, asymmetricSpecs...) {
		secret := []byte("not a key")
		if spec != "SM2" {
			secret = bytes.Clone(fixture(t, spec).Secret)
		}
		_, _ = crypto.OpenPrivateKey(spec, secret, nil)
		if !bytes.Equal(secret, make([]byte, len(secret))) {
			t.Errorf("%s: the secret was left", spec)
		}
	}
}

func TestPublicKeysHaveOneEncoding(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		public := fixture(t, spec).Public
		refuse := func(name string, der []byte) {
			t.Helper()
			if _, err := crypto.ParsePublicKey(spec, der); !errors.Is(err, crypto.ErrPublicKey) {
				t.Errorf("%s: %s: %v", spec, name, err)
			}
		}
		refuse("nothing", nil)
		refuse("a trailing byte", append(bytes.Clone(public), 0))
		everyPrefix(public, func(cut []byte) { refuse("a prefix", cut) })
		// Bits of the key itself may be free.
		head := public[:22]
		switch {
		case spec == "ECC_NIST_EDWARDS25519":
			head = public[:12]
		case spec[:4] == "ECC_":
			head = public
		}
		everyFlip(head, func(at int, changed []byte) {
			refuse("a flipped bit", append(changed, public[len(head):]...))
		})
	}
}

func TestBadRSAPublicKeys(t *testing.T) {
	t.Parallel()
	parsed, err := x509.ParsePKIXPublicKey(fixture(t, "RSA_2048").Public)
	if err != nil {
		t.Fatal(err)
	}
	good := parsed.(*rsa.PublicKey)
	for name, change := range map[string]func(*rsa.PublicKey){
		"even modulus":     func(k *rsa.PublicKey) { k.N.SetBit(k.N, 0, 0) },
		"2,047 bits":       func(k *rsa.PublicKey) { k.N.Rsh(k.N, 1); k.N.SetBit(k.N, 0, 1) },
		"2,049 bits":       func(k *rsa.PublicKey) { k.N.SetBit(k.N, 2048, 1) },
		"exponent 3":       func(k *rsa.PublicKey) { k.E = 3 },
		"exponent 65,535":  func(k *rsa.PublicKey) { k.E = 65535 },
		"exponent 65,538":  func(k *rsa.PublicKey) { k.E = 65538 },
		"exponent 1":       func(k *rsa.PublicKey) { k.E = 1 },
		"3,072-bit number": func(k *rsa.PublicKey) { k.N.SetBit(k.N, 3071, 1) },
	} {
		key := &rsa.PublicKey{N: new(big.Int).Set(good.N), E: good.E}
		change(key)
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := crypto.ParsePublicKey("RSA_2048", der); !errors.Is(err, crypto.ErrPublicKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadPoints(t *testing.T) {
	t.Parallel()
	for spec, points := range map[kms.KeySpec]map[string]string{
		"ECC_NIST_EDWARDS25519": {
			// RFC 8032 §5.1.3, little-endian y with the sign of x on top.
			"y = p":                   "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"y = p + 1":               "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"y = 1, neutral":          "0100000000000000000000000000000000000000000000000000000000000000",
			"y = 1, negative zero":    "0100000000000000000000000000000000000000000000000000000000000080",
			"y = -1, of order 2":      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"y = 2, not on the curve": "0200000000000000000000000000000000000000000000000000000000000000",
		},
		"ECC_NIST_P256": {
			"zeros":    "04" + zeros(64),
			"infinity": "00" + zeros(64),
			// The generator (SP 800-186 §3.2.1.3) with its y plus one, and in hybrid form.
			"off the curve": "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f6",
			"hybrid":        "076b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
		},
		"ECC_SECG_P256K1": {
			"zeros":    "04" + zeros(64),
			"infinity": "00" + zeros(64),
			// The generator (SEC 2 §2.4.1), likewise.
			"off the curve": "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b9",
			"hybrid":        "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
		},
	} {
		public := fixture(t, spec).Public
		for name, point := range points {
			raw, err := hex.DecodeString(point)
			if err != nil {
				t.Fatal(err)
			}
			der := append(bytes.Clone(public[:len(public)-len(raw)]), raw...)
			if len(der) != len(public) {
				t.Fatalf("%s: %s has %d bytes", spec, name, len(raw))
			}
			if _, err := crypto.ParsePublicKey(spec, der); !errors.Is(err, crypto.ErrPublicKey) {
				t.Errorf("%s: %s: %v", spec, name, err)
			}
		}
	}
}

func TestPrivateScalarsOutOfRange(t *testing.T) {
	t.Parallel()
	f := fixture(t, "ECC_SECG_P256K1")
	const at = 33 // where the scalar stands
	for name, scalar := range map[string]string{
		"zero":      zeros(32),
		"the order": "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
		"2^256 - 1": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		raw, err := hex.DecodeString(scalar)
		if err != nil {
			t.Fatal(err)
		}
		secret := bytes.Clone(f.Secret)
		copy(secret[at:], raw)
		if _, err := crypto.OpenPrivateKey("ECC_SECG_P256K1", secret, f.Public); !errors.Is(err, crypto.ErrPrivateKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func zeros(n int) string { return hex.EncodeToString(make([]byte, n)) }
