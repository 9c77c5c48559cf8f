// Package lease is the bookkeeping of Beats: which members have applied what, up
// to which index the whole cluster has, and until when a node may say that its
// state is fresh.
//
// It is pure: times, replies and applied indexes come in, decisions come out. It
// starts no goroutine, reads no clock and does no I/O. A Leader or Follower is
// guarded by one mutex of its owner.
//
// Times are readings of CLOCK_BOOTTIME of the node that holds the value, as
// durations since boot. Readings of different nodes are never compared.
//
// What it promises: the leader calls an index stable only when every member that
// it heard within Silence has applied it, or Silence has passed since it was
// applied here. A member refuses reads when it has not heard a Beat for Silence.
// Between a member whose replies are lost and one that is passed over there is no
// proof of freshness: that takes leases.
//
// What an attacker could do: a member that lies about its applied index can be
// behind without being noticed, and one that answers nothing delays each write by
// Silence. Members hold the root key; they can do worse.
package lease
