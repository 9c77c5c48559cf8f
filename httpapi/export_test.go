package httpapi

import (
	"net"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
)

// NewProxyListener returns the listener that reads PROXY headers, alone.
func NewProxyListener(l net.Listener, trusted []netip.Prefix) net.Listener {
	headers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "headers"}, []string{"result"})
	return &proxyListener{Listener: l, trusted: trusted, headers: headers}
}
