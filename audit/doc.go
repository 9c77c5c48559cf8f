// Package audit makes CloudTrail-format records and keeps them in a durable,
// hash-chained log of plain files.
//
// Record is one event; it renders itself in CloudTrail's order of members and
// survives a trip through the replicated log (Encode, DecodeRecord), so that a
// new leader can write what a dead one had committed but not recorded. Log
// appends records to JSON Lines files: Append returns once the kernel has the
// line, and every line names its sequence number and the SHA-256 of the line
// before it. Verify walks such a directory and names the first break.
//
// The package promises that a record is never dropped in silence: after the
// first failed write or fsync every Append fails until Reopen. It never decides
// what may be logged: callers must not pass plaintexts, ciphertexts, credentials,
// tokens or key material. The files are plain by purpose.
//
// Trust: every string of a record may come from an attacker. Rendering escapes
// whatever could end a line, leave its string or steer a terminal, bounds the
// user agent, the host and the error message, and never fails. Who can write to
// the directory can rewrite it: the chain shows a changed, removed, swapped or
// inserted line unless everything after it was computed anew, and it cannot show
// that the newest lines were cut off or the very last one was changed. Compare
// Log.Head or Summary.Head with a value kept elsewhere for that.
package audit
