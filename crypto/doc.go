// Package crypto holds every use of a secret key in kmsd: the material of KMS
// keys and the ciphertext blob that clients keep, and the keyring that seals
// what a node writes to its disk or sends to its peers (log entries, snapshots,
// secrets inside records). It promises that nothing leaves it unauthenticated:
// each output binds its purpose, its format version and the identity of the key
// that made it, and a parser accepts one encoding per value.
//
// It keeps no files, reads no clock and knows neither policies nor Raft. It uses
// the standard library's AES-GCM, HKDF, HMAC and SHA-256 only, so that the build
// runs inside Go's FIPS 140-3 module (GODEBUG=fips140=on).
//
// Trust: ParseBlob, Material.Decrypt and DummyDecrypt are fed by tenants; an
// attacker there learns one bit, whether a ciphertext is genuine under exactly
// the context that he gave, and cannot tell why it is not. OpenEntry, OpenStream
// and Open are fed by disks and peers; whoever controls those without holding
// the root key can make a node refuse to work, and can replay genuine older
// bytes (the callers guard order and age), but can neither read nor alter them.
// Whoever reads this process's memory has everything.
package crypto
