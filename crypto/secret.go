package crypto

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redaction = "[redacted]"

// redacted, embedded, makes a type print as "[redacted]" wherever Go formats
// values.
type redacted struct{}

// String returns "[redacted]".
func (redacted) String() string { return redaction }

// GoString returns "[redacted]".
func (redacted) GoString() string { return redaction }

// Format writes "[redacted]" whatever the verb.
func (redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redaction) }

// MarshalJSON returns the string "[redacted]".
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redaction + `"`), nil }

// MarshalText returns "[redacted]".
func (redacted) MarshalText() ([]byte, error) { return []byte(redaction), nil }

// LogValue returns the string "[redacted]".
func (redacted) LogValue() slog.Value { return slog.StringValue(redaction) }

// Secret is a byte string that must not be printed. All formatting of it gives
// "[redacted]". The bytes lie in a closure, so that they stay hidden also where a
// formatter cannot call methods: package fmt in unexported fields, and whoever
// walks a struct by reflection. Copies share the bytes; the zero value holds none.
// A Secret is safe for concurrent use except for Wipe, and not comparable with ==.
type Secret struct {
	redacted
	get func() []byte
}

// NewSecret takes ownership of b: the caller must not use it afterwards.
func NewSecret(b []byte) Secret { return Secret{get: func() []byte { return b }} }

// Bytes returns the secret itself, not a copy. It must not be changed.
func (s Secret) Bytes() []byte {
	if s.get == nil {
		return nil
	}
	return s.get()
}

// Len returns the number of bytes.
func (s Secret) Len() int { return len(s.Bytes()) }

// Equal compares in a time that depends on the lengths only.
func (s Secret) Equal(b []byte) bool { return subtle.ConstantTimeCompare(s.Bytes(), b) == 1 }

// Wipe overwrites the bytes with zeros, for all copies of s. Only an owner who
// knows that nobody else uses them may call it.
func (s Secret) Wipe() { Wipe(s.Bytes()) }

// Wipe overwrites b with zeros. It is a best effort: copies that the runtime or
// the AES key schedule made are left to the garbage collector.
func Wipe(b []byte) { clear(b) }

// Random returns n bytes of the operating system's generator. The program ends
// if that fails (crypto/rand's promise), so there is no error to ignore.
func Random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
