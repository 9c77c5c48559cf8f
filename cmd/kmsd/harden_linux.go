package main

import "golang.org/x/sys/unix"

// harden keeps the process's memory, which holds the root key, out of core dumps
// and out of the reach of other processes of the same user, and every file that
// it makes, also those that libraries make, out of other users' reach. What the
// kernel refuses is no reason not to start.
func harden() {
	unix.Umask(0o077)
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
