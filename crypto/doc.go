// Package crypto holds every use of a secret key in kmsd: the material of
// symmetric KMS keys and the ciphertext blob that clients keep; asymmetric and HMAC KMS
// keys of every spec (PrivateKey, PublicKey, MACKey); and the keyring that seals
// what a node writes to its disk or sends to its peers (log entries, snapshots,
// secrets inside records). It promises that nothing of kmsd's own formats leaves it
// unauthenticated: each output binds its purpose, its format version and the identity of
// the key that made it. A parser accepts one encoding per value.
//
// It keeps no files, reads no clock and knows neither policies nor Raft.
//
// The build runs inside Go's FIPS 140-3 module (GODEBUG=fips140=on), with whose
// algorithms everything that kmsd keeps for itself is protected. Of what KMS keys do,
// these lie outside of it:
//
//   - ECDSA on secp256k1: decred's library.
//   - ML-DSA: filippo.io/mldsa until Go 1.27 has it in the module, and verification of
//     EXTERNAL_MU, which is this package's own.
//   - ML-KEM-512: circl. ML-KEM-768 and 1024 are inside.
//   - OAEP with SHA-1: the module's code, with a hash that it does not approve of.
//
// Trust: ParseBlob, Material.Decrypt and DummyDecrypt are fed by tenants; an
// attacker there learns one bit, whether a ciphertext is genuine under exactly
// the context that he gave, and cannot tell why it is not. The methods of PrivateKey,
// PublicKey and MACKey are, too: Decrypt, Verify and VerifyMAC tell the same one bit,
// Decapsulate none, and no peer's point reaches a private key unless it is on its curve.
// OpenPrivateKey and OpenMACKey are fed by records, which the keyring has
// authenticated. OpenEntry, OpenStream and Open are fed by disks and peers;
// whoever controls those without holding the root key can make a node refuse to
// work, and can replay genuine older bytes (the callers guard order and age), but
// can neither read nor alter them.
// Whoever reads this process's memory has everything.
package crypto
