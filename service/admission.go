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
	refused  atomic.Int64
	wake     chan struct{}
}

// pools are the queues of step 4. Each kind of work has its own, so that none
// takes the places of another.
type pools struct {
	// read is for what this node answers from its state, symmetric cryptography
	// included.
	read *pool
	// rsa is for slow keys, RSA's first of all, and for attestation documents. It gets
	// half of the processors, so that the rest goes on beside it.
	rsa *pool
	// heavy is for what a call does there for long after it was admitted (Heavy). It
	// gets a quarter of the processors, and leaves RSA's half alone.
	heavy *pool
	// write is for what the leader decides and proposes. A call keeps its place
	// until its command is acknowledged.
	write *pool
	// operator is for what the operator account and local operators do with the
	// cluster: they must get through when it is overloaded.
	operator *pool
}

// The sizes of the pools. More calls at once than these only queue for the
// processor, or for the leader's disk.
const (
	readsPerCPU       = 64
	queuedReadsPerCPU = 1024
	queuedRSAPerCPU   = 128
	writes            = 2048
	queuedWrites      = 8192
	queuedHeavyPerCPU = 16
	operatorCalls     = 64
	queuedOperator    = 256
	maxQueueing       = time.Second
	// What is heavy takes seconds, so that waiting for it pays. It is shorter than the
	// cluster waits for an attempt of a write, so that the attempt that waits is told.
	maxHeavyQueueing = 3 * time.Second
)

func newPools(cpus int64) pools {
	return pools{
		read:     newPool(cpus*readsPerCPU, cpus*queuedReadsPerCPU, maxQueueing),
		rsa:      newPool(max(1, cpus/2), cpus*queuedRSAPerCPU, maxQueueing),
		heavy:    newPool(max(1, cpus/4), cpus*queuedHeavyPerCPU, maxHeavyQueueing),
		write:    newPool(writes, queuedWrites, maxQueueing),
		operator: newPool(operatorCalls, queuedOperator, maxQueueing),
	}
}

// of is the pool that a call belongs to, after its quotas were found. What anybody may ask without credentials
// gets no place among the operators.
func (p *pools) of(r *Request) *pool {
	switch {
	case r.row.Operator != "" && r.operates():
		return p.operator
	case r.row.Write:
		return p.write
	case r.slow, r.attested.signed != nil:
		return p.rsa
	}
	return p.read
}

// operates tells whether the caller is the cluster's operator.
func (r *Request) operates() bool {
	return r.Principal.Type == kms.PrincipalLocalOperator || r.Principal.Account == r.View.Meta().OperatorAccount
}

func newPool(limit, queue int64, patience time.Duration) *pool {
	return &pool{limit: limit, queue: queue, patience: patience, wake: make(chan struct{}, 1)}
}

var errThrottled = &kms.Error{Code: kms.CodeThrottling,
	Message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}

// enter waits for a place, at most p.patience. Errors: ThrottlingException when
// the queue is full or the wait too long. Whoever entered calls leave.
func (p *pool) enter(ctx context.Context) error {
	if p.try() || p.wait(ctx) {
		return nil
	}
	p.refused.Add(1)
	return errThrottled
}

// wait queues. It reports whether it got a place.
func (p *pool) wait(ctx context.Context) bool {
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > p.queue {
		return false
	}
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	for !p.try() {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		}
	}
	p.passOn()
	return true
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
