package kmsapi_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// vectorsDir downloads the Wycheproof module, at the version and checksum that go.mod and
// go.sum pin, unless it is in the module cache.
var vectorsDir = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/c2sp/wycheproof").Output()
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", err
	}
	return filepath.Join(module.Dir, "testvectors_v1"), nil
})

// hexBytes is a hexadecimal JSON string.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vector is one of Wycheproof's for ECDH or ML-KEM.
type vector struct {
	ID                      int      `json:"tcId"`
	Public, Private, Shared hexBytes // ECDH
	Seed, EK, C, K          hexBytes // ML-KEM
	Result                  string
}

func readVectors(t *testing.T, name string) (all []vector) {
	t.Helper()
	dir, err := vectorsDir()
	if err != nil {
		t.Fatalf("finding the Wycheproof vectors: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+"_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct{ Tests []vector }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, group := range file.TestGroups {
		all = append(all, group.Tests...)
	}
	return all
}

// wantRan compares how many vectors of each result ran with the pinned version's counts,
// so that a changed file does not silently run less.
func wantRan(t *testing.T, got, want map[string]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("ran %v, want %v", got, want)
	}
}

// planted are keys that were put into the state with a secret of the test's.
type planted struct {
	*testkit.Solo
	model *fsm.Key
	count int
	keys  map[string]string // ids by secret
}

// newPlanted takes everything but the material from a key of the kind.
func newPlanted(t *testing.T, kind string) *planted {
	t.Helper()
	s := testkit.Start(t)
	id := newKeyOf(t, s, kind)
	model, ok := s.Machine.View().Key(testkit.Region, id)
	if !ok {
		t.Fatal("the key is not there")
	}
	return &planted{Solo: s, model: model, keys: map[string]string{}}
}

// plant returns the id of the key with the secret, which it makes if there is none.
func (p *planted) plant(t *testing.T, secret, public []byte) string {
	t.Helper()
	if id, ok := p.keys[string(secret)]; ok {
		return id
	}
	p.count++
	key := *p.model
	key.ID, key.ModIndex = fmt.Sprintf("1234abcd-12ab-34cd-56ef-%012x", p.count), 0
	key.CurrentMaterial = crypto.MaterialID(key.ID, secret)
	sealed, err := p.Keyring.Seal(kmsapi.MaterialPurpose, key.ID+"/"+key.CurrentMaterial, secret)
	if err != nil {
		t.Fatal(err)
	}
	policy, _ := p.Machine.View().PolicyText(key.PolicyHash)
	p.Apply(t, fsm.CreateKey{Key: key, Policy: policy, Material: &fsm.Material{
		KeyID: key.ID, ID: key.CurrentMaterial, Created: key.Created, Sealed: sealed, Public: public,
	}})
	p.keys[string(secret)] = key.ID
	return key.ID
}

// plantScalar is plant for the private key of a curve, big endian, which may be shorter or
// longer than the curve's numbers.
func (p *planted) plantScalar(t *testing.T, curve elliptic.Curve, scalar []byte) string {
	t.Helper()
	raw := make([]byte, (curve.Params().BitSize+7)/8)
	scalar = bytes.TrimLeft(scalar, "\x00")
	copy(raw[len(raw)-len(scalar):], scalar)
	key, err := ecdsa.ParseRawPrivateKey(curve, raw)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p.plant(t, secret, public)
}

// The vectors that Wycheproof calls acceptable have compressed points, or curves that are
// described instead of named, or encodings that are not DER: all are refused.
func TestWycheproofDeriveSharedSecret(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, spec string
		curve      elliptic.Curve
		want       map[string]int
	}{
		{"ecdh_secp256r1", "ECC_NIST_P256", elliptic.P256(), map[string]int{"valid": 330, "acceptable": 230, "invalid": 52}},
		{"ecdh_secp384r1", "ECC_NIST_P384", elliptic.P384(), map[string]int{"valid": 771, "acceptable": 230, "invalid": 46}},
		{"ecdh_secp521r1", "ECC_NIST_P521", elliptic.P521(), map[string]int{"valid": 632, "acceptable": 228, "invalid": 56}},
	} {
		t.Run(c.spec, func(t *testing.T) {
			t.Parallel()
			p, ran := newPlanted(t, c.spec+" KEY_AGREEMENT"), map[string]int{}
			for _, v := range readVectors(t, c.file) {
				ran[v.Result]++
				a := derive(t, p.Solo, p.plantScalar(t, c.curve, v.Private), v.Public)
				switch {
				case len(v.Public) == 0:
					wantOutcome(t, a, constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=0 cap=0]' at 'publicKey' failed to satisfy constraint: Member must have length greater than or equal to 1"))
				case v.Result != "valid":
					wantOutcome(t, a, badPublicKey(c.spec))
				case a.Refusal != nil || !bytes.Equal(unb64(t, a.Body["SharedSecret"]), v.Shared):
					t.Errorf("vector %d: got %v, %v, want %x", v.ID, a.Refusal, a.Body, v.Shared)
				}
			}
			wantRan(t, ran, c.want)
		})
	}
}

// Seeds of another length are no keys: the service cannot have them.
func TestWycheproofDecapsulate(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]int{
		"ML_KEM_512":  {"valid": 160, "invalid": 20, "seed": 20},
		"ML_KEM_768":  {"valid": 161, "invalid": 20, "seed": 20},
		"ML_KEM_1024": {"valid": 162, "invalid": 20, "seed": 20},
	}
	files := map[string]string{"ML_KEM_512": "mlkem_512", "ML_KEM_768": "mlkem_768", "ML_KEM_1024": "mlkem_1024"}
	for _, c := range kemCases {
		t.Run(c.spec, func(t *testing.T) {
			t.Parallel()
			p, ran := newPlanted(t, c.spec+" ENCAPSULATE_DECAPSULATE"), map[string]int{}
			header := publicOf(t, p.Solo, p.model.ID)[:22]
			for _, v := range readVectors(t, files[c.spec]) {
				if len(v.Seed) != 64 {
					ran["seed"]++
					continue
				}
				ran[v.Result]++
				key := p.plant(t, v.Seed, slices.Concat(header, v.EK))
				if v.Result != "valid" {
					wantOutcome(t, decapsulate(t, p.Solo, key, v.C), invalidCiphertext)
				} else if got := decapsulated(t, p.Solo, key, v.C); !bytes.Equal(got, v.K) {
					t.Errorf("vector %d: got %x, want %x", v.ID, got, v.K)
				}
			}
			wantRan(t, ran, want[c.spec])
		})
	}
}
