package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// usageEvery is how often the cluster hears of uses.
const usageEvery = time.Minute

// handOverTimeout bounds what a node that stops spends on its uses.
const handOverTimeout = time.Second

// countUse notes a successful call for the keys that it used: those of which it
// needs a usage. Each shows the event in its owner's trail.
func (s *Service) countUse(r *Request) {
	var u *use
	for i := range r.row.keys {
		key := r.Keys[i].Key
		if r.row.keys[i].usage == "" || key == nil {
			continue
		}
		if event := r.Record.EventIn(key.Account); u == nil || u.eventID != event {
			u = &use{operation: r.row.Name, time: r.Record.Time, eventID: event, requestID: r.RequestID}
		}
		s.usage.note(usedKey(key.Region, key.ID), u)
	}
}

// countCaller notes a call for the credential that signed it: the access key, or the
// role in whose session it was. It counts whatever became of the call (AWS IAM:
// GenerateServiceLastAccessedDetails has all attempts that were authenticated). A user's
// temporary credentials have nothing that shows their use.
func (s *Service) countCaller(r *Request) {
	id := r.Principal.AccessKeyID
	if r.Principal.Session != nil {
		id = r.Principal.RoleID
	}
	if id != "" {
		s.usage.noteCredential(id, r.Service, r.Region, r.Now)
	}
}

// LastUsage returns the key's last successful cryptographic use that this node
// knows of, nil for none: the one that replicated state has, or a later one that
// is on its way there.
func (r *Request) LastUsage(key *fsm.Key) *fsm.Usage {
	state, _ := r.View.Usage(key.Region, key.ID)
	what := usedKey(key.Region, key.ID)
	if held := r.usage.last(what); held != nil && (state == nil || held.ofKey(what).After(state)) {
		return held.ofKey(what)
	}
	return state
}

// LastSigned is LastUsage for an access key or the sessions of a role. The call itself
// is no part of it.
func (r *Request) LastSigned(id string) *fsm.CredentialUse {
	state, _ := r.View.CredentialUse(id)
	what := usedCredential(id)
	if held := r.usage.last(what); held != nil && (state == nil || held.ofCredential(what).After(state)) {
		return held.ofCredential(what)
	}
	return state
}

// GatherUsage brings uses into replicated state until ctx ends. Every node runs it:
// once a round the leader proposes what it holds, and the others hand it what they
// hold. Whatever the state does not show by the next round is sent again, so that
// neither lost messages nor changes of leader lose anything. What a node has not
// handed over is lost if it crashes.
func (s *Service) GatherUsage(ctx context.Context) {
	for wait(ctx, s.usageEvery) {
		if err := s.shareUsage(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("last uses not brought into replicated state; the next round tries again", "error", err)
		}
	}
}

// HandOver gives what dies with this process to the cluster, as far as a second
// allows: a node that stops calls it after its last call and before its node ends.
func (s *Service) HandOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	if err := s.shareUsage(ctx); err != nil {
		s.log.Info("last uses not handed over", "error", err)
	}
}

// shareUsage is one round. Nothing new, no command.
func (s *Service) shareUsage(ctx context.Context) error {
	if !s.usage.collect() {
		return nil
	}
	view, err := s.cluster.View(ctx)
	if err != nil {
		return err
	}
	keys, credentials := s.usage.unknown(view)
	for uses := range slices.Chunk(keys, fsm.MaxUsages) {
		if err := s.share(ctx, &fsm.RecordUsage{Entries: uses}, forwardedCall{Usage: uses}); err != nil {
			return err
		}
	}
	for uses := range slices.Chunk(credentials, fsm.MaxUsages) {
		if err := s.share(ctx, &fsm.RecordCredentials{Entries: uses}, forwardedCall{Credentials: uses}); err != nil {
			return err
		}
	}
	return nil
}

// share replicates uses, or hands them to the leader.
func (s *Service) share(ctx context.Context, args fsm.Args, handed forwardedCall) error {
	err := s.recordUsage(ctx, args)
	if errors.Is(err, kms.ErrNotLeader) {
		return s.forwardUsage(ctx, handed)
	}
	return err
}

// recordUsage replicates uses, on the leader only.
func (s *Service) recordUsage(ctx context.Context, args fsm.Args) error {
	recorded := s.recorded.list()
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: s.now().UnixMilli(), Recorded: recorded}, args)
	if err != nil {
		return err
	}
	if _, _, err := s.cluster.Propose(ctx, cmd); err != nil {
		return err
	}
	s.recorded.forget(recorded)
	return nil
}

// forwardUsage hands uses to the leader, which proposes them with its own. Whoever
// takes them and leads no more hands them on in its next round.
func (s *Service) forwardUsage(ctx context.Context, handed forwardedCall) error {
	handed.Version = forwardVersion
	data, err := cbor.Marshal(handed)
	if err != nil {
		return fmt.Errorf("encoding uses: %w", err)
	}
	_, err = s.cluster.Forward(ctx, data)
	return err
}
