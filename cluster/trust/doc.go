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
// the accepted public keys stand in the replicated state.
//
// A node that is no member yet speaks kmsd-join/1: it has a join token, which pins
// the authority, and proves that it has it by a signature over a value of this one
// connection. Who listens learns nothing from that. Who holds a token that is
// neither used up nor expired can become a member and so gets the root key: a token
// is worth every key of the cluster.
package trust
