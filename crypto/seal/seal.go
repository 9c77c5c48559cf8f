package seal

import "context"

// Sealer protects one small secret, the root key. Implementations are safe for
// concurrent use. They may wait for another service and then honour ctx.
type Sealer interface {
	// Seal returns rootKey encrypted and bound to aad, which is not secret. It does
	// not keep rootKey.
	Seal(ctx context.Context, rootKey, aad []byte) ([]byte, error)
	// Open reverses Seal. It fails, saying what to do, when sealed was made by
	// another kind of seal, under another key or with another aad, or was changed.
	Open(ctx context.Context, sealed, aad []byte) ([]byte, error)
	// Kind names the kind of seal, as in the setting "seal".
	Kind() string
}
