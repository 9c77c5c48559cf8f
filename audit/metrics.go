package audit

import "github.com/prometheus/client_golang/prometheus"

// metrics are the log's own measurements. They are registered while it is open.
type metrics struct {
	records   prometheus.Counter
	bytes     prometheus.Counter
	write     prometheus.Histogram
	fsync     prometheus.Histogram
	unhealthy prometheus.GaugeFunc
}

// newMetrics registers the metrics at reg; unhealthy is asked at every scrape. A
// nil reg measures for nobody.
func newMetrics(reg prometheus.Registerer, unhealthy func() bool) (*metrics, error) {
	m := &metrics{
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kmsd_audit_records_total", Help: "Records written to the audit log."}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kmsd_audit_bytes_total", Help: "Bytes written to the audit log."}),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kmsd_audit_write_seconds", Help: "Time of one write to the audit log, which carries all records that waited together.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 4, 11)}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kmsd_audit_fsync_seconds", Help: "Time of one fsync of the audit log.",
			Buckets: prometheus.ExponentialBuckets(1e-4, 4, 9)}),
		unhealthy: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kmsd_audit_unhealthy", Help: "1 while the audit log refuses records and the node therefore refuses calls."},
			func() float64 {
				if unhealthy() {
					return 1
				}
				return 0
			}),
	}
	return m, m.register(reg)
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.bytes, m.write, m.fsync, m.unhealthy}
}

func (m *metrics) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for i, c := range m.all() {
		if err := reg.Register(c); err != nil {
			for _, earlier := range m.all()[:i] {
				reg.Unregister(earlier)
			}
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range m.all() {
		reg.Unregister(c)
	}
}
