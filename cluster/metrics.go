package cluster

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// metrics are a node's. The collectors always exist; without a registerer nobody
// reads them.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	proposals   *prometheus.CounterVec
	proposeTime prometheus.Histogram
	beats       *prometheus.CounterVec
	beatTime    prometheus.Histogram
	alone       prometheus.Counter
	retries     prometheus.Counter
	purges      *prometheus.CounterVec
}

func newMetrics(n *Node, r prometheus.Registerer) (*metrics, error) {
	buckets := prometheus.ExponentialBuckets(0.0005, 2, 14) // 0.5 ms to 4 s
	m := &metrics{
		registerer: r,
		proposals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kmsd_cluster_proposals_total",
			Help: "Commands proposed on this node, by what became of them.",
		}, []string{"result"}),
		proposeTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kmsd_cluster_propose_seconds", Buckets: buckets,
			Help: "Time from the proposal of a command to its acknowledgement by the cluster.",
		}),
		beats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kmsd_cluster_beats_total",
			Help: "Beats sent by this node as leader: answered, ignored (another term), or lost.",
		}, []string{"result"}),
		beatTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kmsd_cluster_beat_seconds", Buckets: buckets,
			Help: "Round trip of an answered Beat, with the time for which the member held it.",
		}),
		alone: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kmsd_cluster_indexes_without_member_total",
			Help: "Published indexes that were acknowledged although a member had not applied them.",
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kmsd_cluster_forward_retries_total",
			Help: "Attempts to have the leader execute a call that brought no answer.",
		}),
		purges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kmsd_cluster_purges_total",
			Help: "Attempts to clear the disk of secrets that were destroyed: done, failed, or postponed.",
		}, []string{"result"}),
	}
	return m, m.register(n)
}

func (m *metrics) register(n *Node) error {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	if m.registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{
		m.proposals, m.proposeTime, m.beats, m.beatTime, m.alone, m.retries, m.purges,
		gauge("kmsd_cluster_leader", "1 while this node leads an open term.", n.leadsGauge),
		gauge("kmsd_cluster_failure_tolerance", "On the leader, how many more voters may fail before the cluster stops; -1 on other nodes.", n.toleranceGauge),
		gauge("kmsd_cluster_ready", "1 while this node may serve reads.", n.readyGauge),
		gauge("kmsd_cluster_term", "The Raft term that this node last led or heard a leader of.", n.termGauge),
		gauge("kmsd_cluster_applied_index", "The log index that this node's state machine has published.",
			func() float64 { return float64(n.applied.Load()) }),
		gauge("kmsd_cluster_stable_index", "The highest log index that this node knows to be acknowledged.",
			func() float64 { return float64(n.stable.Load()) }),
		gauge("kmsd_cluster_keyring_seals", "Seals by this process under the keyring's current term.",
			func() float64 { return float64(n.keyring.Seals()) }),
		gauge("kmsd_cluster_destroyed_secrets_on_disk_seconds",
			"How long ago the first secret was destroyed that this node's disk may still hold; 0 when it holds none.", n.stainSeconds),
	} {
		if err := m.registerer.Register(c); err != nil {
			m.unregister()
			return err
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

// unregister lets another node use the registry.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

func (m *metrics) proposed(err error, r fsm.Result, took time.Duration) {
	result := "applied"
	switch {
	case errors.Is(err, kms.ErrNotLeader):
		result = "not_leader"
	case errors.Is(err, kms.ErrUnavailable), errors.Is(err, errNotYet):
		result = "unavailable"
	case errors.Is(err, kms.ErrOutcomeUnknown):
		result = "unknown"
	case err != nil:
		result = "invalid"
	case r.Conflict:
		result = "conflict"
	case r.Repeat != nil:
		result = "repeat"
	case r.Err != nil:
		result = "refused"
	}
	m.proposals.WithLabelValues(result).Inc()
	if err == nil && !r.Conflict {
		m.proposeTime.Observe(took.Seconds())
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (n *Node) leadsGauge() float64 {
	l := n.lead.Load()
	return flag(l != nil && l.isOpen())
}

func (n *Node) readyGauge() float64 {
	if f := n.fresh.Load(); f == nil { // also before Raft runs
		return 0
	}
	return flag(n.Ready() == nil)
}

func (n *Node) termGauge() float64 {
	if f := n.fresh.Load(); f != nil {
		return float64(f.Term)
	}
	return 0
}
