package httpapi_test

import (
	"context"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// The one credential that the fake service knows: that of appendix A.1.
const (
	accessKey = "AKIAIOSFODNN7EXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	account   = "111122223333"
)

// fakeService stands for package service and enforces its contract: a Session
// runs at most one call, which is authenticated, named and identified.
type fakeService struct {
	t     testing.TB
	known map[string]bool

	// The faults to inject. Set before the server runs.
	openErr   error
	settleErr error
	readyErr  error
	secretErr error
	do        func(context.Context, *service.Call) ([]byte, error)

	mu     sync.Mutex
	opened int             // guarded by mu
	settle int             // guarded by mu
	calls  []*service.Call // guarded by mu
}

func newFakeService(t testing.TB) *fakeService {
	return &fakeService{t: t, known: map[string]bool{
		"kms.Encrypt": true, "kms.DescribeKey": true, "kms.ListKeys": true, "kms.EnableKey": true, "sts.GetCallerIdentity": true,
	}}
}

func (f *fakeService) Open(context.Context) (httpapi.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.openErr != nil {
		return nil, f.openErr
	}
	f.opened++
	return &fakeSession{f: f}, nil
}

func (f *fakeService) Knows(service, operation string) bool { return f.known[service+"."+operation] }

func (f *fakeService) Ready(context.Context) error { return f.readyErr }

// seen returns the calls so far.
func (f *fakeService) seen() []*service.Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*service.Call(nil), f.calls...)
}

// counts returns how many sessions were opened and settled by the transport.
func (f *fakeService) counts() (opened, settled int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, f.settle
}

type fakeSession struct {
	f    *fakeService
	used bool
}

func (x *fakeSession) Secret(id string, _ kms.SessionToken) (sigv4.Secret, kms.Principal, bool) {
	if id != accessKey {
		return sigv4.Secret{}, kms.Principal{}, false
	}
	open := func() ([]byte, error) { return []byte(secretKey), x.f.secretErr }
	return sigv4.Secret{AccessKeyID: id, ModIndex: 7, Open: open}, kms.RootPrincipal(account, id), true
}

func (x *fakeSession) Settle(context.Context) error {
	x.f.mu.Lock()
	defer x.f.mu.Unlock()
	x.f.settle++
	return x.f.settleErr
}

func (x *fakeSession) Do(ctx context.Context, c *service.Call) ([]byte, error) {
	if x.used {
		x.f.t.Error("a session ran two calls")
	}
	x.used = true
	if c.Principal.Account == "" || c.Region == "" || c.RequestID == "" || !x.f.Knows(c.Service, c.Operation) {
		x.f.t.Errorf("an incomplete call reached the service: %+v", c)
	}
	if _, ok := ctx.Deadline(); !ok {
		x.f.t.Error("a call has no deadline")
	}
	x.f.mu.Lock()
	x.f.calls = append(x.f.calls, c)
	x.f.mu.Unlock()
	if x.f.do != nil {
		return x.f.do(ctx, c)
	}
	return nil, nil
}

// benchService answers every call at once and keeps no record of it.
type benchService struct {
	fake   *fakeService
	answer []byte
}

func (s benchService) Open(context.Context) (httpapi.Session, error) {
	return &benchSession{fakeSession{f: s.fake}, s.answer}, nil
}
func (s benchService) Knows(service, operation string) bool { return s.fake.Knows(service, operation) }
func (s benchService) Ready(context.Context) error          { return nil }

type benchSession struct {
	fakeSession
	answer []byte
}

func (x *benchSession) Do(context.Context, *service.Call) ([]byte, error) { return x.answer, nil }
