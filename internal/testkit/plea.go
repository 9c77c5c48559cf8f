package testkit

import (
	"context"
	"crypto/ecdsa"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/cluster/trust"
)

// A Plea is what somebody without a member's certificate asks over kmsd-join/1. Who
// asks without a Key asks only whether NodeID was removed.
type Plea struct {
	NodeID string
	Key    *ecdsa.PrivateKey
	// Token is the text of a join token; "" for none.
	Token string
	// Refresh asks, as a member that was away, who the members are now.
	Refresh bool
}

// A Reply is what a member answered. A refusal has a Code and nothing else.
type Reply struct {
	Code        string            `cbor:"1,keyasint"`
	Message     string            `cbor:"2,keyasint"`
	ClusterID   string            `cbor:"3,keyasint"`
	Certificate []byte            `cbor:"4,keyasint"`
	Authorities [][]byte          `cbor:"5,keyasint"`
	Peers       []cbor.RawMessage `cbor:"6,keyasint"`
	Root        []byte            `cbor:"7,keyasint"`
	Statement   []byte            `cbor:"8,keyasint"` // of removal
}

// Gives tells whether a reply holds anything of the cluster but its word about a
// removal.
func (r *Reply) Gives() bool {
	return r.ClusterID != "" || len(r.Certificate)+len(r.Authorities)+len(r.Peers)+len(r.Root) > 0
}

// Plead asks the member at addr, whose authority has the public key hash pin.
func Plead(ctx context.Context, addr string, pin [32]byte, p Plea) (*Reply, error) {
	g, err := dial(ctx, trust.JoinClient(pin, nil, time.Now), addr)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	message, err := p.encode(g)
	if err != nil {
		return nil, err
	}
	return g.plead(message)
}

func (p *Plea) encode(g *Guest) ([]byte, error) {
	fields := map[int]any{1: p.NodeID, 6: "127.0.0.1:1", 7: "127.0.0.1:2", 8: 1}
	if p.Key == nil {
		return cbor.Marshal(fields)
	}
	csr, err := trust.NewRequest(p.Key)
	if err != nil {
		return nil, err
	}
	keyProof, err := trust.ProveKey(p.Key, g.c.ConnectionState(), csr, p.NodeID)
	if err != nil {
		return nil, err
	}
	fields[3], fields[5] = csr, keyProof
	if p.Refresh {
		fields[9] = true
	}
	if p.Token == "" {
		return encodeStrictly(fields)
	}
	token, err := trust.ParseToken(p.Token)
	if err != nil {
		return nil, err
	}
	proof, err := token.Prove(g.c.ConnectionState(), csr, p.NodeID)
	if err != nil {
		return nil, err
	}
	fields[2], fields[4] = token.ID, proof
	return encodeStrictly(fields)
}

func encodeStrictly(fields map[int]any) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(fields)
}

// plead sends a message behind its length and reads the reply.
func (g *Guest) plead(message []byte) (*Reply, error) {
	if err := g.c.SetDeadline(time.Now().Add(visitTime)); err != nil {
		return nil, err
	}
	frame := append(Length(uint32(len(message))), message...)
	_, unsent := g.c.Write(frame)
	head := make([]byte, 4)
	if _, err := io.ReadFull(g.c, head); err != nil {
		return nil, hungUp(errors.Join(err, unsent))
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(g.c, body); err != nil {
		return nil, err
	}
	reply := new(Reply)
	return reply, cbor.Unmarshal(body, reply)
}

// Approach connects to the cluster port at addr over kmsd-join/1, and asks nothing yet.
func Approach(ctx context.Context, addr string) (*Guest, error) {
	return dial(ctx, trust.AskClient(time.Now), addr)
}
