package service

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func credentialName(i int) string { return fmt.Sprintf("AKIA%016d", i) }

// A request takes no memory while its like is entered already, and one piece at most.
func TestCountCallerAllocates(t *testing.T) {
	s := &Service{usage: newUsageLog()}
	r := &Request{Call: &Call{Service: "kms", Region: "us-east-1", Principal: kms.Principal{AccessKeyID: credentialName(1)}}}
	s.countCaller(r) // the credential's place is made once a round
	if got := testing.AllocsPerRun(500, func() { r.Now++; s.countCaller(r) }); got > 0 {
		t.Errorf("requests of a second: got %v allocations, want none", got)
	}
	if got := testing.AllocsPerRun(1000, func() { r.Now += 1000; s.countCaller(r) }); got > 1 {
		t.Errorf("a request a second: got %v allocations, want 1", got)
	}
	regions := [2]string{"us-east-1", "eu-west-1"}
	if got := testing.AllocsPerRun(1000, func() { r.Now++; r.Region = regions[r.Now%2]; s.countCaller(r) }); got > 1 {
		t.Errorf("a request here, a request there: got %v allocations, want 1", got)
	}
}

// What has no credential, or one whose use nothing shows, leaves nothing.
func TestCountCallerOfOthers(t *testing.T) {
	s := &Service{usage: newUsageLog()}
	for _, p := range []kms.Principal{{}, kms.LocalOperator(0), {Type: kms.PrincipalUser, AccessKeyID: "ASIAEXAMPLE", Session: &kms.Session{}}} {
		s.countCaller(&Request{Call: &Call{Service: "kms", Region: "us-east-1", Principal: p}})
	}
	if s.usage.collect() {
		t.Errorf("the log holds %v", s.usage.held)
	}
}

func TestUsageLogKeepsTheLaterRequest(t *testing.T) {
	l := newUsageLog()
	id := credentialName(1)
	want := func(what string, time int64, service, region string) {
		t.Helper()
		if u := l.last(usedCredential(id)); u == nil || u.time != time || *u.place != (place{service, region}) {
			t.Errorf("%s: the last use is %+v, want %s in %s at %d", what, u, service, region, time)
		}
	}
	take := func(time int64, service, region string) {
		l.take(nil, []fsm.CredentialUse{{ID: id, Service: service, Region: region, Time: time}})
	}
	l.noteCredential(id, "kms", "us-east-1", 5000)
	want("one", 5000, "kms", "us-east-1")
	l.noteCredential(id, "sts", "us-east-1", 4999)
	l.noteCredential(id, "iam", "us-west-1", 5000)
	l.noteCredential(credentialName(2), "sts", "us-east-1", 9000)
	want("earlier ones and others", 5000, "kms", "us-east-1")
	l.noteCredential(id, "kms", "us-east-1", 5999)
	want("another one of the same second", 5000, "kms", "us-east-1")
	l.noteCredential(id, "kms", "us-west-1", 5000)
	want("a greater Region", 5000, "kms", "us-west-1")
	l.collect()
	want("collected", 5000, "kms", "us-west-1")
	l.noteCredential(id, "sts", "us-east-1", 4000)
	want("an earlier one after it", 5000, "kms", "us-west-1")
	take(5001, "iam", "us-east-1")
	want("a later one of another node", 5001, "iam", "us-east-1")
	l.noteCredential(id, "kms", "us-east-1", 6000)
	want("a later one", 6000, "kms", "us-east-1")
	take(6000, "sts", "eu-west-1")
	take(5999, "xyz", "us-east-1")
	l.collect()
	want("collected again", 6000, "sts", "eu-west-1")
}

// What cannot be replicated is not taken, and holds up nothing else.
func TestUsageLogTakesOnlyRequests(t *testing.T) {
	l := newUsageLog()
	good := fsm.CredentialUse{ID: credentialName(1), Service: "kms", Region: "us-east-1", Time: 1}
	bad := good
	bad.Region = "nowhere"
	late := good
	late.Time, late.ModIndex = 2, 7
	l.take(nil, []fsm.CredentialUse{bad, late, good})
	if u := l.last(usedCredential(good.ID)); u == nil || *u.ofCredential(usedCredential(good.ID)) != good || len(l.held) != 1 {
		t.Errorf("the log holds %v", l.held)
	}
}

// Callers write while the log is emptied again and again: every credential's last
// request is there in the end.
func TestUsageLogLosesNoRequest(t *testing.T) {
	t.Parallel()
	const callers, credentials = 8, 200
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
			for i := range int64(credentials * 3) {
				// All callers sign with all credentials; caller c comes last with every
				// eighth of them, in the third round.
				at := i / credentials * 1000
				if id := int(i % credentials); id%callers == c && at == 2000 {
					l.noteCredential(credentialName(id), "sts", "us-east-1", at+1000)
				} else {
					l.noteCredential(credentialName(id), "kms", "us-east-1", at)
				}
			}
		})
	}
	calling.Wait()
	cancel()
	collecting.Wait()
	for i := range credentials {
		if u := l.last(usedCredential(credentialName(i))); u == nil || u.time != 3000 || u.place.service != "sts" {
			t.Fatalf("the last use of credential %d is %+v, want the latest", i, u)
		}
	}
}

func BenchmarkNoteCredential(b *testing.B) {
	l := newUsageLog()
	id := credentialName(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := int64(0); pb.Next(); i++ {
			l.noteCredential(id, "kms", "us-east-1", i/1000)
		}
	})
}
