package service

import "github.com/prometheus/client_golang/prometheus"

// metrics are the pipeline's own measurements.
type metrics struct {
	throttled *prometheus.CounterVec
}

// newMetrics registers the metrics at reg, unless that is nil.
func newMetrics(reg prometheus.Registerer, p *pools, t *throttle) *metrics {
	m := &metrics{throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kmsd_throttled_total",
		Help: "Calls that were refused because their account has used up a request quota, by quota.",
	}, []string{"quota"})}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.throttled, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kmsd_throttle_buckets",
		Help: "Request quotas of accounts and Regions that are being counted.",
	}, t.size))
	for name, pool := range map[string]*pool{"read": p.read, "rsa": p.rsa, "heavy": p.heavy, "write": p.write, "operator": p.operator} {
		registerPool(reg, name, pool)
	}
	return m
}

// registerPool adds the state of one pool, which is asked at every scrape.
func registerPool(reg prometheus.Registerer, name string, p *pool) {
	labels := prometheus.Labels{"pool": name}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kmsd_admission_running", ConstLabels: labels,
			Help: "Calls that have a place of the pool.",
		}, func() float64 { return float64(p.running.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kmsd_admission_waiting", ConstLabels: labels,
			Help: "Calls that wait for a place of the pool.",
		}, func() float64 { return float64(p.waiting.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kmsd_admission_refused_total", ConstLabels: labels,
			Help: "Calls that were refused because the pool's queue was full, or their wait too long.",
		}, func() float64 { return float64(p.refused.Load()) }),
	)
}
