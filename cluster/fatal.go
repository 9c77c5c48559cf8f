package cluster

import (
	"log/slog"
	"sync"
	"sync/atomic"
)

// The exit codes that a fatal condition asks for.
const (
	// ExitUndecodable: an entry of the log or a snapshot cannot be applied, or this
	// node's state differs from the leader's. Starting again does not help.
	ExitUndecodable = 70
	// ExitRestart: this process cannot go on, the next one may.
	ExitRestart = 75
)

// fate records the first fatal condition of a node.
type fate struct {
	log    *slog.Logger
	once   sync.Once
	failed atomic.Bool
	done   chan struct{}
	code   int   // written before done is closed
	err    error // written before done is closed
	// drop withdraws this node's right to serve, before anybody is told.
	drop func()
}

func newFate(log *slog.Logger, drop func()) *fate {
	return &fate{log: log, done: make(chan struct{}), drop: drop}
}

// fail makes the node refuse everything from now on. Only the first call counts.
func (f *fate) fail(code int, err error) {
	f.once.Do(func() {
		f.failed.Store(true)
		f.drop()
		f.code, f.err = code, err
		if code == 0 {
			f.log.Info("this node ends", "why", err)
		} else {
			f.log.Error("fatal condition: this node stops serving", "exit_code", code, "err", err)
		}
		close(f.done)
	})
}

// An ExitError is what Open returns when it met a fatal condition already: the
// process should end with the code.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// Fatal is closed when the node can not go on: it serves nothing any more and the
// process should end with the code that FatalError gives.
func (n *Node) Fatal() <-chan struct{} { return n.fate.done }

// FatalError returns why Fatal is closed and the exit code; 0 and nil while it is
// open. With ErrLeft and ErrRemoved the code is 0: nothing is wrong, but the node is
// no member any more. The error never contains an entry's bytes.
func (n *Node) FatalError() (code int, err error) {
	select {
	case <-n.fate.done:
		return n.fate.code, n.fate.err
	default:
		return 0, nil
	}
}
