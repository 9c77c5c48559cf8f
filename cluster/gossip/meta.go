package gossip

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// Meta is what a node says about itself. For others it is a hint like everything
// here.
type Meta struct {
	APIAddress string // host:port of the API; may be empty
	Version    uint32 // the highest cluster version that it supports
}

// ErrMeta is returned for metadata that is malformed or, with the addresses in it,
// larger than the 512 bytes that memberlist carries.
var ErrMeta = errors.New("gossip: metadata is malformed or too large")

// A card is what travels as a node's metadata, in JSON. Unknown fields are those
// of later versions and ignored.
type card struct {
	Address    string `json:"a"` // the cluster address: host:port
	APIAddress string `json:"p,omitempty"`
	Version    uint32 `json:"v,omitempty"`
	// Started orders what a node says over its restarts, after which memberlist's
	// own count begins again: milliseconds since 1970 on the node's wall clock.
	Started int64 `json:"s"`
}

func (c card) encode() ([]byte, error) {
	b, err := json.Marshal(c)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMeta, err)
	case len(b) > memberlist.MetaMaxSize:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMeta, len(b), memberlist.MetaMaxSize)
	}
	return b, c.check()
}

func parseCard(b []byte) (card, error) {
	var c card
	if len(b) > memberlist.MetaMaxSize {
		return card{}, ErrMeta
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return card{}, ErrMeta
	}
	if err := c.check(); err != nil {
		return card{}, err
	}
	return c, nil
}

func (c card) check() error {
	if !validAddr(c.Address) || (c.APIAddress != "" && !validAddr(c.APIAddress)) {
		return fmt.Errorf("%w: an address is not host:port", ErrMeta)
	}
	return nil
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)

// validAddr tells whether s is host:port with a DNS name or IP address that can be
// dialled, and a port from 1 to 65535.
func validAddr(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return validIP(ip)
	}
	return dnsName.MatchString(host)
}

func validIP(ip netip.Addr) bool {
	return ip.IsValid() && ip.Zone() == "" && !ip.IsUnspecified() && !ip.IsMulticast()
}

// A metaSource gives memberlist this node's metadata: memberlist.Delegate. There
// are no messages and no state of ours.
type metaSource struct{ encoded atomic.Pointer[[]byte] }

// NodeMeta implements memberlist.Delegate. encode has checked the size.
func (m *metaSource) NodeMeta(int) []byte { return *m.encoded.Load() }

// NotifyMsg implements memberlist.Delegate.
func (*metaSource) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (*metaSource) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (*metaSource) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (*metaSource) MergeRemoteState([]byte, bool) {}
