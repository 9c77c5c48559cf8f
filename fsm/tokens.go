package fsm

import (
	"errors"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// JoinToken lets nodes join. The state holds a public key, which proves that a
// node knows the token's secret, and never the secret.
//
// A token that is used up stays until it is forgotten: a node that it admitted
// may lose the answer and has to prove itself again.
type JoinToken struct {
	Versioned
	ID        string   `cbor:"1,keyasint"`
	PublicKey [32]byte `cbor:"2,keyasint"` // Ed25519
	Created   int64    `cbor:"3,keyasint"` // milliseconds since 1970
	// Expires is the first millisecond at which the token admits nobody, by the
	// clock of the leader that admits.
	Expires int64  `cbor:"4,keyasint"`
	Uses    uint32 `cbor:"5,keyasint"` // how many nodes more it admits
	// CIDRs are the networks that nodes may join from; none means any. Whoever
	// sees the node's address compares.
	CIDRs []string `cbor:"6,keyasint,omitempty"`
	// CreatedBy is the ARN of the token's maker.
	CreatedBy string `cbor:"7,keyasint,omitempty"`
}

func (j *JoinToken) appendID(dst []byte) []byte { return append(dst, j.ID...) }

func tokenPlaces(rec record) []place {
	j := rec.(*JoinToken)
	return []place{{index: tokensByExpiry, key: indexKey(uint64(j.Expires)) + j.ID}}
}

const (
	// MaxTokenLife bounds a join token's life, in milliseconds: 24 hours.
	MaxTokenLife = 24 * 60 * 60 * 1000
	// MaxJoinTokens bounds the tokens that exist at once.
	MaxJoinTokens = 1000
	// tokenGrace is how long, in milliseconds, an expired token is kept, so that
	// who uses it is told that it expired rather than that it never was.
	tokenGrace = 24 * 60 * 60 * 1000
	// tokenSweep bounds how many tokens one command forgets.
	tokenSweep = 16

	maxTokenCIDRs   = 64
	maxTokenCIDR    = 64   // bytes
	maxTokenCreator = 2048 // bytes
)

// expireTokens forgets tokens that expired long ago. It goes by the leader's
// clock rather than by the machine's time, as admission does: one leader whose
// clock was wrong must not make joining impossible.
func (s *state) expireTokens(now int64, index uint64) {
	for range tokenSweep {
		j := s.firstToken()
		if j == nil || now-j.Expires < tokenGrace {
			return
		}
		s.drop(tableJoinTokens, index, j)
	}
}

// firstToken returns the token that expires first.
func (s *state) firstToken() *JoinToken {
	o, _ := s.owned(tokensByExpiry, "")
	if o == nil {
		return nil
	}
	_, rec, _ := o.tree.Min()
	j, _ := rec.(*JoinToken)
	return j
}

// admitting returns the token if it admits one node more, or the refusal.
func (t *txn) admitting(id string) (*JoinToken, *kms.Error) {
	j, ok := t.state.get(tableJoinTokens, id).(*JoinToken)
	switch {
	case !ok:
		return nil, tokenInvalid(id, "is unknown to this cluster: it was deleted, or it expired more than a day ago")
	case t.meta.Time >= j.Expires:
		return nil, tokenInvalid(id, "has expired")
	case j.Uses == 0:
		return nil, tokenInvalid(id, "is used up: it has admitted as many nodes as it may")
	}
	return j, nil
}

func tokenInvalid(id, why string) *kms.Error {
	return &kms.Error{Code: kms.CodeTokenInvalid, Message: "The join token " + id + " " + why + ". Create another one with: kmsd token create"}
}

// TokenCreate makes a join token. The leader drew the id; if it is taken, the
// command conflicts.
type TokenCreate struct {
	Token JoinToken `cbor:"1,keyasint"`
}

func (TokenCreate) command() (Type, uint8) { return TypeTokenCreate, 1 }

func (c TokenCreate) check() error {
	j := &c.Token
	switch {
	case j.PublicKey == [32]byte{}:
		return errors.New("a join token without a public key")
	case j.Created < 0 || j.Expires <= j.Created || j.Expires-j.Created > MaxTokenLife:
		return errors.New("a join token that lives not at all or too long")
	case j.Uses == 0:
		return errors.New("a join token without uses")
	case len(j.CIDRs) > maxTokenCIDRs || slices.ContainsFunc(j.CIDRs, func(s string) bool { return s == "" || len(s) > maxTokenCIDR }):
		return errors.New("a join token with malformed networks")
	case len(j.CreatedBy) > maxTokenCreator:
		return errors.New("a join token with a creator that is too long")
	case j.ModIndex != 0:
		return errors.New("a join token that has an index")
	}
	return checkMemberID(j.ID)
}

func tokenCreate(t *txn, c *TokenCreate) (*kms.Error, error) {
	if t.state.get(tableJoinTokens, c.Token.ID) != nil {
		t.conflict = true
		return nil, nil
	}
	if t.state.tables[tableJoinTokens].size() >= MaxJoinTokens {
		return limitExceeded("There are too many join tokens. Wait for some to expire, or delete them."), nil
	}
	t.put(tableJoinTokens, &c.Token)
	t.made = append(t.made, c.Token.ID)
	return nil, nil
}

// TokenDelete takes a join token back. Nodes that it admitted stay.
type TokenDelete struct {
	ID string `cbor:"1,keyasint"`
}

func (TokenDelete) command() (Type, uint8) { return TypeTokenDelete, 1 }

func (c TokenDelete) check() error { return checkMemberID(c.ID) }

func tokenDelete(t *txn, c *TokenDelete) (*kms.Error, error) {
	j, ok := t.state.get(tableJoinTokens, c.ID).(*JoinToken)
	if !ok {
		return notFound("The join token " + c.ID + " does not exist."), nil
	}
	t.drop(tableJoinTokens, j)
	return nil, nil
}
