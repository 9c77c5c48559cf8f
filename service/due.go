package service

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// DueWork is a kind of work on keys that nobody asks for when its time has come: the
// leader does it by itself. What is due is found anew each time, from the state;
// apply refuses work that is early or done already. So nothing is kept between two
// leaders, and nothing is done twice.
type DueWork struct {
	// Event is the name of the event in the audit record, such as RotateKey.
	Event string
	// Find returns up to limit keys whose work is due at a time, in milliseconds since
	// 1970, in the order of their times. It costs what it returns.
	Find func(v *fsm.View, at int64, limit int) []*fsm.Key
	// Due returns when the work on the key is due, as the key is now; 0 where that
	// depends on no clock. ok is false when there is none.
	Due func(k *fsm.Key) (at int64, ok bool)
	// Plan returns the command that does the work now, and adds the event's details.
	Plan func(v *fsm.View, k *fsm.Key, now int64, details *audit.Params) (fsm.Args, error)
	// Elsewhere returns what the audit log shows of the work in other Regions; nil where
	// that is nothing.
	Elsewhere func(v *fsm.View, k *fsm.Key) []audit.Elsewhere
}

const (
	// dueBatch bounds how many keys are worked on before the other kinds of work have
	// their turn. The keys follow each other: one command at a time is under way, so
	// that no backlog delays what clients write by more than that.
	dueBatch = 64
	// duePause lies between two batches, and between two looks at what is due.
	duePause = 10 * time.Millisecond
	// duePoll is how often the leader looks without a reason, where Config sets nothing
	// else: a clock may have been set.
	duePoll = time.Minute
	// dueRetry follows a failure of this node or of the cluster, and precedes the time
	// at which the members' clocks are known.
	dueRetry = time.Second
	// dueHold is how long a key is left alone whose work failed, so that the others
	// have their turn.
	dueHold = time.Minute
)

// dueLoop does what is due during one term. One goroutine uses it.
type dueLoop struct {
	*Service
	// held are the keys whose work failed, as they were then, and until when they are
	// left alone. A key that changes is another record.
	held map[*fsm.Key]time.Time
}

// workDue does what is due until ctx ends. After a failure it waits, whatever is
// written meanwhile.
func (s *Service) workDue(ctx context.Context) {
	d := &dueLoop{Service: s, held: map[*fsm.Key]time.Time{}}
	for wait(ctx, duePause) {
		again, ok := d.round(ctx)
		if !ok {
			wait(ctx, dueRetry)
			continue
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.written:
		}
		timer.Stop()
	}
}

// round does a batch of every kind of work and returns when to look again; ok is
// false when this node or the cluster could not go on.
func (d *dueLoop) round(ctx context.Context) (again time.Duration, ok bool) {
	for key, until := range d.held {
		if time.Now().After(until) {
			delete(d.held, key)
		}
	}
	again = d.duePoll
	for _, work := range d.due {
		next, err := d.batch(ctx, work)
		if err != nil {
			if ctx.Err() == nil {
				d.log.Warn("work that is due was not done", "event", work.Event, "error", err)
			}
			return 0, false
		}
		again = min(again, next)
	}
	return again, true
}

// batch does one kind of work on the next keys and returns when there is more. The
// error is a condition of this node or of the cluster, not of a key.
func (d *dueLoop) batch(ctx context.Context, work *DueWork) (time.Duration, error) {
	view, err := d.cluster.View(ctx)
	if err != nil {
		return 0, err
	}
	ripe := d.ripe()
	keys := d.free(work.Find(view, ripe, dueBatch+len(d.held)))
	if len(keys) == 0 {
		return d.next(view, work, ripe), nil
	}
	failed := 0
	for _, key := range keys {
		err := d.work(ctx, work, key, ripe)
		if isTransient(err) {
			return 0, err
		}
		if err == nil {
			continue
		}
		if failed++; failed == 1 { // one line for a batch: many may fail for one reason
			d.log.Error("work that is due failed", "event", work.Event, "key", key.ARN(), "error", err)
		}
		d.held[key] = time.Now().Add(dueHold)
	}
	return 0, nil
}

// free returns the keys that are not held.
func (d *dueLoop) free(keys []*fsm.Key) []*fsm.Key {
	return slices.DeleteFunc(keys, func(k *fsm.Key) bool {
		_, held := d.held[k]
		return held
	})
}

// ripe returns the time up to which everything is due, and which stamps what is done:
// what a majority's clocks and this node's have passed. It is 0 while that is not
// known: only what depends on no clock is due then.
func (s *Service) ripe() int64 {
	passed, ok := s.cluster.Passed()
	if !ok {
		return 0
	}
	return min(passed.UnixMilli(), s.now().UnixMilli())
}

// next returns when the first key's work will be due.
func (d *dueLoop) next(view *fsm.View, work *DueWork, ripe int64) time.Duration {
	keys := d.free(work.Find(view, math.MaxInt64, 1+len(d.held)))
	switch {
	case len(keys) == 0:
		return d.duePoll
	case ripe == 0:
		return dueRetry
	}
	at, _ := work.Due(keys[0])
	return time.Duration(min(at-ripe, d.duePoll.Milliseconds())) * time.Millisecond
}

// work does the work on one key, if it is still due.
func (d *dueLoop) work(ctx context.Context, work *DueWork, found *fsm.Key, ripe int64) error {
	if d.trail.Healthy() != nil {
		return kms.ErrUnavailable
	}
	view, err := d.cluster.View(ctx) // one for each command: what it reads are its preconditions
	if err != nil {
		return err
	}
	key, ok := view.Key(found.Region, found.ID)
	if !ok {
		return nil
	}
	if at, ok := work.Due(key); !ok || at > ripe {
		return nil
	}
	now := ripe // a wrong clock of this node alone moves no later date either
	if now == 0 {
		now = d.now().UnixMilli()
	}
	record := ownEvent(work.Event, key, now)
	args, err := work.Plan(view, key, now, &record.Details)
	if err != nil {
		return err
	}
	if work.Elsewhere != nil {
		record.Elsewhere = work.Elsewhere(view, key)
	}
	if _, err = d.commitOwn(ctx, view, record, args); errors.Is(err, errConflict) {
		return nil // a key that changed is looked at anew
	}
	return err
}

// ownEvent starts the record of what the service does to a key by itself.
func ownEvent(name string, key *fsm.Key, now int64) *audit.Record {
	return &audit.Record{
		EventID: NewUUID(), EventName: name, EventSource: audit.SourceKMS, Region: key.Region, Time: now,
		Resources: []audit.Resource{{Account: key.Account, ARN: key.ARN()}}, RecipientAccount: key.Account, ServiceEvent: true,
	}
}

// commitOwn replicates what the service does by itself as it was decided from the view,
// and records it. It returns the log entry's index. Errors: errConflict where the state
// has changed, commit's and record's, and the machine's refusal.
func (s *Service) commitOwn(ctx context.Context, view *fsm.View, record *audit.Record, args fsm.Args) (uint64, error) {
	result, index, err := s.commit(ctx, fsm.ReqKey{}, fsm.Meta{Time: record.Time, Reads: view.Reads()}, record, args)
	switch {
	case err != nil:
		return 0, err
	case result.Conflict:
		return 0, errConflict
	}
	if err := s.record(ctx, record, index); err != nil {
		return 0, err
	}
	if result.Err != nil {
		return index, result.Err
	}
	return index, nil
}

// wrote says that a command was applied, which may have made something due.
func (s *Service) wrote() {
	select {
	case s.written <- struct{}{}:
	default:
	}
}
