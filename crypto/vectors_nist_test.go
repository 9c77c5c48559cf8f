package crypto_test

import (
	"bytes"
	"compress/gzip"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// The vectors of NIST's CAVP (FIPS 186-3 ECDSA, SigVer.rsp, CAVS 11.0) for the curves and
// hashes that KMS has. Of a signature NIST gives the two numbers.
func TestNISTECDSA(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/nist_ecdsa.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Spec            kms.KeySpec
		Algorithm       kms.SigningAlgorithm
		Msg, X, Y, R, S hexBytes
		Result          string // P or F, and why
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	counts := ran{}
	for i, v := range vectors {
		counts[string(v.Spec)+" "+v.Result[:1]]++
		public := fixture(t, v.Spec).Public
		der := append(bytes.Clone(public[:len(public)-len(v.X)-len(v.Y)]), append(v.X, v.Y...)...)
		signature, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(v.R), new(big.Int).SetBytes(v.S)})
		if err != nil {
			t.Fatal(err)
		}
		checkSignature(t, parsePublic(t, v.Spec, der), v.Algorithm, i, v.Msg, signature, v.Result[0] == 'P')
	}
	counts.want(t, "nist_ecdsa.json", ran{
		"ECC_NIST_P256 P": 3, "ECC_NIST_P256 F": 12, "ECC_NIST_P384 P": 3, "ECC_NIST_P384 F": 12,
		"ECC_NIST_P521 P": 3, "ECC_NIST_P521 F": 12,
	})
}

// acvpVector is what the prompts and the expected results of NIST's ACVP server say of a
// test of ML-DSA or ML-KEM.
type acvpVector struct {
	ID                                              int `json:"tcId"`
	Seed, D, Z, PK, EK, M, C, K, Message, Signature hexBytes
	TestPassed                                      bool
}

var acvpDir = sync.OnceValues(func() (string, error) { return moduleDir("github.com/cloudflare/circl") })

// readACVP joins the prompts of a file with their results, by the spec that the parameter
// set is. circl has the files as they stand in usnistgov/ACVP-Server.
func readACVP(t *testing.T, name string) map[kms.KeySpec][]acvpVector {
	t.Helper()
	specs := map[string]kms.KeySpec{
		"ML-DSA-44": "ML_DSA_44", "ML-DSA-65": "ML_DSA_65", "ML-DSA-87": "ML_DSA_87",
		"ML-KEM-512": "ML_KEM_512", "ML-KEM-768": "ML_KEM_768", "ML-KEM-1024": "ML_KEM_1024",
	}
	var prompts, results struct {
		TestGroups []struct {
			ParameterSet, Function string
			PK                     hexBytes
			Tests                  []json.RawMessage
		}
	}
	readGzip(t, filepath.Join(name, "prompt.json.gz"), &prompts)
	readGzip(t, filepath.Join(name, "expectedResults.json.gz"), &results)
	all := map[kms.KeySpec][]acvpVector{}
	for i, group := range prompts.TestGroups {
		if group.Function == "decapsulation" {
			continue // with expanded keys, which KMS never takes
		}
		spec := specs[group.ParameterSet]
		for j, prompt := range group.Tests {
			v := acvpVector{PK: group.PK}
			for _, part := range []json.RawMessage{prompt, results.TestGroups[i].Tests[j]} {
				id := v.ID
				if err := json.Unmarshal(part, &v); err != nil || id != 0 && id != v.ID {
					t.Fatalf("%s: %v, test %d after %d", name, err, v.ID, id)
				}
			}
			all[spec] = append(all[spec], v)
		}
	}
	return all
}

func readGzip(t *testing.T, name string, into any) {
	t.Helper()
	dir, err := acvpDir()
	if err != nil {
		t.Fatalf("finding NIST's vectors: %v", err)
	}
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(unzipped).Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestNISTKeyGeneration(t *testing.T) {
	t.Parallel()
	counts := ran{}
	for _, name := range []string{"sign/mldsa/testdata/ML-DSA-keyGen-FIPS204", "kem/mlkem/testdata/ML-KEM-keyGen-FIPS203"} {
		for spec, vectors := range readACVP(t, name) {
			for _, v := range vectors {
				counts[string(spec)]++
				secret := append(append(v.Seed, v.D...), v.Z...)
				keyFixture{secret, withHeader(t, spec, append(v.PK, v.EK...))}.open(t, spec)
			}
		}
	}
	counts.want(t, "keyGen", ran{"ML_DSA_44": 25, "ML_DSA_65": 25, "ML_DSA_87": 25, "ML_KEM_512": 25, "ML_KEM_768": 25, "ML_KEM_1024": 25})
}

// NIST tests ML-DSA.Verify_internal (FIPS 204, algorithm 8), whose message M' goes into μ
// as it is.
func TestNISTMLDSAVerification(t *testing.T) {
	t.Parallel()
	counts := ran{}
	for spec, vectors := range readACVP(t, "sign/mldsa/testdata/ML-DSA-sigVer-FIPS204") {
		for _, v := range vectors {
			want := crypto.ErrSignature
			counts[string(spec)]++
			if v.TestPassed {
				want = nil
				counts["valid"]++
			}
			public := parsePublic(t, spec, withHeader(t, spec, v.PK))
			if err := public.Verify("ML_DSA_SHAKE_256", "EXTERNAL_MU", internalMu(v.PK, v.Message), v.Signature); err != want {
				t.Errorf("%s: test %d: %v, want %v", spec, v.ID, err, want)
			}
		}
	}
	counts.want(t, "sigVer", ran{"ML_DSA_44": 15, "ML_DSA_65": 15, "ML_DSA_87": 15, "valid": 9})
}

func TestNISTMLKEMEncapsulation(t *testing.T) {
	t.Parallel()
	counts := ran{}
	for spec, vectors := range readACVP(t, "kem/mlkem/testdata/ML-KEM-encapDecap-FIPS203") {
		for _, v := range vectors {
			counts[string(spec)]++
			secret, ciphertext := encapsulateWith(t, parsePublic(t, spec, withHeader(t, spec, v.EK)), v.M)
			if !bytes.Equal(secret, v.K) || !bytes.Equal(ciphertext, v.C) {
				t.Errorf("%s: test %d: got %x and %x, want %x and %x", spec, v.ID, secret, ciphertext, v.K, v.C)
			}
		}
	}
	counts.want(t, "encapDecap", ran{"ML_KEM_512": 25, "ML_KEM_768": 25, "ML_KEM_1024": 25})
}
