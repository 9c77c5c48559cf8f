package httpapi

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kmsd/kmsd/kms"
)

// The values that labels take besides the names of operations that are served
// and the codes of the error table.
const (
	labelUnknown = "unknown"
	labelOK      = "OK"

	// What becomes of PROXY headers.
	labelProxied = "proxied"
	labelLocal   = "local"
	labelNone    = "none"
	labelRefused = "refused"
)

type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	proxied  *prometheus.CounterVec
	codes    map[string]struct{}
}

func newMetrics(reg prometheus.Registerer, connections func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kmsd_http_requests_total",
			Help: "Answered API requests by operation and error code; code is OK for success.",
		}, []string{"operation", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kmsd_http_request_duration_seconds",
			Help:    "Time from an API request's headers to its answer, the reading of its body included.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"operation"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kmsd_http_requests_in_flight",
			Help: "API requests that have arrived and are not answered yet.",
		}),
		proxied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kmsd_http_proxy_headers_total",
			Help: "Connections from trusted addresses by their PROXY header: proxied names a client, local is the proxy's own, none has no header, refused has a header that is malformed, late, of version 1 or without a client.",
		}, []string{"result"}),
		codes: make(map[string]struct{}),
	}
	for _, code := range kms.Codes() {
		m.codes[code] = struct{}{}
	}
	conns := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kmsd_http_connections",
		Help: "Open connections of the API listeners; a listener that waits to accept counts as one.",
	}, connections)
	for _, c := range []prometheus.Collector{m.requests, m.latency, m.inFlight, m.proxied, conns} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts one answer. Labels stay within closed sets whatever a client
// sends: operation is one that is served or "unknown", code one of the table.
func (m *metrics) observe(operation, code string, took time.Duration) {
	if _, ok := m.codes[code]; !ok && code != labelOK {
		code = labelUnknown
	}
	m.requests.WithLabelValues(operation, code).Inc()
	m.latency.WithLabelValues(operation).Observe(took.Seconds())
}

// MetricsHandler serves GET /metrics from g, for a listener of its own: metrics
// tell operations and rates to whoever reaches them.
func MetricsHandler(g prometheus.Gatherer) http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	return m
}
