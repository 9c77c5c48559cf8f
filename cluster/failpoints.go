package cluster

import (
	"strconv"

	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/failpoint"
)

// The moments at which a test can make the process end, beside those of package durable.
var (
	logStored       = failpoint.New("log stored")      // entries of Raft's log; detail: what they are
	logTruncated    = failpoint.New("log truncated")   // behind a snapshot, or where it differs from the leader's
	variableStored  = failpoint.New("variable stored") // Raft's term and vote; detail: which
	snapshotBegun   = failpoint.New("snapshot begun")
	snapshotWritten = failpoint.New("snapshot written") // a part of it
	snapshotWhole   = failpoint.New("snapshot whole")
	snapshotInPlace = failpoint.New("snapshot in place")
	restoreBegun    = failpoint.New("restore begun")
	restoreDone     = failpoint.New("restore done")
	commandApplied  = failpoint.New("command applied") // detail: its type
	nodeAdmitted    = failpoint.New("node admitted")   // by the leader; the node has no answer yet
	joinAnswered    = failpoint.New("join answered")
	joinAccepted    = failpoint.New("join accepted") // the node has the answer and has written nothing
)

// describe says what a log entry is.
func describe(l *raft.Log) string {
	if l.Type != raft.LogCommand || len(l.Data) < 7 {
		return l.Type.String()
	}
	return name(fsm.Type(uint16(l.Data[5])<<8 | uint16(l.Data[6]))) // crypto.EntryHeader
}

func name(t fsm.Type) string { return "command " + strconv.Itoa(int(t)) }

// failpointSnapshots has the points of a store of snapshots.
type failpointSnapshots struct{ raft.SnapshotStore }

// Create implements raft.SnapshotStore.
func (s failpointSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, t)
	if err != nil {
		return nil, err
	}
	snapshotBegun.Hit("")
	return failpointSink{sink}, nil
}

type failpointSink struct{ raft.SnapshotSink }

// Write implements io.Writer.
func (s failpointSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	snapshotWritten.Hit("")
	return n, err
}

// Close implements io.Closer.
func (s failpointSink) Close() error {
	snapshotWhole.Hit("")
	err := s.SnapshotSink.Close()
	snapshotInPlace.Hit("")
	return err
}
