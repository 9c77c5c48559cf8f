package seal_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/internal/durable"
)

var (
	rootKey = []byte("ThisIsThePlantedSecretOf32Bytes!")
	aad     = []byte("cluster/node")
)

func createFile(t *testing.T) (*seal.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seal.key")
	f, err := seal.CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

func sealers(t *testing.T) map[string]seal.Sealer {
	f, _ := createFile(t)
	return map[string]seal.Sealer{"memory": seal.NewMemory(), "file": f}
}

func sealRoot(t *testing.T, s seal.Sealer) []byte {
	t.Helper()
	sealed, err := s.Seal(context.Background(), rootKey, aad)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// wantRefusal checks that sealed does not open, and that the error has all words
// and discloses no key.
func wantRefusal(t *testing.T, s seal.Sealer, sealed, aad []byte, words ...string) {
	t.Helper()
	got, err := s.Open(context.Background(), sealed, aad)
	if got != nil || err == nil {
		t.Errorf("opened: %q, %v", got, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error %q lacks %q", err, word)
		}
	}
}

func TestSealRoundTrip(t *testing.T) {
	t.Parallel()
	for kind, s := range sealers(t) {
		if s.Kind() != kind {
			t.Errorf("kind %s, want %s", s.Kind(), kind)
		}
		sealed := sealRoot(t, s)
		if bytes.Contains(sealed, rootKey[:8]) || bytes.Equal(sealed, sealRoot(t, s)) {
			t.Errorf("%s: in clear, or not randomised", kind)
		}
		got, err := s.Open(context.Background(), sealed, aad)
		if err != nil || !bytes.Equal(got, rootKey) {
			t.Errorf("%s: got %q, %v", kind, got, err)
		}
		if _, err := s.Seal(context.Background(), make([]byte, 1024), nil); err == nil {
			t.Errorf("%s: 1,024 bytes were sealed", kind)
		}
	}
}

func TestSealRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	for kind, s := range sealers(t) {
		sealed := sealRoot(t, s)
		wantRefusal(t, s, sealed, []byte("cluster/other"), "another node")
		wantRefusal(t, s, sealed, nil, "another node")
		wantRefusal(t, s, append(bytes.Clone(sealed), 0), aad)
		wantRefusal(t, s, append(bytes.Clone(sealed), make([]byte, 1024)...), aad, "grown")
		// The border between the two parts of the associated data is bound.
		moved := append([]byte{sealed[len(sealed)-1]}, aad...)
		wantRefusal(t, s, sealed[:len(sealed)-1], moved)
		for at := range sealed {
			changed := bytes.Clone(sealed)
			changed[at] ^= 1 << (at % 8)
			wantRefusal(t, s, changed, aad)
			wantRefusal(t, s, sealed[:at], aad)
		}
		if _, err := s.Open(context.Background(), sealed, aad); err != nil {
			t.Errorf("%s: the control does not open: %v", kind, err)
		}
	}
}

func TestWrongSealSaysSo(t *testing.T) {
	t.Parallel()
	file, path := createFile(t)
	other, _ := createFile(t)
	wantRefusal(t, other, sealRoot(t, file), aad, "sealed with the file seal's key", "configure the key")
	wantRefusal(t, seal.NewMemory(), sealRoot(t, file), aad, `sealed by a "file" seal`, `a "memory" seal is configured`)
	wantRefusal(t, file, []byte("something else entirely"), aad, "not a sealed root key")

	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Open(context.Background(), sealRoot(t, file), aad)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		for _, value := range []any{err, file, *file} {
			text := fmt.Sprintf(verb, value)
			if strings.Contains(text, hex.EncodeToString(key)) || strings.Contains(text, strings.Trim(fmt.Sprint(key), "[]")) {
				t.Errorf("the seal's key leaks with %s: %s", verb, text)
			}
		}
	}
}

func TestFileSurvivesReopening(t *testing.T) {
	t.Parallel()
	file, path := createFile(t)
	sealed := sealRoot(t, file)
	again, err := seal.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(context.Background(), sealed, aad); err != nil || !bytes.Equal(got, rootKey) {
		t.Errorf("got %q, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("mode %v, size %d, %v; want 0600 and 32", info.Mode(), info.Size(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left over beside the key: %v, %v", entries, err)
	}
}

func TestCreateFileKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	_, path := createFile(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.CreateFile(path); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "there already") {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key changed: %v", err)
	}
	if _, err := seal.CreateFile(filepath.Join(t.TempDir(), "missing", "seal.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	t.Parallel()
	write := func(size int, mode fs.FileMode) string {
		path := filepath.Join(t.TempDir(), "seal.key")
		if err := os.WriteFile(path, bytes.Repeat([]byte{1}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o644, 0o602, 0o610, 0o601} {
		if _, err := seal.OpenFile(write(32, mode)); !errors.Is(err, durable.ErrNotPrivate) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %04o: got %v", mode, err)
		}
	}
	for _, size := range []int{0, 31, 33, 4096} {
		if _, err := seal.OpenFile(write(size, 0o600)); err == nil || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%d bytes: got %v", size, err)
		}
	}
	if _, err := seal.OpenFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("no file: got %v", err)
	}
	if _, err := seal.OpenFile(t.TempDir()); !errors.Is(err, durable.ErrNotPrivate) {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := seal.OpenFile(write(32, 0o400)); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

// goldenSealed was sealed by version 1 of the format with the key "0123…" below.
const goldenSealed = "4b4d5344524f4f54010466696c6569b7810fb5c8621964f89d4f3b48bdcf2ba97f95811d9f33baf19db92cd0b3a96f75" +
	"7b336171d08c7d61a1274c033c902e998033e22ee2a33f8aea6de2da53fcf9152b48"

func TestGoldenSealedRoot(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seal.key")
	if err := durable.CreateFile(path, []byte("0123456789abcdef0123456789ABCDEF")); err != nil {
		t.Fatal(err)
	}
	s, err := seal.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(goldenSealed)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Open(context.Background(), sealed, aad); err != nil || !bytes.Equal(got, rootKey) {
		t.Errorf("got %q, %v", got, err)
	}
}
