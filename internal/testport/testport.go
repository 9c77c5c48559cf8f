// Package testport is for tests: it gives out ports of loopback that a process may
// listen on, leave, and listen on again, and that nobody else takes meanwhile.
// Nothing of it is part of the product.
//
// A test that can listen on port 0 has no need of it. Others must name a port before
// they use it: in a configuration, for a process of its own, or for a node that comes
// back where it was. A port that the kernel has given out and got back is the worst
// choice for them, since the kernel gives it to the next connection of anybody.
//
// So these ports lie outside of the range that the kernel gives out. Test binaries,
// which run at the same time, divide them into blocks: who listens on the first port of
// a block owns the rest of it until the process ends. A binary may hold several.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
)

const (
	lowest  = 10_000 // below live the services of machines
	highest = 65_535
	size    = 64 // ports of a block, the lock included
)

// A block is a row of ports that this process owns.
type block struct {
	lock  net.Listener // on the first port; never closed
	base  int
	taken [size]bool
	next  int // where to look first, so that a port rests before it is used again
}

var (
	mu    sync.Mutex
	owned []*block // guarded by mu
)

// Addr returns an address of loopback, host and port, where nobody listens by TCP or
// UDP. It is the test's own until the test ends.
func Addr(t testing.TB) string {
	t.Helper()
	return addr(Row(t, 1))
}

// Row returns the first of n ports in a row, fewer than 64, that are like those of Addr.
func Row(t testing.TB, n int) int {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for _, b := range owned {
		if port, ok := b.take(t, n); ok {
			return port
		}
	}
	for _, base := range candidates(kernelRange()) {
		l, err := net.Listen("tcp", addr(base))
		if err != nil {
			continue // another process owns it
		}
		b := &block{lock: l, base: base, next: 1}
		owned = append(owned, b)
		if port, ok := b.take(t, n); ok {
			return port
		}
	}
	t.Fatal("testport: there are no free ports")
	return 0
}

// take finds n free ports of the block. They return to it when the test ends. The
// caller holds mu.
func (b *block) take(t testing.TB, n int) (port int, ok bool) {
	t.Helper()
	for range size {
		first := b.next
		if first+n > size {
			first = 1
		}
		b.next = first + 1
		if !b.free(first, n) {
			continue
		}
		b.mark(first, n, true)
		b.next = first + n
		t.Cleanup(func() {
			mu.Lock()
			defer mu.Unlock()
			b.mark(first, n, false)
		})
		return b.base + first, true
	}
	return 0, false
}

func (b *block) free(first, n int) bool {
	for i := first; i < first+n; i++ {
		if b.taken[i] || !bindable(addr(b.base+i)) {
			return false
		}
	}
	return true
}

func (b *block) mark(first, n int, taken bool) {
	for i := first; i < first+n; i++ {
		b.taken[i] = taken
	}
}

// bindable tells whether nobody listens there: neither a program of the machine, nor a
// process of a test that is still about to end.
func bindable(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return u.Close() == nil
}

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// candidates returns the first ports of the blocks outside of the kernel's range. They
// begin anywhere, so that a block rests before another process takes it. On a machine
// whose kernel gives out all ports there are no better ones than those.
func candidates(low, high int) []int {
	var outside, every []int
	for base := lowest; base+size-1 <= highest; base += size {
		every = append(every, base)
		if base+size-1 < low || base > high {
			outside = append(outside, base)
		}
	}
	if len(outside) == 0 {
		outside = every
	}
	at := rand.IntN(len(outside))
	return append(outside[at:len(outside):len(outside)], outside[:at]...)
}

// kernelRange returns the ports that the kernel gives to connections and to those who
// listen on port 0: Linux tells, others use what RFC 6335 section 6 calls dynamic.
func kernelRange() (low, high int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &low, &high)
	}
	if err != nil {
		return 49_152, highest
	}
	return low, high
}
