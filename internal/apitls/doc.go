// Package apitls provides the certificate of the API listener: from an
// operator's files, which it reads again when they change, or from the API's own
// authority, under which it issues and renews one by itself.
//
// Promises: a listener that has once had a certificate never loses it. A pair of
// files that is broken, half replaced or expired leaves the certificate in use as
// it is, and a failed renewal is tried again until it succeeds. Connections that
// exist are never touched. The key of an issued certificate never leaves the
// process's memory.
//
// The API's authority is for clients only. The cluster port keeps its
// certificates out three times over: the port's trust knows the cluster's own
// authorities and no others; it accepts only public keys that stand in the
// replicated state; and the authority's own certificate allows nothing below it
// that the port would take, neither client authentication (what a node shows when
// it dials) nor a URI of its cluster (how a node is named).
//
// Trust: who can write the files decides what the listener shows, and who can
// read the key file can pose as the API to every client. Who holds the authority's
// private key can do the same with any name, and so read requests, but can sign
// none: it gains neither credentials nor a place in the cluster.
package apitls
