package httpapi

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// exchange is one request and its answer. One goroutine owns it.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	id     string
	start  time.Time
	body   []byte
	route  route
	sent   bool
}

// Header values that every answer shares. net/http only reads them.
var (
	cacheControl = []string{"no-cache, no-store, must-revalidate, private"}
	expires      = []string{"0"}
	pragma       = []string{"no-cache"}
	closing      = []string{"close"}
)

// exchange adapts serve to net/http: it gives the request its id, sets what
// every answer carries, and turns a panic into an internal error.
func (s *Server) exchange(serve func(*exchange)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{server: s, w: w, r: r, id: newRequestID(), start: time.Now(), route: route{label: labelUnknown}}
		h := w.Header()
		h["x-amzn-RequestId"] = []string{x.id}
		h["Cache-Control"], h["Expires"], h["Pragma"] = cacheControl, expires, pragma
		if s.draining.Load() {
			h["Connection"] = closing
		}
		defer x.recover()
		serve(x)
	})
}

// recover answers a panic with an internal error and logs it with its stack,
// which holds addresses but no contents. http.ErrAbortHandler passes.
func (x *exchange) recover() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	x.server.cfg.Logger.Error("a request panicked", "request_id", x.id, "operation", x.route.label, "panic", v, "stack", string(debug.Stack()))
	if x.sent {
		panic(http.ErrAbortHandler)
	}
	e, _ := kms.AsError(errors.New("panic"))
	x.fail(e)
}

// serveCall runs the AWS call that the request asks for.
func (x *exchange) serveCall() {
	x.server.metrics.inFlight.Inc()
	defer x.server.metrics.inFlight.Dec()
	x.server.calls.Add(1)
	defer x.server.calls.Add(-1)
	if !x.readBody() {
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.server.cfg.Timeout)
	defer cancel()
	out, err := x.run(ctx)
	if err != nil {
		x.fail(x.answer(err))
		return
	}
	x.succeed(out)
}

// serveUnknown answers the paths and methods that no operation has.
func (x *exchange) serveUnknown() {
	x.server.metrics.inFlight.Inc()
	defer x.server.metrics.inFlight.Dec()
	if x.r.Method != http.MethodPost {
		x.route.protocol = protocolNone
	}
	x.fail(errUnknownOperation)
}

func (x *exchange) run(ctx context.Context) ([]byte, error) {
	if err := x.resolve(); err != nil {
		return nil, err
	}
	caller, err := x.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	return caller.session.Do(ctx, &service.Call{
		Service:      x.route.service,
		Operation:    x.route.operation,
		Body:         x.route.input,
		Region:       caller.region,
		Principal:    caller.principal,
		SessionToken: caller.token,
		Source:       sourceOf(x.r),
		RequestID:    x.id,
		InvocationID: invocationID(x.r.Header),
	})
}

// succeed sends the service's output in the protocol of the request.
func (x *exchange) succeed(out []byte) {
	x.observe(labelOK)
	if x.route.protocol == protocolQuery {
		x.write(http.StatusOK, typeXML, queryResult(x.route, x.id, out))
		return
	}
	x.write(http.StatusOK, typeJSON, out)
}

// fail sends an error in the protocol of the request.
func (x *exchange) fail(e *kms.Error) {
	if x.route.protocol == protocolQuery {
		e = queryError(e)
	}
	x.observe(e.Code)
	x.w.Header()["x-amzn-ErrorType"] = []string{e.Code}
	status := kms.Info(e.Code).Status
	switch x.route.protocol {
	case protocolQuery:
		x.write(status, typeXML, queryFailure(x.route, x.id, e))
	case protocolNone:
		x.write(http.StatusNotFound, typeXML, []byte("<UnknownOperationException/>"))
	default:
		x.write(status, typeJSON, jsonFailure(e))
	}
}

// write sends the whole answer. Errors mean that the client is gone.
func (x *exchange) write(status int, contentType []string, body []byte) {
	h := x.w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.sent = true
	x.w.WriteHeader(status)
	if len(body) > 0 {
		_, _ = x.w.Write(body)
	}
}

func (x *exchange) observe(code string) {
	x.server.metrics.observe(x.route.label, code, time.Since(x.start))
}
