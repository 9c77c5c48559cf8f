// Package deptest holds the rules about imports and pinned libraries as tests:
// which package may import which (the table is ARCHITECTURE.md's), which library
// may be used where, and which versions of the cluster's libraries build
// together. It has no code of its own.
//
// A failing test here means that a dependency points upwards, that a package or
// a library came without being entered in the table, or that a pin was lost. The
// tables guard against mistakes, not against somebody who edits them too.
package deptest
