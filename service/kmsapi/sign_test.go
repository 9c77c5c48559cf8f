package kmsapi_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// signingCase is a spec of signing keys with one of its algorithms: how long its
// signatures are (0 where that varies), and of which lengths the messages of each type
// are, 0 for a type that the algorithm does not take (AWS: "Key spec reference", Sign).
type signingCase struct {
	spec, algorithm    string
	size               int
	raw                bool
	digest, externalMu int
}

var signingCases = slices.Concat(
	ofRSA("RSA_2048", 256), ofRSA("RSA_3072", 384), ofRSA("RSA_4096", 512),
	[]signingCase{
		{spec: "ECC_NIST_P256", algorithm: "ECDSA_SHA_256", raw: true, digest: 32},
		{spec: "ECC_NIST_P384", algorithm: "ECDSA_SHA_384", raw: true, digest: 48},
		{spec: "ECC_NIST_P521", algorithm: "ECDSA_SHA_512", raw: true, digest: 64},
		{spec: "ECC_SECG_P256K1", algorithm: "ECDSA_SHA_256", raw: true, digest: 32},
		{spec: "ECC_NIST_EDWARDS25519", algorithm: "ED25519_SHA_512", size: 64, raw: true},
		{spec: "ECC_NIST_EDWARDS25519", algorithm: "ED25519_PH_SHA_512", size: 64, digest: 64},
		{spec: "ML_DSA_44", algorithm: "ML_DSA_SHAKE_256", size: 2420, raw: true, externalMu: 64},
		{spec: "ML_DSA_65", algorithm: "ML_DSA_SHAKE_256", size: 3309, raw: true, externalMu: 64},
		{spec: "ML_DSA_87", algorithm: "ML_DSA_SHAKE_256", size: 4627, raw: true, externalMu: 64},
	},
)

func ofRSA(spec string, size int) (out []signingCase) {
	for algorithm, digest := range map[string]int{
		"RSASSA_PKCS1_V1_5_SHA_256": 32, "RSASSA_PKCS1_V1_5_SHA_384": 48, "RSASSA_PKCS1_V1_5_SHA_512": 64,
		"RSASSA_PSS_SHA_256": 32, "RSASSA_PSS_SHA_384": 48, "RSASSA_PSS_SHA_512": 64,
	} {
		out = append(out, signingCase{spec: spec, algorithm: algorithm, size: size, raw: true, digest: digest})
	}
	return out
}

// allSigning are the signing algorithms that AWS has.
var allSigning = strings.Fields(rsaSigning + " ECDSA_SHA_256 ECDSA_SHA_384 ECDSA_SHA_512 ED25519_SHA_512 ED25519_PH_SHA_512 ML_DSA_SHAKE_256 SM2DSA")

func keyUsage(message string) outcome { return outcome{"InvalidKeyUsageException", message} }

// badSignature is the answer to everything that is no valid signature.
var badSignature = outcome{"KMSInvalidSignatureException", ""}

// signers are keys of all specs that sign, on one server.
type signers struct {
	*testkit.Solo
	keys map[string]string // by spec
}

func newSigners(t *testing.T) *signers {
	t.Helper()
	s := &signers{testkit.Start(t), map[string]string{}}
	for _, c := range signingCases {
		if s.keys[c.spec] == "" {
			s.keys[c.spec] = newKeyOf(t, s.Solo, c.spec+" SIGN_VERIFY")
		}
	}
	return s
}

func (s *signers) sign(t *testing.T, spec, algorithm, kind string, message []byte) testkit.Answer {
	t.Helper()
	return s.Call(t, testkit.Root, "Sign", obj{"KeyId": s.keys[spec], "Message": b64(message), "MessageType": kind, "SigningAlgorithm": algorithm})
}

func (s *signers) verify(t *testing.T, spec, algorithm, kind string, message, signature []byte) testkit.Answer {
	t.Helper()
	return s.Call(t, testkit.Root, "Verify",
		obj{"KeyId": s.keys[spec], "Message": b64(message), "MessageType": kind, "SigningAlgorithm": algorithm, "Signature": b64(signature)})
}

// hashed is the message as the type has it, of a message that is at hand.
func (s *signers) hashed(t *testing.T, c *signingCase, kind string, message []byte) []byte {
	t.Helper()
	switch {
	case kind == "RAW":
		return message
	case kind == "EXTERNAL_MU": // AWS: "Offline verification with ML-DSA key pairs"
		raw := unb64(t, s.Must(t, "GetPublicKey", obj{"KeyId": s.keys[c.spec]})["PublicKey"])[22:]
		tr := sha3.SumSHAKE256(raw, 64)
		return sha3.SumSHAKE256(slices.Concat(tr, []byte{0, 0}, message), 64)
	case c.digest == 32:
		sum := sha256.Sum256(message)
		return sum[:]
	case c.digest == 48:
		sum := sha512.Sum384(message)
		return sum[:]
	}
	sum := sha512.Sum512(message)
	return sum[:]
}

// kinds lists the message types that the algorithm takes, and the others.
func (c *signingCase) kinds() (takes, others []string) {
	for kind, has := range map[string]bool{"RAW": c.raw, "DIGEST": c.digest != 0, "EXTERNAL_MU": c.externalMu != 0} {
		if has {
			takes = append(takes, kind)
		} else {
			others = append(others, kind)
		}
	}
	return takes, others
}

// Every spec signs with each of its algorithms whatever message it takes, and verifies
// that, also as another type of the same message and after a restart; everything else is
// refused.
func TestSigning(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, c := range signingCases {
		t.Run(c.spec+" "+c.algorithm, func(t *testing.T) {
			takes, others := c.kinds()
			message := []byte("a message of sixty-four bytes, which could be a digest, or be μ.")[:64]
			for _, kind := range takes {
				signature := s.checkSign(t, &c, kind, message)
				for _, other := range takes {
					a := s.verify(t, c.spec, c.algorithm, other, s.hashed(t, &c, other, message), signature)
					wantOutcome(t, a, success)
					wantJSON(t, a.Body, fill(`{"KeyId":"$ARN","SignatureValid":true,"SigningAlgorithm":"$ALG"}`, "$ARN", testkit.ARN(s.keys[c.spec]), "$ALG", c.algorithm))
				}
				s.checkTampered(t, &c, kind, s.hashed(t, &c, kind, message), signature)
			}
			s.checkLengths(t, &c)
			for _, kind := range others {
				want := validation("MessageType " + kind + " is not valid for algorithm " + c.algorithm + ".")
				wantOutcome(t, s.sign(t, c.spec, c.algorithm, kind, message), want)
				wantOutcome(t, s.verify(t, c.spec, c.algorithm, kind, message, []byte{1}), want)
			}
		})
	}
}

// checkSign signs and returns the signature.
func (s *signers) checkSign(t *testing.T, c *signingCase, kind string, message []byte) []byte {
	t.Helper()
	a := s.sign(t, c.spec, c.algorithm, kind, s.hashed(t, c, kind, message))
	wantOutcome(t, a, success)
	if a.Refusal != nil {
		t.FailNow()
	}
	signature := unb64(t, a.Body["Signature"])
	wantJSON(t, a.Body, fill(`{"KeyId":"$ARN","Signature":"$SIG","SigningAlgorithm":"$ALG"}`, "$ARN", testkit.ARN(s.keys[c.spec]), "$SIG", b64(signature), "$ALG", c.algorithm))
	if c.size != 0 && len(signature) != c.size {
		t.Errorf("the signature has %d bytes, want %d", len(signature), c.size)
	}
	if strings.HasPrefix(c.algorithm, "ECDSA") && signature[0] != 0x30 {
		t.Errorf("the signature %x is not in DER", signature)
	}
	return signature
}

// checkTampered alters the signature and the message: all of it has one answer.
func (s *signers) checkTampered(t *testing.T, c *signingCase, kind string, message, signature []byte) {
	t.Helper()
	for name, bad := range map[string][]byte{
		"first bit": flipped(signature, 0), "middle bit": flipped(signature, len(signature)/2), "last bit": flipped(signature, len(signature)-1),
		"cut": signature[:len(signature)-1], "longer": append(slices.Clone(signature), 0), "twice": append(slices.Clone(signature), signature...)[:min(2*len(signature), 6144)],
		"one byte": {0}, "zeros": make([]byte, len(signature)), "the largest": bytes.Repeat([]byte{0xff}, 6144),
		"a DER sequence of nothing": {0x30, 0}, "r and s are zero": {0x30, 6, 2, 1, 0, 2, 1, 0}, "r and s are one": {0x30, 6, 2, 1, 1, 2, 1, 1},
	} {
		if a := s.verify(t, c.spec, c.algorithm, kind, message, bad); a.Refusal == nil || a.Refusal.Code != badSignature.code || a.Refusal.Message != "" {
			t.Errorf("%s: got %v %v", name, a.Refusal, a.Err)
		}
	}
	wantOutcome(t, s.verify(t, c.spec, c.algorithm, kind, flipped(message, 0), signature), badSignature)
}

func flipped(b []byte, i int) []byte {
	out := slices.Clone(b)
	out[i] ^= 1
	return out
}

// checkLengths: RAW takes all that the model allows, DIGEST and EXTERNAL_MU one length.
func (s *signers) checkLengths(t *testing.T, c *signingCase) {
	t.Helper()
	if c.raw {
		for _, n := range []int{1, 4096} {
			wantOutcome(t, s.sign(t, c.spec, c.algorithm, "RAW", make([]byte, n)), success)
		}
	}
	wrong := validation("Digest is invalid length for algorithm " + c.algorithm + ".")
	for kind, size := range map[string]int{"DIGEST": c.digest, "EXTERNAL_MU": c.externalMu} {
		for _, n := range []int{1, 20, 28, 31, 32, 33, 47, 48, 49, 63, 64, 65, 4096} {
			if size == 0 || n == size {
				continue
			}
			wantOutcome(t, s.sign(t, c.spec, c.algorithm, kind, make([]byte, n)), wrong)
			wantOutcome(t, s.verify(t, c.spec, c.algorithm, kind, make([]byte, n), []byte{1}), wrong)
		}
	}
}

// Every algorithm belongs to the specs of the table and to no other.
func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range specCases {
		if c.usage != "SIGN_VERIFY" {
			continue
		}
		key := s.NewKey(t)
		s.SetType(t, key, c.spec, c.usage) // no key of the type is needed to refuse
		for _, algorithm := range allSigning {
			if slices.Contains(strings.Fields(c.algorithms), algorithm) {
				continue
			}
			want := keyUsage("Algorithm " + algorithm + " is incompatible with key spec " + c.spec + ".")
			// The algorithm is checked before what depends on it.
			for _, kind := range []string{"RAW", "DIGEST", "EXTERNAL_MU"} {
				body := obj{"KeyId": key, "Message": "AA==", "MessageType": kind, "SigningAlgorithm": algorithm}
				wantOutcome(t, s.Call(t, testkit.Root, "Sign", body), want)
				wantOutcome(t, s.Call(t, testkit.Root, "Verify", with(body, obj{"Signature": "AA=="})), want)
			}
		}
	}
}

// A signature is one key's, for one algorithm, and outlives the process and the rights to
// make it.
func TestSignaturesOfOtherKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := newKeyFor(t, s, "Sign"), newKeyFor(t, s, "Sign")
	body := obj{"KeyId": key, "Message": "aGVsbG8=", "SigningAlgorithm": "ECDSA_SHA_256"}
	signed := with(body, obj{"Signature": s.Must(t, "Sign", body)["Signature"]})
	wantOutcome(t, s.Call(t, testkit.Root, "Verify", with(signed, obj{"KeyId": other})), badSignature)
	s.Service = s.NewService() // with an empty cache
	wantOutcome(t, s.Call(t, testkit.Root, "Verify", signed), success)
	s.Must(t, "DisableKey", obj{"KeyId": key})
	off := outcome{"DisabledException", testkit.ARN(key) + " is disabled."}
	wantOutcome(t, s.Call(t, testkit.Root, "Verify", signed), off)
	wantOutcome(t, s.Call(t, testkit.Root, "Sign", body), off)
	s.Must(t, "EnableKey", obj{"KeyId": key})
	wantOutcome(t, s.Call(t, testkit.Root, "Verify", signed), success)
	wantOutcome(t, s.Call(t, testkit.Root, "Sign", body), success)
}

// Signatures are randomised but for those that must not be (RFC 8017 §8.2, RFC 8032).
func TestSignaturesAreRandomised(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, c := range signingCases {
		takes, _ := c.kinds()
		message := s.hashed(t, &c, takes[0], []byte("message"))
		one, two := s.sign(t, c.spec, c.algorithm, takes[0], message), s.sign(t, c.spec, c.algorithm, takes[0], message)
		same := one.Body["Signature"] == two.Body["Signature"]
		if want := strings.Contains(c.algorithm, "PKCS1") || strings.HasPrefix(c.algorithm, "ED25519"); same != want {
			t.Errorf("%s %s: twice the same signature %v, want %v", c.spec, c.algorithm, same, want)
		}
	}
}
