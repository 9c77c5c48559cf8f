package service

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// heavyKept is how long the result of a write's heavy work is kept: as long as the
// call may be decided again.
const heavyKept = writeDeadline

// heavyWorks are the results that writes wait for or may ask for again, by request
// key. A write is decided again when the state changed under it, and when the node
// that forwarded it does not want to wait longer for an answer.
type heavyWorks struct {
	mu    sync.Mutex
	works map[fsm.ReqKey]*heavyWork // guarded by mu
}

type heavyWork struct {
	done chan struct{} // closed when result and err are set
	// Written before done is closed, read after:
	result any
	err    error
}

// Heavy does work that takes a processor far longer than any other, such as making an
// RSA key, in the pool that is for nothing else. The call gives its own place back
// before that and takes one again after it. The work of a write is done once for all
// its attempts, which share the result; it must not depend on the View. Errors are
// those of work, and ThrottlingException where there was no place.
func Heavy[T any](ctx context.Context, r *Request, work func() (T, error)) (T, error) {
	var none T
	pool := r.pool
	r.leave()
	result, err := r.service.heavy(ctx, r.reqKey, func() (any, error) { return work() })
	if err != nil {
		return none, err
	}
	if pool != nil {
		if err := pool.enter(ctx); err != nil {
			return none, err
		}
		r.pool = pool
	}
	return result.(T), nil
}

func (s *Service) heavy(ctx context.Context, key fsm.ReqKey, work func() (any, error)) (any, error) {
	if key == (fsm.ReqKey{}) {
		return s.pools.heavy.run(ctx, work) // a read, which is decided once
	}
	w, first := s.heavyWorks.join(key)
	if !first {
		select {
		case <-w.done:
			return w.result, w.err
		case <-ctx.Done():
			return nil, kms.ErrUnavailable
		}
	}
	defer s.heavyWorks.finish(key, w)
	w.result, w.err = s.pools.heavy.run(ctx, work)
	return w.result, w.err
}

// run does work in a place of the pool.
func (p *pool) run(ctx context.Context, work func() (any, error)) (any, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	defer p.leave()
	return work()
}

var errUnfinished = errors.New("kmsd: heavy work did not end")

// join returns the work of a request key. The first to ask must do it.
func (h *heavyWorks) join(key fsm.ReqKey) (w *heavyWork, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w, ok := h.works[key]; ok {
		return w, false
	}
	if h.works == nil {
		h.works = map[fsm.ReqKey]*heavyWork{}
	}
	w = &heavyWork{done: make(chan struct{}), err: errUnfinished} // unless work panics
	h.works[key] = w
	return w, true
}

// finish publishes the result, which is kept for a while unless it is an error.
func (h *heavyWorks) finish(key fsm.ReqKey, w *heavyWork) {
	if w.err != nil {
		h.forget(key)
	} else {
		time.AfterFunc(heavyKept, func() { h.forget(key) })
	}
	close(w.done)
}

func (h *heavyWorks) forget(key fsm.ReqKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.works, key)
}
