// Package trust decides who may speak on the cluster port: the cluster's
// certificate authority, the nodes' certificates and the rule of the handshake.
//
// Promises: a connection exists only between two nodes of one cluster, over TLS
// 1.3, with an application protocol that both named, and each side has checked
// the other's chain, cluster ID, node ID and public key. System roots are never
// consulted and nothing is trusted on first use.
//
// What an attacker could do: who controls the network can only cut connections.
// Who holds a node's private key is that node until its public key is dropped
// from the accepted ones; the certificate alone is not enough. Who holds the
// authority's private key can make certificates, but not accepted ones, because
// the accepted public keys stand in the replicated state. Three kinds of nodes have
// only the authority to go by, so that who holds its key and the network around such
// a node can deceive it: one that joins; one that hears no leader and asks whether it
// was removed; and one that was away until it recognised nobody, which asks who the
// members are and, until it has caught up, believes it. The key stands in the
// replicated state, sealed: who has opened it had the root key.
//
// A node that is no member yet speaks kmsd-join/1: it has a join token, which pins
// the authority, and proves that it has it by a signature over a value of this one
// connection. Who listens learns nothing from that. Who holds a token that is
// neither used up nor expired can become a member and so gets the root key: a token
// is worth every key of the cluster.
package trust
