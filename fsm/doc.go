// Package fsm is kmsd's replicated state as a pure library: a deterministic
// machine that applies numbered commands, and immutable views of the result.
// It knows neither Raft nor sealing. Key material and secrets pass through it
// as opaque sealed bytes, policies as text and hashes.
//
// Same commands, same indexes: same state and same digest, on every node and in
// any year. Therefore nothing here reads a clock, makes a random number, starts
// a goroutine, does I/O of its own or lets the order of a Go map reach a
// result; times, identifiers and sealed bytes arrive in the command, made by
// the leader. A test parses the package and holds it to that.
//
// # Concurrency
//
// One goroutine calls Apply, ApplyBatch, Skip and Restore. Everybody else reads:
// View, Snapshot, Digest, Check and Index load one atomic pointer and lock
// nothing. Records are immutable from the moment that they are published;
// whoever gets one by pointer, or a slice out of one, must not modify it.
//
// # Trust
//
// A command comes from the log, opened and authenticated by the cluster's
// keyring, so its author is a leader of this cluster. An attacker who holds the
// keyring can write any state; one who does not cannot reach this package.
// Decoding is strict and bounded all the same: bytes that are not exactly what
// NewCommand would have made change nothing, stop the machine and are never
// quoted in an error. What tenants choose (alias names, descriptions, tags)
// decides neither a record's shard, which a secret seed decides, nor the cost
// of anybody else's request. Quotas are enforced here and only here, because
// only here two requests cannot both see the last free place.
package fsm
