package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
)

// The limits that are not settings.
const (
	// maxBody bounds a request's body, in bytes. The largest legal request
	// carries a 256 KiB attestation document in base64.
	maxBody = 1 << 20
	// maxHeader bounds the request line and the headers together, in bytes;
	// net/http adds 4 KiB for its buffer. Longer ones are answered 431.
	maxHeader = 16 << 10
	// headerTimeout is how long a client may take to send the headers.
	headerTimeout = 5 * time.Second
	// bodyTimeout is how long a client may take to send the body.
	bodyTimeout = 10 * time.Second
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 90 * time.Second
	// writeGrace is how long a client may take to read an answer, after the
	// request's own time.
	writeGrace = 10 * time.Second
	// quietPoll is how often Quiesce looks whether a call is under way.
	quietPoll = 10 * time.Millisecond
	// maxStreams bounds the requests under way on one HTTP/2 connection.
	maxStreams = 100
)

// Config configures a Server.
type Config struct {
	// Backend runs the calls. Required.
	Backend Backend
	// Admin opens the sessions of the admin API's callers that no credential names.
	// Nil means that the admin API, and ServeAdmin, are not served.
	Admin Admin
	// Verifier checks signatures and caches signing keys. Required.
	Verifier *sigv4.Verifier
	// Logger gets internal errors, once each, with the request id. Required.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil means a private registry.
	Registerer prometheus.Registerer
	// Now is the wall clock that signatures are judged by. Default time.Now.
	Now func() time.Time
	// Regions tells whether a Region is served. Default: every well-formed name.
	Regions func(region string) bool
	// TLS, when set, makes Serve speak TLS, and HTTP/2 to those who ask for it.
	TLS *tls.Config
	// ProxyCIDRs are the addresses of load balancers whose PROXY headers, version
	// 2, are believed: the client's address in audit records and in conditions is
	// then the header's. The header comes before TLS. Each address must belong to
	// a proxy that puts a header before everything that it forwards; the clients of
	// one that does not could write the header themselves. Ranges that hold clients
	// do not belong here, and /0 is refused. A connection from these addresses
	// without a header counts as the proxy's own, as for health checks. Default:
	// none, and a PROXY header is malformed TLS or HTTP.
	ProxyCIDRs []netip.Prefix
	// MaxConnections bounds the connections open at once over all listeners;
	// more wait in the kernel's queue. Each may hold a body of 1 MiB. Default
	// 10,000.
	MaxConnections int
	// Timeout bounds one request from its body's last byte to its answer.
	// Default 30 s.
	Timeout time.Duration
	// Drain is how long a node says that it is not ready before it stops or leaves.
	// Leaving, an admin call, may take so much longer. Default 0.
	Drain time.Duration
}

func (c *Config) validate() error {
	if c.Backend == nil || c.Verifier == nil || c.Logger == nil {
		return errors.New("httpapi: Config needs Backend, Verifier and Logger")
	}
	if err := checkProxyCIDRs(c.ProxyCIDRs); err != nil {
		return fmt.Errorf("httpapi: ProxyCIDRs: %w", err)
	}
	return nil
}

func (c *Config) fillDefaults() {
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Regions == nil {
		c.Regions = kms.ValidRegion
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = 10_000
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
}

// Server serves the AWS endpoint of one node. Its methods may be called by any
// goroutine.
type Server struct {
	cfg      Config
	http     *http.Server
	socket   *http.Server  // of ServeAdmin
	slots    chan struct{} // one element per open connection
	metrics  *metrics
	draining atomic.Bool
	calls    atomic.Int64 // AWS calls under way
}

// New returns a Server that listens nowhere yet. It fails when the Config lacks
// a required field, or when the registerer refuses the metrics.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.fillDefaults()
	s := &Server{cfg: cfg, slots: make(chan struct{}, cfg.MaxConnections)}
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer, func() float64 { return float64(len(s.slots)) }); err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler:                      s.routes(),
		TLSConfig:                    cfg.TLS,
		ReadHeaderTimeout:            headerTimeout,
		WriteTimeout:                 headerTimeout + bodyTimeout + cfg.Timeout + writeGrace,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
	s.socket = s.newSocketServer()
	return s, nil
}

// routes is the whole map of the listener. Paths are compared as received:
// cleaning them would answer a redirect, which no AWS client follows with its
// signature intact.
func (s *Server) routes() http.Handler {
	r := mux.NewRouter().SkipClean(true)
	r.Handle("/", s.exchange((*exchange).serveCall)).Methods(http.MethodPost, http.MethodGet)
	s.handleAdmin(r)
	s.handleRest(r)
	return r
}

// handleRest adds health, and the answer to what nothing is served for.
func (s *Server) handleRest(r *mux.Router) {
	r.Handle("/livez", s.exchange((*exchange).serveLive)).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/readyz", s.exchange((*exchange).serveReady)).Methods(http.MethodGet, http.MethodHead)
	r.NotFoundHandler = s.exchange((*exchange).serveUnknown)
	r.MethodNotAllowedHandler = r.NotFoundHandler
}

// Handler returns the handler behind the listeners, for use in one process
// without them.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve accepts connections from l until Shutdown, then returns nil; any other
// end is an error. It closes l. Several listeners may be served at once.
func (s *Server) Serve(l net.Listener) error {
	// A connection has its slot before its first byte is read, and its client's
	// address before TLS begins.
	l = newLimitedListener(l, s.slots)
	if len(s.cfg.ProxyCIDRs) > 0 {
		l = &proxyListener{Listener: l, trusted: s.cfg.ProxyCIDRs, headers: s.metrics.proxied}
	}
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Drain turns /readyz red, and goes on serving for Config.Drain or until ctx ends: so
// long load balancers may take to notice. Every answer asks its client to close the
// connection, so that who is busy connects anew, and to another node.
func (s *Server) Drain(ctx context.Context) {
	s.draining.Store(true)
	timer := time.NewTimer(s.cfg.Drain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Quiesce closes the connections on which no request is under way, and waits until
// no AWS call is. It belongs after Drain, which leaves idle connections alone: a load
// balancer that has not noticed yet could send a request over one just then.
func (s *Server) Quiesce(ctx context.Context) error {
	s.http.SetKeepAlivesEnabled(false)
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	for s.calls.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Resume undoes Drain and Quiesce.
func (s *Server) Resume() {
	s.http.SetKeepAlivesEnabled(true)
	s.draining.Store(false)
}

// Shutdown turns /readyz red, closes the listeners and the idle connections, and
// waits for the requests under way. When ctx ends first it cuts their connections and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	var errs []error
	for _, h := range []*http.Server{s.http, s.socket} {
		if err := h.Shutdown(ctx); err != nil {
			errs = append(errs, err, h.Close())
		}
	}
	return errors.Join(errs...)
}
