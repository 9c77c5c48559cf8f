package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// maxIPs bounds the addresses of one name that are tried.
const maxIPs = 8

// lookup returns the addresses that host:port stands for, IPv4 first.
func lookup(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	return addrPorts(ips, uint16(number)), nil
}

func addrPorts(ips []netip.Addr, port uint16) []netip.AddrPort {
	var v4, v6 []netip.AddrPort
	for _, ip := range ips {
		switch ip = ip.Unmap(); {
		case !validIP(ip):
		case ip.Is4():
			v4 = append(v4, netip.AddrPortFrom(ip, port))
		default:
			v6 = append(v6, netip.AddrPortFrom(ip, port))
		}
	}
	all := slices.Concat(v4, v6)
	return all[:min(len(all), maxIPs)]
}

// advertised returns where the others shall send packets, and the cluster address
// that they are told.
func advertised(ctx context.Context, cfg *Config, bound netip.AddrPort) (netip.AddrPort, string, error) {
	if cfg.Advertise == "" {
		if !validIP(bound.Addr()) {
			return netip.AddrPort{}, "", errors.New("gossip: no address to advertise, and none bound")
		}
		return bound, bound.String(), nil
	}
	found, err := lookup(ctx, cfg.Advertise)
	if err == nil && len(found) > 0 {
		return found[0], cfg.Advertise, nil
	}
	// A name server that is away must not keep the node from starting: streams and
	// the hint that others give use the name.
	guess := localAddr(bound)
	cfg.Logger.Warn("gossip: cannot resolve the advertised address", "address", cfg.Advertise, "instead", guess.String(), "err", err)
	return guess, cfg.Advertise, nil
}

// localAddr guesses the address of this machine.
func localAddr(bound netip.AddrPort) netip.AddrPort {
	if validIP(bound.Addr()) {
		return bound
	}
	found, _ := net.InterfaceAddrs()
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			return netip.AddrPortFrom(p.Addr().Unmap(), bound.Port())
		}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), bound.Port())
}

func listen(bind string) (*net.UDPConn, netip.AddrPort, error) {
	addr, err := net.ResolveUDPAddr("udp", bind)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("gossip: resolving the address to bind: %w", err)
	}
	c, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, netip.AddrPort{}, fmt.Errorf("gossip: %w", err)
	}
	bound := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return c, netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), nil
}
