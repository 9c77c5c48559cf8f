package trust

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

const (
	tokenPrefix = "kmsd1"
	tokenInfo   = "kmsd/join-token/v1"
	proofInfo   = "kmsd/join-proof/v1"
	// exporterLabel names the value that both ends of one connection can derive
	// and nobody else (RFC 8446, section 7.5).
	exporterLabel = "EXPORTER-kmsd-join-v1"
	exporterSize  = 32 // bytes
	secretSize    = 32 // bytes
	tokenIDSize   = 10 // bytes, 16 characters
)

// base32Lower is RFC 4648's alphabet in lower case, without padding.
var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrToken is returned for text that is no join token. It quotes nothing of it.
var ErrToken = errors.New("not a join token: it must be kmsd1.<pin>.<id>.<secret>, complete")

// A Token admits nodes to a cluster. Its text is a secret that is worth every key
// of the cluster; a Token redacts itself, only Text gives it away.
type Token struct {
	// Pin is the SHA-256 of the public key of the authority whose nodes the token's
	// holder may trust.
	Pin [32]byte
	// ID names the token in replicated state.
	ID     string
	secret [secretSize]byte
}

var tokenID = regexp.MustCompile(`^[a-z2-7]{16}$`)

// NewToken makes a token for the cluster with the authority's public key hash.
func NewToken(pin [32]byte) *Token {
	t := &Token{Pin: pin}
	var id [tokenIDSize]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	_, _ = rand.Read(t.secret[:])
	t.ID = base32Lower.EncodeToString(id[:])
	return t
}

// ParseToken reads what Text gave. It accepts exactly that: one encoding for each
// token, no blanks.
func ParseToken(text string) (*Token, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != tokenPrefix || !tokenID.MatchString(parts[2]) {
		return nil, ErrToken
	}
	t := &Token{ID: parts[2]}
	if !decode32(t.Pin[:], parts[1]) || !decode32(t.secret[:], parts[3]) {
		return nil, ErrToken
	}
	return t, nil
}

// decode32 reads exactly len(dst) bytes in their one encoding.
func decode32(dst []byte, text string) bool {
	b, err := base32Lower.DecodeString(text)
	return err == nil && copy(dst, b) == len(dst) && len(b) == len(dst) && base32Lower.EncodeToString(b) == text
}

// Text returns the token as an operator copies it.
func (t *Token) Text() string {
	return strings.Join([]string{tokenPrefix, base32Lower.EncodeToString(t.Pin[:]), t.ID, base32Lower.EncodeToString(t.secret[:])}, ".")
}

// String, GoString, MarshalText and LogValue hide the secret.
func (t *Token) String() string               { return "join token " + t.ID }
func (t *Token) GoString() string             { return t.String() }
func (t *Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
func (t *Token) LogValue() slog.Value         { return slog.StringValue(t.String()) }

func (t *Token) key() ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, t.secret[:], nil, tokenInfo, ed25519.SeedSize)
	if err != nil {
		panic("kmsd: deriving a join token's key: " + err.Error()) // only for absurd lengths
	}
	return ed25519.NewKeyFromSeed(seed)
}

// PublicKey returns the Ed25519 public key (RFC 8032) that the state keeps instead
// of the secret.
func (t *Token) PublicKey() [32]byte { return [32]byte(t.key().Public().(ed25519.PublicKey)) }

// Prove shows that the holder of the token wants the node nodeID with the public
// key of the certificate request csr to be a member. It is good on this
// connection only and discloses nothing of the secret.
func (t *Token) Prove(cs tls.ConnectionState, csr []byte, nodeID string) ([]byte, error) {
	text, err := proofText(cs, csr, nodeID)
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(t.key(), text), nil
}

// ErrProof is returned for a proof that was not made by the token's holder for
// this connection, request and node.
var ErrProof = errors.New("the proof does not fit the join token, the connection or the request")

// VerifyProof checks what Prove gave, on the other end of the same connection.
func VerifyProof(public [32]byte, cs tls.ConnectionState, csr []byte, nodeID string, proof []byte) error {
	text, err := proofText(cs, csr, nodeID)
	if err != nil {
		return err
	}
	if !ed25519.Verify(public[:], text, proof) {
		return ErrProof
	}
	return nil
}

// proofText is what is signed: purpose ‖ exporter ‖ SHA-256(request) ‖ node ID, the
// two of variable length behind their lengths.
func proofText(cs tls.ConnectionState, csr []byte, nodeID string) ([]byte, error) {
	exported, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return nil, fmt.Errorf("deriving the connection's own value: %w", err)
	}
	hash := sha256.Sum256(csr)
	out := appendField(nil, proofInfo)
	out = append(append(out, exported...), hash[:]...)
	return appendField(out, nodeID), nil
}

func appendField[T string | []byte](dst []byte, field T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(field)))
	return append(dst, field...)
}
