package cluster

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hashicorp/raft"

	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/failpoint"
)

// maxInstalls is how many snapshots may be restored in a row without an entry
// applied in between (hashicorp/raft#697).
const maxInstalls = 3

// An outcome is what applying one entry answers to whoever proposed it.
type outcome struct {
	result fsm.Result
	term   uint64 // of the log entry
	fatal  error  // the entry is not applied and this node stops
}

// An applier joins Raft and the state machine: it opens the entries' envelopes
// and seals snapshots. Raft calls it from one goroutine, Persist apart.
type applier struct {
	machine *fsm.Machine
	keyring *kmscrypto.Keyring
	fate    *fate
	builds  *versions
	applied func(index uint64) // tells that index is published
	erased  func(ids []string) // tells whose secrets are destroyed; nil: nobody knows whose

	terms    []*fsm.KeyringTerm // those that the keyring has loaded
	installs int                // snapshots restored since the last entry
}

var _ raft.BatchingFSM = (*applier)(nil)

// Apply implements raft.FSM. Raft calls ApplyBatch instead, but for recovery.
func (a *applier) Apply(log *raft.Log) any { return a.ApplyBatch([]*raft.Log{log})[0] }

// A batch is the part of a batch of entries that is opened and not applied yet.
type batch struct {
	positions []int // in the answer
	indexes   []uint64
	cmds      []fsm.Command
}

// ApplyBatch implements raft.BatchingFSM. The entries are commands and changes of
// Raft's configuration; the latter only move the index.
func (a *applier) ApplyBatch(logs []*raft.Log) []any {
	answers := make([]any, len(logs))
	var b batch
	var skip uint64
	for i, log := range logs {
		answers[i] = &outcome{term: log.Term}
		if log.Type != raft.LogCommand {
			skip = log.Index
			continue
		}
		cmd, err := a.open(log)
		if errors.Is(err, kmscrypto.ErrUnknownTerm) && len(b.cmds) > 0 {
			a.flush(&b, answers) // the term may come with an entry before this one
			cmd, err = a.open(log)
		}
		if err != nil {
			a.flush(&b, answers)
			a.fate.fail(ExitUndecodable, err)
		}
		if a.fate.failed.Load() {
			a.refuse(answers[i:], logs[i:])
			return answers
		}
		b.positions, b.indexes, b.cmds = append(b.positions, i), append(b.indexes, log.Index), append(b.cmds, cmd)
	}
	a.flush(&b, answers)
	if !a.fate.failed.Load() {
		a.machine.Skip(skip)
		a.applied(a.machine.Index())
	}
	return answers
}

// refuse answers the entries that are not applied any more.
func (a *applier) refuse(answers []any, logs []*raft.Log) {
	for i, log := range logs {
		answers[i] = &outcome{term: log.Term, fatal: errStopped}
	}
}

var errStopped = errors.New("the state machine has stopped")

// flush applies what is collected, publishes it once and brings the keyring up to
// date.
func (a *applier) flush(b *batch, answers []any) {
	if len(b.cmds) == 0 {
		return
	}
	a.installs = 0
	var erased []string
	for i, result := range a.machine.ApplyBatch(b.indexes, b.cmds) {
		out := answers[b.positions[i]].(*outcome)
		out.result, out.fatal = result, result.Fatal
		erased = append(erased, result.Erased...)
		if result.Fatal != nil {
			a.fate.fail(ExitUndecodable, result.Fatal)
		}
	}
	cmds := b.cmds
	*b = batch{}
	if len(erased) > 0 {
		a.erased(erased)
	}
	if err := a.sync(); err != nil {
		a.fate.fail(ExitUndecodable, err)
	}
	if failpoint.On {
		for _, cmd := range cmds {
			commandApplied.Hit(name(cmd.Type))
		}
	}
}

// sync makes this node follow the applied state: it stops it when the cluster's
// version is not for this build, and brings the keyring up to date.
func (a *applier) sync() error {
	if meta := a.machine.View().Meta(); meta != nil {
		if err := a.builds.tooNew(meta.ClusterVersion); err != nil {
			return err
		}
	}
	return a.syncKeyring()
}

// open takes an entry out of its envelope.
func (a *applier) open(log *raft.Log) (fsm.Command, error) {
	h, body, err := a.keyring.OpenEntry(log.Data)
	isGenesis := fsm.Type(h.Type) == fsm.TypeGenesis
	switch {
	case err != nil:
	case a.builds.tooNew(h.ClusterVersion) != nil:
		err = a.builds.tooNew(h.ClusterVersion)
	case isGenesis != (h.Term == 0): // term 0 is for the first entry alone
		err = fmt.Errorf("it is sealed under keyring term %d", h.Term)
	default:
		return fsm.Command{Type: fsm.Type(h.Type), Version: h.Version, ReqKey: h.ReqKey, Body: body}, nil
	}
	return fsm.Command{}, fmt.Errorf("log entry %d (command type %d version %d, %d bytes): %w",
		log.Index, h.Type, h.Version, len(log.Data), err)
}

// syncKeyring loads the terms of the state when they are others than before.
func (a *applier) syncKeyring() error {
	view := a.machine.View()
	terms := view.Keyring()
	if slices.Equal(terms, a.terms) { // records are immutable: the same pointer is the same term
		return nil
	}
	wrapped := make(map[uint32][]byte, len(terms))
	for _, t := range terms {
		wrapped[t.Term] = t.Wrapped
	}
	if err := a.keyring.Load(wrapped); err != nil {
		return fmt.Errorf("loading the keyring of the state: %w", err)
	}
	if meta := view.Meta(); meta != nil {
		a.keyring.SetRestoreEpoch(meta.RestoreEpoch)
	}
	a.terms = terms
	return nil
}

// Snapshot implements raft.FSM. A machine that has stopped gives none: Raft counts
// the entries that it refused as applied.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	if a.fate.failed.Load() {
		return nil, errStopped
	}
	return &snapshot{a.machine.Snapshot(), a.keyring}, nil
}

// Restore implements raft.FSM. Readers keep the old state until the new one is
// complete.
func (a *applier) Restore(r io.ReadCloser) error {
	if a.fate.failed.Load() {
		return errStopped
	}
	if a.installs++; a.installs > maxInstalls {
		err := fmt.Errorf("%d snapshots were installed without an entry applied between them", a.installs)
		a.fate.fail(ExitRestart, err)
		return err
	}
	plain, err := a.keyring.OpenStream(r)
	if err != nil {
		return fmt.Errorf("opening a snapshot: %w", err)
	}
	restoreBegun.Hit("")
	if err := a.machine.Restore(plain); err != nil {
		return err
	}
	restoreDone.Hit("")
	if err := a.sync(); err != nil {
		a.fate.fail(ExitUndecodable, err)
		return err
	}
	a.erased(nil)
	a.applied(a.machine.Index())
	return nil
}

// A snapshot is the state at one index on its way to a disk.
type snapshot struct {
	state   *fsm.Snapshot
	keyring *kmscrypto.Keyring
}

// Persist implements raft.FSMSnapshot. Raft cancels the sink after an error.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	w, err := s.keyring.SealStream(sink, s.state.Index())
	if err != nil {
		return fmt.Errorf("sealing a snapshot: %w", err)
	}
	if err := s.state.Persist(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("sealing a snapshot: %w", err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() {}
