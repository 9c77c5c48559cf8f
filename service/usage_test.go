package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// callOn runs a call on a service, which need not be the Solo's own.
func callOn(t *testing.T, s *testkit.Solo, on *service.Service, op string, body obj) testkit.Answer {
	t.Helper()
	session := must[*service.Session](t)(on.Open(context.Background()))
	_, principal, _ := session.Secret(testkit.AccessKey, "")
	a := s.In(session, principal, testkit.Root, "kms", op, string(must[[]byte](t)(json.Marshal(body))))
	if wantCode(t, a, ""); len(a.Raw) > 0 {
		must[struct{}](t)(struct{}{}, json.Unmarshal(a.Raw, &a.Body))
	}
	return a
}

func encryptOn(t *testing.T, s *testkit.Solo, on *service.Service, key string) testkit.Answer {
	t.Helper()
	return callOn(t, s, on, "Encrypt", obj{"KeyId": key, "Plaintext": "aGVsbG8="})
}

// wantLast checks which request a service shows as the key's last use; the zero
// answer stands for none.
func wantLast(t *testing.T, s *testkit.Solo, on *service.Service, key string, want testkit.Answer) {
	t.Helper()
	last := callOn(t, s, on, "GetKeyLastUsage", obj{"KeyId": key}).Body["KeyLastUsage"].(obj)
	if got, _ := last["KmsRequestId"].(string); got != want.RequestID {
		t.Errorf("the last use is of request %q, want %q", got, want.RequestID)
	}
}

// usages counts how many uses each RecordUsage brings, from now on. fate, where it
// is set, decides what becomes of the proposal.
type usages struct {
	pieces []int
	fate   error
}

func watchUsages(t *testing.T, s *testkit.Solo) *usages {
	u := &usages{}
	s.Fault = func(cmd fsm.Command) error {
		if cmd.Type != fsm.TypeRecordUsage {
			return nil
		}
		if u.fate == nil {
			u.pieces = append(u.pieces, usagesIn(t, cmd))
		}
		return u.fate
	}
	return u
}

// usagesIn counts the entries of a command, whose body is [meta, {1: entries}].
func usagesIn(t *testing.T, cmd fsm.Command) int {
	t.Helper()
	var body struct {
		_    struct{} `cbor:",toarray"`
		Meta cbor.RawMessage
		Args struct {
			Entries []cbor.RawMessage `cbor:"1,keyasint"`
		}
	}
	must[struct{}](t)(struct{}{}, cbor.Unmarshal(cmd.Body, &body))
	return len(body.Args.Entries)
}

// gather lets a node work for some rounds.
func gather(on *service.Service, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	on.GatherUsage(ctx)
}

// A node shows at once what it served itself. The others see it after a minute, by
// one command; without new uses there is none.
func TestUsageReachesTheState(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		other := s.NewService()
		key, idle := s.NewKey(t), s.NewKey(t)
		u := watchUsages(t, s)
		used := encryptOn(t, s, s.Service, key)
		wantLast(t, s, s.Service, key, used)
		wantLast(t, s, other, key, testkit.Answer{})
		gather(s.Service, 59*time.Second)
		wantSame(t, len(u.pieces), 0)
		gather(s.Service, 61*time.Second)
		wantLast(t, s, other, key, used)
		wantLast(t, s, other, idle, testkit.Answer{})
		gather(s.Service, 10*time.Minute)
		wantSame(t, u.pieces, []int{1})
		if n := s.Service.HeldUses(); n != 0 {
			t.Errorf("%d uses are held that the state knows", n)
		}
		for range 100 {
			s.Advance(time.Second)
			used = encryptOn(t, s, s.Service, key)
		}
		gather(s.Service, 10*time.Minute)
		wantSame(t, u.pieces, []int{1, 1})
		wantLast(t, s, other, key, used)
	})
}

// Followers hand what they hold to the leader, which brings it in with its own.
func TestUsageOfFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		followers := []*service.Service{s.NewService(), s.NewService()}
		keys := []string{s.NewKey(t), s.NewKey(t), s.NewKey(t)}
		u := watchUsages(t, s)
		early := encryptOn(t, s, s.Service, keys[0])
		s.Advance(time.Second)
		uses := []testkit.Answer{encryptOn(t, s, followers[0], keys[0]), encryptOn(t, s, followers[0], keys[1]), encryptOn(t, s, followers[1], keys[2])}
		wantLast(t, s, s.Service, keys[0], early)
		round := func() {
			u.fate = kms.ErrNotLeader
			for _, f := range followers {
				gather(f, 61*time.Second)
			}
			u.fate = nil
			gather(s.Service, 61*time.Second)
		}
		round()
		wantSame(t, u.pieces, []int{3})
		for _, on := range append(followers, s.Service) {
			for i, key := range keys {
				wantLast(t, s, on, key, uses[i])
			}
		}
		round()
		round()
		wantSame(t, u.pieces, []int{3})
		for _, on := range append(followers, s.Service) {
			if n := on.HeldUses(); n != 0 {
				t.Errorf("%d uses are held that the state knows", n)
			}
		}
	})
}

// The leader that took a follower's uses dies with them: the next one gets them
// again. One that lost its term hands on what it had taken.
func TestUsageSurvivesLeaders(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := testkit.Start(t)
			first, second, follower := s.Service, s.NewService(), s.NewService()
			key := s.NewKey(t)
			u := watchUsages(t, s)
			used := encryptOn(t, s, follower, key)
			u.fate = kms.ErrNotLeader
			gather(follower, 61*time.Second)
			wantLast(t, s, first, key, used)
			s.Service = second
			if dies {
				gather(follower, 61*time.Second)
			} else {
				gather(first, 61*time.Second)
			}
			wantLast(t, s, second, key, used)
			u.fate = nil
			gather(second, 61*time.Second)
			wantSame(t, u.pieces, []int{1})
			wantLast(t, s, s.NewService(), key, used)
		})
	}
}

// What could not be proposed is proposed by the next round; what was proposed
// without an answer is not when the state shows it.
func TestUsageIsSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		u := watchUsages(t, s)
		used := encryptOn(t, s, s.Service, key)
		u.fate = kms.ErrUnavailable
		gather(s.Service, 3*time.Minute)
		s.Down = kms.ErrUnavailable
		gather(s.Service, 3*time.Minute)
		s.Down, u.fate = nil, nil
		wantSame(t, len(u.pieces), 0)
		s.Lost = func(fsm.Command) error { return kms.ErrOutcomeUnknown }
		gather(s.Service, 5*time.Minute)
		wantSame(t, u.pieces, []int{1})
		wantLast(t, s, s.NewService(), key, used)
	})
}

// More uses than a command carries make several, each key in one of them.
func TestUsageInPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		const keys = 2*fsm.MaxUsages + 5
		uses := map[string]testkit.Answer{}
		for range keys {
			key := s.NewKey(t)
			uses[key] = encryptOn(t, s, s.Service, key)
		}
		other := s.NewService()
		u := watchUsages(t, s)
		gather(s.Service, 3*time.Minute)
		wantSame(t, u.pieces, []int{fsm.MaxUsages, fsm.MaxUsages, 5})
		for key, used := range uses {
			wantLast(t, s, other, key, used)
		}
	})
}

// A deleted key's use is not held for ever, nor brought in.
func TestUsageOfDeletedKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		encryptOn(t, s, s.Service, key)
		s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7})
		waiting, _ := s.Machine.View().Key(testkit.Region, key)
		s.Advance(7*24*time.Hour + 2*time.Hour)
		s.Apply(t, fsm.DeleteKey{Account: testkit.Account, Region: testkit.Region, KeyID: key, DeletionDate: waiting.DeletionDate})
		u := watchUsages(t, s)
		gather(s.Service, 61*time.Second)
		if n := s.Service.HeldUses(); n != 0 || len(u.pieces) != 0 {
			t.Errorf("%d uses are held, %d commands were proposed", n, len(u.pieces))
		}
	})
}

// A command with uses carries along which audit records are durable, as others do.
func TestUsagePrunes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		encryptOn(t, s, s.Service, s.NewKey(t))
		wantSame(t, len(pending(t, s)), 1)
		gather(s.Service, 61*time.Second)
		wantSame(t, len(pending(t, s)), 0)
	})
}

// A node that stops does not wait for the end of the round: a leader proposes, a
// follower hands over.
func TestHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		follower := s.NewService()
		keys := []string{s.NewKey(t), s.NewKey(t)}
		u := watchUsages(t, s)
		uses := []testkit.Answer{encryptOn(t, s, follower, keys[0]), encryptOn(t, s, s.Service, keys[1])}
		u.fate = kms.ErrNotLeader
		follower.HandOver(context.Background())
		u.fate = nil
		s.Service.HandOver(context.Background())
		wantSame(t, u.pieces, []int{2})
		next := s.NewService()
		for i, key := range keys {
			wantLast(t, s, next, key, uses[i])
		}
		s.Service.HandOver(context.Background())
		wantSame(t, u.pieces, []int{2})
	})
}

// deaf is a follower whose leader does not answer.
type deaf struct{ *testkit.Solo }

func (deaf) Propose(context.Context, fsm.Command) (fsm.Result, uint64, error) {
	return fsm.Result{}, 0, kms.ErrNotLeader
}

func (deaf) Forward(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, kms.ErrUnavailable
}

// A node that stops does not wait long for a cluster that does not answer, and not
// at all with nothing to hand over.
func TestHandOverIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		node := service.New(service.Config{Cluster: deaf{s}, Keys: s.Keyring, Trail: s.Trail, Logger: slog.New(slog.DiscardHandler), Now: s.Now})
		began := time.Now()
		node.HandOver(context.Background())
		wantSame(t, time.Since(began), time.Duration(0))
		use := fsm.Usage{Region: testkit.Region, KeyID: key, Operation: "Sign", Time: 5, EventID: "event", RequestID: "request"}
		must[[]byte](t)(executeUses(node, use))
		node.HandOver(context.Background())
		wantSame(t, time.Since(began), time.Second)
	})
}

// executeUses hands uses to a node as another one does.
func executeUses(on *service.Service, uses ...fsm.Usage) ([]byte, error) {
	reply, _, err := on.Execute(context.Background(), service.ForwardedUses(uses))
	return reply, err
}

// What is malformed of a member's uses holds up none of the others, and what comes
// twice counts once.
func TestExecuteUses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	good := fsm.Usage{Region: testkit.Region, KeyID: key, Operation: "Sign", Time: 5, EventID: "event", RequestID: "request"}
	bad := good
	bad.Region = "nowhere"
	for range 2 {
		if reply := must[[]byte](t)(executeUses(s.Service, bad, good)); len(reply) != 0 {
			t.Errorf("the reply is %q", reply)
		}
	}
	wantSame(t, s.Service.HeldUses(), 1)
	wantLast(t, s, s.Service, key, testkit.Answer{RequestID: "request"})
	torn := append(service.ForwardedUses([]fsm.Usage{good}), 0)
	if _, _, err := s.Service.Execute(context.Background(), torn); !errors.Is(err, kms.ErrNotLeader) {
		t.Errorf("trailing bytes: %v", err)
	}
}
