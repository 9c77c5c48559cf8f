package gossip

import "github.com/prometheus/client_golang/prometheus"

// Why a packet was dropped.
const (
	dropSize        = "size"
	dropRate        = "rate"
	dropUnauthentic = "unauthentic"
	dropMalformed   = "malformed"
	dropBacklog     = "backlog"
	dropSend        = "send_failed"
)

// What became of a stream.
const (
	streamDialled  = "dialled"
	streamFailed   = "dial_failed"
	streamAccepted = "accepted"
	streamRefused  = "refused"
)

// metrics are those of one Gossip. The collectors always exist; without a
// registerer nobody reads them.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector

	received, sent, refused prometheus.Counter
	dropped, streams        *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, alive func() int) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		registerer: r,
		received:   counter("kmsd_gossip_packets_received_total", "Packets that arrived on the gossip port, from anybody."),
		sent:       counter("kmsd_gossip_packets_sent_total", "Packets sent to members."),
		refused:    counter("kmsd_gossip_claims_refused_total", "Messages that a node is alive which were ignored: no member, too many names, malformed."),
		dropped:    vector("kmsd_gossip_packets_dropped_total", "Packets dropped, by reason; those that could not be sent included.", "reason"),
		streams:    vector("kmsd_gossip_streams_total", "Streams of gossip with members, by what became of them.", "result"),
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kmsd_gossip_alive_members", Help: "Members that gossip believes alive, this node included.",
	}, func() float64 { return float64(alive()) })
	return m, m.register(gauge, m.received, m.sent, m.refused, m.dropped, m.streams)
}

func (m *metrics) register(collectors ...prometheus.Collector) error {
	if m.registerer == nil {
		return nil
	}
	for _, c := range collectors {
		if err := m.registerer.Register(c); err != nil {
			m.unregister()
			return err
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

// unregister lets another use the registry.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
}

func (m *metrics) drop(reason string) { m.dropped.WithLabelValues(reason).Inc() }
