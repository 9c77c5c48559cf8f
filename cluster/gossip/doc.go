// Package gossip tells a node where the other members may be reached and which of
// them seem dead, over the SWIM protocol of hashicorp/memberlist. Everything it
// says is a hint and never a decision: membership is what the replicated state
// says, a connection is what the handshake of package trust accepted, and a
// member's health is what its Beats show.
//
// Promises: packets are sealed under the cluster's gossip key and bound to the
// cluster ID; packets of other clusters, and of nobody, are dropped before
// memberlist sees them. Streams come from and go to the cluster port, so that the
// peer is a member. Memory does not grow with what arrives: size and rate of
// packets, streams, queues and the number of names are bounded. After Close no
// function of the Config is called and no socket is open; goroutines of memberlist
// that wait in a probe end by themselves within one probe interval, a second.
//
// What an attacker could do. Who controls the network can delay, drop and replay
// packets, and with garbage make this node drop gossip: members then check each
// other over streams. Who holds a current gossip key, such as a removed member
// until the rotation that follows its removal, can say that a member is dead or
// alive, that it has another address or other metadata, keep saying so, read the
// addresses and versions of the members, and make nodes send packets of at most
// 1,400 bytes to, and try TLS handshakes with, addresses of its choice. It cannot
// open a stream, answer in a member's place, add a member, change the stored
// address of one, or stop the process: only messages of the shapes that members
// send reach memberlist. A caller that takes a hint must therefore dial through
// the handshake rule, keep trying the stored address too, and derive neither
// membership, quorum, promotion, removal nor a version bump from anything here.
// A member's process under an attacker's control can in addition open streams, on
// which it could make this node allocate some 200 MB; it holds the root key and
// needs none of that.
package gossip
