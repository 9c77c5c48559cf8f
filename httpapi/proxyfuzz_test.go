package httpapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/httpapi"
)

// The answers of judge.
const (
	believed = "believed" // the client is the header's
	skipped  = "skipped"  // a header that says nothing about a client
	absent   = "absent"   // no header: every byte is the client's
	broken   = "broken"   // the connection ends
)

// judge reads a header by the words of the specification, section 2.2, and of the
// package's rules: what becomes of it, the client, and what follows the header.
func judge(b string) (verdict, client, rest string) {
	if strings.HasPrefix(b, "PROXY") {
		return broken, "", ""
	}
	if !strings.HasPrefix(b, proxySignature) {
		return absent, "", b
	}
	if len(b) < 16 {
		return broken, "", ""
	}
	command, family, size := b[12], b[13], int(binary.BigEndian.Uint16([]byte(b[14:16])))
	if len(b) < 16+size || size > 4096 {
		return broken, "", ""
	}
	payload, rest := b[16:16+size], b[16+size:]
	width := map[byte]int{0x11: 4, 0x12: 4, 0x21: 16, 0x22: 16, 0x31: 108, 0x32: 108}[family]
	switch {
	case command != commandLocal && command != commandProxy || width == 0 && family != 0:
		return broken, "", ""
	case command == commandLocal:
		return skipped, "", rest
	case width != 4 && width != 16 || size < 2*width+4 || !extensions(payload[2*width+4:]):
		return broken, "", ""
	}
	ip, _ := netip.AddrFromSlice([]byte(payload[:width]))
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
		return broken, "", ""
	}
	port := binary.BigEndian.Uint16([]byte(payload[2*width:]))
	return believed, netip.AddrPortFrom(ip, port).String(), rest
}

// extensions tells whether s is a row of type, length and value.
func extensions(s string) bool {
	for s != "" {
		if len(s) < 3 {
			return false
		}
		size := int(binary.BigEndian.Uint16([]byte(s[1:3])))
		if len(s) < 3+size {
			return false
		}
		s = s[3+size:]
	}
	return true
}

func addProxySeeds(f *testing.F) {
	for _, header := range refusedHeaders() {
		f.Add([]byte(header + "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"))
	}
	for _, header := range []string{"", client4, client6, proxyHeader(commandLocal, 0), proxyHeader(commandLocal, unixStream, "abc"), client4[:20], "P", "\r"} {
		f.Add([]byte(header + "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"))
		f.Add([]byte(header + "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	}
}

// FuzzProxyHeader compares what becomes of a header with the words of its
// specification. Not a byte behind a header is lost, and none of it shows.
func FuzzProxyHeader(f *testing.F) {
	addProxySeeds(f)
	inner := newPipeListener()
	l := httpapi.NewProxyListener(inner, prefixes(f, "192.0.2.0/24"))
	f.Fuzz(func(t *testing.T, b []byte) {
		go func() { inner.conns <- &bytesConn{in: bytes.NewReader(b), closed: make(chan struct{})} }()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		verdict, client, rest := judge(string(b))
		if verdict != believed {
			client = "192.0.2.1:1"
		}
		got := c.RemoteAddr().String()
		if addr, err := netip.ParseAddrPort(got); err == nil {
			got = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()).String()
		}
		if got != client {
			t.Errorf("%s: the client is %s, want %s", verdict, got, client)
		}
		read, err := io.ReadAll(c)
		if (err != nil) != (verdict == broken) || string(read) != rest {
			t.Errorf("%s: read %q, %v; want %q", verdict, read, err, rest)
		}
		if _, err := c.Write([]byte("x")); (err != nil) != (verdict == broken) {
			t.Errorf("%s: writing: %v", verdict, err)
		}
	})
}

// panics fails the test when net/http logs that a connection's goroutine panicked.
type panics struct{ t testing.TB }

func (p panics) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("panic")) {
		p.t.Errorf("%s", b)
	}
	return len(b), nil
}

// FuzzFirstBytes sends arbitrary bytes to a listener that speaks TLS behind a
// trusted proxy, and to one without TLS. No connection panics, and each is closed
// soon after its last byte.
func FuzzFirstBytes(f *testing.F) {
	addProxySeeds(f)
	cert := certificate(f)
	var listeners []*pipeListener
	for _, secure := range []bool{true, false} {
		s := newServer(f, newFakeService(f), trust(f, "192.0.2.0/24"), func(c *httpapi.Config) {
			c.Logger = slog.New(slog.NewTextHandler(panics{f}, &slog.HandlerOptions{Level: slog.LevelDebug}))
			if secure {
				c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			}
		})
		l, served := newPipeListener(), make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		f.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				f.Error(err)
			}
			<-served
		})
		listeners = append(listeners, l)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, l := range listeners {
			c := &bytesConn{in: bytes.NewReader(b), closed: make(chan struct{})}
			l.conns <- c
			select {
			case <-c.closed:
			case <-time.After(20 * time.Second):
				t.Fatalf("the connection is still open")
			}
		}
	})
}
