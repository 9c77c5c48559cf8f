package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
)

const (
	// greetEvery is how often a node looks whether the cluster knows its addresses.
	greetEvery = 10 * time.Second
	// lonely is how long a node hears no leader before it asks whether it was
	// removed, and how often it asks then.
	lonely = 2 * time.Second
	// askTimeout bounds one such question.
	askTimeout = 3 * time.Second
)

// greet tells the cluster where this node is and what it supports, at its start
// and whenever the state says otherwise. A node whose address changed is not found
// by the leader: it finds a member itself.
func (n *Node) greet() {
	if n.cfg.Advertise == "" {
		return
	}
	hello := fsm.NodeHello{ID: n.id, Address: n.cfg.Advertise, APIAddress: n.cfg.APIAddress, Version: n.versions().newest}
	for n.ctx.Err() == nil {
		wait := greetEvery
		if rec, ok := n.machine.View().Node(n.id); n.hasGenesis() && n.isCaughtUp() && !ok {
			n.log.Debug("the applied state does not know this node") // see watchBelonging
		} else if ok && rec.Address == hello.Address && rec.APIAddress == hello.APIAddress && rec.Version == hello.Version {
			n.log.Debug("the cluster knows this node's addresses")
		} else if _, err := n.ask(n.ctx, kindHello, encodeCBOR(hello)); err != nil {
			wait = retryPause
			if n.ctx.Err() == nil && !n.fate.failed.Load() {
				n.log.Warn("telling the cluster this node's addresses", "err", err)
			}
		}
		sleep(n.ctx, wait)
	}
}

// leadHello writes down where a member is.
func (l *leadership) leadHello(ctx context.Context, from string, body []byte) ([]byte, uint64, error) {
	var h fsm.NodeHello
	if err := decodeCBOR(body, &h); err != nil || h.ID != from {
		return nil, 0, errRequest
	}
	index, err := l.n.decide(ctx, &h, nil)
	return nil, index, err
}

// watchBelonging asks, while this node hears no leader, whether it was removed. It
// believes only a statement that an authority which it trusts has signed: that a
// configuration or a state lacks this node may be long past.
func (n *Node) watchBelonging() {
	for turn := 0; sleep(n.ctx, n.cfg.hooks.lonely); turn++ {
		if n.lead.Load() != nil || n.fresh.Load() != nil && n.mayServe() == nil || n.leaving.Load() {
			continue
		}
		places := n.lookAt(turn)
		statement, err := n.askRemoval(n.ctx, places)
		if err == nil && statement != nil {
			n.finish(statement, ErrRemoved)
			return
		}
		if err == nil && !n.isCaughtUp() {
			if err := n.refresh(n.ctx, places); err != nil {
				n.log.Debug("asking for the members' present keys", "at", places, "err", err)
			}
		}
	}
}

// lookAt lists where a member may be asked: each member in its turn, and between
// them the places that the operator has named.
func (n *Node) lookAt(turn int) []string {
	hints := n.cfg.Peers
	if len(hints) == 0 {
		return n.resolve(n.somebody(turn))
	}
	if turn%2 == 1 {
		return []string{hints[turn/2%len(hints)]}
	}
	return n.resolve(n.somebody(turn / 2))
}

// refresh learns the members' present keys and addresses from one of them, which a
// trusted authority must vouch for: while this node was away, all may have renewed
// their keys. What it learns counts until the node has caught up with the state.
func (n *Node) refresh(ctx context.Context, places []string) error {
	var errs []error
	for _, addr := range places {
		for _, pin := range n.creds.Load().Pins() {
			reply, err := n.refreshAt(ctx, addr, pin)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			peers := map[string]peer{}
			for _, p := range reply.Peers {
				peers[p.ID] = peer{p.SPKI, p.Next, p.Address}
			}
			n.vouched.Store(&peers)
			return nil
		}
	}
	return errors.Join(errs...)
}

func (n *Node) refreshAt(ctx context.Context, addr string, pin [32]byte) (*joinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	creds := n.creds.Load()
	csr, err := creds.Request()
	if err != nil {
		return nil, err
	}
	var found trust.Identity
	c, err := dialStranger(ctx, addr, trust.JoinClient(pin, func(i trust.Identity) { found = i }, n.clock.Wall))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.NetConn().Close() })()
	r := joinRequest{NodeID: n.id, CSR: csr, Refresh: true}
	if r.KeyProof, err = creds.ProveKey(c.ConnectionState(), csr); err != nil {
		return nil, err
	}
	reply, err := exchangeJoin(c, &r)
	switch {
	case err != nil:
		return nil, err
	case reply.Code != "" || found.ClusterID != n.clusterID || reply.ClusterID != n.clusterID:
		return nil, fmt.Errorf("%w: %s %s", trust.ErrRefused, reply.Code, reply.Message)
	}
	return reply, nil
}

// askRemoval asks whoever answers first at these places whether this node was
// removed. It returns the verified statement, or nil if that node knows of none.
func (n *Node) askRemoval(ctx context.Context, places []string) ([]byte, error) {
	var last error = errNoAddress
	for _, addr := range places {
		reply, err := n.askStranger(ctx, addr)
		switch {
		case err != nil:
			last = err
		case len(reply.Statement) == 0:
			return nil, nil
		default:
			return reply.Statement, n.creds.Load().VerifyRemoval(n.id, reply.Statement)
		}
	}
	return nil, last
}

// finish writes down that this node does not belong to the cluster any more, and
// stops it.
func (n *Node) finish(statement []byte, why error) {
	text := fmt.Appendf(nil, "node %s of cluster %s\nstatement %x\n", n.id, n.clusterID, statement)
	if why == ErrLeft {
		text = append(text, markLeft...)
	}
	if err := n.dir.write(fileRemoved, text); err != nil {
		n.fate.fail(ExitRestart, fmt.Errorf("writing that this node was removed: %w", err))
		return
	}
	n.fate.fail(0, why)
}

// errShort is returned for a reply that ends early.
var errShort = errors.New("the connection ended before the reply")

func shortRead(err error) error {
	if errors.Is(err, io.EOF) {
		return errShort
	}
	return err
}
