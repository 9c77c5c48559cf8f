package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Clock gives a node its two times. Implementations are safe for concurrent
// use.
type Clock interface {
	// Boot returns the time since the machine was booted, suspended time included.
	// It decides freshness, because it never steps.
	Boot() time.Duration
	// Wall returns the wall clock, for certificates and for the time that commands
	// carry. It decides nothing alone.
	Wall() time.Time
}

type systemClock struct{}

// Boot reads the system's clock that goes on while the machine is suspended. Go's
// own monotonic clock stands still then.
func (systemClock) Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(bootClock, &ts); err != nil {
		panic("kmsd: reading the boot clock: " + err.Error()) // fails only for an unknown clock
	}
	return time.Duration(ts.Nano())
}

func (systemClock) Wall() time.Time { return time.Now() }
