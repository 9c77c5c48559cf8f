package apitls

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxName bounds a DNS name, in bytes (RFC 1035 section 2.3.4).
const maxName = 253

// Hosts is what clients call a listener by.
type Hosts struct {
	Names []string // DNS names, lower case; the first label may be "*"
	IPs   []netip.Addr
}

var dnsName = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// ParseHosts reads names and addresses, each with or without a port, and drops
// what is said twice. An unspecified address (0.0.0.0, ::) and an empty host, as
// listeners have them, are nothing that a client could call and are left out.
func ParseHosts(values ...string) (Hosts, error) {
	var h Hosts
	for _, v := range values {
		host := v
		if name, port, err := net.SplitHostPort(v); err == nil {
			if _, err := strconv.ParseUint(port, 10, 16); err != nil {
				return Hosts{}, fmt.Errorf("%q has no numeric port", v)
			}
			host = name
		}
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if host == "" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			h.addIP(ip.Unmap().WithZone(""))
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(host, "."))
		if len(name) > maxName || !dnsName.MatchString(name) {
			return Hosts{}, fmt.Errorf("%q is neither a DNS name nor an IP address", v)
		}
		if !slices.Contains(h.Names, name) {
			h.Names = append(h.Names, name)
		}
	}
	return h, nil
}

func (h *Hosts) addIP(ip netip.Addr) {
	if !ip.IsUnspecified() && !slices.Contains(h.IPs, ip) {
		h.IPs = append(h.IPs, ip)
	}
}

func (h Hosts) empty() bool { return len(h.Names) == 0 && len(h.IPs) == 0 }

func (h Hosts) ips() []net.IP {
	out := make([]net.IP, len(h.IPs))
	for i, ip := range h.IPs {
		out[i] = ip.AsSlice()
	}
	return out
}
