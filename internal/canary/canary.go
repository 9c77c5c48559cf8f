// Package canary is for tests: it finds secrets where they must not be, in any
// form that a program might have left them in. Nothing of it is part of the
// product.
//
// A test plants secrets that occur nowhere else, lets the product work, and
// searches what it wrote. Trust: a form that is not listed in Forms is not found,
// so a search that finds nothing proves no more than that list.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// minSecret is the length below which a secret's forms could occur by chance, in
// bytes.
const minSecret = 12

// A Canary is a secret with a name for messages.
type Canary struct {
	Name   string
	Secret []byte
}

// A Finding is a place where a secret stands.
type Finding struct {
	Where  string // the file, or what the text was called
	Offset int    // in bytes
	Canary string // the name
	Form   string
}

// String says it in one line, without the secret.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s at byte %d, %s", f.Where, f.Canary, f.Offset, f.Form)
}

// A form is one way to write a secret.
type form struct {
	name  string
	write func(secret []byte) []byte
}

// forms are the ways in which a secret may have been written down.
var forms = []form{
	{"raw", func(s []byte) []byte { return s }},
	{"base64, phase 0", inBase64(base64.RawStdEncoding, 0)},
	{"base64, phase 1", inBase64(base64.RawStdEncoding, 1)},
	{"base64, phase 2", inBase64(base64.RawStdEncoding, 2)},
	{"base64url, phase 0", inBase64(base64.RawURLEncoding, 0)},
	{"base64url, phase 1", inBase64(base64.RawURLEncoding, 1)},
	{"base64url, phase 2", inBase64(base64.RawURLEncoding, 2)},
	{"hex", func(s []byte) []byte { return hex.AppendEncode(nil, s) }},
	{"HEX", func(s []byte) []byte { return bytes.ToUpper(hex.AppendEncode(nil, s)) }},
	{"JSON", inJSON(true)},
	{"JSON without HTML escapes", inJSON(false)},
	{"JSON in ASCII", func(s []byte) []byte { return inner(strconv.QuoteToASCII(string(s))) }},
	{"Go string", func(s []byte) []byte { return inner(strconv.Quote(string(s))) }},
	{"Go byte list", func(s []byte) []byte { return inner(fmt.Sprint(s)) }},
	{"URL query", func(s []byte) []byte { return []byte(url.QueryEscape(string(s))) }},
	{"URL path", func(s []byte) []byte { return []byte(url.PathEscape(string(s))) }},
}

// inner cuts the first and the last byte off: quotes or brackets.
func inner(s string) []byte { return []byte(s[1 : len(s)-1]) }

// inBase64 writes what is certain of a secret's base64 when phase other bytes
// (modulo three) stand before it: the characters that hold bits of it alone.
func inBase64(encoding *base64.Encoding, phase int) func([]byte) []byte {
	first := []int{0, 2, 3}[phase] // characters that share bits with what is before
	return func(secret []byte) []byte {
		text := encoding.AppendEncode(nil, append(make([]byte, phase), secret...))
		return text[first : (phase+len(secret))*8/6]
	}
}

func inJSON(html bool) func([]byte) []byte {
	return func(secret []byte) []byte {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		_ = e.Encode(string(secret)) // of a string into memory: cannot fail
		return inner(string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))))
	}
}

// Forms returns the secret in every form, by the form's name. It panics when the
// secret has less than 12 bytes.
func Forms(secret []byte) map[string][]byte {
	if len(secret) < minSecret {
		panic("kmsd: a canary is too short")
	}
	out := make(map[string][]byte, len(forms))
	for _, f := range forms {
		out[f.name] = f.write(secret)
	}
	return out
}

// Search returns where text, called where, has one of the canaries: at most once
// for each form.
func Search(where string, text []byte, canaries ...Canary) []Finding {
	var found []Finding
	for _, c := range canaries {
		all := Forms(c.Secret)
		for _, f := range forms { // in their order
			if at := bytes.Index(text, all[f.name]); at >= 0 {
				found = append(found, Finding{where, at, c.Name, f.name})
			}
		}
	}
	return found
}

// SearchFiles searches the name and the content of every file below dir for which
// choose reports true; choose gets the path. It returns the findings and how many
// files it has read.
func SearchFiles(dir string, choose func(path string) bool, canaries ...Canary) (found []Finding, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !choose(path) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		found = slices.Concat(found, Search("the name of "+path, []byte(path), canaries...), Search(path, text, canaries...))
		return nil
	})
	return found, files, err
}
