package service

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func useAt(time int64, event string) *use {
	return &use{operation: "Encrypt", time: time, eventID: event, requestID: "request"}
}

func keyName(i int) string { return fmt.Sprintf("1234abcd-12ab-34cd-56ef-%012x", i) }

// A call costs one allocation, whichever keys it uses: the pipeline's hot path.
func TestCountUseAllocates(t *testing.T) {
	s := &Service{usage: newUsageLog()}
	r := &Request{Call: &Call{RequestID: "request"}, row: &Row{Name: "ReEncrypt", keys: []keyRule{{usage: kms.EncryptDecrypt}, {usage: kms.EncryptDecrypt}}}}
	r.Record.EventID = "event"
	r.Keys = append(r.keys[:0], Key{Key: &fsm.Key{Region: "us-east-1", ID: keyName(1)}}, Key{Key: &fsm.Key{Region: "us-east-1", ID: keyName(2)}})
	s.countUse(r) // the keys' places are made once a round
	if got := testing.AllocsPerRun(1000, func() { r.Record.Time++; s.countUse(r) }); got > 1 {
		t.Errorf("got %v allocations, want 1", got)
	}
	if u := s.usage.last(usedKey("us-east-1", keyName(2))); u == nil || u.time != r.Record.Time || u.operation != "ReEncrypt" || u.eventID != "event" {
		t.Errorf("the last use is %+v", u)
	}
}

// Keys of which no usage is needed were looked at, not used; a key that the call
// leaves out was not either.
func TestCountUseOfOthers(t *testing.T) {
	s := &Service{usage: newUsageLog()}
	key := &fsm.Key{Region: "us-east-1", ID: keyName(1)}
	r := &Request{Call: &Call{}, row: &Row{Name: "DescribeKey", keys: []keyRule{{}, {usage: kms.EncryptDecrypt}}}}
	r.Keys = append(r.keys[:0], Key{Key: key}, Key{})
	s.countUse(r)
	if u := s.usage.last(usedKey(key.Region, key.ID)); u != nil {
		t.Errorf("the last use is %+v", u)
	}
}

func TestUsageLogKeepsTheLater(t *testing.T) {
	l := newUsageLog()
	want := func(what string, time int64, event string) {
		t.Helper()
		if u := l.last(usedKey("us-east-1", keyName(1))); u == nil || u.time != time || u.eventID != event {
			t.Errorf("%s: the last use is %+v, want %s at %d", what, u, event, time)
		}
	}
	take := func(time int64, event string) {
		l.take([]fsm.Usage{{Region: "us-east-1", KeyID: keyName(1), Operation: "Decrypt", Time: time, EventID: event}}, nil)
	}
	l.note(usedKey("us-east-1", keyName(1)), useAt(5, "b"))
	want("one", 5, "b")
	l.note(usedKey("us-east-1", keyName(1)), useAt(4, "c"))
	l.note(usedKey("us-east-1", keyName(1)), useAt(5, "a"))
	l.note(usedKey("eu-west-1", keyName(1)), useAt(9, "x"))
	l.note(usedKey("us-east-1", keyName(2)), useAt(9, "x"))
	want("earlier ones and others", 5, "b")
	l.note(usedKey("us-east-1", keyName(1)), useAt(5, "c"))
	want("a later event", 5, "c")
	l.collect()
	want("collected", 5, "c")
	l.note(usedKey("us-east-1", keyName(1)), useAt(4, "z"))
	want("an earlier one after it", 5, "c")
	take(6, "a")
	want("a later one of another node", 6, "a")
	l.note(usedKey("us-east-1", keyName(1)), useAt(7, "a"))
	want("a later one", 7, "a")
	take(8, "")
	take(6, "z")
	l.collect()
	want("collected again", 8, "")
}

// What cannot be replicated is not taken, and holds up nothing else.
func TestUsageLogTakesOnlyUses(t *testing.T) {
	l := newUsageLog()
	good := fsm.Usage{Region: "us-east-1", KeyID: keyName(1), Operation: "Decrypt", Time: 1, EventID: "e"}
	bad := good
	bad.KeyID = "no key"
	late := good
	late.Time, late.ModIndex = 2, 7
	l.take([]fsm.Usage{bad, late, good}, nil)
	if u := l.last(usedKey("us-east-1", keyName(1))); u == nil || *u.ofKey(usedKey("us-east-1", keyName(1))) != good || len(l.held) != 1 {
		t.Errorf("the log holds %v", l.held)
	}
}

// Whoever still holds a table that was emptied learns that nobody will look there
// again, wherever it was when the table was emptied.
func TestEmptiedTableTakesNothing(t *testing.T) {
	t.Parallel()
	l := newUsageLog()
	l.note(usedKey("us-east-1", keyName(1)), useAt(1, "e"))
	old := l.recent.Load()
	entry := old.bucket(usedKey("us-east-1", keyName(1))).Load()
	l.collect()
	if entry.raise(useAt(2, "e")) {
		t.Error("a key's entry took a use after it was emptied")
	}
	for i := range 1000 {
		if old.note(usedKey("us-east-1", keyName(i)), useAt(2, "e")) {
			t.Fatalf("an emptied table took a use of key %d", i)
		}
	}
	l.note(usedKey("us-east-1", keyName(1)), useAt(2, "e"))
	if u := l.last(usedKey("us-east-1", keyName(1))); u == nil || u.time != 2 {
		t.Errorf("the last use is %+v", u)
	}
}

// Callers write while the log is emptied again and again: every key's second use is
// there in the end, whichever tables the two were written to.
func TestUsageLogLosesNothing(t *testing.T) {
	t.Parallel()
	const callers, keys = 8, 2000
	l := newUsageLog()
	ctx, cancel := context.WithCancel(context.Background())
	var calling, collecting sync.WaitGroup
	collecting.Go(func() {
		for ctx.Err() == nil {
			l.collect()
		}
	})
	for c := range callers {
		calling.Go(func() {
			for i := range keys {
				for time := range int64(2) {
					l.note(usedKey("us-east-1", keyName(c*keys+i)), useAt(time, "e"))
				}
			}
		})
	}
	calling.Wait()
	cancel()
	collecting.Wait()
	for i := range callers * keys {
		if u := l.last(usedKey("us-east-1", keyName(i))); u == nil || u.time != 1 {
			t.Fatalf("the last use of key %d is %+v, want the second", i, u)
		}
	}
}

// Keys whose ids fall into one bucket are told apart.
func TestUseTableBuckets(t *testing.T) {
	t.Parallel()
	l := newUsageLog()
	const keys = 3 * useBuckets
	for i := range keys {
		l.note(usedKey("us-east-1", keyName(i)), useAt(int64(i), "e"))
	}
	n := 0
	l.recent.Load().empty(func(what used, u *use) {
		if n++; what.id != keyName(int(u.time)) {
			t.Errorf("key %s has the use of another one: %+v", what.id, u)
		}
	})
	if n != keys {
		t.Errorf("%d uses, want %d", n, keys)
	}
}

func BenchmarkNoteUse(b *testing.B) {
	l := newUsageLog()
	id := keyName(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := int64(0); pb.Next(); i++ {
			l.note(usedKey("us-east-1", id), &use{operation: "Encrypt", time: i, eventID: "event", requestID: "request"})
		}
	})
}
