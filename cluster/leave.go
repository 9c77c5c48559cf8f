package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/kms"
)

// ErrLeft is what FatalError gives, with exit code 0, when this node has left its
// cluster.
var ErrLeft = errors.New("this node has left its cluster")

// Leave makes this node leave the cluster for good. Once it is known that the others
// can do without it, it calls retire, which returns when no client is served any
// more; hands its leadership over; has itself removed; and then Fatal closes with exit
// code 0. Close erases its keys and its log; REMOVED stays in the directory.
//
// It is refused with QuorumAtRiskException when the rest could not decide anything
// and for the last member, unless force. After an error the node goes on as a
// member.
func (n *Node) Leave(ctx context.Context, force bool, retire func(context.Context) error) error {
	if !n.departing.TryLock() {
		return &kms.Error{Code: kms.CodeConflict, Message: "The node is leaving already."}
	}
	defer n.departing.Unlock()
	statement, err := n.leave(ctx, force, retire)
	if err != nil {
		n.leaving.Store(false)
		return err
	}
	n.left.Store(true)
	n.finish(statement, ErrLeft)
	return nil
}

// leave returns the statement of removal, which is empty for the last member.
func (n *Node) leave(ctx context.Context, force bool, retire func(context.Context) error) ([]byte, error) {
	alone := len(n.machine.View().Nodes()) == 1
	switch {
	case alone && !force:
		return nil, &kms.Error{Code: kms.CodeQuorum, Message: "The node is the last one of its cluster: without it nothing is left. Nothing was changed."}
	case alone:
		return nil, nil
	}
	if !force { // refuse before anything is drained
		if err := n.mayLeave(ctx); err != nil {
			return nil, err
		}
	}
	if err := retire(ctx); err != nil {
		return nil, err
	}
	if err := n.resign(ctx); err != nil {
		return nil, err
	}
	n.leaving.Store(true)
	return n.depart(ctx, force)
}

// mayLeave asks whether the leaving of this node would be refused.
func (n *Node) mayLeave(ctx context.Context) error {
	if l := n.lead.Load(); l != nil {
		return l.mayLeave(ctx)
	}
	_, err := n.ask(ctx, kindRemove, encodeCBOR(removeRequest{ID: n.id, Check: true}))
	return err
}

// mayLeave refuses the leaving of this node, the leader, when the rest could not
// decide anything.
func (l *leadership) mayLeave(ctx context.Context) error {
	config, err := l.servers()
	if err != nil {
		return err
	}
	asked, err := l.hear(ctx, config, l.n.id)
	if err != nil {
		return err
	}
	voters, healthy := l.without(config, l.n.id, asked)
	voters, healthy = voters-1, healthy-1
	if voters == 0 {
		for _, m := range l.known() {
			if l.keepsUp(m, l.n.clock.Boot()) {
				return nil // it will be given a vote
			}
		}
	}
	if 2*healthy <= voters {
		return &kms.Error{Code: kms.CodeQuorum, Message: fmt.Sprintf(
			"Without this node only %d of %d voting nodes would answer, which could decide nothing. Nothing was changed.", healthy, voters)}
	}
	return nil
}

// resign hands the leadership over, if this node has it, and waits until another
// node leads.
func (n *Node) resign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, transferLimit)
	defer cancel()
	var handed *leadership // the term that was handed over
	var err error
	for {
		l := n.lead.Load()
		if l == nil && n.knownLeader() != n.id {
			return nil
		}
		if l != nil && l != handed {
			if err = l.handOn(ctx); err == nil {
				handed = l
			}
		}
		if !sleep(ctx, forwardPause) {
			return fmt.Errorf("%w: handing the leadership over: %v", kms.ErrUnavailable, err)
		}
	}
}

// handOn gives the leadership to another voter; if there is none, a member that
// keeps up is given a vote before.
func (l *leadership) handOn(ctx context.Context) error {
	l.members.Lock()
	defer l.members.Unlock()
	config, err := l.servers()
	if err != nil {
		return err
	}
	if voters, _ := l.without(config, l.n.id, 0); voters == 1 {
		for _, m := range l.known() {
			if l.keepsUp(m, l.n.clock.Boot()) {
				if err := l.makeVoter(ctx, m.ID); err != nil {
					return err
				}
				break
			}
		}
	}
	return l.bequeath(ctx)
}

// depart has the leader remove this node, which serves nothing any more. The leader
// closes the connection when it has, so that the answer may be lost: the signed
// statement tells then.
func (n *Node) depart(ctx context.Context, force bool) ([]byte, error) {
	request := encodeCBOR(removeRequest{ID: n.id, Force: force, Inc: n.inc})
	ctx, cancel := context.WithTimeout(ctx, 2*forwardTimeout)
	defer cancel()
	for turn := 0; ; turn++ {
		if err := n.resign(ctx); err != nil { // it may have been elected again
			return nil, err
		}
		_, _, err := n.askOnce(ctx, turn, kindRemove, request, turn > 0)
		var known *kms.Error
		if errors.As(err, &known) {
			return nil, known
		}
		for _, member := range n.others() {
			if statement, bad := n.askRemoval(ctx, n.resolve(member)); bad == nil && statement != nil {
				return statement, nil
			}
		}
		if !sleep(ctx, forwardPause) {
			return nil, fmt.Errorf("%w: %v", kms.ErrOutcomeUnknown, err)
		}
	}
}
