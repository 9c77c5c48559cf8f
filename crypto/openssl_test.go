//go:build openssl

package crypto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// opensslOptions are how OpenSSL 3.0 is told to make a key. It knows none of ML-DSA and
// ML-KEM, which circl stands in for.
var opensslOptions = map[kms.KeySpec][]string{
	"RSA_2048":              {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
	"RSA_3072":              {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"},
	"RSA_4096":              {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"},
	"ECC_NIST_P256":         {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
	"ECC_NIST_P384":         {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
	"ECC_NIST_P521":         {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
	"ECC_SECG_P256K1":       {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
	"ECC_NIST_EDWARDS25519": {"-algorithm", "ED25519"},
}

// workshop is a folder in which OpenSSL works.
type workshop struct {
	t   *testing.T
	dir string
}

func newWorkshop(t *testing.T) workshop { return workshop{t, t.TempDir()} }

// put writes a file and returns its path.
func (w workshop) put(name string, content []byte) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// try runs OpenSSL on what it reads from its standard input.
func (w workshop) try(in []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("openssl", args...)
	cmd.Dir, cmd.Stdin = w.dir, bytes.NewReader(in)
	return cmd.Output()
}

func (w workshop) run(in []byte, args ...string) []byte {
	w.t.Helper()
	out, err := w.try(in, args...)
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			w.t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
		}
		w.t.Fatal(err)
	}
	return out
}

// opensslKey lets OpenSSL make a key, in PKCS #8 and SubjectPublicKeyInfo.
func (w workshop) opensslKey(spec kms.KeySpec) keyFixture {
	w.t.Helper()
	pem := w.run(nil, append([]string{"genpkey"}, opensslOptions[spec]...)...)
	return keyFixture{
		w.run(pem, "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"),
		w.run(pem, "pkey", "-pubout", "-outform", "DER"),
	}
}

// putKey writes a key's halves for OpenSSL to read.
func (w workshop) putKey(name string, key keyFixture) (private, public string) {
	w.t.Helper()
	return w.put(name+".key", key.Secret), w.put(name+".pub", key.Public)
}

// eachKey runs a test with a key that OpenSSL made and with one of kmsd.
func eachKey(t *testing.T, test func(t *testing.T, w workshop, spec kms.KeySpec, key keyFixture)) {
	for spec := range opensslOptions {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t)
			test(t, w, spec, w.opensslKey(spec))
			test(t, w, spec, generate(t, spec))
		})
	}
}

func TestOpenSSLKeys(t *testing.T) {
	t.Parallel()
	eachKey(t, func(t *testing.T, w workshop, spec kms.KeySpec, key keyFixture) {
		if got := w.run(key.Secret, "pkcs8", "-inform", "DER", "-topk8", "-nocrypt", "-outform", "DER"); !bytes.Equal(got, key.Secret) {
			t.Errorf("OpenSSL writes PKCS #8 of %d bytes, want the %d of the key", len(got), len(key.Secret))
		}
		if got := w.run(key.Secret, "pkey", "-inform", "DER", "-pubout", "-outform", "DER"); !bytes.Equal(got, key.Public) {
			t.Errorf("OpenSSL finds the public key %x, want %x", got, key.Public)
		}
		w.run(key.Public, "pkey", "-inform", "DER", "-pubin", "-pubcheck", "-noout")
		w.run(key.Secret, "pkey", "-inform", "DER", "-check", "-noout")
		opened := key.open(t, spec)
		if got := opened.Public().DER(); !bytes.Equal(got, key.Public) {
			t.Errorf("kmsd finds the public key %x, want %x", got, key.Public)
		}
		exported, err := crypto.MarshalPKCS8(spec, key.Secret)
		if err != nil || !bytes.Equal(exported, key.Secret) {
			t.Errorf("kmsd writes other PKCS #8 than the key's, %v", err)
		}
	})
}

// opensslSignature are the options of OpenSSL's pkeyutl for an algorithm. With -rawin it
// hashes the message itself.
func opensslSignature(alg kms.SigningAlgorithm) []string {
	name := string(alg)
	if strings.HasPrefix(name, "ED25519") {
		return []string{"-rawin"}
	}
	options := []string{"-rawin", "-digest", "sha" + name[len(name)-3:]}
	if strings.HasPrefix(name, "RSASSA_PSS") {
		return append(options, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest", "-pkeyopt", "rsa_mgf1_md:sha"+name[len(name)-3:])
	}
	return options
}

func TestOpenSSLSignatures(t *testing.T) {
	t.Parallel()
	eachKey(t, func(t *testing.T, w workshop, spec kms.KeySpec, key keyFixture) {
		opened := key.open(t, spec)
		private, public := w.putKey("signer", key)
		message := []byte("a message of a client")
		in, other := w.put("message", message), w.put("other", append(message, '!'))
		for _, alg := range spec.SigningAlgorithms() {
			if alg == "ED25519_PH_SHA_512" {
				continue // OpenSSL 3.0 has none; RFC 8032's vector and crypto/ed25519 stand in
			}
			options := opensslSignature(alg)
			ours := w.put("signature", signWith(t, opened, alg, "RAW", message))
			verify := append([]string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", public, "-sigfile", ours}, options...)
			w.run(nil, append(verify, "-in", in)...)
			if out, err := w.try(nil, append(verify, "-in", other)...); err == nil {
				t.Errorf("%s: OpenSSL takes a signature for another message: %s", alg, out)
			}
			theirs := w.run(nil, append([]string{"pkeyutl", "-sign", "-keyform", "DER", "-inkey", private, "-in", in}, options...)...)
			checkSignature(t, opened.Public(), alg, 0, message, theirs, true)
			checkSignature(t, opened.Public(), alg, 0, append(message, '!'), theirs, false)
		}
	})
}

// PSS signatures whose salt is not as long as the hash, and those whose MGF1 has another
// hash, are not AWS's, though OpenSSL makes them of the same key.
func TestOpenSSLOtherPSS(t *testing.T) {
	t.Parallel()
	w, message := newWorkshop(t), []byte("a message of a client")
	key := w.opensslKey("RSA_2048")
	private, _ := w.putKey("signer", key)
	in, public := w.put("message", message), parsePublic(t, "RSA_2048", key.Public)
	for _, tc := range []struct {
		salt, mgf string
		valid     bool
	}{
		{"32", "sha256", true},
		{"0", "sha256", false}, {"20", "sha256", false}, {"31", "sha256", false}, {"33", "sha256", false},
		{"max", "sha256", false},
		{"32", "sha1", false}, {"32", "sha512", false},
	} {
		signature := w.run(nil, "pkeyutl", "-sign", "-keyform", "DER", "-inkey", private, "-in", in, "-rawin", "-digest", "sha256",
			"-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:"+tc.salt, "-pkeyopt", "rsa_mgf1_md:"+tc.mgf)
		t.Run("salt "+tc.salt+", MGF1 "+tc.mgf, func(t *testing.T) {
			t.Parallel()
			checkSignature(t, public, "RSASSA_PSS_SHA_256", 0, message, signature, tc.valid)
		})
	}
}

func opensslOAEP(digest, mgf string) []string {
	return []string{"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:" + digest, "-pkeyopt", "rsa_mgf1_md:" + mgf}
}

func TestOpenSSLOAEP(t *testing.T) {
	t.Parallel()
	hashes := map[kms.EncryptionAlgorithm]string{"RSAES_OAEP_SHA_1": "sha1", "RSAES_OAEP_SHA_256": "sha256"}
	for spec, limits := range oaepLimits {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t)
			for _, key := range []keyFixture{w.opensslKey(spec), fixture(t, spec)} {
				opened := key.open(t, spec)
				private, public := w.putKey("receiver", key)
				for alg, limit := range limits {
					for _, size := range []int{1, limit} {
						plaintext := bytes.Repeat([]byte{9}, size)
						encrypt := []string{"pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public}
						theirs := w.run(plaintext, append(encrypt, opensslOAEP(hashes[alg], hashes[alg])...)...)
						if got, err := opened.Decrypt(alg, theirs); err != nil || !bytes.Equal(got, plaintext) {
							t.Errorf("%s: kmsd decrypts %x, %v, want %x", alg, got, err, plaintext)
						}
						ours, err := opened.Public().Encrypt(alg, plaintext)
						if err != nil {
							t.Fatal(err)
						}
						decrypt := []string{"pkeyutl", "-decrypt", "-keyform", "DER", "-inkey", private}
						if got := w.run(ours, append(decrypt, opensslOAEP(hashes[alg], hashes[alg])...)...); !bytes.Equal(got, plaintext) {
							t.Errorf("%s: OpenSSL decrypts %x, want %x", alg, got, plaintext)
						}
						label := append(opensslOAEP(hashes[alg], hashes[alg]), "-pkeyopt", "rsa_oaep_label:00")
						for name, options := range map[string][]string{
							"MGF1 of SHA-512": opensslOAEP(hashes[alg], "sha512"), "a label": label, "PKCS #1 v1.5": nil,
						} {
							if len(plaintext) == limit && name != "a label" {
								continue
							}
							if got, err := opened.Decrypt(alg, w.run(plaintext, append(encrypt, options...)...)); err != crypto.ErrCiphertext {
								t.Errorf("%s: with %s kmsd decrypts %x, %v", alg, name, got, err)
							}
						}
					}
				}
			}
		})
	}
}

func TestOpenSSLAgreement(t *testing.T) {
	t.Parallel()
	for _, spec := range []kms.KeySpec{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"} {
		t.Run(string(spec), func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t)
			ours, theirs := generate(t, spec), w.opensslKey(spec)
			private, _ := w.putKey("theirs", theirs)
			_, public := w.putKey("ours", ours)
			got, err := ours.open(t, spec).DeriveSharedSecret(theirs.Public)
			want := w.run(nil, "pkeyutl", "-derive", "-keyform", "DER", "-inkey", private, "-peerform", "DER", "-peerkey", public)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("kmsd derives %x, %v, OpenSSL %x", got, err, want)
			}
			compressed := w.run(theirs.Public, "ec", "-pubin", "-inform", "DER", "-pubout", "-outform", "DER", "-conv_form", "compressed")
			if got, err := ours.open(t, spec).DeriveSharedSecret(compressed); err != crypto.ErrPublicKey {
				t.Errorf("with a compressed point kmsd derives %x, %v", got, err)
			}
		})
	}
}

func TestOpenSSLMACs(t *testing.T) {
	t.Parallel()
	w, message := newWorkshop(t), []byte("a message of a client")
	for spec := range macSizes {
		key := generate(t, spec)
		alg := spec.MacAlgorithms()[0]
		digest := "sha" + strings.TrimPrefix(string(spec), "HMAC_")
		want := w.run(message, "dgst", "-"+digest, "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key.Secret), "-binary")
		opened := openMAC(t, spec, key.Secret)
		if got, err := opened.MAC(alg, message); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, %v, OpenSSL makes %x", spec, got, err, want)
		}
		if err := opened.VerifyMAC(alg, message, want); err != nil {
			t.Errorf("%s: OpenSSL's MAC: %v", spec, err)
		}
	}
}
