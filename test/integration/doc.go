// Package integration holds tests that look at kmsd from outside: they build the
// program, run clusters of it as processes and speak to them over the network
// with AWS's own client, or with raw bytes. It has no code of its own.
//
// The tests need neither root rights nor a network beyond loopback. Those behind
// the build tag "strace" need the program of that name; those behind "failpoint" build
// the program with failpoints (package internal/failpoint).
//
// Trust: a test is its cluster's root user and runs what it built itself; nothing
// here is reachable from outside the machine.
package integration
