package kmsapi

import (
	"encoding/base64"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/attestation"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// attestationOf returns the attestation document of a Recipient; nil without one.
func attestationOf(recipient *wire.RecipientInfo) []byte {
	if recipient == nil {
		return nil
	}
	return recipient.AttestationDocument
}

// recipientOf returns who alone may read the secret of the answer; nil is the caller.
// A document that is not verified ends the call: to ignore it would hand out the secret
// that it was sent to protect. What was verified stands in the record.
func recipientOf(r *service.Request, recipient *wire.RecipientInfo) (*attestation.Document, error) {
	if recipient == nil {
		return nil, nil
	}
	document, err := r.Attested()
	if err != nil {
		return nil, invalid("The attestation document could not be verified: " + err.Error() + ".")
	}
	if recipient.KeyEncryptionAlgorithm == "" {
		return nil, invalid("1 validation error detected: Value null at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: Member must not be null")
	}
	r.Record.Additional.Object("recipient", func(p *audit.Params) { recordAttestation(p, document) })
	return document, nil
}

// recorded are the registers that records show, under these names (CloudTrail:
// "Monitoring attested requests").
var recorded = map[attestation.Platform][]struct {
	pcr  int
	name string
}{
	attestation.Enclave: {
		{0, "attestationDocumentEnclaveImageDigest"}, {1, "attestationDocumentEnclavePCR1"}, {2, "attestationDocumentEnclavePCR2"},
		{3, "attestationDocumentEnclavePCR3"}, {4, "attestationDocumentEnclavePCR4"}, {8, "attestationDocumentEnclavePCR8"},
	},
	attestation.NitroTPM: {
		{4, "attestationDocumentNitroTPMPCR4"}, {7, "attestationDocumentNitroTPMPCR7"}, {8, "attestationDocumentNitroTPMPCR8"},
		{9, "attestationDocumentNitroTPMPCR9"}, {16, "attestationDocumentNitroTPMPCR16"}, {23, "attestationDocumentNitroTPMPCR23"},
	},
}

// recordAttestation adds what CloudTrail shows of a document: registers in base64,
// although conditions have them in hexadecimal.
func recordAttestation(p *audit.Params, document *attestation.Document) {
	p.String("attestationDocumentModuleId", document.ModuleID)
	for _, register := range recorded[document.Platform] {
		if value, ok := document.PCR(register.pcr); ok {
			p.String(register.name, base64.StdEncoding.EncodeToString(value))
		}
	}
}

// sealFor returns a secret as the answer shows it: to the caller, or else encrypted for
// whom the document is of, and then it is wiped.
func sealFor(document *attestation.Document, secret []byte) (plain, sealed []byte, err error) {
	if document == nil {
		return secret, nil, nil
	}
	defer crypto.Wipe(secret)
	sealed, err = document.Seal(secret)
	return nil, sealed, err
}

// unlessFor leaves out what answers to attested recipients do not have.
func unlessFor(document *attestation.Document, value *string) *string {
	if document != nil {
		return nil
	}
	return value
}
