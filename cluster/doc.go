// Package cluster is one node of a kmsd cluster: it joins the state machine
// (package fsm), the keyring (package crypto) and hashicorp/raft, and it speaks
// with the other nodes.
//
// What it promises to the service above:
//
//   - Propose returns success only when the command is applied here and every
//     member that the leader heard within the last second has applied it, or one
//     second has passed without it. Nothing is proposed and nothing acknowledged
//     before the term's LeaderOpen command is applied.
//   - View gives a state only after this node has shown that it is fresh: a
//     follower has heard its term's leader within a second, the leader a majority.
//   - Settle waits until an index is stable: acknowledged, so that no reply made
//     from it can be contradicted by another node later.
//   - Forward brings a call to the leader and repeats the same bytes while its fate
//     is open. It tells "never proposed" from "nobody knows".
//
// What it must not do: end the process (a condition that nobody here can heal
// closes Node.Fatal), decide anything by raft.VerifyLeader or raft.AppliedIndex,
// or call Raft from the goroutine that drains its notifications.
//
// # Trust
//
// A peer is a node whose public key stands in the replicated state, proved by TLS
// 1.3 on both sides (package trust). Lengths are bounded before anything is
// allocated. Who controls the network can only delay and cut. A member under an
// attacker's control holds the root key and can act as every principal: nothing
// here defends against that. Everything on the disk is sealed but node.json,
// peers.json, the certificates, and Raft's terms, indexes and sizes.
package cluster
