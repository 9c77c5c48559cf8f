package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// errRequest is returned for a request that no member of this build makes.
var errRequest = errors.New("malformed request of a member")

// maxItems bounds arrays and maps in what members and joining nodes send.
const maxItems = 1024

// Messages are deterministic CBOR (RFC 8949, section 4.2), decoded strictly.
var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxArrayElements: maxItems, MaxMapPairs: maxItems, MaxNestedLevels: 8,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("kmsd: a mode of CBOR: " + err.Error())
	}
	return v
}

func encodeCBOR(v any) []byte { return must(encMode.Marshal(v)) }

// decodeCBOR reads one message and nothing after it.
func decodeCBOR(b []byte, into any) error {
	if err := decMode.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	return nil
}

// ask has the leader do something that concerns this or another member. Unlike a
// forwarded call, it also finds the leader when this node hears none, by asking the
// members that it knows. Everything that can be asked for may be done twice. It
// tries for at most ten seconds; the errors are those of Forward.
func (n *Node) ask(ctx context.Context, kind rpcKind, body []byte) ([]byte, error) {
	ctx, cancel := n.bound(ctx, forwardTimeout)
	defer cancel()
	var ambiguous, fresh bool
	for turn := 0; ; turn++ {
		reply, index, err := n.askOnce(ctx, turn, kind, body, fresh)
		switch {
		case err == nil:
			_ = n.applied.Wait(ctx, index)
			return reply, nil
		case errors.Is(err, kms.ErrOutcomeUnknown):
			ambiguous = true
		case !errors.Is(err, kms.ErrNotLeader) && !errors.Is(err, kms.ErrUnavailable):
			return nil, err
		}
		fresh = errors.Is(err, errLost)
		if !sleep(ctx, forwardPause) {
			return nil, fmt.Errorf("%w: %v", verdict(ambiguous), err)
		}
	}
}

// askOnce asks the leader, or a member who it is.
func (n *Node) askOnce(ctx context.Context, turn int, kind rpcKind, body []byte, fresh bool) ([]byte, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if n.lead.Load() != nil {
		return n.leadAnswer(ctx, n.id, kind, body)
	}
	whom := n.knownLeader()
	if whom == "" {
		whom = n.somebody(turn)
	}
	for range 2 { // who is asked may name the leader
		if whom == "" || whom == n.id {
			return nil, 0, kms.ErrNotLeader
		}
		status, reply, sent, err := n.calls.call(ctx, whom, kind, body, fresh)
		switch {
		case err != nil && sent:
			return nil, 0, fmt.Errorf("%w: %w: %w", kms.ErrOutcomeUnknown, errLost, err)
		case err != nil:
			return nil, 0, fmt.Errorf("%w: %w: %w", kms.ErrUnavailable, errLost, err)
		case status != statusNotLeader:
			return decodeOutcome(status, reply)
		}
		whom = string(reply)
	}
	return nil, 0, kms.ErrNotLeader
}

// knownLeader returns the ID of the leader that Raft knows, "" for none.
func (n *Node) knownLeader() string {
	_, id := n.raft.LeaderWithID()
	return string(id)
}

// somebody returns one of the other members that this node knows, each in its
// turn.
func (n *Node) somebody(turn int) string {
	others := n.others()
	if len(others) == 0 {
		return ""
	}
	return others[turn%len(others)]
}

// others returns the IDs of the other members that this node knows or remembers,
// sorted.
func (n *Node) others() []string {
	known := map[string]bool{}
	for _, r := range n.machine.View().Nodes() {
		known[r.ID] = true
	}
	for id := range *n.vouched.Load() {
		known[id] = true
	}
	delete(known, n.id)
	return slices.Sorted(maps.Keys(known))
}

// answerAsked answers a member that asks for something of the leader.
func (n *Node) answerAsked(ctx context.Context, from string, kind rpcKind, body []byte) (rpcStatus, []byte) {
	if n.lead.Load() == nil {
		return statusNotLeader, []byte(n.knownLeader())
	}
	reply, index, err := n.leadAnswer(ctx, from, kind, body)
	return n.encodeOutcome(reply, index, err)
}

// leadAnswer does what the member from asks for. Only the leader of an open term
// does.
func (n *Node) leadAnswer(ctx context.Context, from string, kind rpcKind, body []byte) ([]byte, uint64, error) {
	l, err := n.leading(ctx)
	if err != nil {
		return nil, 0, err
	}
	switch kind {
	case kindHello:
		return l.leadHello(ctx, from, body)
	case kindRenew:
		return l.leadRenew(ctx, from, body)
	case kindRenewed:
		return l.leadRenewed(ctx, from, body)
	case kindAdmit:
		return l.leadAdmit(ctx, body)
	case kindRemove:
		return l.leadRemove(ctx, from, body)
	case kindMembers:
		return l.leadMembers()
	case kindGoodbye:
		return l.leadGoodbye(from, body)
	default:
		return nil, 0, errRequest
	}
}

// decide has the cluster apply a command of the leader's own. A refusal is the
// error, a *kms.Error; a precondition that did not hold is kms.ErrUnavailable:
// nothing happened and the caller may decide again.
func (n *Node) decide(ctx context.Context, args fsm.Args, reads []fsm.Read) (uint64, error) {
	meta := n.meta()
	meta.Reads = reads
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, meta, args)
	if err != nil {
		return 0, err
	}
	result, index, err := n.Propose(ctx, cmd)
	switch {
	case err != nil:
		return 0, err
	case result.Conflict:
		return 0, fmt.Errorf("%w: what was read has changed", kms.ErrUnavailable)
	case result.Err != nil:
		return 0, result.Err
	}
	return index, nil
}
