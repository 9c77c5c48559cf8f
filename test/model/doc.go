// Package model holds tests that compare three whole nodes, over real replication, with
// simple models: of a key's life, of multi-Region keys, of grants, and of imported key
// material. It has no code of its own.
//
// The model is written from AWS's documentation and shares nothing with the code under
// test: it says what every call answers and what every node shows afterwards. Random
// calls go to random nodes, years pass by a clock of the test's own, and meanwhile
// nodes stop and start, lead and lead no more, and write snapshots.
//
// Trust: a test is its cluster's root user; nothing here is reachable from outside the
// machine.
package model
