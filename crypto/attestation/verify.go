package attestation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

const (
	// MaxAge is how old a document may be.
	MaxAge = 5 * time.Minute
	// MaxAhead is how far a document may come from the future, because clocks differ.
	MaxAhead = time.Minute
)

// Why a document is refused. The texts go on after a colon and say nothing that its
// sender does not know.
var (
	// ErrNoRoots is returned where no root certificate is configured.
	ErrNoRoots = errors.New("no root certificate of attestation documents is configured")
	// ErrCertificate is returned for a document whose certificates are not valid at the
	// time, or do not lead to a configured root.
	ErrCertificate = errors.New("its certificate does not lead to a configured root certificate")
	// ErrSignature is returned for a document that its certificate's key did not sign.
	ErrSignature = errors.New("its signature is not valid")
	// ErrTime is returned for a document older than MaxAge, or from the future.
	ErrTime = errors.New("it was not made within the last five minutes")
	// ErrPublicKey is returned for a document without a public key, or with another one
	// than a SubjectPublicKeyInfo of RSA with 2,048 bits.
	ErrPublicKey = errors.New("it has no RSA_2048 public key")
)

// Roots are the certificates that attestation documents must lead to. They are immutable
// and safe for concurrent use; nil is none.
type Roots struct{ certificates []*x509.Certificate }

// ParseRoots reads PEM certificates of certification authorities, of which there must be
// one at least.
func ParseRoots(text []byte) (*Roots, error) {
	roots := new(Roots)
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(rest)) > 0 || len(roots.certificates) == 0 {
				return nil, errors.New("not PEM certificates")
			}
			return roots, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a %s is no certificate", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d: %w", len(roots.certificates)+1, err)
		}
		if !certificate.BasicConstraintsValid || !certificate.IsCA {
			return nil, fmt.Errorf("certificate %d is not that of a certification authority", len(roots.certificates)+1)
		}
		roots.certificates = append(roots.certificates, certificate)
	}
}

// Verify reads a document of at most MaxSize bytes and checks all of it, as of a time.
// Errors: those of this package, each of which tells what is wrong.
func (r *Roots) Verify(signed []byte, at time.Time) (*Document, error) {
	if r == nil {
		return nil, ErrNoRoots
	}
	e, s, err := parse(signed)
	if err != nil {
		return nil, err
	}
	leaf, err := r.leaf(s, at)
	if err != nil {
		return nil, err
	}
	if !e.signedBy(leaf) {
		return nil, ErrSignature
	}
	if !s.madeAround(at) {
		return nil, ErrTime
	}
	key, err := s.publicKey()
	if err != nil {
		return nil, err
	}
	platform, pcrs := s.registers()
	return &Document{ModuleID: s.ModuleID, Platform: platform, pcrs: pcrs, key: key}, nil
}

// leaf returns the document's certificate if it leads to the root that the document's
// bundle starts with, which must be a configured one. Errors: ErrCertificate.
func (r *Roots) leaf(s *statement, at time.Time) (*x509.Certificate, error) {
	root := r.find(s.Bundle[0].Bytes())
	if root == nil {
		return nil, ErrCertificate
	}
	chain := []*x509.Certificate{root}
	for _, der := range append(slices.Clip(s.Bundle[1:]), s.Certificate) {
		certificate, err := x509.ParseCertificate(der.Bytes())
		if err != nil || !follows(chain, certificate) {
			return nil, ErrCertificate
		}
		chain = append(chain, certificate)
	}
	between, leaf := chain[1:len(chain)-1], chain[len(chain)-1]
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, ErrCertificate
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	options.Roots.AddCert(root)
	for _, certificate := range between {
		options.Intermediates.AddCert(certificate)
	}
	if _, err := leaf.Verify(options); err != nil {
		return nil, ErrCertificate
	}
	return leaf, nil
}

// follows tells whether the certificate names the last one of the chain as its issuer,
// and itself as none of them does. Then there is one way from leaf to root, and whoever
// sends certificates cannot let crypto/x509 try many.
func follows(chain []*x509.Certificate, certificate *x509.Certificate) bool {
	for _, above := range chain {
		if bytes.Equal(above.RawSubject, certificate.RawSubject) {
			return false
		}
	}
	return bytes.Equal(chain[len(chain)-1].RawSubject, certificate.RawIssuer)
}

// find returns the configured root with the encoding; nil without one.
func (r *Roots) find(der []byte) *x509.Certificate {
	for _, root := range r.certificates {
		if bytes.Equal(root.Raw, der) {
			return root
		}
	}
	return nil
}

// signedBy verifies the signature with ES384 (RFC 9052 §4.4, RFC 9053 §2.1).
func (e *envelope) signedBy(leaf *x509.Certificate) bool {
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return false
	}
	signed, err := cbor.Marshal([]any{"Signature1", e.Protected, []byte{}, e.Payload})
	if err != nil {
		panic("kmsd: encoding what was signed: " + err.Error())
	}
	digest, signature := sha512.Sum384(signed), e.Signature.Bytes()
	r, s := new(big.Int).SetBytes(signature[:scalarSize]), new(big.Int).SetBytes(signature[scalarSize:])
	return ecdsa.Verify(key, digest[:], r, s)
}

func (s *statement) madeAround(at time.Time) bool {
	now := at.UnixMilli()
	if now < 0 {
		return false
	}
	if made := s.Timestamp; made > uint64(now) {
		return made-uint64(now) <= uint64(MaxAhead.Milliseconds())
	}
	return uint64(now)-s.Timestamp <= uint64(MaxAge.Milliseconds())
}
