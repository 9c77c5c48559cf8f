package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/internal/apitls"
)

// serverCmd is "kmsd server", the one long-running command of production.
type serverCmd struct {
	configFile
	Config Config `embed:""`
}

// Validate holds the rules of the configuration.
func (c *serverCmd) Validate() error { return c.Config.validate() }

// serverStop bounds a clean end, after the drain.
const serverStop = 30 * time.Second

// Run runs the node until ctx ends or the node can go on no more.
func (c *serverCmd) Run(ctx context.Context, std *streams) error {
	log := c.Config.Log.logger(std.err)
	m, err := c.open(ctx, log)
	if err != nil {
		return err
	}
	m.serve(ctx)
	log.Info("node started", "node", m.node.ID(), "cluster", m.node.ClusterID(), "api", addresses(m.cfg.api),
		"cluster_port", m.node.Addr().String(), "metrics", m.cfg.metrics.Addr().String())
	running, end := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { m.announce(running) })
	beside.Go(func() { m.reloadOnHangup(running) })
	err = m.watch(ctx)
	end()
	beside.Wait()
	limit := c.Config.Drain + serverStop
	m.tell(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", limit.Microseconds()))
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if err == nil {
		m.drain(stopping)
	}
	return errors.Join(err, m.stop(stopping))
}

// open opens the node and its listeners.
func (c *serverCmd) open(ctx context.Context, log *slog.Logger) (_ *member, err error) {
	if mustBeEmpty(c.Config.Data) == nil {
		return nil, notConfigured(fmt.Errorf("%s holds no node: kmsd init makes a cluster and its first node, kmsd join another node", c.Config.Data))
	}
	cfg, err := c.memberConfig(log)
	if err != nil {
		return nil, err
	}
	var listeners []io.Closer
	listen := func(addr string) net.Listener {
		if err != nil {
			return nil
		}
		l, listenErr := net.Listen("tcp", addr)
		if err = listenErr; err == nil {
			listeners = append(listeners, l)
		}
		return l
	}
	for _, addr := range c.Config.API.Listen {
		cfg.api = append(cfg.api, listen(addr))
	}
	cfg.metrics = listen(c.Config.Metrics.Listen)
	var m *member
	if err == nil {
		m, err = openMember(ctx, cfg)
	}
	if err == nil {
		return m, nil
	}
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	switch {
	case errors.Is(err, cluster.ErrNoNode):
		err = notConfigured(fmt.Errorf("%w. If kmsd init was interrupted, remove the directory and run kmsd init again", err))
	case errors.Is(err, cluster.ErrJoining), errors.Is(err, cluster.ErrRemoved):
		err = notConfigured(err)
	}
	return nil, err
}

// memberConfig turns the settings into what a member needs, but for its listeners.
func (c *serverCmd) memberConfig(log *slog.Logger) (memberConfig, error) {
	cfg := &c.Config
	out := memberConfig{
		dataDir: cfg.Data, socket: filepath.Join(cfg.Data, socketName), secure: true, tls: cfg.TLS, log: log,
		clusterAddr: cfg.Cluster.Listen, advertise: cfg.Cluster.Advertise, peers: cfg.Cluster.Peers, apiAddress: cfg.API.Advertise,
		auditDir: cfg.Audit.Dir, auditSync: cfg.Audit.Durability == durabilitySync, drainTime: cfg.Drain,
	}
	var err error
	if out.seal, err = cfg.openSeal(false); err != nil {
		return out, err
	}
	if out.proxies, err = cfg.proxies(); err != nil {
		return out, err
	}
	if out.roots, err = cfg.Attestation.read(); err != nil {
		return out, err
	}
	if out.names, err = apitls.ParseHosts(append([]string{cfg.API.Advertise}, append(cfg.API.Name, cfg.API.Listen...)...)...); err != nil {
		return out, err
	}
	same, err := cfg.sealOnDataDisk()
	if same {
		out.warnings = append(out.warnings, "the seal's key file lies on the data directory's file system: whoever takes that disk has every key")
	}
	return out, errors.Join(err, cfg.TLS.check())
}

// check reads the operator's certificate before anything is started.
func (c *tlsConfig) check() error {
	if c.Cert == "" {
		return nil
	}
	_, err := apitls.FromFiles(apitls.Config{Logger: slog.New(slog.DiscardHandler)}, c.Cert, c.Key)
	return err
}

// notConfigured marks an error that says that there is no node to run.
func notConfigured(err error) error { return &exitError{exitNotConfigured, err} }

func addresses(listeners []net.Listener) []string {
	var out []string
	for _, l := range listeners {
		out = append(out, l.Addr().String())
	}
	return out
}

// logger returns the log on w.
func (c *logConfig) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // one of the levels: an enumeration
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// reloadOnHangup reads the API's certificate again at each SIGHUP.
func (m *member) reloadOnHangup(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if err := m.source.Reload(); err != nil {
				m.cfg.log.Error("reading the API's certificate again", "err", err)
			}
		}
	}
}

const (
	// announcePoll is how often a starting node looks whether it is ready.
	announcePoll = 100 * time.Millisecond
	// announceEvery is how often the supervisor hears that the node waits; each time
	// it gives it 30 s more.
	announceEvery = 10 * time.Second
	// tellLimit bounds the telling: a supervisor that does not listen stops nothing.
	tellLimit = time.Second
)

// announce tells the supervisor when the node serves; until then, that it waits for
// others and why, so that it is not taken for one that hangs.
func (m *member) announce(ctx context.Context) {
	tick := time.NewTicker(announcePoll)
	defer tick.Stop()
	var told string
	var last time.Time
	for {
		err := m.ready(ctx)
		if err == nil {
			m.tell("READY=1\nSTATUS=serving")
			m.cfg.log.Info("node ready")
			return
		}
		if text := err.Error(); text != told || time.Since(last) > announceEvery {
			m.tell("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=" + text)
			told, last = text, time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ready returns nil when the node serves and has a certificate to serve with.
func (m *member) ready(ctx context.Context) error {
	if err := m.service.Ready(ctx); err != nil {
		return err
	}
	if m.source.NotAfter().IsZero() {
		return m.source.Reload()
	}
	return nil
}

// tell sends a state to the supervisor that started this process (sd_notify(3)), if
// it wants to know. What does not arrive is no reason to stop.
func (m *member) tell(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		m.cfg.log.Warn("telling the supervisor", "err", err)
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(tellLimit)) // of a socket that is open
	if _, err := conn.Write([]byte(state)); err != nil {
		m.cfg.log.Warn("telling the supervisor", "err", err)
	}
}
