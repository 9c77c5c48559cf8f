package cluster

import "golang.org/x/sys/unix"

// bootClock counts suspended time on macOS (clock_gettime(3): it "will continue to
// increment while the system is asleep").
const bootClock = unix.CLOCK_MONOTONIC
