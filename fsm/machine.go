package fsm

import (
	"fmt"
	"sync/atomic"

	"github.com/kmsd/kmsd/kms"
)

// Machine is the replicated state machine of one node. The package comment says
// which goroutine may call what.
type Machine struct {
	published atomic.Pointer[root]
	// The rest belongs to the applying goroutine.
	state state
	// stopped is the first fatal error; nothing is applied after it.
	stopped error
}

// Result says what became of a command. At most one of Err, Conflict, Repeat and
// Fatal is set; none is for a command that was applied.
type Result struct {
	// Index is the log index of the application that counts: for a repeat, the
	// first one's.
	Index uint64
	// Err is a refusal by the domain's rules. Nothing changed, but that a command
	// with an audit record left a pending one.
	Err *kms.Error
	// Conflict tells that a precondition did not hold, or that an identifier that
	// the leader drew is taken. Nothing changed.
	Conflict bool
	// Erased are the ids of the keys and access keys whose secrets an applied
	// command destroyed.
	Erased []string
	// Repeat is the entry of the first application of the same ReqKey. Nothing
	// changed.
	Repeat *Once
	// Fatal tells that the command could not be interpreted, or that this
	// machine's state is not the leader's: the node must stop (exit status 70).
	// Nothing changed, now or by later commands. The error never quotes the
	// entry. It wraps ErrUnknownCommand, ErrUndecodable, ErrInconsistent or
	// ErrDiverged.
	Fatal error
}

// New returns an empty machine at index 0, which expects Genesis.
func New() *Machine {
	m := &Machine{state: state{epoch: 1}}
	m.published.Store(m.state.freeze())
	return m
}

// Apply applies the command of log entry index and publishes the state. Indexes
// must ascend.
func (m *Machine) Apply(index uint64, cmd Command) Result {
	r := m.apply(index, cmd)
	m.publish()
	return r
}

// ApplyBatch applies commands in order and publishes the state once, after the
// last one, or after the last one before the first fatal one. The commands from
// that one on are not applied and all carry the fatal error.
func (m *Machine) ApplyBatch(indexes []uint64, cmds []Command) []Result {
	if len(indexes) != len(cmds) {
		panic("kmsd: a batch has as many indexes as commands")
	}
	results := make([]Result, len(cmds))
	for i := range cmds {
		results[i] = m.apply(indexes[i], cmds[i])
	}
	m.publish()
	return results
}

// Skip accounts for a log entry that is not a command, such as a change of the
// Raft configuration.
func (m *Machine) Skip(index uint64) {
	if m.stopped == nil && index > m.state.index {
		m.state.index = index
		m.publish()
	}
}

// Index returns the log index of the published state. An acknowledgement may
// rely on it: whoever sees index i sees every effect up to i in a View opened
// after.
func (m *Machine) Index() uint64 { return m.published.Load().index }

// View opens a view of the published state for one request.
func (m *Machine) View() *View { return newView(m.published.Load()) }

// Digest returns the digest of the published state: SHA-256 over the digests of
// the shards in order. Equal states have equal digests. The index is not part of
// it. Only shards that changed since the last digest are hashed again.
func (m *Machine) Digest() [32]byte { return m.published.Load().digest() }

func (m *Machine) publish() { m.published.Store(m.state.freeze()) }

func (m *Machine) apply(index uint64, cmd Command) Result {
	if m.stopped != nil {
		return Result{Index: index, Fatal: m.stopped}
	}
	r, err := m.decide(index, cmd)
	if err != nil {
		m.stopped = fmt.Errorf("applying log entry %d (command type %d version %d, %d bytes): %w",
			index, cmd.Type, cmd.Version, len(cmd.Body), err)
		return Result{Index: index, Fatal: m.stopped}
	}
	m.state.index = index
	return r
}

// decide applies a command to the state, or finds the reason why not. A repeat
// is found before the preconditions are looked at: the first application itself
// changed what they name.
func (m *Machine) decide(index uint64, cmd Command) (Result, error) {
	s := &m.state
	e, ok := commands.find(cmd.Type, cmd.Version)
	if !ok {
		return Result{}, ErrUnknownCommand
	}
	if index <= s.index {
		return Result{}, fmt.Errorf("%w: the state is at index %d", ErrInconsistent, s.index)
	}
	if len(cmd.Body) > MaxBody {
		return Result{}, fmt.Errorf("%w: more than %d bytes", ErrUndecodable, MaxBody)
	}
	meta, args, err := e.open(cmd.Body)
	if err != nil {
		return Result{}, err
	}
	t := &txn{state: s, index: index, meta: meta, now: max(s.time, meta.Time)}
	if once, ok := s.once(cmd.ReqKey, t.now); ok {
		s.recorded(meta.Recorded, index)
		return Result{Index: once.Index, Repeat: once}, nil
	}
	if !s.holds(meta.Reads) {
		s.recorded(meta.Recorded, index)
		return Result{Index: index, Conflict: true}, nil
	}
	refusal, err := e.apply(t, args)
	if err != nil {
		return Result{}, err
	}
	return t.finish(cmd.ReqKey, refusal), nil
}

// finish carries out what an apply function decided.
func (t *txn) finish(key ReqKey, refusal *kms.Error) Result {
	s := t.state
	r := Result{Index: t.index, Err: refusal, Conflict: t.conflict}
	if refusal == nil && !t.conflict {
		t.commit(key)
		r.Erased = t.erased
	}
	s.recorded(t.meta.Recorded, t.index)
	if len(t.meta.Audit) > 0 && !t.conflict {
		s.put(tableAudit, t.index, newPendingAudit(t.index, t.meta.Audit, refusal))
	}
	if t.checkpoint {
		s.setCheckpoint(t.index)
	}
	return r
}
