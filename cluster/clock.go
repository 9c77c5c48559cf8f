package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Clock gives a node its two times. Implementations are safe for concurrent
// use.
type Clock interface {
	// Boot returns the time since the machine was booted, suspended time included
	// (CLOCK_BOOTTIME). It decides freshness, because it never steps.
	Boot() time.Duration
	// Wall returns the wall clock, for certificates and for the time that commands
	// carry. It decides nothing alone.
	Wall() time.Time
}

type systemClock struct{}

// Boot reads CLOCK_BOOTTIME. Go's own monotonic clock is CLOCK_MONOTONIC, which
// stands still while the machine is suspended.
func (systemClock) Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("kmsd: reading CLOCK_BOOTTIME: " + err.Error()) // fails only for an unknown clock
	}
	return time.Duration(ts.Nano())
}

func (systemClock) Wall() time.Time { return time.Now() }
