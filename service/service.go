package service

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto/attestation"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// Cluster is what the service needs of the node it runs on. Errors are the
// sentinels of package kms; anything else is a fault of this node.
type Cluster interface {
	// Propose replicates a command, on the leader only. It returns when the
	// command has been applied here and by every member that could serve a read.
	// kms.ErrNotLeader and kms.ErrUnavailable tell that nothing was proposed,
	// kms.ErrOutcomeUnknown that nobody can say. A *kms.Error is the answer to the
	// call: nothing was proposed, and the same node will say so for a while.
	Propose(ctx context.Context, cmd fsm.Command) (fsm.Result, uint64, error)
	// Forward hands bytes to Execute on the leader, which may be this node, and
	// retries with the same bytes while the outcome is open.
	Forward(ctx context.Context, call []byte) ([]byte, error)
	// View returns the state, after proving that it is fresh.
	View(ctx context.Context) (*fsm.View, error)
	// Settle waits until every node serves the state up to the index.
	Settle(ctx context.Context, index uint64) error
	// Ready returns nil while View would succeed at once; the error says why not.
	Ready() error
	// Passed returns the latest time that the wall clocks of a majority of the members
	// are known to have passed. ok is false when that is not known, as on every node
	// but the leader.
	Passed() (t time.Time, ok bool)
}

// Keys opens the secrets that replicated records hold.
type Keys interface {
	Open(purpose, id string, sealed []byte) ([]byte, error)
}

// Trail is the durable audit log.
type Trail interface {
	// Append returns when the record has been written.
	Append(ctx context.Context, r *audit.Record) error
	// Healthy returns nil while records can be written.
	Healthy() error
}

// Config holds what a Service is made of. All fields but durations, the Roots and the
// Registerer are required.
type Config struct {
	Cluster Cluster
	Keys    Keys
	Trail   Trail
	Rows    []*Row
	Due     []*DueWork
	// Managed makes AWS managed keys.
	Managed MakeManaged
	Logger  *slog.Logger
	Now     func() time.Time
	// DuePoll is how often the leader looks for what is due although no command was
	// applied and no date has come: a minute.
	DuePoll time.Duration
	// UsageEvery is the length of GatherUsage's rounds: a minute.
	UsageEvery time.Duration
	// Drain is how much longer than others a call may take that first sends this
	// node's clients away: leaving the cluster.
	Drain time.Duration
	// Roots are what attestation documents must lead to. Nil is none: every document is
	// refused.
	Roots *attestation.Roots
	// Registerer gets the metrics. Nil measures for nobody.
	Registerer prometheus.Registerer
}

// Service answers authenticated calls. It is safe for concurrent use.
type Service struct {
	cluster  Cluster
	keys     Keys
	trail    Trail
	roots    *attestation.Roots
	rows     map[rowKey]*Row
	log      *slog.Logger
	now      func() time.Time
	throttle *throttle
	pools    pools
	// heavyWorks are the results of Heavy.
	heavyWorks heavyWorks
	metrics    *metrics
	policies   sync.Map // policyKey → *iam.Policy
	// compiledCount counts what was put into policies since it was emptied.
	compiledCount atomic.Int64
	recorded      recorded
	due           []*DueWork
	makeManaged   MakeManaged
	duePoll       time.Duration
	drain         time.Duration
	written       chan struct{} // holds a token when a command was applied
	usage         *usageLog

	usageEvery time.Duration // the length of GatherUsage's rounds
}

type rowKey struct{ service, name string }

// New returns a service. It panics on a table with an operation twice, and when the
// registerer has the metrics already.
func New(cfg Config) *Service {
	s := &Service{
		cluster: cfg.Cluster, keys: cfg.Keys, trail: cfg.Trail, log: cfg.Logger, now: cfg.Now, roots: cfg.Roots,
		rows: make(map[rowKey]*Row, len(cfg.Rows)),
		due:  cfg.Due, makeManaged: cfg.Managed, duePoll: cmp.Or(cfg.DuePoll, duePoll), drain: cfg.Drain, written: make(chan struct{}, 1),
		usage: newUsageLog(), usageEvery: cmp.Or(cfg.UsageEvery, usageEvery),
		throttle: newThrottle(cfg.Now), pools: newPools(int64(runtime.GOMAXPROCS(0))),
	}
	s.metrics = newMetrics(cfg.Registerer, &s.pools, s.throttle)
	for _, row := range cfg.Rows {
		k := rowKey{row.Service, row.Name}
		if s.rows[k] != nil {
			panic("kmsd: operation " + row.Name + " described twice")
		}
		s.rows[k] = row
	}
	return s
}

// Knows tells whether the operation of the AWS service is served.
func (s *Service) Knows(service, operation string) bool {
	return s.rows[rowKey{service, operation}] != nil
}

// Ready returns nil while this node may serve; the error says why not.
func (s *Service) Ready(context.Context) error {
	if err := s.trail.Healthy(); err != nil {
		return errors.New("the audit log cannot be written")
	}
	return s.cluster.Ready()
}

// answer converts an error to what the client receives, and logs what is not for
// clients.
func (s *Service) answer(c *Call, err error) *kms.Error {
	switch {
	case errors.Is(err, kms.ErrOutcomeUnknown):
		return &kms.Error{Code: kms.CodeInternal, Message: "The outcome of this request is unknown."}
	case errors.Is(err, kms.ErrUnavailable), errors.Is(err, kms.ErrNotLeader):
		return &kms.Error{Code: kms.CodeServiceUnavailable, Message: "The service cannot serve the request now. Nothing was done."}
	}
	e, known := kms.AsError(err)
	if !known {
		s.log.Error("request failed", "operation", c.Operation, "requestID", c.RequestID, "error", err)
	}
	return e
}

// isTransient tells whether the error is a condition of the cluster, not an
// answer.
func isTransient(err error) bool {
	return errors.Is(err, kms.ErrNotLeader) || errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrOutcomeUnknown)
}
