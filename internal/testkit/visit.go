package testkit

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// visitTime bounds each exchange with a peer. One that neither answers nor hangs up
// takes that long.
const visitTime = 30 * time.Second

// ErrTurnedAway is returned when a peer that was found hung up without having served
// anything.
var ErrTurnedAway = errors.New("the peer ends the connection")

// A Guest is a connection over which a member has served something.
type Guest struct{ c *tls.Conn }

// Visit speaks one of the MemberProtocols to the cluster port at addr, of a node of a
// cluster, and asks for something that changes nothing. It returns when the peer has
// answered. The error is ErrTurnedAway if the peer hung up instead, and another one if
// nobody can tell what it thinks of the visitor.
func (p *Papers) Visit(ctx context.Context, protocol, addr, clusterID, nodeID string) (*Guest, error) {
	g, err := dial(ctx, p.client(protocol), addr)
	if err != nil {
		return nil, err
	}
	// With TLS 1.3 a client learns only by an answer that its certificate is accepted
	// (RFC 8446, section 4.4).
	if err := g.Ask(question(protocol, clusterID, nodeID)); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func dial(ctx context.Context, cfg *tls.Config, addr string) (*Guest, error) {
	ctx, cancel := context.WithTimeout(ctx, visitTime)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, hungUp(err)
	}
	return &Guest{c}, nil
}

// Ask sends a message and waits for the first byte of an answer. What else there is
// stays unread.
func (g *Guest) Ask(message []byte) error {
	if err := g.c.SetDeadline(time.Now().Add(visitTime)); err != nil {
		return err
	}
	_, unsent := g.c.Write(message) // fails if the peer hangs up meanwhile, which reading tells
	_, err := io.ReadFull(g.c, make([]byte, 1))
	if err != nil {
		return hungUp(errors.Join(err, unsent))
	}
	return nil
}

// FinishReply reads the rest of a reply over kmsd-rpc/1, so that the next one can be
// told from it.
func (g *Guest) FinishReply() error {
	rest := make([]byte, 3) // of the length, of which Ask has read the first byte
	if _, err := io.ReadFull(g.c, rest); err != nil {
		return hungUp(err)
	}
	length := int64(rest[0])<<16 | int64(rest[1])<<8 | int64(rest[2])
	_, err := io.CopyN(io.Discard, g.c, length)
	return err
}

// AwaitEnd waits until the peer hangs up. Any other end is an error.
func (g *Guest) AwaitEnd() error {
	if err := g.c.SetDeadline(time.Now().Add(visitTime)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, g.c)
	if err == nil || errors.Is(hungUp(err), ErrTurnedAway) {
		return nil
	}
	return err
}

// Close ends the connection.
func (g *Guest) Close() { _ = g.c.NetConn().Close() }

// hungUp marks the errors that say that the peer ended the connection, with an alert
// or without.
func hungUp(err error) error {
	var op *net.OpError
	alert := errors.As(err, &op) && op.Op == "remote error"
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		alert = alert || errors.Is(err, end)
	}
	if alert {
		return fmt.Errorf("%w: %w", ErrTurnedAway, err)
	}
	return err
}

// question is a message of a protocol that a member answers to a member.
func question(protocol, clusterID, nodeID string) []byte {
	switch protocol {
	case ProtocolRaft: // AppendEntries (0) of term 0, which is long over
		return append([]byte{0}, msgpack("ProtocolVersion", 3, "Term", 0)...)
	case ProtocolGossip: // memberlist's label (244), and its ping (0)
		label := append([]byte{244, byte(len(clusterID))}, clusterID...)
		return append(append(label, 0), msgpack("SeqNo", 1, "Node", nodeID)...)
	default: // a Beat (1) that says nothing, and 4 s to answer it
		return rpcFrame(1, nil)
	}
}

// Length is how kmsd-rpc/1 and kmsd-join/1 announce a message.
func Length(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// rpcFrame is a request of kmsd-rpc/1.
func rpcFrame(kind byte, body []byte) []byte {
	out := append(Length(uint32(5+len(body))), kind)
	return append(binary.BigEndian.AppendUint32(out, 4000), body...)
}

// msgpack encodes a map of pairs: a name, and a small number or a text of less than
// 256 bytes.
func msgpack(pairs ...any) []byte {
	out := []byte{0x80 | byte(len(pairs)/2)}
	for _, v := range pairs {
		switch v := v.(type) {
		case int:
			out = append(out, byte(v))
		case string:
			if len(v) < 32 {
				out = append(out, 0xa0|byte(len(v)))
			} else {
				out = append(out, 0xd9, byte(len(v)))
			}
			out = append(out, v...)
		}
	}
	return out
}
