package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/crypto/attestation"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/internal/apitls"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/adminapi"
	"github.com/kmsd/kmsd/service/iamapi"
	"github.com/kmsd/kmsd/service/kmsapi"
)

const (
	// cachedMaterials bounds the opened key materials of a node: 60 megabytes.
	cachedMaterials = 200_000
	// cachedSigningKeys bounds the derived signing keys of a node.
	cachedSigningKeys = 10_000
)

// memberConfig is one node with everything around it.
type memberConfig struct {
	dataDir string
	seal    seal.Sealer
	// api is where the AWS API is served; metrics, where Prometheus scrapes.
	api     []net.Listener
	metrics net.Listener
	// socket is the path of the admin socket; empty for no admin API.
	socket string
	// secure serves the API over TLS, under the names; false for plain HTTP.
	secure  bool
	tls     tlsConfig
	names   apitls.Hosts
	proxies []netip.Prefix
	// roots are what attestation documents must lead to; nil for none.
	roots *attestation.Roots
	// drainTime is how long /readyz is red before the node stops or leaves its cluster.
	drainTime time.Duration
	// warnings are shown by status as long as the node runs.
	warnings []string
	// clusterAddr is where the cluster port listens; advertise and apiAddress are
	// what the other members are told.
	clusterAddr, advertise, apiAddress string
	// peers are where members may be while this one hears no leader.
	peers []string
	// resolve finds members' cluster ports; nil means by what the cluster knows.
	resolve   func(nodeID string) (addr string, ok bool)
	auditDir  string
	auditSync bool
	// usageEvery is how often the cluster hears of last uses; 0 for the service's own
	// choice.
	usageEvery time.Duration
	log        *slog.Logger
}

// member is one running node: the cluster's node, the service on it and the
// listeners in front.
type member struct {
	cfg     memberConfig
	node    *cluster.Node
	trail   *audit.Log
	service *service.Service
	// materials and verifier keep opened secrets in memory.
	materials *kmscrypto.MaterialCache
	verifier  *sigv4.Verifier
	source    *apitls.Source // of the API's certificate; nil for plain HTTP
	api       *httpapi.Server
	metrics   *http.Server
	admin     *net.UnixListener // nil without an admin socket

	draining atomic.Bool // load balancers are told to go elsewhere
	served   sync.WaitGroup
	ending   context.CancelFunc // ends what runs beside the listeners
	failed   chan error         // the first reason why the member cannot go on
}

// openMember opens the node in a data directory. serve must follow.
func openMember(ctx context.Context, cfg memberConfig) (_ *member, err error) {
	m := &member{
		cfg: cfg, failed: make(chan error, 1),
		materials: kmscrypto.NewMaterialCache(cachedMaterials), verifier: sigv4.NewVerifier(cachedSigningKeys),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.node, err = cluster.Open(ctx, cluster.Config{
		DataDir: cfg.dataDir, Seal: cfg.seal, ListenAddr: cfg.clusterAddr, Advertise: cfg.advertise, APIAddress: cfg.apiAddress,
		Gossip: cfg.advertise != "", Peers: cfg.peers, Resolve: cfg.resolve, Logger: cfg.log, Registerer: registry,
	})
	if fatal := (*cluster.ExitError)(nil); errors.As(err, &fatal) {
		return nil, &exitError{fatal.Code, err}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.stop(ctx))
		}
	}()
	m.trail, err = audit.Open(audit.Config{Dir: cfg.auditDir, Sync: cfg.auditSync, Logger: cfg.log, Registerer: registry})
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	err = m.openAPI(registry)
	return m, err
}

// openAPI makes the service and the servers in front of it.
func (m *member) openAPI(registry *prometheus.Registry) (err error) {
	cfg := &m.cfg
	kmsConfig := kmsapi.Config{Keyring: m.node.Keyring(), Materials: m.materials}
	rows := append(kmsapi.Rows(kmsConfig), iamapi.Rows(iamapi.Config{Keyring: m.node.Keyring()})...)
	rows = append(rows, adminapi.Rows(adminapi.Config{Node: adminNode{m}, Keyring: m.node.Keyring()})...)
	m.service = service.New(service.Config{
		Cluster: m.node, Keys: m.node.Keyring(), Trail: m.trail, Rows: rows, Due: kmsapi.Due(kmsConfig), Managed: kmsapi.Managed(kmsConfig), Logger: cfg.log, Now: time.Now,
		UsageEvery: cfg.usageEvery, Registerer: registry, Drain: cfg.drainTime, Roots: cfg.roots,
	})
	var secured *tls.Config
	if cfg.secure {
		if m.source, err = m.certificates(registry); err != nil {
			return err
		}
		secured = m.source.TLS()
	}
	var admin httpapi.Admin
	if cfg.socket != "" {
		admin = httpapi.WrapAdmin(m.service)
	}
	m.api, err = httpapi.New(httpapi.Config{
		Backend: httpapi.Wrap(m.service), Verifier: m.verifier, Logger: cfg.log, Registerer: registry,
		Admin: admin, TLS: secured, ProxyCIDRs: cfg.proxies, Drain: cfg.drainTime,
	})
	if err != nil {
		return err
	}
	m.metrics = &http.Server{Handler: httpapi.MetricsHandler(registry), ReadHeaderTimeout: 5 * time.Second}
	if cfg.socket != "" {
		m.admin, err = httpapi.ListenAdmin(cfg.socket)
	}
	return err
}

// certificates returns the source of the API's certificate: the operator's files,
// or else the API CA in the applied state.
func (m *member) certificates(registry prometheus.Registerer) (*apitls.Source, error) {
	cfg := apitls.Config{Logger: m.cfg.log, Registerer: registry}
	if m.cfg.tls.Cert != "" {
		return apitls.FromFiles(cfg, m.cfg.tls.Cert, m.cfg.tls.Key)
	}
	return apitls.FromAuthority(cfg, func() ([]byte, func() ([]byte, error), error) {
		cert, err := m.node.APICertificate()
		return cert, m.apiKey, err
	}, m.cfg.names)
}

// apiKey opens the private key of the API CA.
func (m *member) apiKey() ([]byte, error) {
	authority, err := m.node.APIAuthority()
	if err != nil {
		return nil, err
	}
	return authority.MarshalKey()
}

// serve starts the listeners and returns. What it starts ends with stop, not with
// ctx.
func (m *member) serve(ctx context.Context) {
	m.node.Serve(cluster.Handlers{Execute: m.service.Execute, Lead: m.service.Lead, Erased: m.forget})
	ctx, m.ending = context.WithCancel(context.WithoutCancel(ctx))
	m.served.Go(func() { m.service.GatherUsage(ctx) })
	if m.source != nil {
		m.served.Go(func() { m.source.Run(ctx) })
	}
	if m.admin != nil {
		m.served.Go(func() { m.note(m.api.ServeAdmin(m.admin)) })
	}
	for _, l := range m.cfg.api {
		m.served.Go(func() { m.note(m.api.Serve(l)) })
	}
	m.served.Go(func() {
		if err := m.metrics.Serve(m.cfg.metrics); !errors.Is(err, http.ErrServerClosed) {
			m.note(err)
		}
	})
}

// forget drops the opened secrets of keys and access keys that were destroyed; nil
// for all that are not there any more, which are dropped with all others.
func (m *member) forget(ids []string) {
	if ids == nil {
		m.materials.PurgeAll()
		m.verifier.ForgetAll()
	}
	for _, id := range ids {
		m.materials.Purge(id)
		m.verifier.Forget(id)
	}
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

// drain turns /readyz red and goes on serving for some time, so that load balancers
// send nothing more before calls are refused.
func (m *member) drain(ctx context.Context) {
	m.draining.Store(true)
	m.cfg.log.Info("node drains", "duration", m.cfg.drainTime)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a node that failed serves nothing to wait for
		select {
		case <-m.node.Fatal():
			cancel()
		case <-ctx.Done():
		}
	}()
	m.api.Drain(ctx)
}

// retire drains and returns when no call is under way. The node can still go on,
// after resume.
func (m *member) retire(ctx context.Context) error {
	m.drain(ctx)
	return m.api.Quiesce(ctx)
}

// resume undoes retire.
func (m *member) resume() {
	m.api.Resume()
	m.draining.Store(false)
	m.cfg.log.Info("node goes on")
}

// stop ends the member: no new calls, then what is under way, then what only this
// process knows, then leadership and the node, last the audit log, which all of them
// write.
func (m *member) stop(ctx context.Context) error {
	var errs []error
	if m.api != nil {
		errs = append(errs, m.api.Shutdown(ctx))
		m.service.HandOver(ctx)
	}
	errs = append(errs, m.node.Close(ctx))
	if m.metrics != nil {
		errs = append(errs, m.metrics.Close())
	}
	if m.ending != nil {
		m.ending()
	}
	m.served.Wait()
	if m.trail != nil {
		errs = append(errs, m.trail.Close())
	}
	return errors.Join(errs...)
}
