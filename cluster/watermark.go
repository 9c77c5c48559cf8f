package cluster

import (
	"context"
	"sync"
	"sync/atomic"
)

// A watermark is an index that only rises, and for which goroutines can wait.
// The zero value is at 0.
type watermark struct {
	value atomic.Uint64
	mu    sync.Mutex
	moved chan struct{} // guarded by mu; nil while nobody waits
}

func (w *watermark) Load() uint64 { return w.value.Load() }

// Raise moves the watermark to index, unless it is there already.
func (w *watermark) Raise(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if index <= w.value.Load() {
		return
	}
	w.value.Store(index)
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// Wait returns nil once the watermark is at index or above, or ctx's error.
func (w *watermark) Wait(ctx context.Context, index uint64) error {
	for {
		if w.value.Load() >= index {
			return nil
		}
		moved := w.next(index)
		if moved == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next returns a channel that closes at the next rise, or nil when index is
// reached.
func (w *watermark) next(index uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.value.Load() >= index {
		return nil
	}
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w.moved
}
