package kmsapi_test

import (
	"bytes"
	stdcrypto "crypto"
	"crypto/mlkem"
	"slices"
	"testing"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem512"

	"github.com/kmsd/kmsd/internal/testkit"
)

// kemCases are the specs of ML-KEM and the lengths of their ciphertexts in bytes (FIPS 203
// §8, table 3), with an implementation that reads raw public keys and seeds.
var kemCases = []struct {
	spec       string
	ciphertext int
	public     func(raw []byte) (stdcrypto.Encapsulator, error)
	private    func(seed []byte) (stdcrypto.Decapsulator, error)
}{
	{"ML_KEM_512", 768, circlPublic, circlPrivate},
	{"ML_KEM_768", 1088,
		func(raw []byte) (stdcrypto.Encapsulator, error) { return mlkem.NewEncapsulationKey768(raw) },
		func(seed []byte) (stdcrypto.Decapsulator, error) { return mlkem.NewDecapsulationKey768(seed) }},
	{"ML_KEM_1024", 1568,
		func(raw []byte) (stdcrypto.Encapsulator, error) { return mlkem.NewEncapsulationKey1024(raw) },
		func(seed []byte) (stdcrypto.Decapsulator, error) { return mlkem.NewDecapsulationKey1024(seed) }},
}

// circl has ML-KEM-512, which package mlkem lacks, through its general interface.
type (
	circlEncapsulator struct{ key kem.PublicKey }
	circlDecapsulator struct{ key kem.PrivateKey }
)

func circlPublic(raw []byte) (stdcrypto.Encapsulator, error) {
	key, err := mlkem512.Scheme().UnmarshalBinaryPublicKey(raw)
	return circlEncapsulator{key}, err
}

func circlPrivate(seed []byte) (stdcrypto.Decapsulator, error) {
	_, key := mlkem512.Scheme().DeriveKeyPair(seed)
	return circlDecapsulator{key}, nil
}

func (k circlEncapsulator) Encapsulate() (secret, ciphertext []byte) {
	ciphertext, secret, err := mlkem512.Scheme().Encapsulate(k.key)
	if err != nil {
		panic(err)
	}
	return secret, ciphertext
}

func (k circlEncapsulator) Bytes() []byte {
	raw, err := k.key.MarshalBinary()
	if err != nil {
		panic(err)
	}
	return raw
}

func (k circlDecapsulator) Decapsulate(ciphertext []byte) ([]byte, error) {
	return mlkem512.Scheme().Decapsulate(k.key, ciphertext)
}

func (k circlDecapsulator) Encapsulator() stdcrypto.Encapsulator {
	return circlEncapsulator{k.key.Public()}
}

// encapsulated is a new secret under a key and its ciphertext.
func encapsulated(t *testing.T, s *testkit.Solo, key string) (secret, blob []byte) {
	t.Helper()
	made := s.Must(t, "Encapsulate", obj{"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"})
	return unb64(t, made["SharedSecret"]), unb64(t, made["SharedSecretCiphertextBlob"])
}

func decapsulate(t *testing.T, s *testkit.Solo, key string, blob []byte) testkit.Answer {
	t.Helper()
	return s.Call(t, testkit.Root, "Decapsulate", obj{"KeyId": key, "SharedSecretCiphertextBlob": b64(blob), "EncapsulationAlgorithm": "ML_KEM"})
}

// decapsulated is the secret of a ciphertext of the right length.
func decapsulated(t *testing.T, s *testkit.Solo, key string, blob []byte) []byte {
	t.Helper()
	a := decapsulate(t, s, key, blob)
	wantOutcome(t, a, success)
	secret := unb64(t, a.Body["SharedSecret"])
	wantJSON(t, a.Body, fill(`{"KeyId":"$ARN","SharedSecret":"$SECRET","EncapsulationAlgorithm":"ML_KEM"}`, "$ARN", testkit.ARN(key), "$SECRET", b64(secret)))
	return secret
}

// What Encapsulate makes, Decapsulate opens, also after a restart, and no two are alike.
func TestEncapsulation(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range kemCases {
		t.Run(c.spec, func(t *testing.T) {
			key := newKeyOf(t, s, c.spec+" ENCAPSULATE_DECAPSULATE")
			made := s.Must(t, "Encapsulate", obj{"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"})
			secret, blob := unb64(t, made["SharedSecret"]), unb64(t, made["SharedSecretCiphertextBlob"])
			if len(secret) != 32 || len(blob) != c.ciphertext {
				t.Errorf("a secret of %d bytes in a ciphertext of %d, want 32 and %d", len(secret), len(blob), c.ciphertext)
			}
			wantJSON(t, made, fill(`{"KeyId":"$ARN","SharedSecret":"$SECRET","SharedSecretCiphertextBlob":"$BLOB","EncapsulationAlgorithm":"ML_KEM"}`,
				"$ARN", testkit.ARN(key), "$SECRET", b64(secret), "$BLOB", b64(blob)))
			if again, _ := encapsulated(t, s, key); bytes.Equal(again, secret) {
				t.Error("two secrets are alike")
			}
			for range 2 {
				if got := decapsulated(t, s, key, blob); !bytes.Equal(got, secret) {
					t.Errorf("got %x, want %x", got, secret)
				}
				s.Service = s.NewService() // with an empty cache
			}
		})
	}
}

// Another implementation opens what Encapsulate made under the public key that is shown,
// and the other way round.
func TestEncapsulationWithAnother(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range kemCases {
		t.Run(c.spec, func(t *testing.T) {
			key := newKeyOf(t, s, c.spec+" ENCAPSULATE_DECAPSULATE")
			public, err := c.public(publicOf(t, s, key)[22:]) // behind the algorithm (RFC 9935)
			if err != nil {
				t.Fatal(err)
			}
			private, err := c.private(secretOf(t, s, key))
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				theirs, blob := public.Encapsulate()
				if got := decapsulated(t, s, key, blob); !bytes.Equal(got, theirs) {
					t.Errorf("Decapsulate gives %x, want %x", got, theirs)
				}
				ours, blob := encapsulated(t, s, key)
				if got, err := private.Decapsulate(blob); err != nil || !bytes.Equal(got, ours) {
					t.Errorf("another opens %x, %v, want %x", got, err, ours)
				}
			}
		})
	}
}

// A ciphertext that was altered or made for another key gives another secret, always the
// same (FIPS 203 §6.3: implicit rejection), one of another length an error.
func TestImplicitRejection(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range kemCases {
		t.Run(c.spec, func(t *testing.T) {
			key, other := newKeyOf(t, s, c.spec+" ENCAPSULATE_DECAPSULATE"), newKeyOf(t, s, c.spec+" ENCAPSULATE_DECAPSULATE")
			private, err := c.private(secretOf(t, s, key))
			if err != nil {
				t.Fatal(err)
			}
			secret, blob := encapsulated(t, s, key)
			_, foreign := encapsulated(t, s, other)
			for _, bad := range [][]byte{flipped(blob, 0), flipped(blob, c.ciphertext/2), flipped(blob, c.ciphertext-1), make([]byte, c.ciphertext), foreign} {
				want, err := private.Decapsulate(bad)
				if err != nil {
					t.Fatal(err)
				}
				got := decapsulated(t, s, key, bad)
				if bytes.Equal(got, secret) || !bytes.Equal(got, want) {
					t.Errorf("got %x, want %x, not %x", got, want, secret)
				}
			}
			for _, bad := range [][]byte{blob[:c.ciphertext-1], blob[1:], append(slices.Clone(blob), 0), {0}, make([]byte, 6144)} {
				wantOutcome(t, decapsulate(t, s, key, bad), invalidCiphertext)
			}
			for _, wrong := range kemCases {
				if wrong.spec != c.spec {
					wantOutcome(t, decapsulate(t, s, key, make([]byte, wrong.ciphertext)), invalidCiphertext)
				}
			}
		})
	}
}

// Every spec with the algorithm: only ML-KEM's have it. The keys of other specs cannot be
// made for the usage, so the state is told that they are.
func TestEncapsulationAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, c := range specCases {
		if c.member == "EncapsulationAlgorithms" {
			continue // TestEncapsulation has those
		}
		key := s.NewKey(t)
		s.SetType(t, key, c.spec, "ENCAPSULATE_DECAPSULATE")
		want := keyUsage("Algorithm ML_KEM is incompatible with key spec " + c.spec + ".")
		wantOutcome(t, s.Call(t, testkit.Root, "Encapsulate", obj{"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"}), want)
		wantOutcome(t, decapsulate(t, s, key, make([]byte, 768)), want)
	}
}
