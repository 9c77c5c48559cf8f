package canary_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/canary"
)

// secret has a byte for every kind of escape.
const secret = `canary "1" <&> \ /+ é ☃ 0123`

func every(string) bool { return true }

// TestEveryFormIsFound is the control: each form is planted in a file, between
// other bytes, and must be found there.
func TestEveryFormIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	planted := canary.Forms([]byte(secret))
	for form, text := range planted {
		name := filepath.Join(dir, strings.ReplaceAll(form, " ", "-"), "deep")
		check(t, os.Mkdir(filepath.Dir(name), 0o700))
		check(t, os.WriteFile(name, []byte("before"+string(text)+"behind"), 0o600))
	}
	found, files, err := canary.SearchFiles(dir, every, canary.Canary{Name: "it", Secret: []byte(secret)})
	check(t, err)
	if files != len(planted) {
		t.Errorf("%d files were read, want %d", files, len(planted))
	}
	for form := range planted {
		where := filepath.Join(dir, strings.ReplaceAll(form, " ", "-"), "deep")
		if !has(found, canary.Finding{Where: where, Offset: len("before"), Canary: "it", Form: form}) {
			t.Errorf("the form %q was not found in its file", form)
		}
	}
	found, files, err = canary.SearchFiles(dir, every, canary.Canary{Name: "another", Secret: []byte("another canary")})
	if err != nil || files != len(planted) || len(found) != 0 {
		t.Errorf("another canary was found: %v, %v", found, err)
	}
	found, files, err = canary.SearchFiles(dir, func(string) bool { return false }, canary.Canary{Name: "it", Secret: []byte(secret)})
	if err != nil || files != 0 || len(found) != 0 {
		t.Errorf("files that were not chosen were searched: %d, %v, %v", files, found, err)
	}
}

func has(list []canary.Finding, want canary.Finding) bool {
	for _, f := range list {
		if f == want {
			return true
		}
	}
	return false
}

// TestRealEncodings finds the secret in what the standard library makes of texts
// that hold it, wherever it stands in them.
func TestRealEncodings(t *testing.T) {
	t.Parallel()
	c := canary.Canary{Name: "it", Secret: []byte(secret)}
	for before := range 7 {
		for behind := range 7 {
			text := bytes.Repeat([]byte{0xff}, before)
			text = append(append(text, secret...), bytes.Repeat([]byte{0xfe}, behind)...)
			inJSON, err := json.Marshal(map[string]string{"x": secret})
			check(t, err)
			for name, encoded := range map[string]string{
				"base64": base64.StdEncoding.EncodeToString(text), "base64url": base64.URLEncoding.EncodeToString(text),
				"hex": fmt.Sprintf("%x", text), "HEX": fmt.Sprintf("%X", text), "raw": string(text),
				"list": fmt.Sprint(text), "quoted": fmt.Sprintf("%q", secret), "JSON": string(inJSON),
			} {
				if len(canary.Search("text", []byte(encoded), c)) == 0 {
					t.Errorf("not found in %s behind %d bytes and before %d", name, before, behind)
				}
			}
		}
	}
}

func TestNameOfAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "x-ABCDEFGHIJKLMNOP"), nil, 0o600))
	found, _, err := canary.SearchFiles(dir, every, canary.Canary{Name: "it", Secret: []byte("ABCDEFGHIJKLMNOP")})
	if err != nil || len(found) == 0 {
		t.Errorf("the name was not searched: %v, %v", found, err)
	}
	for _, f := range found {
		if strings.Contains(f.String(), "41424344") {
			t.Errorf("%s", f)
		}
	}
}

func TestShortSecret(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a secret that is found by chance was taken")
		}
	}()
	canary.Forms([]byte("too short"))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
