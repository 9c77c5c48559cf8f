package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// packetBacklog is how many packets wait for memberlist.
const packetBacklog = 128

// A transport carries memberlist's packets over UDP, sealed, and its streams over
// the cluster port.
type transport struct {
	udp       *net.UDPConn
	advertise netip.AddrPort
	keys      atomic.Pointer[ring]
	dialFunc  func(ctx context.Context, addr string) (net.Conn, error)
	incoming  <-chan net.Conn
	metrics   *metrics
	reads     *bucket
	passes    *bucket

	ctx     context.Context // ends with the transport
	cancel  context.CancelFunc
	packets chan *memberlist.Packet
	accepts chan net.Conn
	streams streams
	loops   sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(ctx context.Context, cfg *Config, udp *net.UDPConn, advertise netip.AddrPort, keys *ring, m *metrics) *transport {
	t := &transport{
		udp: udp, advertise: advertise, dialFunc: cfg.Dial, incoming: cfg.Accept, metrics: m,
		reads: newBucket(readRate, readRate), passes: newBucket(passRate, passRate),
		packets: make(chan *memberlist.Packet, packetBacklog), accepts: make(chan net.Conn),
		streams: streams{open: map[*stream]bool{}},
	}
	t.keys.Store(keys)
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

// start begins to receive.
func (t *transport) start() {
	t.loops.Go(t.receive)
	t.loops.Go(t.accept)
}

// receive reads packets until the socket is closed. It never waits for memberlist,
// and its memory is one buffer and the backlog.
func (t *transport) receive() {
	buf := make([]byte, maxPacket+1)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if err == nil {
			t.pass(buf[:n], from)
			continue
		}
		select {
		case <-t.ctx.Done():
			return
		case <-time.After(10 * time.Millisecond): // such as no buffer space
		}
	}
}

// pass hands a packet on that a member may have sent.
func (t *transport) pass(sealed []byte, from netip.AddrPort) {
	now := time.Now()
	t.metrics.received.Inc()
	if len(sealed) > maxPacket {
		t.metrics.drop(dropSize)
		return
	}
	if !t.reads.allow(now) {
		t.metrics.drop(dropRate)
		return
	}
	keys := t.keys.Load()
	plain, err := keys.open(sealed)
	if err != nil {
		t.metrics.drop(dropUnauthentic)
		return
	}
	if !keys.legal(plain) {
		t.metrics.drop(dropMalformed)
		return
	}
	if !t.passes.allow(now) {
		t.metrics.drop(dropRate)
		return
	}
	select {
	case t.packets <- &memberlist.Packet{Buf: plain, From: net.UDPAddrFromAddrPort(from), Timestamp: now}:
	default:
		t.metrics.drop(dropBacklog)
	}
}

// accept hands incoming streams on.
func (t *transport) accept() {
	for {
		select {
		case <-t.ctx.Done():
			return
		case c, ok := <-t.incoming:
			if !ok {
				return
			}
			s, err := t.streams.add(c, true, streamTimeout)
			if err != nil {
				t.metrics.streams.WithLabelValues(streamRefused).Inc()
				continue
			}
			t.metrics.streams.WithLabelValues(streamAccepted).Inc()
			select {
			case t.accepts <- s:
			case <-t.ctx.Done():
				_ = s.Close()
			}
		}
	}
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo implements memberlist.Transport. addr is an IP address with a port.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("gossip: %w", err)
	}
	sealed := t.keys.Load().seal(b)
	_, err = t.udp.WriteToUDPAddrPort(sealed, to)
	if err != nil {
		t.metrics.drop(dropSend)
	} else {
		t.metrics.sent.Inc()
	}
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout implements memberlist.Transport. addr is an IP address with a port:
// if it were a member's DNS name, a member that came back at another IP would
// answer, and the packets' stale address would never count as dead.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	if err := t.streams.begin(); err != nil {
		return nil, err
	}
	defer t.streams.work.Done()
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	c, err := t.dialFunc(ctx, addr)
	if err != nil {
		t.metrics.streams.WithLabelValues(streamFailed).Inc()
		return nil, err
	}
	s, err := t.streams.add(c, false, streamTimeout)
	if err != nil {
		return nil, err
	}
	t.metrics.streams.WithLabelValues(streamDialled).Inc()
	return s, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.accepts }

// Shutdown implements memberlist.Transport. It may be called many times; when it
// returns, nothing that the transport started runs.
func (t *transport) Shutdown() error {
	t.cancel()
	_ = t.udp.Close()
	t.streams.shut()
	t.loops.Wait()
	return nil
}
