package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxMembers bounds the names that are kept. A cluster has far fewer nodes; a
	// holder of the key could make up any number.
	maxMembers = 128
	// maxStreams bounds the streams at one time, per direction.
	maxStreams = 32
	// maxStreamBytes bounds what is read from one stream: the whole state is less
	// than 1 KiB for each member.
	maxStreamBytes = 1 << 20
	// maxQueue bounds memberlist's two queues of received messages, each.
	maxQueue = 256
	// streamTimeout bounds dialling and one exchange on a stream.
	streamTimeout = 5 * time.Second
	// lookupTimeout bounds the resolution of a name.
	lookupTimeout = 2 * time.Second
)

// Config is how to take part in gossip.
type Config struct {
	// NodeID is this node's UUID, its name in gossip. Required.
	NodeID string
	// ClusterID is the cluster's UUID. Packets and streams of another are refused.
	// Required.
	ClusterID string
	// Bind is where packets are received, host:port, UDP. The port must be the
	// cluster port's number; 0 lets the kernel choose, for tests. Required.
	Bind string
	// Advertise is the cluster address that others are told, host:port. A DNS name
	// is told as such, and beside it the IP address that it had at the start, to
	// which the others send packets: a node that keeps running while its IP changes
	// looks dead until it is started again. Empty: the bound address.
	Advertise string
	// Keys are the gossip keys, 32 bytes each, at most 8: the first seals, all open.
	// Copied. Required.
	Keys [][]byte
	// Dial opens a stream to whichever member answers at addr, over the protocol
	// kmsd-gossip/1 and mutual TLS. It must honour ctx, and is called from many
	// goroutines. Required.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Accept brings the streams that members opened, after their handshake. Nobody
	// reads it after Close: the sender must not wait for ever. Required.
	Accept <-chan net.Conn
	// Known tells whether the state names this node as a member; what is said of
	// others is ignored. It must not block. nil: every well-formed ID.
	Known func(nodeID string) bool
	// Peers returns the cluster addresses, host:port, of the members as last known.
	// Those that no living member has are tried every 30 seconds, so that a node
	// which is alone, or whose part of the cluster was cut off, finds the others
	// again. nil: only what Join was given.
	Peers func() []string
	// Meta returns what others shall know of this node. It is asked at the start and
	// at least every 30 seconds. nil: nothing.
	Meta func() Meta
	// Logger takes the log, at most a line per second on average. Required.
	Logger *slog.Logger
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer

	timing timing // zero: defaultTiming
}

// timing holds the intervals that tests shorten.
type timing struct {
	probe, probeTimeout time.Duration
	gossip, pushPull    time.Duration
	minRetry, maxRetry  time.Duration
}

// defaultTiming finds a dead member in about 6 seconds: one probe and a suspicion
// of 4 probe intervals, for clusters of up to 10 nodes.
var defaultTiming = timing{
	probe: time.Second, probeTimeout: 500 * time.Millisecond,
	gossip: 200 * time.Millisecond, pushPull: 15 * time.Second,
	minRetry: time.Second, maxRetry: 30 * time.Second,
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (c *Config) validate() error {
	switch {
	case !uuid.MatchString(c.NodeID):
		return errors.New("gossip: the node ID is no UUID")
	case !uuid.MatchString(c.ClusterID):
		return errors.New("gossip: the cluster ID is no UUID")
	case c.Dial == nil || c.Accept == nil:
		return errors.New("gossip: no streams")
	case c.Logger == nil:
		return errors.New("gossip: no logger")
	}
	if _, _, err := net.SplitHostPort(c.Bind); err != nil {
		return fmt.Errorf("gossip: the address to bind is not host:port: %w", err)
	}
	if c.Advertise != "" && !validAddr(c.Advertise) {
		return errors.New("gossip: the address to advertise is not host:port")
	}
	if c.timing == (timing{}) {
		c.timing = defaultTiming
	}
	return nil
}

// memberlist returns the library's configuration.
func (c *Config) memberlist(t *transport, r *roster, m *metaSource, log *logWriter) *memberlist.Config {
	ml := memberlist.DefaultLANConfig()
	ml.Name, ml.Label = c.NodeID, c.ClusterID
	ml.Transport, ml.Delegate = t, m
	ml.Alive, ml.Events, ml.Conflict = r, r, r
	ml.Logger = log.logger()
	ml.ProbeInterval, ml.ProbeTimeout = c.timing.probe, c.timing.probeTimeout
	ml.GossipInterval, ml.PushPullInterval = c.timing.gossip, c.timing.pushPull
	ml.TCPTimeout = streamTimeout
	ml.HandoffQueueDepth = maxQueue
	ml.UDPBufferSize = maxSent - sealOverhead - crcOverhead
	// The transport seals packets and the streams are TLS. memberlist's own
	// encryption is left out: its keyring is shifted in place, under its readers,
	// when a key is dropped; it hands packets on that a holder of the key can make
	// crash the process (version 0 padding, nested compression); and it does not run
	// in FIPS mode, where a nonce must come from the module.
	ml.Keyring, ml.SecretKey = nil, nil
	// A compressed message of 1 KiB can unfold to 1 MiB.
	ml.EnableCompression = false
	// A probe never takes longer than its interval, so that its end is near.
	ml.AwarenessMaxMultiplier = 1
	// A member with another address is believed as soon as the old one is dead.
	ml.DeadNodeReclaimTime = time.Millisecond
	return ml
}
