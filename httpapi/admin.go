package httpapi

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/admin"
)

// Admin opens the sessions of callers whom no credential names; WrapAdmin makes one
// of a service.Service. Many goroutines call it at once.
type Admin interface {
	// OpenLocal returns a session, also when the node cannot prove that its state
	// is fresh.
	OpenLocal(ctx context.Context) Session
}

// WrapAdmin makes an Admin of s.
func WrapAdmin(s *service.Service) Admin { return wrappedAdmin{s} }

type wrappedAdmin struct{ *service.Service }

func (w wrappedAdmin) OpenLocal(ctx context.Context) Session { return w.Service.OpenLocal(ctx) }

const (
	// adminSocketName stands for the address of those who use the socket.
	adminSocketName = "admin.sock"
	// adminTimeout bounds an admin request from its body's last byte to the last of
	// its answer, but for Config.Drain. Leaving takes longest.
	adminTimeout = 60 * time.Second
)

// An adminRoute is a path of the admin API.
type adminRoute struct {
	method, path, operation string
	// variable is the member of the request that the path's {id} becomes.
	variable string
	// public tells that nobody needs to be proven.
	public bool
}

var adminRoutes = []adminRoute{
	{method: http.MethodGet, path: "/v1/status", operation: "GetStatus"},
	{method: http.MethodGet, path: "/v1/members", operation: "ListMembers"},
	{method: http.MethodDelete, path: "/v1/members/{id}", operation: "RemoveMember", variable: "memberId"},
	{method: http.MethodPost, path: "/v1/tokens", operation: "CreateJoinToken"},
	{method: http.MethodPost, path: "/v1/leave", operation: "LeaveCluster"},
	{method: http.MethodPost, path: "/v1/accounts", operation: "CreateAccount"},
	{method: http.MethodGet, path: "/v1/accounts", operation: "ListAccounts"},
	{method: http.MethodDelete, path: "/v1/accounts/{id}", operation: "CloseAccount", variable: "accountId"},
	{method: http.MethodPost, path: "/v1/accounts/{id}/root-credential", operation: "ResetRootCredential", variable: "accountId"},
	{method: http.MethodGet, path: "/v1/config", operation: "GetConfig"},
	{method: http.MethodPut, path: "/v1/config", operation: "SetConfig"},
	{method: http.MethodPost, path: "/v1/explain", operation: "Explain"},
	{method: http.MethodGet, path: "/v1/ca", operation: "GetAuthority", public: true},
}

// handleAdmin adds the routes of the admin API, if there is one.
func (s *Server) handleAdmin(r *mux.Router) {
	if s.cfg.Admin == nil {
		return
	}
	for _, a := range adminRoutes {
		r.Handle(a.path, s.exchange(func(x *exchange) { x.serveAdmin(a) })).Methods(a.method)
	}
}

func (x *exchange) serveAdmin(a adminRoute) {
	x.route = route{protocol: protocolJSON, service: admin.ServiceName, operation: a.operation, label: a.operation}
	x.server.metrics.inFlight.Inc()
	defer x.server.metrics.inFlight.Dec()
	if !x.readBody() {
		return
	}
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(adminTimeout + x.server.cfg.Drain)) // not every ResponseWriter of tests can
	ctx, cancel := context.WithTimeout(x.r.Context(), x.server.cfg.Timeout)
	defer cancel()
	out, err := x.runAdmin(ctx, a)
	if err != nil {
		x.fail(x.answer(err))
		return
	}
	x.succeed(out)
}

func (x *exchange) runAdmin(ctx context.Context, a adminRoute) ([]byte, error) {
	caller, err := x.admit(ctx, a)
	if err != nil {
		return nil, err
	}
	source := sourceOf(x.r)
	if _, local := peerOf(x.r.Context()); local {
		source.IP = adminSocketName
	}
	return caller.session.Do(ctx, &service.Call{
		Service: admin.ServiceName, Operation: a.operation, Body: x.adminInput(a), Region: caller.region,
		Principal: caller.principal, SessionToken: caller.token, Source: source, RequestID: x.id, InvocationID: invocationID(x.r.Header),
	})
}

// admit finds who calls: whoever signed; without a signature the local operator, on
// the socket. Which operations that one may run is the service's business.
func (x *exchange) admit(ctx context.Context, a adminRoute) (*caller, error) {
	if a.public {
		return &caller{session: x.server.cfg.Admin.OpenLocal(ctx), region: globalRegion}, nil
	}
	if uid, local := peerOf(x.r.Context()); local && !claimsSignature(x.r) {
		return &caller{session: x.server.cfg.Admin.OpenLocal(ctx), principal: kms.LocalOperator(uid), region: globalRegion}, nil
	}
	return x.authenticate(ctx)
}

// claimsSignature tells whether a request has any part of a signature, so that a
// broken one is refused rather than taken for none.
func claimsSignature(r *http.Request) bool {
	if _, ok := r.Header["Authorization"]; ok {
		return true
	}
	return strings.Contains(strings.ToLower(r.URL.RawQuery), "x-amz-")
}

// malformed is what no request's decoder takes: its refusal is then recorded as
// every other.
var malformed = []byte("?")

// adminInput is the request as JSON: the body, or what the URL says. Both together
// are malformed, but for a body that says nothing.
func (x *exchange) adminInput(a adminRoute) []byte {
	b, ok := urlMembers(x.r, a)
	body := bytes.TrimSpace(x.body)
	switch {
	case !ok:
		return malformed
	case b == nil:
		return x.body
	case len(body) > 0 && string(body) != "{}":
		return malformed
	}
	return b
}

// urlMembers makes an object of the path's variable and the query's parameters, nil
// when there are none. The decoder refuses those that the operation does not have,
// and those that are there twice.
func urlMembers(r *http.Request, a adminRoute) ([]byte, bool) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false
	}
	var b []byte
	if a.variable != "" {
		b = appendMember(b, a.variable, mux.Vars(r)["id"])
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(name) >= 6 && strings.EqualFold(name[:6], "X-Amz-") {
			continue // of a presigned URL
		}
		for _, v := range values[name] {
			b = appendMember(b, name, v)
		}
	}
	if b == nil {
		return nil, true
	}
	return append(b, '}'), true
}

// appendMember appends a member to an object without its closing brace. true and
// false are booleans: no text of the API has these values.
func appendMember(b []byte, name, value string) []byte {
	separator := byte(',')
	if b == nil {
		separator = '{'
	}
	b = append(wire.AppendString(append(b, separator), name), ':')
	if value == "true" || value == "false" {
		return append(b, value...)
	}
	return wire.AppendString(b, value)
}
