package service

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/kmsd/kmsd/crypto/attestation"
)

// attested is the attestation document that a call brings. It is verified when a
// condition or the handler first asks for it: calls without one pay nothing, and callers
// who may not call have nothing verified.
type attested struct {
	signed   []byte // as sent; nil where the call brings none
	verified bool   // the following is known
	document *attestation.Document
	err      error
}

// Attested returns the call's attestation document, verified as of the time of the
// decision. Errors: those of package attestation, for a call without a document, too.
func (r *Request) Attested() (*attestation.Document, error) {
	if a := &r.attested; !a.verified {
		a.document, a.err = r.service.roots.Verify(a.signed, time.UnixMilli(r.Now))
		a.verified = true
	}
	return r.attested.document, r.attested.err
}

// attestation returns the values of a condition key kms:RecipientAttestation:*, named
// without that, which is absent unless the call's document is verified and has the
// register (AWS KMS: "Condition keys for attested platforms").
func (r *Request) attestation(name string) []string {
	n, ok := registers[name]
	if !ok || r.attested.signed == nil {
		return nil
	}
	document, err := r.Attested()
	if err != nil {
		return nil
	}
	value, ok := document.PCR(n)
	if !ok {
		return nil
	}
	return []string{hex.EncodeToString(value)}
}

// attestationPrefix starts those condition keys, without "kms:".
const attestationPrefix = "recipientattestation:"

// registers are the platform configuration registers by their condition keys. The hash
// of the image is in the first one.
var registers = func() map[string]int {
	out := map[string]int{strings.ToLower("ImageSha384"): 0}
	for n := range 32 {
		out["pcr"+strconv.Itoa(n)] = n
	}
	return out
}()
