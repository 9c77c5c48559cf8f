package crypto_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// moduleDir downloads a module of vectors, at the version and checksum that go.mod and
// go.sum pin, unless it is in the module cache.
func moduleDir(module string) (string, error) {
	out, err := exec.Command("go", "mod", "download", "-json", module).Output()
	if err != nil {
		return "", err
	}
	var found struct{ Dir string }
	err = json.Unmarshal(out, &found)
	return found.Dir, err
}

var vectorsDir = sync.OnceValues(func() (string, error) {
	dir, err := moduleDir("github.com/c2sp/wycheproof")
	return filepath.Join(dir, "testvectors_v1"), err
})

// hexBytes is a hexadecimal JSON string.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	dir, err := vectorsDir()
	if err != nil {
		t.Fatalf("finding the Wycheproof vectors: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type gcmVector struct {
	ID     int      `json:"tcId"`
	Key    hexBytes `json:"key"`
	IV     hexBytes `json:"iv"`
	AAD    hexBytes `json:"aad"`
	Msg    hexBytes `json:"msg"`
	CT     hexBytes `json:"ct"`
	Tag    hexBytes `json:"tag"`
	Result string   `json:"result"`
}

func TestWycheproofAESGCM(t *testing.T) {
	t.Parallel()
	var file struct {
		TestGroups []struct {
			KeySize, IVSize int
			Tests           []gcmVector
		}
	}
	readVectors(t, "aes_gcm_test.json", &file)
	ran := map[string]int{}
	for _, group := range file.TestGroups {
		for _, v := range group.Tests {
			switch {
			case group.KeySize != 256:
				if !panics(func() { crypto.NewGCM(v.Key) }) {
					t.Errorf("vector %d: a key of %d bits was taken", v.ID, group.KeySize)
				}
			case group.IVSize == 96:
				checkGCM(t, v)
				ran[v.Result]++
			}
		}
	}
	// The counts of the pinned version: a changed file must not silently run less.
	if ran["valid"] != 39 || ran["invalid"] != 27 {
		t.Errorf("ran %v vectors, want 39 valid and 27 invalid ones", ran)
	}
}

func checkGCM(t *testing.T, v gcmVector) {
	t.Helper()
	valid := v.Result == "valid"
	sealed := append(bytes.Clone(v.CT), v.Tag...)
	// Nonces counted: the stream's way.
	if got, err := crypto.NewGCM(v.Key).Open(nil, v.IV, sealed, v.AAD); (err == nil) != valid {
		t.Errorf("vector %d: counted Open: error %v, want %s", v.ID, err, v.Result)
	} else if valid && !bytes.Equal(got, v.Msg) {
		t.Errorf("vector %d: counted Open got %x, want %x", v.ID, got, v.Msg)
	}
	// Nonces in front: everybody else's way.
	box := append(bytes.Clone(v.IV), sealed...)
	got, err := crypto.OpenGCM(v.Key, nil, box, v.AAD)
	if (err == nil) != valid {
		t.Errorf("vector %d: Open: error %v, want %s", v.ID, err, v.Result)
	}
	if !valid {
		return
	}
	if !bytes.Equal(got, v.Msg) {
		t.Errorf("vector %d: Open got %x, want %x", v.ID, got, v.Msg)
	}
	if got := crypto.NewGCM(v.Key).Seal(nil, v.IV, v.Msg, v.AAD); !bytes.Equal(got, sealed) {
		t.Errorf("vector %d: Seal got %x, want %x", v.ID, got, sealed)
	}
	// With a random nonce only the round trip through the verified Open remains.
	if got, err := crypto.OpenGCM(v.Key, nil, crypto.SealGCM(v.Key, nil, v.Msg, v.AAD), v.AAD); err != nil || !bytes.Equal(got, v.Msg) {
		t.Errorf("vector %d: round trip got %x, %v, want %x", v.ID, got, err, v.Msg)
	}
}

func TestWycheproofHKDFSHA256(t *testing.T) {
	t.Parallel()
	var file struct {
		TestGroups []struct {
			Tests []struct {
				ID              int `json:"tcId"`
				IKM, Salt, Info hexBytes
				Size            int
				OKM             hexBytes
				Result          string
			}
		}
	}
	readVectors(t, "hkdf_sha256_test.json", &file)
	ran := map[string]int{}
	for _, group := range file.TestGroups {
		for _, v := range group.Tests {
			ran[v.Result]++
			derive := func() []byte { return crypto.DeriveKey(v.IKM, v.Salt, string(v.Info), v.Size) }
			if v.Result != "valid" {
				if !panics(func() { derive() }) {
					t.Errorf("vector %d: %d bytes were derived", v.ID, v.Size)
				}
				continue
			}
			if got := derive(); !bytes.Equal(got, v.OKM) {
				t.Errorf("vector %d: got %x, want %x", v.ID, got, v.OKM)
			}
		}
	}
	if ran["valid"] != 83 || ran["invalid"] != 3 {
		t.Errorf("ran %v vectors, want 83 valid and 3 invalid ones", ran)
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
