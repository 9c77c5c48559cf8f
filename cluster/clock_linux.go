package cluster

import "golang.org/x/sys/unix"

// bootClock counts suspended time on Linux (clock_gettime(2)); CLOCK_MONOTONIC
// does not.
const bootClock = unix.CLOCK_BOOTTIME
