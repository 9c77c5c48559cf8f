// Package testkit is for tests: a service on a state machine of its own, without
// a cluster around it. Nothing of it is part of the product.
package testkit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/adminapi"
	"github.com/kmsd/kmsd/service/iamapi"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// The accounts of a Solo, and the access keys of their root users.
const (
	Account      = "111122223333"
	AccessKey    = "AKIAIOSFODNN7EXAMPLE"
	OtherAccount = "444455556666"
	OtherKey     = "AKIAI44QH8DHBEXAMPLE"
	Region       = "us-east-1"
	ClusterID    = "6c2f4d0e-57a5-4c0b-9d1e-1a2b3c4d5e6f"
)

// Began is a Solo's time when it starts.
var Began = time.Date(2026, 11, 24, 12, 0, 0, 345e6, time.UTC)

// Solo is one state machine that answers as a cluster of one. Its hooks are set
// while no call is under way.
type Solo struct {
	Machine *fsm.Machine
	Keyring *crypto.Keyring
	Service *service.Service
	Trail   *Trail
	// Member is the node below the admin API.
	Member *Member
	// Logger is what NewService gives the service; nil discards everything.
	Logger *slog.Logger
	// AuditDir is where the trail lies.
	AuditDir string
	// Registry has the metrics of Service.
	Registry *prometheus.Registry

	// Fault runs before a command is applied, where it is set: it may change the
	// state through Apply, and an error of it is Propose's. Lost runs after the
	// command was applied: its error is Propose's.
	Fault, Lost func(fsm.Command) error
	// Down is what View returns instead of a view.
	Down error
	// Shut is what Settle returns, where it is set.
	Shut func(index uint64) error
	// Clocks is what Passed returns, where it is set; otherwise the Solo's time.
	Clocks func() (t time.Time, ok bool)

	mu    sync.Mutex // guards index
	index uint64
	now   atomic.Int64 // milliseconds since 1970
}

// Trail is an audit log that can be made to fail.
type Trail struct {
	*audit.Log
	// Fault runs before a record is appended, where it is set: its error is
	// Append's. Sick is what Healthy returns, where it is set.
	Fault func(*audit.Record) error
	Sick  error
}

// Append appends the record.
func (l *Trail) Append(ctx context.Context, r *audit.Record) error {
	if l.Fault != nil {
		if err := l.Fault(r); err != nil {
			return err
		}
	}
	return l.Log.Append(ctx, r)
}

// Healthy returns nil while records can be written.
func (l *Trail) Healthy() error {
	if l.Sick != nil {
		return l.Sick
	}
	return l.Log.Healthy()
}

// Start returns a Solo with both accounts and AWS's quotas.
func Start(t testing.TB) *Solo {
	t.Helper()
	return StartWith(t, nil)
}

// StartWith is Start with other replicated settings.
func StartWith(t testing.TB, config *fsm.Config) *Solo {
	t.Helper()
	s := &Solo{Machine: fsm.New(), Member: &Member{}, AuditDir: t.TempDir(), Registry: prometheus.NewRegistry()}
	s.now.Store(Began.UnixMilli())
	s.Keyring = crypto.NewKeyring(ClusterID, crypto.NewRoot())
	wrapped, err := s.Keyring.NewTerm(1)
	check(t, err)
	check(t, s.Keyring.Load(map[uint32][]byte{1: wrapped}))
	s.genesis(t, wrapped, config)
	trail, err := audit.Open(audit.Config{Dir: s.AuditDir, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	s.Trail = &Trail{Log: trail}
	t.Cleanup(func() { _ = trail.Close() })
	s.Service = s.NewServiceWith(func(c *service.Config) { c.Registerer = s.Registry })
	return s
}

// NewService returns another service on the same state and trail, as the process
// of a new leader has it.
func (s *Solo) NewService() *service.Service { return s.NewServiceWith(func(*service.Config) {}) }

// NewServiceWith is NewService with other settings.
func (s *Solo) NewServiceWith(change func(*service.Config)) *service.Service {
	kmsConfig := kmsapi.Config{Keyring: s.Keyring, Materials: crypto.NewMaterialCache(1000)}
	rows := slices.Concat(
		kmsapi.Rows(kmsConfig),
		iamapi.Rows(iamapi.Config{Keyring: s.Keyring}),
		adminapi.Rows(adminapi.Config{Node: s.Member, Keyring: s.Keyring}),
	)
	logger := s.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	cfg := service.Config{
		Cluster: s, Keys: s.Keyring, Trail: s.Trail, Rows: rows, Due: kmsapi.Due(kmsConfig), Managed: kmsapi.Managed(kmsConfig), Logger: logger, Now: s.Now,
	}
	change(&cfg)
	return service.New(cfg)
}

// Now returns the Solo's time, which stands still.
func (s *Solo) Now() time.Time { return time.UnixMilli(s.now.Load()).UTC() }

// Advance moves the Solo's time.
func (s *Solo) Advance(d time.Duration) { s.now.Add(d.Milliseconds()) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Solo) genesis(t testing.TB, wrapped []byte, config *fsm.Config) {
	g := fsm.Genesis{ClusterID: ClusterID, ClusterVersion: 1, OperatorAccount: Account, Config: config,
		Keyring: []fsm.KeyringTerm{{Term: 1, Wrapped: wrapped}}}
	for account, id := range map[string]string{Account: AccessKey, OtherAccount: OtherKey} {
		secret, err := s.Keyring.Seal(service.SecretPurpose, id, []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
		check(t, err)
		g.Accounts = append(g.Accounts, fsm.Account{ID: account, Status: fsm.StatusActive})
		g.AccessKeys = append(g.AccessKeys, fsm.AccessKey{ID: id, Account: account, Type: kms.PrincipalRoot, UniqueID: account, Status: fsm.StatusActive, Secret: secret})
	}
	s.Apply(t, g)
}

// Apply applies a command behind the service's back. A refusal fails the test.
func (s *Solo) Apply(t testing.TB, args fsm.Args) uint64 {
	t.Helper()
	return s.ApplyMeta(t, fsm.Meta{Time: s.now.Load()}, args)
}

// ApplyMeta is Apply with the command's first part.
func (s *Solo) ApplyMeta(t testing.TB, meta fsm.Meta, args fsm.Args) uint64 {
	t.Helper()
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, meta, args)
	check(t, err)
	result, index := s.apply(cmd)
	if result.Err != nil || result.Fatal != nil || result.Conflict {
		t.Fatalf("applying %T: %+v", args, result)
	}
	return index
}

// ApplyAll is Apply for n commands, with one state for all of them.
func (s *Solo) ApplyAll(t testing.TB, n int, args func(i int) fsm.Args) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	indexes, cmds := make([]uint64, n), make([]fsm.Command, n)
	for i := range n {
		var err error
		cmds[i], err = fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: s.now.Load()}, args(i))
		check(t, err)
		s.index++
		indexes[i] = s.index
	}
	for _, result := range s.Machine.ApplyBatch(indexes, cmds) {
		if result.Err != nil || result.Fatal != nil || result.Conflict {
			t.Fatalf("applying %d commands: %+v", n, result)
		}
	}
}

func (s *Solo) apply(cmd fsm.Command) (fsm.Result, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index++
	return s.Machine.Apply(s.index, cmd), s.index
}

// Propose applies the command.
func (s *Solo) Propose(_ context.Context, cmd fsm.Command) (fsm.Result, uint64, error) {
	if s.Fault != nil {
		if err := s.Fault(cmd); err != nil {
			return fsm.Result{}, 0, err
		}
	}
	result, index := s.apply(cmd)
	if s.Lost != nil {
		if err := s.Lost(cmd); err != nil {
			return fsm.Result{}, 0, err
		}
	}
	if result.Fatal != nil {
		return fsm.Result{}, 0, errors.Join(kms.ErrOutcomeUnknown, result.Fatal)
	}
	return result, index, nil
}

// Forwards is how often Forward tries.
const Forwards = 3

// Forward executes the call here, again while the outcome is open.
func (s *Solo) Forward(ctx context.Context, call []byte) (reply []byte, err error) {
	unknown := false
	for range Forwards {
		reply, _, err = s.Service.Execute(ctx, call)
		switch {
		case err == nil:
			return reply, nil
		case errors.Is(err, kms.ErrOutcomeUnknown):
			unknown = true
		case !errors.Is(err, kms.ErrNotLeader) && !errors.Is(err, kms.ErrUnavailable):
			return nil, err
		}
	}
	if unknown {
		return nil, kms.ErrOutcomeUnknown
	}
	return nil, kms.ErrUnavailable
}

// View returns the state, unless the Solo is down.
func (s *Solo) View(context.Context) (*fsm.View, error) {
	if s.Down != nil {
		return nil, s.Down
	}
	return s.Machine.View(), nil
}

// Settle returns at once: a single state is what every node serves.
func (s *Solo) Settle(_ context.Context, index uint64) error {
	if s.Shut != nil {
		return s.Shut(index)
	}
	return nil
}

// Ready returns nil unless the Solo is down.
func (s *Solo) Ready() error { return s.Down }

// Passed returns the Solo's time, which is every clock's.
func (s *Solo) Passed() (time.Time, bool) {
	if s.Clocks != nil {
		return s.Clocks()
	}
	return s.Now(), true
}
