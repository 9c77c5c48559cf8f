// Package testkit is for tests: a service on a state machine of its own, without
// a cluster around it. Nothing of it is part of the product.
package testkit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
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

// Solo is one state machine that answers as a cluster of one.
type Solo struct {
	Machine *fsm.Machine
	Keyring *crypto.Keyring
	Service *service.Service
	Trail   *audit.Log
	// AuditDir is where the trail lies.
	AuditDir string

	// Fault runs before a command is applied, where it is set: it may change the
	// state through Apply, and an error of it is Propose's. Lost runs after the
	// command was applied: its error is Propose's.
	Fault, Lost func(fsm.Command) error
	// Down is what View returns instead of a view.
	Down error
	// Settled collects the indexes that answers waited for.
	Settled []uint64

	mu    sync.Mutex // guards index and Settled
	index uint64
	now   time.Time
}

// Start returns a Solo with both accounts.
func Start(t testing.TB) *Solo {
	t.Helper()
	s := &Solo{Machine: fsm.New(), AuditDir: t.TempDir(), now: time.Date(2026, 11, 24, 12, 0, 0, 345e6, time.UTC)}
	s.Keyring = crypto.NewKeyring(ClusterID, crypto.NewRoot())
	wrapped, err := s.Keyring.NewTerm(1)
	check(t, err)
	check(t, s.Keyring.Load(map[uint32][]byte{1: wrapped}))
	s.genesis(t, wrapped)
	s.Trail, err = audit.Open(audit.Config{Dir: s.AuditDir, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	t.Cleanup(func() { _ = s.Trail.Close() })
	rows := append(kmsapi.Rows(kmsapi.Config{Keyring: s.Keyring, Materials: crypto.NewMaterialCache(1000)}), iamapi.Rows()...)
	s.Service = service.New(service.Config{
		Cluster: s, Keys: s.Keyring, Trail: s.Trail, Rows: rows, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return s.now },
	})
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Solo) genesis(t testing.TB, wrapped []byte) {
	g := fsm.Genesis{ClusterID: ClusterID, ClusterVersion: 1, OperatorAccount: Account, Keyring: []fsm.KeyringTerm{{Term: 1, Wrapped: wrapped}}}
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
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: s.now.UnixMilli()}, args)
	check(t, err)
	result, index := s.apply(cmd)
	if result.Err != nil || result.Fatal != nil || result.Conflict {
		t.Fatalf("applying %T: %+v", args, result)
	}
	return index
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
	return result, index, result.Fatal
}

// forwards is how often Forward tries.
const forwards = 3

// Forward executes the call here, again while the outcome is open.
func (s *Solo) Forward(ctx context.Context, call []byte) (reply []byte, err error) {
	unknown := false
	for range forwards {
		reply, _, err = s.Service.Execute(ctx, call)
		unknown = unknown || errors.Is(err, kms.ErrOutcomeUnknown)
		if err == nil {
			return reply, nil
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

// Settle notes what it was asked to wait for.
func (s *Solo) Settle(_ context.Context, index uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Settled = append(s.Settled, index)
	return nil
}
