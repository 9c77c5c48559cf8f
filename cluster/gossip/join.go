package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxPending bounds the addresses that are tried at a time.
	maxPending = 64
	// maxContacts bounds the addresses that are tried at once.
	maxContacts = 8
)

// Join tells the members at these addresses, host:port, of this node and takes
// from them whom they know. It returns how many answered, and an error that names
// the others; those are tried again in the background until they answer, a living
// member has their address, or Join is called again. It takes at most some seconds
// for each 8 addresses. At most 64 addresses; malformed ones are an error at once.
func (g *Gossip) Join(addrs []string) (int, error) {
	if len(addrs) > maxPending {
		return 0, fmt.Errorf("gossip: %d addresses to join, at most %d", len(addrs), maxPending)
	}
	for _, a := range addrs {
		if !validAddr(a) {
			return 0, fmt.Errorf("gossip: %q is not host:port", a)
		}
	}
	if g.ctx.Err() != nil {
		return 0, ErrClosed
	}
	g.mu.Lock()
	g.pending = map[string]bool{}
	for _, a := range addrs {
		g.pending[a] = true
	}
	g.mu.Unlock()
	n, err := g.contactAll(addrs)
	select {
	case g.kick <- struct{}{}:
	default:
	}
	return n, err
}

func (g *Gossip) contactAll(addrs []string) (int, error) {
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxContacts)
	for i, a := range addrs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = g.contact(a)
		})
	}
	wg.Wait()
	n := 0
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, a := range addrs {
		if errs[i] == nil {
			delete(g.pending, a)
			n++
		}
	}
	return n, errors.Join(errs...)
}

// contact exchanges states with every member at the address: a name may stand for
// several.
func (g *Gossip) contact(addr string) error {
	found, err := lookup(g.ctx, addr)
	if err != nil {
		return fmt.Errorf("gossip: joining %s: %w", addr, err)
	}
	answered := 0
	err = errors.New("no address")
	for _, ap := range found {
		var n int
		if n, err = g.list.Join([]string{ap.String()}); n > 0 {
			answered++
		}
	}
	if answered == 0 {
		return fmt.Errorf("gossip: joining %s: %w", addr, err)
	}
	return nil
}

// maintain keeps this node's metadata current and looks for members that gossip
// has lost, sooner after a Join than later.
func (g *Gossip) maintain() {
	wait := g.cfg.timing.minRetry
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.kick:
			wait = g.cfg.timing.minRetry
		case <-time.After(wait/2 + rand.N(wait/2+1)):
			g.refresh()
			missing := g.missing()
			_, _ = g.contactAll(missing) // tried again; nobody waits for it
			wait = min(2*wait, g.cfg.timing.maxRetry)
		}
	}
}

// missing returns the addresses at which a member should be and none is known to
// be alive.
func (g *Gossip) missing() []string {
	var peers []string
	if g.cfg.Peers != nil {
		peers = g.cfg.Peers()
	}
	living := g.roster.living()
	living[g.address] = true // also once this node has left
	g.mu.Lock()
	defer g.mu.Unlock()
	wanted := map[string]bool{}
	for a := range g.pending {
		if living[a] {
			delete(g.pending, a)
			continue
		}
		wanted[a] = true
	}
	for _, a := range peers {
		if !living[a] && validAddr(a) {
			wanted[a] = true
		}
	}
	list := make([]string, 0, maxPending)
	for a := range wanted {
		if len(list) < maxPending {
			list = append(list, a)
		}
	}
	return list
}

// refresh tells the others when this node's metadata changed. What cannot be told
// is logged and the old stays.
func (g *Gossip) refresh() {
	b, err := g.describe()
	if err != nil {
		g.log.emit(slog.LevelWarn, err.Error())
		return
	}
	if bytes.Equal(b, *g.meta.encoded.Load()) {
		return
	}
	g.meta.encoded.Store(&b)
	_ = g.list.UpdateNode(time.Millisecond) // queues it; not waiting for its way is no error
}

// describe encodes this node's card.
func (g *Gossip) describe() ([]byte, error) {
	c := card{Address: g.address, Started: g.started}
	if g.cfg.Meta != nil {
		m := g.cfg.Meta()
		c.APIAddress, c.Version = m.APIAddress, m.Version
	}
	return c.encode()
}
