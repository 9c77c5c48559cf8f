package service

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// TokenPurpose is the purpose under which session tokens are sealed. The access key's
// id is their name there.
const TokenPurpose = "kmsd/session-token/v1"

// Token is what a session token holds: the state keeps nothing of a session (AWS STS:
// "Temporary security credentials"). It is sealed under the keyring, so that every
// node can open it and nobody else.
type Token struct {
	AccessKeyID string            `cbor:"1,keyasint"` // ASIA…
	Secret      string            `cbor:"2,keyasint"`
	Type        kms.PrincipalType `cbor:"3,keyasint"`
	Account     string            `cbor:"4,keyasint"`
	// Subject is the unique id of the role or user, or the account of a root user.
	Subject string `cbor:"5,keyasint"`
	// Name is a role session's name.
	Name    string `cbor:"6,keyasint,omitempty"`
	Issued  int64  `cbor:"7,keyasint"` // milliseconds since 1970
	Expires int64  `cbor:"8,keyasint"` // milliseconds since 1970
	// By is the long-term access key that asked, without which the session ends; empty
	// for a role's.
	By             string           `cbor:"9,keyasint,omitempty"`
	Policies       []string         `cbor:"10,keyasint,omitempty"`
	PolicyARNs     []string         `cbor:"11,keyasint,omitempty"`
	Tags           []kms.SessionTag `cbor:"12,keyasint,omitempty"`
	SourceIdentity string           `cbor:"13,keyasint,omitempty"`
	// Epoch counts the backups that were loaded before: loading one ends all sessions.
	Epoch uint64 `cbor:"14,keyasint,omitempty"`
	// From are the other accounts whose principals assumed the roles that led here.
	// The session ends with any of them.
	From []string `cbor:"15,keyasint,omitempty"`
}

// maxToken bounds a session token as text, in bytes: an inline policy and its company
// at their largest, sealed.
const maxToken = 64 << 10

// Sealer seals secrets under the keyring.
type Sealer interface {
	Seal(purpose, id string, plaintext []byte) ([]byte, error)
}

// Seal returns the token as the client keeps it.
func (t *Token) Seal(keyring Sealer) (kms.SessionToken, error) {
	var buf bytes.Buffer
	if err := tokenEncoder.NewEncoder(&buf).Encode(t); err != nil {
		return "", err
	}
	sealed, err := keyring.Seal(TokenPurpose, t.AccessKeyID, buf.Bytes())
	clear(buf.Bytes())
	return kms.SessionToken(base64.StdEncoding.EncodeToString(sealed)), err
}

var (
	tokenEncoder = func() cbor.EncMode {
		mode, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			panic("kmsd: CBOR options: " + err.Error())
		}
		return mode
	}()
	errToken = errors.New("kmsd: no session token of this access key")
)

// openToken opens the token of an access key.
func (s *Service) openToken(accessKeyID string, token kms.SessionToken) (*Token, error) {
	if len(token) == 0 || len(token) > maxToken {
		return nil, errToken
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(string(token))
	if err != nil {
		return nil, errToken
	}
	plain, err := s.keys.Open(TokenPurpose, accessKeyID, sealed)
	if err != nil {
		return nil, errToken
	}
	defer clear(plain)
	t := new(Token)
	if err := forwardDecoder.Unmarshal(plain, t); err != nil || t.AccessKeyID != accessKeyID {
		return nil, errToken
	}
	return t, nil
}

// principal returns whom the token authenticates, if all that it hangs on is still
// there: the accounts, the role or the user, the access key that asked for it, and the
// state that it was made in.
func (t *Token) principal(view *fsm.View) (kms.Principal, bool) {
	if meta := view.Meta(); meta == nil || meta.RestoreEpoch != t.Epoch {
		return kms.Principal{}, false
	}
	p := kms.Principal{Type: t.Type, Account: t.Account, AccessKeyID: t.AccessKeyID, UniqueID: t.Subject}
	p.Session = &kms.Session{Issued: t.Issued, Policies: t.Policies, PolicyARNs: t.PolicyARNs, Tags: t.Tags, SourceIdentity: t.SourceIdentity, From: t.From}
	if t.By != "" {
		_, by, ok := activeKey(view, t.By)
		p.ARN = by.ARN
		return p, ok && by.UniqueID == t.Subject && by.Type == t.Type
	}
	if slices.ContainsFunc(t.From, func(account string) bool { return !accountActive(view, account) }) {
		return kms.Principal{}, false
	}
	role, ok := view.Identity(t.Subject)
	if !ok || t.Type != kms.PrincipalAssumedRole || !accountActive(view, t.Account) {
		return kms.Principal{}, false
	}
	p.RoleID, p.RoleARN = role.ID, role.ARN()
	p.UniqueID, p.ARN = role.ID+":"+t.Name, kms.SessionARN(role.Account, role.Name, t.Name)
	return p, serves(view, role, &p)
}
