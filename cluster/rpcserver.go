package cluster

import (
	"context"
	"encoding/binary"
	"errors"

	"net"
	"time"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/kms"
)

// replyTimeout bounds the writing of a reply to a peer that reads slowly.
const replyTimeout = 10 * time.Second

// serveRPC answers a member's requests, one after the other, until the connection
// ends.
func (n *Node) serveRPC(peer trust.Identity, c net.Conn) {
	for {
		kind, left, body, err := readRequest(c)
		if err != nil {
			if errors.Is(err, errFrame) {
				n.log.Warn("closing a member's connection", "node", peer.NodeID, "err", err)
			}
			return
		}
		status, reply := n.answer(peer, kind, left, body)
		if err := c.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
			return
		}
		if err := writeReply(c, status, reply); err != nil {
			return
		}
	}
}

func (n *Node) answer(peer trust.Identity, kind rpcKind, left time.Duration, body []byte) (rpcStatus, []byte) {
	ctx, cancel := context.WithTimeout(n.ctx, left)
	defer cancel()
	switch kind {
	case kindBeat:
		b, err := decodeBeat(body)
		if err != nil || n.fate.failed.Load() {
			return statusUnavailable, nil
		}
		if hook := n.cfg.hooks.beat; hook != nil {
			hook(ctx)
		}
		return statusOK, encodeReply(n.handleBeat(ctx, peer.NodeID, b))
	case kindForward:
		if !n.isKnown(peer.NodeID) {
			return statusUnavailable, nil
		}
		reply, index, err := n.execute(ctx, body)
		return n.encodeOutcome(reply, index, err)
	default:
		if n.fate.failed.Load() || n.lead.Load() != nil && !n.isKnown(peer.NodeID) {
			return statusUnavailable, nil
		}
		return n.answerAsked(ctx, peer.NodeID, kind, body)
	}
}

// isKnown tells whether the applied state has the member. The handshake may have
// accepted a node that this one only remembered; a call is taken from members of
// the state alone.
func (n *Node) isKnown(nodeID string) bool {
	_, ok := n.machine.View().Node(nodeID)
	return ok
}

// encodeOutcome makes the reply to a forwarded call. What is no answer for a
// client is logged here and travels without its text.
func (n *Node) encodeOutcome(reply []byte, index uint64, err error) (rpcStatus, []byte) {
	var known *kms.Error
	switch {
	case err == nil:
		return statusOK, append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(reply)), index), reply...)
	case errors.Is(err, kms.ErrOutcomeUnknown): // first: it claims the least
		return statusUnknown, nil
	case errors.Is(err, kms.ErrNotLeader):
		return statusNotLeader, nil
	case errors.Is(err, kms.ErrUnavailable):
		return statusUnavailable, nil
	case errors.As(err, &known) && len(known.Code) < 256:
		out := append([]byte{byte(len(known.Code))}, known.Code...)
		return statusError, append(out, known.Message...)
	default:
		n.log.Error("a forwarded call failed", "err", err)
		return statusFailed, nil
	}
}

var errRemote = errors.New("the leader could not execute the call")

func decodeOutcome(status rpcStatus, body []byte) (reply []byte, index uint64, err error) {
	switch {
	case status == statusOK && len(body) >= 8:
		return body[8:], binary.BigEndian.Uint64(body), nil
	case status == statusNotLeader:
		return nil, 0, kms.ErrNotLeader
	case status == statusUnavailable:
		return nil, 0, kms.ErrUnavailable
	case status == statusUnknown:
		return nil, 0, kms.ErrOutcomeUnknown
	case status == statusError && len(body) > 0 && len(body) > int(body[0]):
		code := 1 + int(body[0])
		return nil, 0, &kms.Error{Code: string(body[1:code]), Message: string(body[code:])}
	default:
		return nil, 0, errRemote
	}
}

const (
	beatSize  = 5 * 8
	replySize = 8*8 + 2
)

func encodeBeat(b lease.Beat) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, beatSize), b.Term)
	out = binary.BigEndian.AppendUint64(out, b.Round)
	out = binary.BigEndian.AppendUint64(out, b.WaitIndex)
	out = binary.BigEndian.AppendUint64(out, b.Stable)
	return binary.BigEndian.AppendUint64(out, uint64(b.Wall))
}

func decodeBeat(p []byte) (lease.Beat, error) {
	if len(p) != beatSize {
		return lease.Beat{}, errFrame
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(p[8*i:]) }
	return lease.Beat{Term: u(0), Round: u(1), WaitIndex: u(2), Stable: u(3), Wall: int64(u(4))}, nil
}

func encodeReply(r lease.Reply) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, replySize), r.Term)
	out = binary.BigEndian.AppendUint64(out, r.Inc)
	out = binary.BigEndian.AppendUint64(out, uint64(r.Stamp))
	out = binary.BigEndian.AppendUint64(out, r.Applied)
	out = binary.BigEndian.AppendUint64(out, uint64(r.Wall))
	out = binary.BigEndian.AppendUint64(out, r.DiskFree)
	out = binary.BigEndian.AppendUint64(out, r.Authority)
	out = binary.BigEndian.AppendUint64(out, r.Remembers)
	return binary.BigEndian.AppendUint16(out, r.Version)
}

func decodeReply(p []byte) (lease.Reply, error) {
	if len(p) != replySize {
		return lease.Reply{}, errFrame
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(p[8*i:]) }
	return lease.Reply{
		Term: u(0), Inc: u(1), Stamp: time.Duration(u(2)), Applied: u(3), Wall: int64(u(4)), DiskFree: u(5), Authority: u(6), Remembers: u(7),
		Version: binary.BigEndian.Uint16(p[64:]),
	}, nil
}
