package service

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// pool bounds how many calls of one kind run at once, and how many wait for
// their turn. Its fast path is one atomic addition.
//
// Waiters are woken through a channel of one place: whoever leaves puts a token
// there, and a waiter that got its turn passes the token on; one that finds no
// room keeps waiting for the next to leave.
type pool struct {
	limit    int64 // calls at once
	queue    int64 // calls that may wait
	patience time.Duration
	running  atomic.Int64
	waiting  atomic.Int64
	wake     chan struct{}
}

func newPool(limit, queue int64, patience time.Duration) *pool {
	return &pool{limit: limit, queue: queue, patience: patience, wake: make(chan struct{}, 1)}
}

var errThrottled = &kms.Error{Code: kms.CodeThrottling,
	Message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}

// enter waits for a place, at most p.patience. Errors: ThrottlingException when
// the queue is full or the wait too long. Whoever entered calls leave.
func (p *pool) enter(ctx context.Context) error {
	if p.try() {
		return nil
	}
	if p.waiting.Add(1) > p.queue {
		p.waiting.Add(-1)
		return errThrottled
	}
	defer p.waiting.Add(-1)
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	for !p.try() {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return errThrottled
		case <-timer.C:
			return errThrottled
		}
	}
	p.passOn()
	return nil
}

func (p *pool) try() bool {
	if p.running.Add(1) <= p.limit {
		return true
	}
	p.running.Add(-1)
	return false
}

func (p *pool) leave() {
	p.running.Add(-1)
	p.passOn()
}

func (p *pool) passOn() {
	if p.waiting.Load() == 0 {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}
