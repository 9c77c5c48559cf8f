package httpapi

import (
	"context"
	"net/http"
	"time"
)

// readyTimeout bounds the question whether the node may serve: load balancers
// ask every second or so.
const readyTimeout = time.Second

var typeText = []string{"text/plain; charset=utf-8"}

// serveLive answers while the process can answer at all.
func (x *exchange) serveLive() { x.write(http.StatusOK, typeText, []byte("ok")) }

// serveReady answers 200 only if this node may serve; otherwise 503 and why.
func (x *exchange) serveReady() {
	if x.server.draining.Load() {
		x.write(http.StatusServiceUnavailable, typeText, []byte("shutting down"))
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), readyTimeout)
	defer cancel()
	if err := x.server.cfg.Backend.Ready(ctx); err != nil {
		x.write(http.StatusServiceUnavailable, typeText, []byte(err.Error()))
		return
	}
	x.write(http.StatusOK, typeText, []byte("ok"))
}
