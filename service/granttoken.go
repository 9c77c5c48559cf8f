package service

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// GrantTokenPurpose is the purpose under which grant tokens are sealed. They have no
// name there: a token itself says which grant it is of.
const GrantTokenPurpose = "kmsd/grant-token/v1"

// GrantToken is what a grant token holds (AWS KMS: "Using a grant token"). It names a
// grant and gives nobody a right. It is sealed under the keyring, so that nobody can
// make one, every node can open it, and no two of one grant are alike.
type GrantToken struct {
	Region  string `cbor:"1,keyasint"`
	KeyID   string `cbor:"2,keyasint"`
	GrantID string `cbor:"3,keyasint"`
	// Index is a log index before which the token was not made: a node that has not
	// come past it cannot say that there is no such grant.
	Index uint64 `cbor:"4,keyasint"`
	// Epoch counts the backups that were loaded before: loading one ends all tokens.
	Epoch uint64 `cbor:"5,keyasint,omitempty"`
}

// maxGrantToken bounds a grant token as text, in bytes.
const maxGrantToken = 1 << 10

// NewGrantToken returns a token of a grant on the key, as the client keeps it.
func (r *Request) NewGrantToken(keyring Sealer, key *fsm.Key, grantID string) (string, error) {
	t := GrantToken{Region: key.Region, KeyID: key.ID, GrantID: grantID, Index: r.View.Index(), Epoch: r.View.Meta().RestoreEpoch}
	var buf bytes.Buffer
	if err := tokenEncoder.NewEncoder(&buf).Encode(t); err != nil {
		return "", err
	}
	sealed, err := keyring.Seal(GrantTokenPurpose, "", buf.Bytes())
	return base64.StdEncoding.EncodeToString(sealed), err
}

var errGrantToken = &kms.Error{Code: kms.CodeInvalidGrantToken, Message: "The grant token is not valid."}

// openGrantToken opens a token; ok is false for what is none.
func (s *Service) openGrantToken(text string) (t GrantToken, ok bool) {
	if len(text) > maxGrantToken {
		return t, false
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return t, false
	}
	plain, err := s.keys.Open(GrantTokenPurpose, "", sealed)
	return t, errors.Join(err, forwardDecoder.Unmarshal(plain, &t)) == nil
}

// tokenGrant returns the grant that a token names. Errors: InvalidGrantTokenException;
// kms.ErrUnavailable where this node's state is older than the token.
func (r *Request) tokenGrant(text string) (*fsm.Grant, error) {
	t, ok := r.service.openGrantToken(text)
	if !ok || t.Epoch != r.View.Meta().RestoreEpoch {
		return nil, errGrantToken
	}
	g, ok := r.View.Grant(t.Region, t.KeyID, t.GrantID)
	switch {
	case ok:
		return g, nil
	case r.View.Index() <= t.Index:
		return nil, kms.ErrUnavailable
	}
	return nil, errGrantToken
}

// checkGrantTokens refuses tokens of no grant. Those of grants on other keys are
// ignored, and so are all others: grants are in force on every node as soon as their
// tokens are handed out.
func (r *Request) checkGrantTokens(tokens []string) error {
	for _, text := range tokens {
		if _, err := r.tokenGrant(text); err != nil {
			return err
		}
	}
	return nil
}
