package kmsapi_test

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha3"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/kem/schemes"
	signatures "github.com/cloudflare/circl/sign/schemes"

	"github.com/kmsd/kmsd/internal/testkit"
)

// nistCase is one of NIST's ACVP with what is asked and what is to come out.
type nistCase struct {
	ID                 int `json:"tcId"`
	Message, Signature hexBytes
	TestPassed         bool
	Seed, D, Z         hexBytes
	PK, EK, DK         hexBytes
}

type nistGroup struct {
	ID           int `json:"tgId"`
	ParameterSet string
	PK           hexBytes
	Tests        []nistCase
}

// spec is the key spec of a group: ML-DSA-44 is ML_DSA_44.
func (g *nistGroup) spec() string { return strings.ReplaceAll(g.ParameterSet, "-", "_") }

// readNIST reads NIST's ACVP vectors, which circl's module carries: prompts and expected
// results, which it joins.
func readNIST(t *testing.T, folder string) []nistGroup {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/cloudflare/circl").Output()
	if err != nil {
		t.Fatalf("finding NIST's vectors: %v", err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	var file struct{ TestGroups []nistGroup }
	for _, half := range []string{"prompt", "expectedResults"} {
		f, err := os.Open(filepath.Join(module.Dir, folder, half+".json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		text, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		// Decoding into the same elements adds the results to the prompts, in the same order.
		if err := json.NewDecoder(text).Decode(&file); err != nil {
			t.Fatalf("%s: %v", folder, err)
		}
	}
	return file.TestGroups
}

// The vectors are for the internal function of FIPS 204, algorithm 8, whose message stands
// where KMS has the prefix of an empty context and the message: they are asked by μ.
func TestNISTVerifyMLDSA(t *testing.T) {
	t.Parallel()
	want := map[string]map[string]int{
		"ML_DSA_44": {"valid": 3, "invalid": 12}, "ML_DSA_65": {"valid": 3, "invalid": 12}, "ML_DSA_87": {"valid": 3, "invalid": 12},
	}
	ran := map[string]map[string]int{}
	for _, g := range readNIST(t, "sign/mldsa/testdata/ML-DSA-sigVer-FIPS204") {
		p := newPlanted(t, g.spec()+" SIGN_VERIFY")
		// Verify opens no secret: what is planted as one is never looked at.
		key := p.plant(t, g.PK, slices.Concat(publicOf(t, p.Solo, p.model.ID)[:22], g.PK))
		ran[g.spec()] = map[string]int{}
		for _, v := range g.Tests {
			answer := badSignature
			if v.TestPassed {
				answer = success
			}
			ran[g.spec()][map[bool]string{true: "valid", false: "invalid"}[v.TestPassed]]++
			wantOutcome(t, p.Call(t, testkit.Root, "Verify", obj{"KeyId": key, "Message": b64(muOf(g.PK, v.Message)), "MessageType": "EXTERNAL_MU", "Signature": b64(v.Signature), "SigningAlgorithm": "ML_DSA_SHAKE_256"}), answer)
		}
	}
	for spec := range want {
		wantRan(t, ran[spec], want[spec])
	}
}

// muOf is μ of a message that has its prefix (FIPS 204, algorithm 7, line 6).
func muOf(public, message []byte) []byte {
	h := sha3.NewSHAKE256()
	h.Write(sha3.SumSHAKE256(public, 64))
	h.Write(message)
	mu := make([]byte, 64)
	h.Read(mu)
	return mu
}

// A key of NIST's seed is that of NIST's public key: with another one it would not open.
func TestNISTSignMLDSA(t *testing.T) {
	t.Parallel()
	count := 0
	for _, g := range readNIST(t, "sign/mldsa/testdata/ML-DSA-keyGen-FIPS204") {
		p, scheme := newPlanted(t, g.spec()+" SIGN_VERIFY"), signatures.ByName(g.ParameterSet)
		header := publicOf(t, p.Solo, p.model.ID)[:22]
		for _, v := range g.Tests {
			count++
			key, message := p.plant(t, v.Seed, slices.Concat(header, v.PK)), []byte("message")
			signature := unb64(t, p.Must(t, "Sign", obj{"KeyId": key, "Message": b64(message), "SigningAlgorithm": "ML_DSA_SHAKE_256"})["Signature"])
			public, err := scheme.UnmarshalBinaryPublicKey(v.PK)
			if err != nil || !scheme.Verify(public, message, signature, nil) {
				t.Errorf("%s, vector %d: NIST's public key does not verify the signature: %v", g.ParameterSet, v.ID, err)
			}
		}
	}
	if count != 75 {
		t.Errorf("%d vectors ran", count)
	}
}

// What is encapsulated for a key of NIST's seed, NIST's private key opens, and the key.
func TestNISTMLKEM(t *testing.T) {
	t.Parallel()
	count := 0
	for _, g := range readNIST(t, "kem/mlkem/testdata/ML-KEM-keyGen-FIPS203") {
		p, scheme := newPlanted(t, g.spec()+" ENCAPSULATE_DECAPSULATE"), schemes.ByName(g.ParameterSet)
		header := publicOf(t, p.Solo, p.model.ID)[:22]
		for _, v := range g.Tests {
			count++
			key := p.plant(t, slices.Concat(v.D, v.Z), slices.Concat(header, v.EK))
			secret, blob := encapsulated(t, p.Solo, key)
			private, err := scheme.UnmarshalBinaryPrivateKey(v.DK)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := scheme.Decapsulate(private, blob)
			if err != nil || !bytes.Equal(theirs, secret) || !bytes.Equal(decapsulated(t, p.Solo, key, blob), secret) {
				t.Errorf("%s, vector %d: the secrets differ, %v", g.ParameterSet, v.ID, err)
			}
		}
	}
	if count != 75 {
		t.Errorf("%d vectors ran", count)
	}
}

// ecdsaVector is one of NIST's CAVP of FIPS 186-3, which Go's source carries.
type ecdsaVector map[string]string

// readECDSA returns the vectors of each curve and hash.
func readECDSA(t *testing.T) map[string][]ecdsaVector {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(root)), "src/crypto/ecdsa/testdata/SigVer.rsp.bz2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, section, v := map[string][]ecdsaVector{}, "", ecdsaVector{}
	for lines := bufio.NewScanner(bzip2.NewReader(f)); lines.Scan(); {
		name, value, assigns := strings.Cut(lines.Text(), " = ")
		switch {
		case strings.HasPrefix(name, "["):
			section = strings.Trim(name, "[]")
		case assigns:
			v[name] = value
		}
		if name == "Result" {
			all[section], v = append(all[section], v), ecdsaVector{}
		}
	}
	return all
}

func (v ecdsaVector) number(t *testing.T, name string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(v[name], 16)
	if !ok {
		t.Fatalf("%s is %q", name, v[name])
	}
	return n
}

// public is the key, if it is a point on the curve.
func (v ecdsaVector) public(t *testing.T, curve elliptic.Curve) ([]byte, bool) {
	t.Helper()
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4
	v.number(t, "Qx").FillBytes(point[1 : 1+size])
	v.number(t, "Qy").FillBytes(point[1+size:])
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, false
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der, true
}

func TestNISTVerifyECDSA(t *testing.T) {
	t.Parallel()
	vectors := readECDSA(t)
	for _, c := range []struct {
		section, spec, algorithm string
		curve                    elliptic.Curve
		want                     map[string]int
	}{
		{"P-256,SHA-256", "ECC_NIST_P256", "ECDSA_SHA_256", elliptic.P256(), map[string]int{"valid": 3, "invalid": 12}},
		{"P-384,SHA-384", "ECC_NIST_P384", "ECDSA_SHA_384", elliptic.P384(), map[string]int{"valid": 3, "invalid": 12}},
		{"P-521,SHA-512", "ECC_NIST_P521", "ECDSA_SHA_512", elliptic.P521(), map[string]int{"valid": 3, "invalid": 12}},
	} {
		p, ran := newPlanted(t, c.spec+" SIGN_VERIFY"), map[string]int{}
		for _, v := range vectors[c.section] {
			public, ok := v.public(t, c.curve)
			if !ok {
				ran["no point"]++
				continue
			}
			answer, kind := badSignature, "invalid"
			if strings.HasPrefix(v["Result"], "P") {
				answer, kind = success, "valid"
			}
			ran[kind]++
			signature, err := asn1.Marshal(struct{ R, S *big.Int }{v.number(t, "R"), v.number(t, "S")})
			if err != nil {
				t.Fatal(err)
			}
			message, err := hex.DecodeString(v["Msg"])
			if err != nil {
				t.Fatal(err)
			}
			wantOutcome(t, p.Call(t, testkit.Root, "Verify", obj{"KeyId": p.plant(t, public, public), "Message": b64(message), "Signature": b64(signature), "SigningAlgorithm": c.algorithm}), answer)
		}
		wantRan(t, ran, c.want)
	}
}
