package crypto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// The examples of RFC 5649 §6.
func TestKeyWrapRFC5649(t *testing.T) {
	t.Parallel()
	const kek = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"
	for want, wrapped := range map[string]string{
		"c37b7e6492584340bed12207808941155068f738": "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
		"466f7250617369": "afbeb0f07dfbf5419200f2ccb50bb24f",
	} {
		got, err := crypto.UnwrapKWP(unhex(t, kek), unhex(t, wrapped))
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("unwrapping %s: %x, %v, want %s", wrapped, got, err, want)
		}
	}
}

func TestWycheproofKeyWrapPadding(t *testing.T) {
	t.Parallel()
	var file struct {
		TestGroups []struct {
			Tests []struct {
				ID           int `json:"tcId"`
				Key, Msg, CT hexBytes
				Result       string
			}
		}
	}
	readVectors(t, "aes_kwp_test.json", &file)
	ran := map[string]int{}
	for _, group := range file.TestGroups {
		for _, v := range group.Tests {
			ran[v.Result]++
			got, err := crypto.UnwrapKWP(v.Key, v.CT)
			switch {
			case v.Result == "valid" || v.Result == "acceptable" && err == nil:
				if err != nil || !bytes.Equal(got, v.Msg) {
					t.Errorf("vector %d: %x, %v, want %x", v.ID, got, err, v.Msg)
				}
			case !errors.Is(err, crypto.ErrCiphertext):
				t.Errorf("vector %d: %x, %v, want ErrCiphertext", v.ID, got, err)
			}
		}
	}
	if ran["valid"] != 77 || ran["invalid"] != 177 {
		t.Errorf("ran %v vectors, want 77 valid and 177 invalid ones", ran)
	}
}

func FuzzUnwrapKWP(f *testing.F) {
	f.Add(make([]byte, 32), make([]byte, 24))
	f.Fuzz(func(t *testing.T, key, wrapped []byte) {
		if len(key) != 32 {
			return
		}
		if got, err := crypto.UnwrapKWP(key, wrapped); err == nil && len(got)+8 > len(wrapped) {
			t.Errorf("%d bytes came out of %d", len(got), len(wrapped))
		}
	})
}
