package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/iamapi"
	"github.com/kmsd/kmsd/service/kmsapi"
)

const (
	// cachedMaterials bounds the opened key materials of a node.
	cachedMaterials = 100_000
	// cachedSigningKeys bounds the derived signing keys of a node.
	cachedSigningKeys = 10_000
)

// memberConfig is one node with everything around it.
type memberConfig struct {
	dataDir string
	seal    seal.Sealer
	// api is where the AWS API is served; metrics, where Prometheus scrapes.
	api, metrics net.Listener
	clusterAddr  string
	resolve      func(nodeID string) (addr string, ok bool)
	log          *slog.Logger
}

// member is one running node: the cluster's node, the service on it and the
// listeners in front.
type member struct {
	cfg     memberConfig
	node    *cluster.Node
	trail   *audit.Log
	service *service.Service
	api     *httpapi.Server
	metrics *http.Server

	served sync.WaitGroup
	failed chan error // the first reason why the member cannot go on
}

// openMember opens the node in a data directory. serve must follow.
func openMember(ctx context.Context, cfg memberConfig) (_ *member, err error) {
	m := &member{cfg: cfg, failed: make(chan error, 1)}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.node, err = cluster.Open(ctx, cluster.Config{
		DataDir: cfg.dataDir, Seal: cfg.seal, ListenAddr: cfg.clusterAddr, Resolve: cfg.resolve, Logger: cfg.log, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.stop(ctx))
		}
	}()
	m.trail, err = audit.Open(audit.Config{Dir: filepath.Join(cfg.dataDir, "audit"), Logger: cfg.log, Registerer: registry})
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	rows := append(kmsapi.Rows(kmsapi.Config{Keyring: m.node.Keyring(), Materials: kmscrypto.NewMaterialCache(cachedMaterials)}), iamapi.Rows()...)
	m.service = service.New(service.Config{
		Cluster: m.node, Keys: m.node.Keyring(), Trail: m.trail, Rows: rows, Logger: cfg.log, Now: time.Now,
	})
	m.api, err = httpapi.New(httpapi.Config{
		Backend: httpapi.Wrap(m.service), Verifier: sigv4.NewVerifier(cachedSigningKeys), Logger: cfg.log, Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	m.metrics = &http.Server{Handler: httpapi.MetricsHandler(registry), ReadHeaderTimeout: 5 * time.Second}
	return m, nil
}

// serve starts the listeners and returns.
func (m *member) serve() {
	m.node.Serve(cluster.Handlers{Execute: m.service.Execute, Lead: m.service.Lead})
	m.served.Go(func() { m.note(m.api.Serve(m.cfg.api)) })
	m.served.Go(func() {
		if err := m.metrics.Serve(m.cfg.metrics); !errors.Is(err, http.ErrServerClosed) {
			m.note(err)
		}
	})
}

// note keeps the first error.
func (m *member) note(err error) {
	if err == nil {
		return
	}
	select {
	case m.failed <- err:
	default:
	}
}

const (
	// trailCheck is how often the audit log's health is looked at.
	trailCheck = 500 * time.Millisecond
	// trailPatience is how long a node tries to write its audit log again before
	// it gives up its place to others.
	trailPatience = 5 * time.Second
)

// exitRestart asks the supervisor to start the process anew.
const exitRestart = 75

// watch returns when ctx ends, or with the reason why the member cannot go on. A
// node that cannot write its audit log can neither serve nor lead: it ends, so
// that another node leads.
func (m *member) watch(ctx context.Context) error {
	tick := time.NewTicker(trailCheck)
	defer tick.Stop()
	var broken time.Time // since when the log cannot be written
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-m.failed:
			return err
		case <-m.node.Fatal():
			code, err := m.node.FatalError()
			return &exitError{code, err}
		case now := <-tick.C:
			if m.trail.Healthy() == nil || m.trail.Reopen(ctx) == nil {
				broken = time.Time{}
			} else if broken.IsZero() {
				broken = now
			} else if now.Sub(broken) > trailPatience {
				return &exitError{exitRestart, fmt.Errorf("the audit log cannot be written: %w", m.trail.Healthy())}
			}
		}
	}
}

// stop ends the member: no new calls, then what is under way, then leadership and
// the node, last the audit log, which all of them write.
func (m *member) stop(ctx context.Context) error {
	var errs []error
	if m.api != nil {
		errs = append(errs, m.api.Shutdown(ctx))
	}
	errs = append(errs, m.node.Close(ctx))
	if m.metrics != nil {
		errs = append(errs, m.metrics.Close())
	}
	m.served.Wait()
	if m.trail != nil {
		errs = append(errs, m.trail.Close())
	}
	return errors.Join(errs...)
}
