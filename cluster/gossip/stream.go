package gossip

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errShut   = errors.New("gossip: closed")
	errLong   = errors.New("gossip: the stream is too long")
	errCrowds = errors.New("gossip: too many streams")
)

// A stream is a connection to a member. It counts as one of the bounded number
// until it is closed, may bring only so many bytes, and ends with the transport.
type stream struct {
	net.Conn
	left    atomic.Int64 // bytes that may still be read
	release func(*stream)
	once    sync.Once
}

// Read implements net.Conn.
func (s *stream) Read(b []byte) (int, error) {
	left := s.left.Load()
	if left <= 0 && len(b) > 0 {
		return 0, errLong
	}
	n, err := s.Conn.Read(b[:min(int64(len(b)), left)])
	s.left.Add(int64(-n))
	return n, err
}

// Write implements net.Conn. A failure ends the stream: memberlist leaves one open
// whose label it could not write.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err != nil {
		_ = s.Close()
	}
	return n, err
}

// Close implements net.Conn. It may be called many times.
func (s *stream) Close() error {
	var err error
	s.once.Do(func() {
		err = s.Conn.Close()
		s.release(s)
	})
	return err
}

// streams are the open ones of a transport.
type streams struct {
	mu     sync.Mutex
	open   map[*stream]bool // guarded by mu: the value tells whether a peer opened it
	count  [2]int           // guarded by mu: dialled, accepted
	closed bool             // guarded by mu
	work   sync.WaitGroup   // open streams and dials; grows only under mu while not closed
}

func side(accepted bool) int {
	if accepted {
		return 1
	}
	return 0
}

// begin makes the end wait for a dial; the caller calls work.Done.
func (s *streams) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errShut
	}
	s.work.Add(1)
	return nil
}

// add makes a stream of a connection, or closes it.
func (s *streams) add(c net.Conn, accepted bool, timeout time.Duration) (*stream, error) {
	st := &stream{Conn: c, release: s.remove}
	st.left.Store(maxStreamBytes)
	err := s.enter(st, accepted)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(timeout))
		if err != nil {
			_ = st.Close()
		}
		return st, err
	}
	_ = c.Close()
	return nil, err
}

func (s *streams) enter(st *stream, accepted bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errShut
	case s.count[side(accepted)] >= maxStreams:
		return errCrowds
	}
	s.open[st] = accepted
	s.count[side(accepted)]++
	s.work.Add(1)
	return nil
}

func (s *streams) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := s.open[st]
	delete(s.open, st)
	s.count[side(accepted)]--
	s.work.Done()
}

// shut lets no more streams in and cuts those that are open. It returns when their
// users have let go of them.
func (s *streams) shut() {
	s.mu.Lock()
	s.closed = true
	open := make([]*stream, 0, len(s.open))
	for st := range s.open {
		open = append(open, st)
	}
	s.mu.Unlock()
	var cut sync.WaitGroup
	for _, st := range open {
		cut.Go(func() { _ = st.Conn.Close() }) // not st.Close: its user releases it
	}
	cut.Wait()
	s.work.Wait()
}
