package service

import (
	"encoding/hex"
	"strconv"
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
	register, ok := registers[name]
	if !ok || r.attested.signed == nil {
		return nil
	}
	document, err := r.Attested()
	if err != nil || document.Platform != register.platform {
		return nil
	}
	value, ok := document.PCR(register.n)
	if !ok {
		return nil
	}
	return []string{hex.EncodeToString(value)}
}

// attestationPrefix starts those condition keys, without "kms:".
const attestationPrefix = "recipientattestation:"

// register is a platform configuration register of a platform.
type register struct {
	platform attestation.Platform
	n        int
}

// registers are what the condition keys stand for. The hash of an enclave's image is in
// its first register.
var registers = func() map[string]register {
	out := map[string]register{"imagesha384": {attestation.Enclave, 0}}
	for n := range 32 {
		out["pcr"+strconv.Itoa(n)] = register{attestation.Enclave, n}
		out["nitrotpmpcr"+strconv.Itoa(n)] = register{attestation.NitroTPM, n}
	}
	return out
}()
