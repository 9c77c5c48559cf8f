package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/iam/sigv4"
)

// proxySignature begins a header of version 2 ("The PROXY protocol", section 2.2).
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader puts a header together: version and command, family and transport,
// then the addresses and what follows them.
func proxyHeader(command, family byte, parts ...string) string {
	payload := strings.Join(parts, "")
	return proxySignature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(payload)))) + payload
}

const (
	commandLocal, commandProxy = 0x20, 0x21
	inet, inet6, unixStream    = 0x11, 0x21, 0x31
	inetDatagram               = 0x12

	ports = "\x1f\x90\x24\xb8" // 8080, 9400
)

// addresses are those of client and server, as a header holds them.
func addresses(client, server string) string {
	return string(netip.MustParseAddr(client).AsSlice()) + string(netip.MustParseAddr(server).AsSlice()) + ports
}

var (
	client4 = proxyHeader(commandProxy, inet, addresses("203.0.113.7", "10.0.0.1"))
	client6 = proxyHeader(commandProxy, inet6, addresses("2001:db8::7", "2001:db8::1"))
)

func prefixes(t testing.TB, values ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func trust(t testing.TB, values ...string) func(*httpapi.Config) {
	return func(c *httpapi.Config) { c.ProxyCIDRs = prefixes(t, values...) }
}

// over serves f, in plain and over TLS, and gives check a way to send one request
// behind a header: it returns the answer's status line, or "" for none.
func over(t *testing.T, f func() *fakeService, configure func(*httpapi.Config), check func(t *testing.T, f *fakeService, exchange func(header string) string)) {
	cert := certificate(t)
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			f := f()
			addr := start(t, f, configure, func(c *httpapi.Config) {
				if secure {
					c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
			})
			check(t, f, func(header string) string {
				conn := dial(t, addr)
				defer conn.Close()
				_, _ = io.WriteString(conn, header) // may be refused before the end
				if secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				_, _ = io.WriteString(conn, signedKMS(t, addr, "Encrypt", "{}"))
				line, _ := bufio.NewReader(conn).ReadString('\n')
				return strings.TrimSpace(line)
			})
		})
	}
}

// TestProxyHeader checks whom the audit record and the conditions see.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	tlv := "\xea\x00\x03abc" // PP2_TYPE_AWS, and nobody's business here
	for _, c := range []struct{ name, header, ip string }{
		{"IPv4", client4, "203.0.113.7"},
		{"IPv6", client6, "2001:db8::7"},
		{"IPv4 in IPv6", proxyHeader(commandProxy, inet6, addresses("::ffff:203.0.113.7", "::ffff:10.0.0.1")), "203.0.113.7"},
		{"a client of HTTP/3", proxyHeader(commandProxy, inetDatagram, addresses("203.0.113.7", "10.0.0.1")), "203.0.113.7"},
		{"extensions", proxyHeader(commandProxy, inet, addresses("203.0.113.7", "10.0.0.1"), tlv, tlv), "203.0.113.7"},
		{"many extensions", proxyHeader(commandProxy, inet, addresses("203.0.113.7", "10.0.0.1"), strings.Repeat(tlv, 600)), "203.0.113.7"},
		{"LOCAL", proxyHeader(commandLocal, 0), "127.0.0.1"},
		{"LOCAL with a family", proxyHeader(commandLocal, inet), "127.0.0.1"},
		{"LOCAL with addresses", proxyHeader(commandLocal, inet, addresses("203.0.113.7", "10.0.0.1")), "127.0.0.1"},
		{"none", "", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			over(t, func() *fakeService { return newFakeService(t) }, trust(t, "192.0.2.0/24", "127.0.0.0/8"), func(t *testing.T, f *fakeService, exchange func(string) string) {
				got := exchange(c.header)
				calls := f.seen()
				if got != "HTTP/1.1 200 OK" || len(calls) != 1 {
					t.Fatalf("got %q and %d calls", got, len(calls))
				}
				if calls[0].Source.IP != c.ip {
					t.Errorf("the client is %s, want %s", calls[0].Source.IP, c.ip)
				}
			})
		})
	}
}

// refusedHeaders are no headers that anybody should believe.
func refusedHeaders() map[string]string {
	cut := addresses("203.0.113.7", "10.0.0.1")
	return map[string]string{
		"version 1":            "PROXY TCP4 203.0.113.7 10.0.0.1 8080 9400\r\n",
		"version 1, IPv6":      "PROXY TCP6 2001:db8::7 2001:db8::1 8080 9400\r\n",
		"version 1, unknown":   "PROXY UNKNOWN\r\n",
		"version 1, endless":   "PROXY " + strings.Repeat("a", 300),
		"version 3":            proxyHeader(0x31, inet, cut),
		"unknown command":      proxyHeader(0x22, inet, cut),
		"unknown family":       proxyHeader(commandProxy, 0x41, cut),
		"unknown transport":    proxyHeader(commandProxy, 0x13, cut),
		"no family":            proxyHeader(commandProxy, 0),
		"a socket's path":      proxyHeader(commandProxy, unixStream, strings.Repeat("/", 216)),
		"too short":            proxyHeader(commandProxy, inet, cut[:11]),
		"too short for IPv6":   proxyHeader(commandProxy, inet6, cut),
		"too long":             proxyHeader(commandProxy, inet, cut, strings.Repeat("\xea\x00\x00", 1400)),
		"longest":              proxySignature + "\x21\x11\xff\xff" + cut,
		"LOCAL, longest":       proxySignature + "\x20\x00\xff\xff",
		"broken extension":     proxyHeader(commandProxy, inet, cut, "\xea\x00\x09abc"),
		"half an extension":    proxyHeader(commandProxy, inet, cut, "\xea"),
		"no address":           proxyHeader(commandProxy, inet, addresses("0.0.0.0", "10.0.0.1")),
		"no IPv6 address":      proxyHeader(commandProxy, inet6, addresses("::", "2001:db8::1")),
		"no mapped address":    proxyHeader(commandProxy, inet6, addresses("::ffff:0.0.0.0", "2001:db8::1")),
		"a group's address":    proxyHeader(commandProxy, inet, addresses("224.0.0.1", "10.0.0.1")),
		"two headers":          client4 + client6,
		"a header, then LOCAL": client4 + proxyHeader(commandLocal, 0),
		"LOCAL, then a header": proxyHeader(commandLocal, 0) + client4,
		"a byte before":        "\x00" + client4,
		"a wrong signature":    strings.Replace(client4, "QUIT", "QUIZ", 1),
	}
}

// TestProxyHeaderRefused sends headers that are wrong from a trusted address.
func TestProxyHeaderRefused(t *testing.T) {
	t.Parallel()
	for name, header := range refusedHeaders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over(t, func() *fakeService { return newFakeService(t) }, trust(t, "127.0.0.1/32"), checkRefused(header))
		})
	}
}

func checkRefused(header string) func(*testing.T, *fakeService, func(string) string) {
	return func(t *testing.T, f *fakeService, exchange func(string) string) {
		if got := exchange(header); got != "" && !strings.HasPrefix(got, "HTTP/1.1 400") {
			t.Errorf("got %q", got)
		}
		checkUntouched(t, f)
	}
}

// TestProxySpoofing sends headers, right and wrong, from an address that is not
// trusted, and where nobody is.
func TestProxySpoofing(t *testing.T) {
	t.Parallel()
	headers := refusedHeaders()
	for name, right := range map[string]string{"IPv4": client4, "IPv6": client6, "LOCAL": proxyHeader(commandLocal, 0)} {
		headers[name] = right
	}
	for trusted, configure := range map[string]func(*httpapi.Config){
		"others": trust(t, "192.0.2.0/24", "2001:db8::/32", "127.0.0.2/32"),
		"nobody": trust(t),
	} {
		for name, header := range headers {
			t.Run(trusted+", "+name, func(t *testing.T) {
				t.Parallel()
				over(t, func() *fakeService { return newFakeService(t) }, configure, checkRefused(header))
			})
		}
		t.Run(trusted+", no header", func(t *testing.T) {
			t.Parallel()
			over(t, func() *fakeService { return newFakeService(t) }, configure, func(t *testing.T, f *fakeService, exchange func(string) string) {
				got := exchange("")
				if calls := f.seen(); got != "HTTP/1.1 200 OK" || len(calls) != 1 || calls[0].Source.IP != "127.0.0.1" {
					t.Errorf("got %q and %d calls", got, len(calls))
				}
			})
		})
	}
}

// TestProxyAddresses checks which peers a range holds. Their addresses have the forms
// that package net gives them, so that the test needs no IPv6 on the machine.
func TestProxyAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, peer, zone, trusted, ip string // ip "" means that the header is not believed
	}{
		{"IPv6", "::1", "", "::1/128", "203.0.113.7"},
		{"IPv6, others", "::1", "", "2001:db8::/32", ""},
		{"IPv6, the range of IPv4", "::1", "", "127.0.0.0/8", ""},
		{"IPv6 with a zone", "fe80::1", "eth0", "fe80::/10", "203.0.113.7"},
		{"IPv4 on a listener of both", "::ffff:127.0.0.1", "", "127.0.0.0/8", "203.0.113.7"},
		{"IPv4 on a listener of both, others", "::ffff:127.0.0.1", "", "::/1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, f := newPipeListener(), newFakeService(t)
			s := newServer(t, f, trust(t, c.trusted))
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			ip := netip.MustParseAddr(c.peer).As16()
			conn, _ := l.dialFrom(&net.TCPAddr{IP: ip[:], Port: 4711, Zone: c.zone})
			// A server that does not believe the header answers before the end.
			go func() { _, _ = io.WriteString(conn, client4+signedKMS(t, "kms", "Encrypt", "{}")) }()
			line, _ := bufio.NewReader(conn).ReadString('\n')
			conn.Close()
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			calls := f.seen()
			if c.ip == "" {
				if len(calls) != 0 || !strings.HasPrefix(line, "HTTP/1.1 400") {
					t.Errorf("got %q; calls %d", line, len(calls))
				}
				return
			}
			if len(calls) != 1 || calls[0].Source.IP != c.ip {
				t.Errorf("got %q; calls %d", line, len(calls))
			}
		})
	}
}

func TestProxyCIDRs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cidr string
		ok   bool
	}{
		{"10.0.0.0/8", true}, {"10.0.0.1/32", true}, {"2001:db8::/32", true},
		{"0.0.0.0/0", false}, {"::/0", false}, {"::ffff:10.0.0.0/104", false},
	} {
		_, err := httpapi.New(httpapi.Config{
			Backend: newFakeService(t), Verifier: sigv4.NewVerifier(1), Logger: testLogger(t), ProxyCIDRs: prefixes(t, "192.0.2.1/32", c.cidr),
		})
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), c.cidr) {
			t.Errorf("%s: %v, want success: %v", c.cidr, err, c.ok)
		}
	}
	if _, err := httpapi.New(httpapi.Config{
		Backend: newFakeService(t), Verifier: sigv4.NewVerifier(1), Logger: testLogger(t), ProxyCIDRs: []netip.Prefix{{}},
	}); err == nil {
		t.Error("no range at all was accepted")
	}
}

// TestProxyMetric checks what is counted, and that two clients behind one proxy
// stay apart on one listener.
func TestProxyMetric(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	f := newFakeService(t)
	addr := start(t, f, trust(t, "127.0.0.1/32"), func(c *httpapi.Config) { c.Registerer = registry })
	for _, header := range []string{client4, client6, proxyHeader(commandLocal, 0), "PROXY UNKNOWN\r\n", client4[:13] + "\xff", ""} {
		conn := dial(t, addr)
		_, _ = io.WriteString(conn, header+signedKMS(t, addr, "Encrypt", "{}"))
		_, _ = bufio.NewReader(conn).ReadString('\n')
		conn.Close()
	}
	var ips []string
	for _, call := range f.seen() {
		ips = append(ips, call.Source.IP)
	}
	if got, want := strings.Join(ips, " "), "203.0.113.7 2001:db8::7 127.0.0.1 127.0.0.1"; got != want {
		t.Errorf("clients %s, want %s", got, want)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "kmsd_http_proxy_headers_total" {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if len(got) != 4 || got["proxied"] != 2 || got["local"] != 1 || got["refused"] != 2 || got["none"] != 1 {
		t.Errorf("counted %v", got)
	}
}

// TestProxyHTTP2 runs Go's own client over TLS and HTTP/2 through a header.
func TestProxyHTTP2(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	f := newFakeService(t)
	addr := start(t, f, trust(t, "127.0.0.1/32"), func(c *httpapi.Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, address)
			if err == nil {
				_, err = io.WriteString(c, client6)
			}
			return c, err
		},
	}
	defer transport.CloseIdleConnections()
	for range 3 {
		got, err := transport.RoundTrip(signedRequest(t, "kms", "POST", "https://"+addr+"/", kmsHeader("Encrypt"), "{}", now))
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		if got.StatusCode != 200 || got.Proto != "HTTP/2.0" {
			t.Errorf("got %s %s", got.Proto, got.Status)
		}
	}
	for _, call := range f.seen() {
		if call.Source.IP != "2001:db8::7" || call.Source.TLSVersion != "TLSv1.3" {
			t.Errorf("the client is %+v", call.Source)
		}
	}
}

// addressedConn is one end of a pipe that has an address. As of a connection of
// package net, several goroutines may close it.
type addressedConn struct {
	net.Conn
	peer   net.Addr
	once   sync.Once
	closed chan struct{} // closed by once
}

func (c *addressedConn) RemoteAddr() net.Addr { return c.peer }

func (c *addressedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// dialFrom connects from an address.
func (l *pipeListener) dialFrom(peer net.Addr) (client net.Conn, server *addressedConn) {
	client, conn := net.Pipe()
	server = &addressedConn{Conn: conn, peer: peer, closed: make(chan struct{})}
	l.conns <- server
	return client, server
}

// dialAddressed connects from 10.0.0.9.
func (l *pipeListener) dialAddressed() (client net.Conn, server *addressedConn) {
	return l.dialFrom(&net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 4711})
}

// TestSlowProxy checks on a fake clock when a proxy that stalls is dropped, and
// that another connection is served meanwhile.
func TestSlowProxy(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	for _, c := range []struct {
		name, sent string
		secure     bool
		after      time.Duration
	}{
		{"after the signature", proxySignature, false, 5 * time.Second},
		{"in the addresses", client4[:20], false, 5 * time.Second},
		{"in the addresses, TLS", client4[:20], true, 5 * time.Second},
		{"in the extensions", proxySignature + "\x21\x11\x00\xff" + client4[16:], false, 5 * time.Second},
		{"in the extensions, TLS", proxySignature + "\x21\x11\x00\xff" + client4[16:], true, 5 * time.Second},
		{"version 1", "PROXY TCP4 203.0.113.7", true, 0},
		{"nothing", "", true, 5 * time.Second},
		{"nothing, plain", "", false, 5 * time.Second},
		{"half a signature", proxySignature[:4], true, 5 * time.Second},
		{"after the header", client4, true, 5 * time.Second},
		{"after the header, plain", client4, false, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, newFakeService(t), trust(t, "10.0.0.0/24"), func(cfg *httpapi.Config) {
					if c.secure {
						cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
					}
				})
				l := newPipeListener()
				served := make(chan error, 1)
				go func() { served <- s.Serve(l) }()
				conn, server := l.dialAddressed()
				begin := time.Now()
				go func() { _, _ = io.WriteString(conn, c.sent) }()

				other, _ := l.dialAddressed()
				live := other
				if c.secure {
					live = tls.Client(other, &tls.Config{InsecureSkipVerify: true})
				}
				if _, err := io.WriteString(other, client4); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(live, "GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, bufio.NewReader(live), true); got.body != "ok" || time.Since(begin) != 0 {
					t.Errorf("another client got %q after %v", got.body, time.Since(begin))
				}
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				<-server.closed
				if took := time.Since(begin); took < c.after || took > c.after+time.Second {
					t.Errorf("dropped after %v, want %v", took, c.after)
				}
				conn.Close()
				other.Close()
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTricklingProxy checks that each byte buys no more time.
func TestTricklingProxy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newFakeService(t), trust(t, "10.0.0.0/24"))
		l := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		conn, server := l.dialAddressed()
		begin := time.Now()
		trickled := make(chan struct{})
		go func() {
			defer close(trickled)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for i := range client4 {
				if _, err := io.WriteString(conn, client4[i:i+1]); err != nil {
					return
				}
				<-tick.C
			}
		}()
		<-server.closed
		if took := time.Since(begin); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("dropped after %v, want 5 s", took)
		}
		conn.Close()
		<-trickled
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestProxyConnectionLimit checks that a connection whose header is still coming
// holds its place, and gives it back.
func TestProxyConnectionLimit(t *testing.T) {
	t.Parallel()
	addr := start(t, newFakeService(t), trust(t, "127.0.0.1/32"), func(c *httpapi.Config) { c.MaxConnections = 1 })
	slow, next := dial(t, addr), dial(t, addr)
	if _, err := io.WriteString(slow, client4[:14]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(next, client4+"GET /livez HTTP/1.1\r\nHost: kms\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := next.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := next.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("a second connection was served beside one")
	}
	slow.Close()
	if err := next.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, bufio.NewReader(next), true); got.body != "ok" {
		t.Errorf("got %s %s", got.status, got.body)
	}
}
