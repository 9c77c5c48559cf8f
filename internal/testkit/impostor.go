package testkit

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// An Impostor listens where a member should be and shows a certificate to whoever
// dials.
type Impostor struct {
	l    net.Listener
	work sync.WaitGroup

	mu   sync.Mutex
	seen map[string]Reception // guarded by mu; by protocol
	open map[net.Conn]bool    // guarded by mu; nil once closed
}

// A Reception counts how those who dialled took the Impostor.
type Reception struct {
	// Refused have looked at the certificate and hung up; Trusted have spoken to it.
	Refused, Trusted int
}

// Impersonate listens at addr.
func (p *Papers) Impersonate(ctx context.Context, addr string) (*Impostor, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	i := &Impostor{l: l, seen: map[string]Reception{}, open: map[net.Conn]bool{}}
	i.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.work.Go(func() { i.receive(c, p.server()) })
		}
	})
	return i, nil
}

// Seen tells how those who dialled for a protocol took the Impostor.
func (i *Impostor) Seen(protocol string) Reception {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.seen[protocol]
}

// Close stops listening and ends all connections.
func (i *Impostor) Close() {
	_ = i.l.Close()
	i.mu.Lock()
	for c := range i.open {
		_ = c.Close()
	}
	i.open = nil
	i.mu.Unlock()
	i.work.Wait()
}

// receive lets one peer in that may be anybody, and listens to what it says.
func (i *Impostor) receive(raw net.Conn, server *tls.Config) {
	defer raw.Close()
	if !i.enter(raw) {
		return
	}
	_ = raw.SetDeadline(time.Now().Add(visitTime)) // fails only on a closed connection
	protocol := ""
	cfg := server.Clone()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 1 {
			protocol = hello.SupportedProtos[0]
		}
		return server, nil
	}
	c := tls.Server(raw, cfg)
	err := c.Handshake()
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.seen[protocol]
	switch {
	case err == nil:
		r.Trusted++
	case errors.Is(hungUp(err), ErrTurnedAway):
		r.Refused++
	}
	i.seen[protocol] = r
}

func (i *Impostor) enter(c net.Conn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.open == nil {
		return false
	}
	i.open[c] = true
	return true
}
