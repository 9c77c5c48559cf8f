package apitls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// pollEvery is how often a Source looks whether files changed, or whether a
	// renewal is due.
	pollEvery = 2 * time.Second
	// warnBefore is how long before the certificate's end warnings begin.
	warnBefore = 14 * 24 * time.Hour
	// warnEvery is how often the warning is repeated.
	warnEvery = 24 * time.Hour
	// complainEvery is how often a failure that stays the same is logged again.
	complainEvery = time.Hour
	// startingUp is how long a source without any certificate is no fault: the
	// cluster's state, which holds the authority, is not known at once.
	startingUp = 30 * time.Second
)

// errNoCertificate refuses handshakes until there is a certificate.
var errNoCertificate = errors.New("this node has no API certificate yet")

// Config is what both kinds of Source need.
type Config struct {
	// Logger gets new certificates, failures, and warnings before the end.
	// Required.
	Logger *slog.Logger
	// Registerer gets the metrics. Nil means a private registry.
	Registerer prometheus.Registerer
	// Now is the wall clock that certificates are judged by. Default time.Now.
	Now func() time.Time
	// Ticks says when Run looks. Default: every 2 s.
	Ticks <-chan time.Time
}

// maker makes certificates. One goroutine at a time calls it.
type maker interface {
	// next returns the certificate to use from now on, or nil to go on with the
	// last one. With force it makes one in any case. After an error it is called
	// again and again.
	next(now time.Time, force bool) (*tls.Certificate, error)
}

// A Source holds the certificate in use. Its methods may be called by any
// goroutine.
type Source struct {
	cfg     Config
	maker   maker
	metrics *metrics
	current atomic.Pointer[tls.Certificate] // nil until there is one

	mu         sync.Mutex // held while the maker works
	warned     time.Time  // guarded by mu
	complaint  string     // guarded by mu: the failure that was logged last
	complained time.Time  // guarded by mu
	failing    time.Time  // guarded by mu: since when, zero while all is well
}

func newSource(cfg Config, m maker) (*Source, error) {
	if cfg.Logger == nil {
		return nil, errors.New("apitls: Config needs a Logger")
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Source{cfg: cfg, maker: m}
	var err error
	s.metrics, err = newMetrics(cfg.Registerer, s.NotAfter)
	return s, err
}

// TLS returns a configuration for servers that shows the certificate in use at
// each handshake: TLS 1.2, with forward secrecy and authenticated encryption only,
// or TLS 1.3. Each call returns a new one.
func (s *Source) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: append([]uint16(nil), suites...),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.current.Load(); c != nil {
				return c, nil
			}
			return nil, errNoCertificate
		},
	}
}

// suites are those of TLS 1.2 that Go offers by default, without CBC. TLS 1.3 has
// no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// NotAfter returns when the certificate in use ends, or the zero time while there
// is none.
func (s *Source) NotAfter() time.Time {
	if c := s.current.Load(); c != nil {
		return c.Leaf.NotAfter
	}
	return time.Time{}
}

// Run keeps the certificate up to date until ctx ends. What fails is logged, once
// per hour while it stays the same, and tried again at the next tick.
func (s *Source) Run(ctx context.Context) {
	ticks := s.cfg.Ticks
	if ticks == nil {
		t := time.NewTicker(pollEvery)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			s.check()
		}
	}
}

// Reload reads the files again, or issues a new certificate, at once: the answer
// to SIGHUP. After an error the certificate in use stays.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renew(true)
}

// check renews when it is due.
func (s *Source) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complain(s.renew(false))
}

// renew asks the maker, holding mu.
func (s *Source) renew(force bool) error {
	now := s.cfg.Now()
	cert, err := s.maker.next(now, force)
	switch {
	case err != nil:
		s.metrics.failed.Inc()
	case cert != nil:
		s.current.Store(cert)
		s.metrics.renewed.Inc()
		s.cfg.Logger.Info("the API has a new certificate", "subject", cert.Leaf.Subject.String(),
			"serial", cert.Leaf.SerialNumber.Text(16), "not_before", cert.Leaf.NotBefore, "not_after", cert.Leaf.NotAfter)
	}
	s.warn(now)
	return err
}

// complain logs a failure, holding mu.
func (s *Source) complain(err error) {
	if err == nil {
		s.complaint, s.failing = "", time.Time{}
		return
	}
	now := s.cfg.Now()
	if err.Error() == s.complaint && now.Sub(s.complained) < complainEvery {
		return
	}
	if s.failing.IsZero() {
		s.failing = now
	}
	if s.current.Load() == nil && now.Sub(s.failing) < startingUp {
		s.cfg.Logger.Debug("the API has no certificate yet", "error", err)
		return
	}
	s.complaint, s.complained = err.Error(), now
	s.cfg.Logger.Error("the API's certificate cannot be renewed", "error", err)
}

// warn logs that the certificate in use ends soon, holding mu.
func (s *Source) warn(now time.Time) {
	end := s.NotAfter()
	switch {
	case end.IsZero():
		return
	case end.Sub(now) > warnBefore:
		s.warned = time.Time{}
		return
	case !s.warned.IsZero() && now.Sub(s.warned) < warnEvery:
		return
	}
	s.warned = now
	if now.After(end) {
		s.cfg.Logger.Error("the API's certificate has expired", "not_after", end)
		return
	}
	s.cfg.Logger.Warn("the API's certificate expires soon", "not_after", end)
}

// valid tells whether a certificate is within its time.
func valid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}
