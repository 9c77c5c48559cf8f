//go:build openssl

package crypto_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// opensslSpecs are the specs that OpenSSL 3.0 knows, and the arguments of genpkey.
var opensslSpecs = map[kms.KeySpec]string{
	"RSA_2048": "RSA -pkeyopt rsa_keygen_bits:2048", "RSA_3072": "RSA -pkeyopt rsa_keygen_bits:3072", "RSA_4096": "RSA -pkeyopt rsa_keygen_bits:4096",
	"ECC_NIST_P256": "EC -pkeyopt ec_paramgen_curve:P-256", "ECC_NIST_P384": "EC -pkeyopt ec_paramgen_curve:P-384", "ECC_NIST_P521": "EC -pkeyopt ec_paramgen_curve:P-521",
	"ECC_SECG_P256K1": "EC -pkeyopt ec_paramgen_curve:secp256k1", "ECC_NIST_EDWARDS25519": "ED25519",
}

// openssl is a folder for OpenSSL's files.
type openssl struct{ dir string }

// run calls OpenSSL with arguments, separated by blanks, in the folder, where out is
// what it writes.
func (o openssl) run(t *testing.T, arguments string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", strings.Fields(arguments)...)
	cmd.Dir = o.dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v: %s", arguments, err, text)
	}
	out, err := os.ReadFile(filepath.Join(o.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (o openssl) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// key returns a key of OpenSSL's as a record keeps it, and leaves key.pem there.
func (o openssl) key(t *testing.T, arguments string) keyFixture {
	t.Helper()
	o.write(t, "key.pem", o.run(t, "genpkey -out out -algorithm "+arguments))
	return keyFixture{
		Secret: o.run(t, "pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out out"),
		Public: o.run(t, "pkey -in key.pem -pubout -outform DER -out out"),
	}
}

// use leaves a key of this package as key.pem and public.pem.
func (o openssl) use(t *testing.T, spec kms.KeySpec, key keyFixture) {
	t.Helper()
	pkcs8, err := crypto.MarshalPKCS8(spec, key.Secret)
	if err != nil {
		t.Fatal(err)
	}
	o.write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	o.write(t, "public.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key.Public}))
}

// Keys of both sides are read by the other, which writes them in the same way; what one
// side signs, encrypts or derives, the other verifies, decrypts and derives, with keys of
// both.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	for spec, arguments := range opensslSpecs {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			o := openssl{t.TempDir()}
			theirs, ours := o.key(t, arguments), generate(t, spec)
			for name, key := range map[string]keyFixture{"OpenSSL's": theirs, "kmsd's": ours} {
				o.use(t, spec, key)
				opened := key.open(t, spec)
				if again := o.run(t, "pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out out"); !bytes.Equal(again, key.Secret) {
					t.Errorf("%s key: OpenSSL writes PKCS #8 differently", name)
				}
				if again := o.run(t, "pkey -pubin -in public.pem -pubout -outform DER -out out"); !bytes.Equal(again, key.Public) {
					t.Errorf("%s key: OpenSSL writes SubjectPublicKeyInfo differently", name)
				}
				o.checkSignatures(t, opened)
				o.checkOAEP(t, opened)
			}
			o.checkECDH(t, spec, theirs, ours)
		})
	}
}

// signOptions are pkeyutl's for an algorithm.
func signOptions(alg kms.SigningAlgorithm) string {
	name := string(alg)
	bits := name[len(name)-3:]
	switch {
	case alg == "ED25519_SHA_512":
		return "-rawin"
	case strings.HasPrefix(name, "RSASSA_PSS"):
		return "-rawin -digest sha" + bits + " -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest -pkeyopt rsa_mgf1_md:sha" + bits
	}
	return "-rawin -digest sha" + bits
}

// checkSignatures leaves out Ed25519ph, which OpenSSL 3.0 lacks.
func (o openssl) checkSignatures(t *testing.T, key *crypto.PrivateKey) {
	t.Helper()
	message := []byte("signed here, verified there")
	o.write(t, "message", message)
	for _, alg := range key.Spec().SigningAlgorithms() {
		if alg == "ED25519_PH_SHA_512" {
			continue
		}
		o.write(t, "signature", signWith(t, key, alg, "RAW", message))
		o.write(t, "out", nil)
		o.run(t, "pkeyutl -verify -pubin -inkey public.pem -in message -sigfile signature "+signOptions(alg))
		signature := o.run(t, "pkeyutl -sign -inkey key.pem -in message -out out "+signOptions(alg))
		if err := key.Public().Verify(alg, "RAW", message, signature); err != nil {
			t.Errorf("%s by OpenSSL: %v", alg, err)
		}
	}
}

func (o openssl) checkOAEP(t *testing.T, key *crypto.PrivateKey) {
	t.Helper()
	for _, alg := range key.Spec().EncryptionAlgorithms() {
		hash := map[kms.EncryptionAlgorithm]string{"RSAES_OAEP_SHA_1": "sha1", "RSAES_OAEP_SHA_256": "sha256"}[alg]
		options := " -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:" + hash + " -pkeyopt rsa_mgf1_md:" + hash
		plaintext := bytes.Repeat([]byte{0xa5}, key.Public().MaxPlaintext(alg))
		ciphertext, err := key.Public().Encrypt(alg, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		o.write(t, "ciphertext", ciphertext)
		if got := o.run(t, "pkeyutl -decrypt -inkey key.pem -in ciphertext -out out"+options); !bytes.Equal(got, plaintext) {
			t.Errorf("%s: OpenSSL decrypts to %x", alg, got)
		}
		o.write(t, "plaintext", plaintext)
		sealed := o.run(t, "pkeyutl -encrypt -pubin -inkey public.pem -in plaintext -out out"+options)
		if got, err := key.Decrypt(alg, sealed); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s by OpenSSL: %x, %v", alg, got, err)
		}
	}
}

// checkECDH needs ours in key.pem's place, for whichever came last.
func (o openssl) checkECDH(t *testing.T, spec kms.KeySpec, theirs, ours keyFixture) {
	t.Helper()
	if len(spec.KeyAgreementAlgorithms()) == 0 {
		return
	}
	o.use(t, spec, ours)
	o.write(t, "peer.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: theirs.Public}))
	want := o.run(t, "pkeyutl -derive -inkey key.pem -peerkey peer.pem -out out")
	for name, pair := range map[string][2]keyFixture{"ours": {ours, theirs}, "theirs": {theirs, ours}} {
		if got, err := pair[0].open(t, spec).DeriveSharedSecret(pair[1].Public); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v, want %x", name, got, err, want)
		}
	}
}
