package apitls

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	renewed prometheus.Counter
	failed  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, notAfter func() time.Time) (*metrics, error) {
	attempts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kmsd_api_certificate_renewals_total",
		Help: "Certificates of the API listener that were read or issued (ok), and attempts that failed and left the old one in use.",
	}, []string{"result"})
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kmsd_api_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the API listener shows ends, in seconds since 1970; 0 while there is none.",
	}, func() float64 {
		if end := notAfter(); !end.IsZero() {
			return float64(end.Unix())
		}
		return 0
	})
	for _, c := range []prometheus.Collector{attempts, expiry} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return &metrics{renewed: attempts.WithLabelValues("ok"), failed: attempts.WithLabelValues("failed")}, nil
}
