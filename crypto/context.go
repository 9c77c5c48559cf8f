package crypto

import (
	"maps"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// MaxContext is how many bytes the keys and values of an encryption context may
// have together.
const MaxContext = 8192

// ErrContextTooLarge is returned for an encryption context of more than
// MaxContext bytes. It is an answer for the client.
var ErrContextTooLarge = &kms.Error{
	Code:    kms.CodeValidation,
	Message: "The encryption context is too large: its keys and values may have at most 8192 bytes together.",
}

// CanonicalContext returns the one encoding of an encryption context that
// Material.Encrypt and Decrypt bind: keys in the order of their bytes, each key
// and value with its length in front. An empty context gives no bytes, as an
// absent one does; different contexts always give different bytes. Keys and
// values are not normalised. It returns ErrContextTooLarge above MaxContext.
func CanonicalContext(context map[string]string) ([]byte, error) {
	if len(context) == 0 {
		return nil, nil
	}
	size := 0
	for key, value := range context {
		size += len(key) + len(value)
		if size > MaxContext {
			return nil, ErrContextTooLarge
		}
	}
	out := make([]byte, 0, size+8*len(context))
	for _, key := range slices.Sorted(maps.Keys(context)) {
		out = appendField(out, key)
		out = appendField(out, context[key])
	}
	return out, nil
}
