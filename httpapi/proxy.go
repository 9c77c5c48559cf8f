package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// proxyTimeout is how long a proxy may take to send the whole header, or the
	// first bytes of something else.
	proxyTimeout = 5 * time.Second
	// proxyBuffer holds a usual header with some bytes behind it. The parser needs
	// 107 for a header of version 1.
	proxyBuffer = 256
)

// The reasons why a well-formed header is not believed.
var (
	errProxyVersion = errors.New("only version 2 of the PROXY protocol is spoken here")
	errProxyAddress = errors.New("the PROXY header names no client address")
)

// proxyListener reads PROXY headers, version 2 ("The PROXY protocol", HAProxy,
// section 2.2), on the connections that come from trusted addresses. Connections
// from elsewhere pass as they are: a header is to them as wrong as any other bytes
// in that place.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
	headers *prometheus.CounterVec
}

func (l *proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || !within(l.trusted, c.RemoteAddr()) {
		return c, err
	}
	return &proxiedConn{Conn: c, headers: l.headers, reader: bufio.NewReaderSize(c, proxyBuffer)}, nil
}

func within(trusted []netip.Prefix, peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// proxiedConn is a connection from a trusted address. Its header is read at the
// first use of the connection or of its addresses, which net/http makes in the
// connection's own goroutine: a slow proxy holds up nobody else. The addresses are
// then those of the header.
//
// The proxy may leave the header out, or say LOCAL, as load balancers do for their
// own health checks: the client is then the proxy itself. A header that is
// malformed, late, of version 1 or without an IP address ends the connection.
//
// The library's own connection is not used because it goes on, in the middle of a
// header, when the rest is late.
type proxiedConn struct {
	net.Conn
	headers *prometheus.CounterVec

	once   sync.Once
	err    error              // set by once
	header *proxyproto.Header // set by once; nil if the addresses are the connection's
	reader *bufio.Reader      // once's, then the reading goroutine's
}

// prepare reads the header, at the first call.
func (c *proxiedConn) prepare() error {
	c.once.Do(func() {
		var result string
		c.header, result, c.err = c.readHeader()
		c.headers.WithLabelValues(result).Inc()
	})
	return c.err
}

// readHeader also tells the metric's label.
func (c *proxiedConn) readHeader() (*proxyproto.Header, string, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(proxyTimeout)); err != nil {
		return nil, labelRefused, err
	}
	h, err := proxyproto.Read(c.reader)
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		return nil, labelNone, c.Conn.SetReadDeadline(time.Time{})
	}
	if err == nil {
		err = checkProxyHeader(h)
	}
	if err == nil {
		err = c.Conn.SetReadDeadline(time.Time{})
	}
	switch {
	case err != nil:
		return nil, labelRefused, fmt.Errorf("reading a PROXY header: %w", err)
	case h.Command.IsLocal():
		return nil, labelLocal, nil
	}
	return h, labelProxied, nil
}

// checkProxyHeader tells why a header is not believed. Which transport the client
// used to reach the proxy does not matter.
func checkProxyHeader(h *proxyproto.Header) error {
	if h.Version != 2 {
		return errProxyVersion
	}
	if h.Command.IsLocal() {
		return nil
	}
	if _, err := h.TLVs(); err != nil {
		return err
	}
	source, _, _ := h.IPs()
	ip, ok := netip.AddrFromSlice(source)
	if ip = ip.Unmap(); !ok || ip.IsUnspecified() || ip.IsMulticast() {
		return errProxyAddress
	}
	return nil
}

// Read returns what follows the header.
func (c *proxiedConn) Read(b []byte) (int, error) {
	if err := c.prepare(); err != nil {
		return 0, err
	}
	if c.reader.Buffered() > 0 {
		return c.reader.Read(b)
	}
	return c.Conn.Read(b)
}

func (c *proxiedConn) Write(b []byte) (int, error) {
	if err := c.prepare(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// RemoteAddr returns the client's address.
func (c *proxiedConn) RemoteAddr() net.Addr {
	if c.prepare() != nil || c.header == nil {
		return c.Conn.RemoteAddr()
	}
	return c.header.SourceAddr
}

// LocalAddr returns the address that the client reached.
func (c *proxiedConn) LocalAddr() net.Addr {
	if c.prepare() != nil || c.header == nil {
		return c.Conn.LocalAddr()
	}
	return c.header.DestinationAddr
}

// SetDeadline and SetReadDeadline come after the header, whose own deadline would
// otherwise replace theirs.
func (c *proxiedConn) SetDeadline(t time.Time) error {
	if err := c.prepare(); err != nil {
		return err
	}
	return c.Conn.SetDeadline(t)
}

func (c *proxiedConn) SetReadDeadline(t time.Time) error {
	if err := c.prepare(); err != nil {
		return err
	}
	return c.Conn.SetReadDeadline(t)
}

// checkProxyCIDRs refuses ranges that would match nothing, and those that would
// match everybody.
func checkProxyCIDRs(trusted []netip.Prefix) error {
	for _, p := range trusted {
		switch {
		case !p.IsValid() || p.Addr().Is4In6():
			return fmt.Errorf("%s is no range of IPv4 or IPv6 addresses", p)
		case p.Bits() == 0:
			return fmt.Errorf("%s would let every client choose its address: name the proxies", p)
		}
	}
	return nil
}
