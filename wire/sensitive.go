package wire

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for a sensitive value wherever it is printed.
const redacted = "[REDACTED]"

// Sensitive holds bytes that no log and no message may show: plaintexts, data
// keys, shared secrets. Every way of printing it gives the same fixed text. Convert it
// to []byte to use it.
type Sensitive []byte

// SensitiveString is Sensitive for text: passwords and proxy credentials.
// Convert it to string to use it.
type SensitiveString string

// String returns a fixed text.
func (Sensitive) String() string { return redacted }

// GoString returns a fixed text.
func (Sensitive) GoString() string { return redacted }

// Format writes a fixed text for every verb.
func (Sensitive) Format(s fmt.State, _ rune) { redact(s) }

// MarshalJSON returns a fixed text as a JSON string.
func (Sensitive) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns a fixed text.
func (Sensitive) LogValue() slog.Value { return slog.StringValue(redacted) }

// String returns a fixed text.
func (SensitiveString) String() string { return redacted }

// GoString returns a fixed text.
func (SensitiveString) GoString() string { return redacted }

// Format writes a fixed text for every verb.
func (SensitiveString) Format(s fmt.State, _ rune) { redact(s) }

// MarshalJSON returns a fixed text as a JSON string.
func (SensitiveString) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns a fixed text.
func (SensitiveString) LogValue() slog.Value { return slog.StringValue(redacted) }

// redact ignores the writer's error: Formatter has no way to report one.
func redact(s fmt.State) { _, _ = io.WriteString(s, redacted) }
