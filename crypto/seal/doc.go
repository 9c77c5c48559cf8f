// Package seal protects a cluster's root key on one node's disk. A Sealer wraps
// the root key under a key that does not lie beside it; without the Sealer the
// data directory cannot be read.
//
// A seal promises that sealed bytes open only under the same key and the same
// associated data, and that the error of a wrong seal names both keys, by ids
// that disclose nothing. It must not print, log or return its own key.
//
// Trust: whoever holds a sealed root key and the seal's key (the key file, for
// File) holds every secret of the cluster. Whoever can only change the sealed
// bytes or the key file can keep the node from starting, and nothing else.
package seal
