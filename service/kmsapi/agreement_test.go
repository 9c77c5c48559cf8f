package kmsapi_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// agreementSpecs are the specs of keys for DeriveSharedSecret (AWS: "Key spec
// reference").
var agreementSpecs = []string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"}

var agreementCurves = map[string]ecdh.Curve{"ECC_NIST_P256": ecdh.P256(), "ECC_NIST_P384": ecdh.P384(), "ECC_NIST_P521": ecdh.P521()}

// badPublicKey is the answer to every public key that is none of the key's spec.
func badPublicKey(spec string) outcome {
	return validation("The public key is not a DER-encoded SubjectPublicKeyInfo of a point on the curve of key spec " + spec + ".")
}

// publicOf is what GetPublicKey shows of a key.
func publicOf(t testing.TB, s *testkit.Solo, key string) []byte {
	t.Helper()
	return unb64(t, s.Must(t, "GetPublicKey", obj{"KeyId": key})["PublicKey"])
}

// derive asks for the secret that a key shares with the owner of a public key.
func derive(t *testing.T, s *testkit.Solo, key string, public []byte) testkit.Answer {
	t.Helper()
	return s.Call(t, testkit.Root, "DeriveSharedSecret", obj{"KeyId": key, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b64(public)})
}

// Two keys of the service share one secret, and one with a key outside of it what package
// ecdh derives there: the x-coordinate, as long as the curve's field elements.
func TestDeriveSharedSecret(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	sizes := map[string]int{"ECC_NIST_P256": 32, "ECC_NIST_P384": 48, "ECC_NIST_P521": 66}
	for _, spec := range agreementSpecs {
		t.Run(spec, func(t *testing.T) {
			one, two := newKeyOf(t, s, spec+" KEY_AGREEMENT"), newKeyOf(t, s, spec+" KEY_AGREEMENT")
			a, b := derive(t, s, one, publicOf(t, s, two)), derive(t, s, two, publicOf(t, s, one))
			wantOutcome(t, a, success)
			wantOutcome(t, b, success)
			secret := unb64(t, a.Body["SharedSecret"])
			if len(secret) != sizes[spec] || a.Body["SharedSecret"] != b.Body["SharedSecret"] {
				t.Errorf("got %d bytes, the same %t, want %d", len(secret), a.Body["SharedSecret"] == b.Body["SharedSecret"], sizes[spec])
			}
			wantJSON(t, a.Body, fill(`{"KeyId":"$ARN","SharedSecret":"$SECRET","KeyAgreementAlgorithm":"ECDH","KeyOrigin":"AWS_KMS"}`,
				"$ARN", testkit.ARN(one), "$SECRET", b64(secret)))
			for range 20 {
				checkOutside(t, s, spec, one)
			}
			s.Service = s.NewService() // with an empty cache
			if again := derive(t, s, one, publicOf(t, s, two)); again.Body["SharedSecret"] != b64(secret) {
				t.Error("another secret after a restart")
			}
		})
	}
}

// checkOutside derives with a new key that the service does not have.
func checkOutside(t *testing.T, s *testkit.Solo, spec, key string) {
	t.Helper()
	outside, err := agreementCurves[spec].GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(outside.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	want, err := outside.ECDH(peerOf(t, publicOf(t, s, key)))
	if err != nil {
		t.Fatal(err)
	}
	if got := derive(t, s, key, der); got.Refusal != nil || !bytes.Equal(unb64(t, got.Body["SharedSecret"]), want) {
		t.Errorf("got %v, %v, want %x", got.Refusal, got.Body, want)
	}
}

// peerOf reads a SubjectPublicKeyInfo as package x509 does.
func peerOf(t *testing.T, der []byte) *ecdh.PublicKey {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.(interface {
		ECDH() (*ecdh.PublicKey, error)
	}).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// What is not exactly a point on the key's curve is refused, always with the same text.
func TestBadPeers(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	publics := map[string][]byte{}
	for _, kind := range []string{"ECC_NIST_P256 KEY_AGREEMENT", "ECC_NIST_P384 KEY_AGREEMENT", "ECC_NIST_P521 KEY_AGREEMENT", "ECC_SECG_P256K1 SIGN_VERIFY",
		"ECC_NIST_EDWARDS25519 SIGN_VERIFY", "ML_KEM_512 ENCAPSULATE_DECAPSULATE"} {
		publics[kind] = publicOf(t, s, newKeyOf(t, s, kind))
	}
	for _, spec := range agreementSpecs {
		key := newKeyOf(t, s, spec+" KEY_AGREEMENT")
		good := publics[spec+" KEY_AGREEMENT"]
		point := peerOf(t, good).Bytes()
		size := len(point) / 2
		peers := map[string][]byte{
			"a trailing byte": append(slices.Clone(good), 0), "a byte less": good[:len(good)-1], "not DER": []byte("public key"), "the bare point": point,
			"off the curve": flipped(good, len(good)-1), "the origin": withPoint(t, good, append([]byte{4}, make([]byte, 2*size)...)),
			"infinity": withPoint(t, good, []byte{0}), "no point": withPoint(t, good, nil), "compressed": withPoint(t, good, append([]byte{2 + point[2*size]&1}, point[1:1+size]...)),
			"beyond the field": withPoint(t, good, append([]byte{4}, bytes.Repeat([]byte{0xff}, 2*size)...)), "a longer point": withPoint(t, good, append(point, 0)),
		}
		for kind, der := range publics {
			if !strings.HasPrefix(kind, spec) {
				peers[kind] = der
			}
		}
		before := s.Prune(t)
		for name, der := range peers {
			t.Run(spec+" "+name, func(t *testing.T) { wantOutcome(t, derive(t, s, key, der), badPublicKey(spec)) })
		}
		if s.Prune(t) != before {
			t.Error("refused calls changed the state")
		}
		wantOutcome(t, derive(t, s, key, good), success)
	}
}

// withPoint is the SubjectPublicKeyInfo of the same algorithm as der with another point.
func withPoint(t *testing.T, der, point []byte) []byte {
	t.Helper()
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Point     asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		t.Fatal(err)
	}
	info.Point = asn1.BitString{Bytes: point, BitLength: 8 * len(point)}
	out, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every spec with the algorithm: only NIST's curves have it. The keys of other specs cannot
// be made for the usage, so the state is told that they are.
func TestKeyAgreementAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range specCases {
		if slices.Contains(agreementSpecs, c.spec) {
			continue // TestDeriveSharedSecret has those
		}
		key := s.NewKey(t)
		s.SetType(t, key, c.spec, "KEY_AGREEMENT")
		wantOutcome(t, derive(t, s, key, []byte{0}), keyUsage("Algorithm ECDH is incompatible with key spec "+c.spec+"."))
	}
}

// A refused attestation document is told before anything of the public key.
func TestRecipientOfSharedSecrets(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	body := obj{"KeyId": newKeyFor(t, s, "DeriveSharedSecret"), "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AA==", "Recipient": obj{"AttestationDocument": "AA=="}}
	wantOutcome(t, s.Call(t, testkit.Root, "DeriveSharedSecret", body),
		validation("The attestation document could not be verified: no root certificate of attestation documents is configured."))
}
