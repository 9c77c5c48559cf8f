package service_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

const (
	day = 24 * time.Hour
	// look is longer than a leader waits between two looks at what is due.
	look = 61 * time.Second
)

// leads lets a service do a leader's work in a new term until it is stopped.
func leads(t *testing.T, s *testkit.Solo, by *service.Service) (stop func()) {
	t.Helper()
	opened := s.Apply(t, fsm.LeaderOpen{Term: 2, NodeID: "leader"})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		by.Lead(ctx, opened)
	}()
	return func() {
		cancel()
		<-done
	}
}

// pass moves the clocks, and lets the leader look at what is due then.
func pass(s *testkit.Solo, d time.Duration) {
	s.Advance(d)
	time.Sleep(look)
	synctest.Wait()
}

func key(t testing.TB, s *testkit.Solo, id string) *fsm.Key {
	t.Helper()
	k, ok := s.Machine.View().Key(testkit.Region, id)
	if !ok {
		t.Fatalf("no key %s", id)
	}
	return k
}

// generations are the ids of a key's materials, the oldest first.
func generations(t testing.TB, s *testkit.Solo, id string) (ids []string) {
	t.Helper()
	list, _ := s.Machine.View().Materials(id, 0, 1000)
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

// plainKeys makes many keys behind the service's back. Their material is nobody's.
func plainKeys(t testing.TB, s *testkit.Solo, n int) []string {
	t.Helper()
	const policy = "{}"
	ids := make([]string, n)
	for i := range ids {
		ids[i] = service.NewUUID()
		material := fmt.Sprintf("%064x", i)
		s.Apply(t, fsm.CreateKey{
			Key: fsm.Key{
				Account: testkit.Account, Region: testkit.Region, ID: ids[i], Spec: kms.SymmetricDefault, Usage: kms.EncryptDecrypt,
				Origin: kms.OriginKMS, Manager: kms.ManagerCustomer, State: kms.Enabled,
				PolicyHash: sha256.Sum256([]byte(policy)), CurrentMaterial: material,
			},
			Material: &fsm.Material{KeyID: ids[i], ID: material, Sealed: []byte{1}},
			Policy:   policy,
		})
	}
	return ids
}

func rotateEvery(t testing.TB, s *testkit.Solo, id string, days uint16) {
	t.Helper()
	s.Apply(t, fsm.SetKeyRotation{Account: testkit.Account, Region: testkit.Region, KeyID: id, Period: days})
}

func rotateOnDemand(t testing.TB, s *testkit.Solo, id string) {
	t.Helper()
	s.Apply(t, fsm.RotateKeyOnDemand{Account: testkit.Account, Region: testkit.Region, KeyID: id})
}

// scheduleDeletion returns the date.
func scheduleDeletion(t testing.TB, s *testkit.Solo, id string) time.Time {
	t.Helper()
	date := s.Now().Add(7 * day)
	s.Apply(t, fsm.ScheduleKeyDeletion{Account: testkit.Account, Region: testkit.Region, KeyID: id, Window: 7, DeletionDate: date.UnixMilli()})
	return date
}

func cancelDeletion(id string) fsm.CancelKeyDeletion {
	return fsm.CancelKeyDeletion{Account: testkit.Account, Region: testkit.Region, KeyID: id}
}

// Over ten years each period's rotations happen on their days, whatever the hour at
// which the leader comes to look, and none of them moves the ones after it.
func TestRotationsOnTheDayForYears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		periods := []uint16{90, 365, 2560}
		var ids []string
		for _, days := range periods {
			ids = append(ids, s.NewKey(t))
			rotateEvery(t, s, ids[len(ids)-1], days)
		}
		blob := s.NewBlob(t, ids[0])
		began := s.Now()
		stop := leads(t, s, s.Service)
		for today := 1; today <= 3653; today++ {
			// At different hours of the days, from a minute after midnight to the evening.
			late := time.Minute + time.Duration(today%20)*time.Hour
			pass(s, began.Add(time.Duration(today)*day+late).Sub(s.Now()))
			for i, days := range periods {
				if got, want := len(generations(t, s, ids[i])), 1+today/int(days); got != want {
					t.Fatalf("day %d: the key that rotates every %d days has %d materials, want %d", today, days, got, want)
				}
				next := began.Add(time.Duration(1+today/int(days)) * time.Duration(days) * day)
				if got := key(t, s, ids[i]).NextRotation; got != next.UnixMilli() {
					t.Fatalf("day %d: every %d days: the next rotation is due %v, want %v", today, days, time.UnixMilli(got).UTC(), next)
				}
			}
		}
		stop()
		for i, n := range []int{40, 10, 1} {
			wantRotations(t, s, ids[i], n, "AUTOMATIC")
		}
		plain := s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})
		if plain["KeyMaterialId"] != generations(t, s, ids[0])[0] {
			t.Error("what the first material encrypted was decrypted with another")
		}
	})
}

// wantRotations checks that a key was rotated n times, that each has one record, and
// that the records tell the same story as the state.
func wantRotations(t *testing.T, s *testkit.Solo, id string, n int, kind string) {
	t.Helper()
	materials := generations(t, s, id)
	if len(materials) != n+1 {
		t.Errorf("%d rotations, want %d", len(materials)-1, n)
		return
	}
	seen := map[any]bool{}
	rotation := 0
	for _, rec := range s.Events(t, "RotateKey") {
		details := rec["serviceEventDetails"].(obj)
		if details["keyId"] != id || seen[rec["eventID"]] {
			continue
		}
		seen[rec["eventID"]] = true
		if rotation++; rotation > n {
			break
		}
		wantSame(t, details, obj{"rotationType": kind, "keyOrigin": "AWS_KMS", "keyId": id,
			"previousKeyMaterialId": materials[rotation-1], "currentKeyMaterialId": materials[rotation]})
	}
	if rotation != n {
		t.Errorf("%d events, want %d", rotation, n)
	}
	for _, rec := range s.Events(t, "RotateKey") {
		if rec["errorCode"] != nil {
			t.Errorf("a refusal was recorded: %v", rec)
		}
	}
	if current := key(t, s, id).CurrentMaterial; current != materials[n] {
		t.Errorf("the current material is not the newest")
	}
}

// The record of a rotation, member by member, and the new material in use.
func TestRotationRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := s.NewKey(t)
		rotateEvery(t, s, id, 90)
		stop := leads(t, s, s.Service)
		pass(s, 90*day-time.Millisecond)
		wantRotations(t, s, id, 0, "")
		pass(s, time.Millisecond)
		stop()
		wantRotations(t, s, id, 1, "AUTOMATIC")
		rec := s.Events(t, "RotateKey")[0]
		for _, varies := range []string{"eventID", "serviceEventDetails", "kmsd"} {
			delete(rec, varies)
		}
		wantSame(t, rec, obj{
			"eventVersion": "1.11", "userIdentity": obj{"accountId": "111122223333", "invokedBy": "AWS Internal"},
			"eventTime": "2027-02-22T12:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "RotateKey", "awsRegion": "us-east-1",
			"sourceIPAddress": "AWS Internal", "userAgent": "AWS Internal", "requestParameters": nil, "responseElements": nil,
			"readOnly": false, "eventType": "AwsServiceEvent", "managementEvent": true, "recipientAccountId": "111122223333",
			"resources":     []any{obj{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": testkit.ARN(id)}},
			"eventCategory": "Management",
		})
		blob := s.Must(t, "Encrypt", obj{"KeyId": id, "Plaintext": "AA=="})["CiphertextBlob"]
		if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})["KeyMaterialId"]; got != generations(t, s, id)[1] {
			t.Error("the new material does not encrypt")
		}
	})
}

// A rotation that was missed while the key was disabled happens when it is enabled,
// without waiting for the next look, and the schedule begins anew.
func TestMissedRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := s.NewKey(t)
		rotateEvery(t, s, id, 90)
		s.Must(t, "DisableKey", obj{"KeyId": id})
		defer leads(t, s, s.Service)()
		pass(s, 300*day)
		wantRotations(t, s, id, 0, "")
		s.Must(t, "EnableKey", obj{"KeyId": id})
		time.Sleep(time.Second)
		synctest.Wait()
		wantRotations(t, s, id, 1, "AUTOMATIC")
		if got, want := key(t, s, id).NextRotation, s.Now().Add(90*day).UnixMilli(); got != want {
			t.Errorf("the next rotation is due at %d, want %d", got, want)
		}
		// One that is not overdue when the key is enabled keeps its day.
		s.Must(t, "DisableKey", obj{"KeyId": id})
		pass(s, 89*day)
		s.Must(t, "EnableKey", obj{"KeyId": id})
		pass(s, day-time.Millisecond)
		wantRotations(t, s, id, 1, "AUTOMATIC")
		pass(s, time.Millisecond)
		wantRotations(t, s, id, 2, "AUTOMATIC")
	})
}

// A rotation that a client asks for is done at once, also while the majority's clocks
// are behind this node's, and once.
func TestRotationOnDemand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		s.Clocks = func() (time.Time, bool) { return s.Now().Add(-time.Minute), true }
		id := s.NewKey(t)
		stop := leads(t, s, s.Service)
		for n := 1; n <= 25; n++ {
			s.Must(t, "RotateKeyOnDemand", obj{"KeyId": id})
			time.Sleep(time.Second)
			synctest.Wait()
			wantRotations(t, s, id, n, "ON_DEMAND")
		}
		stop()
		status := s.Must(t, "GetKeyRotationStatus", obj{"KeyId": id})
		wantSame(t, status, obj{"KeyId": id, "KeyRotationEnabled": false})
		list := s.Must(t, "ListKeyRotations", obj{"KeyId": id})["Rotations"].([]any)
		if len(list) != 25 {
			t.Errorf("%d rotations are listed", len(list))
		}
	})
}

// While the members' clocks are not known, what was asked for is done, and nothing
// that has a date.
func TestClocksNotKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		known := false
		s.Clocks = func() (time.Time, bool) { return s.Now(), known }
		asked, scheduled, ending := s.NewKey(t), s.NewKey(t), s.NewKey(t)
		rotateEvery(t, s, scheduled, 90)
		scheduleDeletion(t, s, ending)
		s.Advance(400 * day)
		rotateOnDemand(t, s, asked)
		stop := leads(t, s, s.Service)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		wantRotations(t, s, asked, 1, "ON_DEMAND")
		wantRotations(t, s, scheduled, 0, "")
		wantSame(t, stateOf(t, s, ending), kms.PendingDeletion)
		stop()
		known = true
		defer leads(t, s, s.Service)()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantRotations(t, s, scheduled, 1, "AUTOMATIC")
		if n := len(s.Events(t, "DeleteKey")); n != 1 {
			t.Errorf("%d deletions, want 1", n)
		}
	})
}

// The leader's clock is a year ahead, and too few others are known for it to notice:
// what it does by the majority's clocks gets their time, too.
func TestDueWorkCarriesTheMajoritysTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := s.NewKey(t)
		rotateEvery(t, s, id, 90)
		first := key(t, s, id).NextRotation
		due := s.Now().Add(90 * day)
		s.Clocks = func() (time.Time, bool) { return due.Add(time.Second), true }
		s.Advance(365 * day)
		stop := leads(t, s, s.Service)
		pass(s, 0)
		stop()
		wantRotations(t, s, id, 1, "AUTOMATIC")
		if got, want := key(t, s, id).NextRotation, first+(90*day).Milliseconds(); got != want {
			t.Errorf("the next rotation is due at %d, want %d", got, want)
		}
		list, _ := s.Machine.View().Materials(id, 1, 1)
		if got := list[0].Rotated; got != due.Add(time.Second).UnixMilli() {
			t.Errorf("rotated at %d", got)
		}
		wantSame(t, s.Events(t, "RotateKey")[0]["eventTime"], any(due.Add(time.Second).Format("2006-01-02T15:04:05Z")))
	})
}

// A key goes an hour after its date by the clocks of a majority and of the leader,
// and not before, whichever of the two is ahead.
func TestDeletionIsNotEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := s.NewKey(t)
		s.NewAlias(t, "alias/app", id)
		date := scheduleDeletion(t, s, id)
		var majority atomic.Int64
		majority.Store(s.Now().UnixMilli())
		s.Clocks = func() (time.Time, bool) { return time.UnixMilli(majority.Load()), true }
		var proposed atomic.Int64
		s.Fault = func(cmd fsm.Command) error {
			if cmd.Type == fsm.TypeDeleteKey {
				proposed.Add(1)
			}
			return nil
		}
		stop := leads(t, s, s.Service)
		pass(s, 365*day) // the leader's clock alone
		s.Advance(-365 * day)
		majority.Add((365 * day).Milliseconds()) // the majority's alone
		pass(s, 0)
		end := date.Add(time.Hour)
		majority.Store(end.UnixMilli() - 1)
		pass(s, end.Sub(s.Now())-time.Millisecond)
		wantSame(t, stateOf(t, s, id), kms.PendingDeletion)
		if n := proposed.Load(); n != 0 {
			t.Errorf("%d deletions were proposed early", n)
		}
		majority.Add(1)
		pass(s, time.Millisecond)
		if _, ok := s.Machine.View().Key(testkit.Region, id); ok || proposed.Load() != 1 {
			t.Errorf("an hour after its date the key is there: %v; %d deletions were proposed", ok, proposed.Load())
		}
		stop()
		stop = leads(t, s, s.NewService())
		majority.Add((365 * day).Milliseconds())
		pass(s, 365*day)
		stop()
		wantDeleted(t, s, id, end)
		if n := proposed.Load(); n != 1 {
			t.Errorf("%d deletions were proposed", n)
		}
		a := s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": id})
		wantAnswer(t, a, "NotFoundException", "Key '"+testkit.ARN(id)+"' does not exist")
	})
}

// wantDeleted checks that there is one record of a key's deletion.
func wantDeleted(t *testing.T, s *testkit.Solo, id string, at time.Time) {
	t.Helper()
	recs := s.Events(t, "DeleteKey")
	if len(recs) != 1 {
		t.Fatalf("%d records of deletions, want 1", len(recs))
	}
	wantSame(t, recs[0]["serviceEventDetails"], any(obj{"keyId": id}))
	wantSame(t, recs[0]["resources"], any([]any{obj{"accountId": testkit.Account, "type": "AWS::KMS::Key", "ARN": testkit.ARN(id)}}))
	wantSame(t, recs[0]["eventTime"], any(at.Format("2006-01-02T15:04:05Z")))
	wantSame(t, recs[0]["recipientAccountId"], any(testkit.Account))
	wantSame(t, recs[0]["errorCode"], nil)
}

// Between the leader's decision and its command a key is cancelled, disabled or
// scheduled anew: nothing happens to it and nothing is recorded.
func TestKeyChangesUnderTheDecision(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		decided fsm.Type
		change  func(t *testing.T, s *testkit.Solo, id string)
		state   kms.KeyState
	}{
		"cancelled":                 {fsm.TypeDeleteKey, func(t *testing.T, s *testkit.Solo, id string) { s.Apply(t, cancelDeletion(id)) }, kms.Disabled},
		"cancelled and scheduled":   {fsm.TypeDeleteKey, cancelAndSchedule, kms.PendingDeletion},
		"disabled":                  {fsm.TypeRotateKey, disable, kms.Disabled},
		"rotation scheduled anew":   {fsm.TypeRotateKey, func(t *testing.T, s *testkit.Solo, id string) { rotateEvery(t, s, id, 90) }, kms.Enabled},
		"rotation ended":            {fsm.TypeRotateKey, func(t *testing.T, s *testkit.Solo, id string) { rotateEvery(t, s, id, 0) }, kms.Enabled},
		"scheduled to be deleted":   {fsm.TypeRotateKey, func(t *testing.T, s *testkit.Solo, id string) { scheduleDeletion(t, s, id) }, kms.PendingDeletion},
		"deleted by another leader": {fsm.TypeDeleteKey, deleteNow, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := testkit.Start(t)
				id := s.NewKey(t)
				if row.decided == fsm.TypeDeleteKey {
					scheduleDeletion(t, s, id)
				} else {
					rotateEvery(t, s, id, 90)
				}
				decided := 0
				s.Fault = func(cmd fsm.Command) error {
					if cmd.Type == row.decided {
						decided++
						row.change(t, s, id)
					}
					return nil
				}
				defer leads(t, s, s.Service)()
				pass(s, 90*day)
				if decided != 1 {
					t.Fatalf("decided %d times, want once", decided)
				}
				if row.state != "" {
					wantSame(t, stateOf(t, s, id), row.state)
					wantRotations(t, s, id, 0, "")
				}
				if n := len(s.Events(t, "RotateKey")) + len(s.Events(t, "DeleteKey")); n != 0 {
					t.Errorf("%d events were recorded", n)
				}
			})
		})
	}
}

func disable(t *testing.T, s *testkit.Solo, id string) {
	s.Apply(t, fsm.SetKeyState{Account: testkit.Account, Region: testkit.Region, KeyID: id})
}

func cancelAndSchedule(t *testing.T, s *testkit.Solo, id string) {
	s.Apply(t, cancelDeletion(id))
	scheduleDeletion(t, s, id)
}

func deleteNow(t *testing.T, s *testkit.Solo, id string) {
	s.Apply(t, fsm.DeleteKey{Account: testkit.Account, Region: testkit.Region, KeyID: id, DeletionDate: key(t, s, id).DeletionDate})
}

// A leader dies between the command and its record: the next one writes the record,
// under the same event id, and does nothing twice.
func TestLeaderDiesBeforeTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		rotating, ending := s.NewKey(t), s.NewKey(t)
		rotateEvery(t, s, rotating, 90)
		date := scheduleDeletion(t, s, ending)
		s.Prune(t)
		s.Trail.Fault = func(*audit.Record) error { return errBroken }
		s.Advance(90 * day)
		stop := leads(t, s, s.Service)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if len(s.Events(t, "RotateKey"))+len(s.Events(t, "DeleteKey")) != 0 {
			t.Fatal("recorded")
		}
		left := pending(t, s)
		if len(left) != 2 {
			t.Fatalf("%d records are pending, want 2", len(left))
		}
		s.Trail.Fault = nil
		lead(t, s, 5*time.Minute)
		wantRotations(t, s, rotating, 1, "AUTOMATIC")
		wantDeleted(t, s, ending, s.Now())
		if date.After(s.Now()) {
			t.Error("early")
		}
		for _, p := range left {
			recs := s.Events(t, p.EventName)
			if len(recs) != 1 || recs[0]["eventID"] != p.EventID {
				t.Errorf("%s was recorded as %v, want once as %s", p.EventName, recs, p.EventID)
			}
		}
		if n := len(pending(t, s)); n != 0 {
			t.Errorf("%d records are pending in the end", n)
		}
	})
}

// What becomes of due work when proposals fail: before holds the error of each
// proposal that never is applied, after that of each whose reply is lost.
func TestDueWorkFails(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ before, after []error }{
		"all is well":           {nil, nil},
		"no leader any more":    {[]error{kms.ErrNotLeader, kms.ErrNotLeader}, nil},
		"queue full":            {[]error{kms.ErrUnavailable, kms.ErrUnavailable, kms.ErrUnavailable}, nil},
		"command lost":          {[]error{kms.ErrOutcomeUnknown, kms.ErrOutcomeUnknown}, nil},
		"reply lost":            {nil, []error{kms.ErrOutcomeUnknown}},
		"cannot be sealed":      {[]error{errBroken}, nil},
		"lost, then reply lost": {[]error{kms.ErrOutcomeUnknown}, []error{kms.ErrOutcomeUnknown}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := testkit.Start(t)
				id := s.NewKey(t)
				rotateOnDemand(t, s, id)
				before, after := inTurn(row.before), inTurn(row.after)
				only := func(f func(fsm.Command) error) func(fsm.Command) error {
					return func(cmd fsm.Command) error {
						if cmd.Type != fsm.TypeRotateKey {
							return nil
						}
						return f(cmd)
					}
				}
				s.Fault, s.Lost = only(before), only(after)
				defer leads(t, s, s.Service)()
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				wantRotations(t, s, id, 1, "ON_DEMAND")
				if n := len(s.Events(t, "RotateKey")); n != 1 {
					t.Errorf("%d records, want 1", n)
				}
			})
		})
	}
}

// Two nodes believe that they lead: every key is rotated once.
func TestTwoLeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		var ids []string
		for range 20 {
			ids = append(ids, s.NewKey(t))
			rotateOnDemand(t, s, ids[len(ids)-1])
		}
		first, second := leads(t, s, s.Service), leads(t, s, s.NewService())
		pass(s, 0)
		first()
		second()
		for _, id := range ids {
			wantRotations(t, s, id, 1, "ON_DEMAND")
		}
	})
}

// A failing key is left alone for a while. It blocks nobody, however many there are
// before the others.
func TestFailingKeysBlockNobody(t *testing.T) {
	t.Parallel()
	for _, bad := range []int{1, 500} {
		t.Run(fmt.Sprint(bad), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := testkit.Start(t)
				failing := map[string]bool{}
				var healed atomic.Bool
				var attempts atomic.Int64
				by := s.NewServiceWith(func(cfg *service.Config) {
					for _, work := range cfg.Due {
						plan := work.Plan
						work.Plan = func(v *fsm.View, k *fsm.Key, now int64, details *audit.Params) (fsm.Args, error) {
							if failing[k.ID] && !healed.Load() {
								attempts.Add(1)
								return nil, errBroken
							}
							return plan(v, k, now, details)
						}
					}
				})
				for _, id := range plainKeys(t, s, bad) {
					failing[id] = true
					rotateEvery(t, s, id, 90)
				}
				s.Advance(time.Hour)
				good := s.NewKey(t)
				rotateEvery(t, s, good, 90)
				s.Advance(100 * day)
				defer leads(t, s, by)()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				wantRotations(t, s, good, 1, "AUTOMATIC")
				if n := attempts.Load(); n != int64(bad) {
					t.Errorf("%d attempts at %d failing keys", n, bad)
				}
				healed.Store(true)
				time.Sleep(2 * look)
				synctest.Wait()
				if n := len(s.Events(t, "RotateKey")); n != bad+1 {
					t.Errorf("%d rotations after the failures ended, want %d", n, bad+1)
				}
			})
		})
	}
}

// A leader that cannot write its records does nothing that would need one.
func TestDueWorkWithoutATrail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id := s.NewKey(t)
		rotateOnDemand(t, s, id)
		s.Trail.Sick = audit.ErrUnhealthy
		proposed := 0
		s.Fault = func(fsm.Command) error { proposed++; return nil }
		stop := leads(t, s, s.Service)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		stop()
		if proposed != 0 {
			t.Errorf("%d proposals", proposed)
		}
		s.Trail.Sick = nil
		defer leads(t, s, s.Service)()
		pass(s, 0)
		wantRotations(t, s, id, 1, "ON_DEMAND")
	})
}

// A long backlog is worked off, and clients' writes go on meanwhile.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const backlog = 2000
	s := testkit.Start(t)
	client := s.NewKey(t)
	for _, id := range plainKeys(t, s, backlog) {
		rotateOnDemand(t, s, id)
	}
	var rotated atomic.Int64
	done := make(chan struct{})
	s.Fault = func(cmd fsm.Command) error {
		if cmd.Type == fsm.TypeRotateKey && rotated.Add(1) == backlog {
			close(done)
		}
		return nil
	}
	stop := leads(t, s, s.Service)
	defer stop()
	writes := int64(0)
	for working := true; working; writes++ {
		s.Must(t, []string{"DisableKey", "EnableKey"}[writes%2], obj{"KeyId": client})
		select {
		case <-done:
			working = false
		default:
		}
	}
	// One command of the backlog at a time is under way, so that about every second
	// command is a client's.
	if writes < backlog/20 {
		t.Errorf("%d writes while %d keys were rotated", writes, backlog)
	}
}
