// Package attestation verifies attestation documents of AWS Nitro Enclaves and of
// NitroTPM, and encrypts for whom a document is of (AWS: "Nitro Enclaves Attestation
// Process", "Validate a NitroTPM Attestation Document", and "Cryptographic attestation
// support in AWS KMS").
//
// It promises that a Document which Verify returned was signed, at most MaxAge before,
// with a certificate that leads to one of the configured roots, and that what Seal
// returns opens only with the private key of the document's public one. It reads no
// clock and keeps no files.
//
// Trust: documents come from tenants. Who holds a root's key, or that of any certificate
// below it, can say of itself whatever it likes: register values and public key. Others
// learn why their document is refused, and can replay a document that they saw as long
// as it is young: what they are answered then only its sender can open.
package attestation
