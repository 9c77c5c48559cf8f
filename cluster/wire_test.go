package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/lease"
)

func leadUntilDone(led chan<- uint64, ended chan<- struct{}) func(context.Context, uint64) {
	return func(ctx context.Context, opened uint64) {
		led <- opened
		<-ctx.Done()
		close(ended)
	}
}

func TestFramesRoundTrip(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 1000, cluster.MaxFrame - 5} {
		var buf bytes.Buffer
		body := bytes.Repeat([]byte{7}, size)
		if err := cluster.WriteRequest(&buf, 2, 1500*time.Millisecond, body); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		kind, left, got, err := cluster.ReadRequest(&buf)
		if err != nil || kind != 2 || left != 1500*time.Millisecond || !bytes.Equal(got, body) || buf.Len() != 0 {
			t.Errorf("size %d: kind %d, left %v, %d bytes, %v", size, kind, left, len(got), err)
		}
		if err := cluster.WriteReply(&buf, 3, body); err != nil {
			t.Fatal(err)
		}
		status, got, err := cluster.ReadReply(&buf)
		if err != nil || status != 3 || !bytes.Equal(got, body) {
			t.Errorf("size %d: status %d, %d bytes, %v", size, status, len(got), err)
		}
	}
	if err := cluster.WriteRequest(io.Discard, 2, 0, make([]byte, cluster.MaxFrame-4)); err == nil {
		t.Error("a frame that no one may read was written")
	}
}

// An endless reader says how much was taken from it.
type endless struct{ taken int }

func (e *endless) Read(p []byte) (int, error) {
	e.taken += len(p)
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestFrameLengthIsBoundedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	e := new(endless)
	if _, _, _, err := cluster.ReadRequest(e); err == nil || e.taken != 4 {
		t.Errorf("ReadRequest: %v after %d bytes, want an error after 4", err, e.taken)
	}
	short := binary.BigEndian.AppendUint32(nil, 4)
	if _, _, _, err := cluster.ReadRequest(bytes.NewReader(append(short, 1, 2, 3, 4))); err == nil {
		t.Error("a request without its head was read")
	}
	cut := binary.BigEndian.AppendUint32(nil, 100)
	if _, _, err := cluster.ReadReply(bytes.NewReader(append(cut, 0, 1))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut reply: %v, want unexpected EOF", err)
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte{0, 0, 0, 5, 1, 0, 0, 0, 9})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		kind, left, body, err := cluster.ReadRequest(r)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := cluster.WriteRequest(&out, kind, left, body); err != nil {
			t.Fatal(err)
		}
		if want := data[:len(data)-r.Len()]; !bytes.Equal(out.Bytes(), want) {
			t.Errorf("%x was read as what is written as %x", want, out.Bytes())
		}
	})
}

func TestBeatsRoundTrip(t *testing.T) {
	t.Parallel()
	b := lease.Beat{Term: 1, Round: 2, WaitIndex: 3, Stable: 4}
	if got, err := cluster.DecodeBeat(cluster.EncodeBeat(b)); err != nil || got != b {
		t.Errorf("DecodeBeat = %+v, %v; want %+v", got, err, b)
	}
	r := lease.Reply{Term: 1, Inc: 2, Stamp: 3, Applied: 4, Version: 5, Wall: 6, DiskFree: 7}
	if got, err := cluster.DecodeReply(cluster.EncodeReply(r)); err != nil || got != r {
		t.Errorf("DecodeReply = %+v, %v; want %+v", got, err, r)
	}
	for _, n := range []int{0, 31, 33, 49, 51} {
		if _, err := cluster.DecodeBeat(make([]byte, n)); err == nil {
			t.Errorf("a Beat of %d bytes was read", n)
		}
		if _, err := cluster.DecodeReply(make([]byte, n)); err == nil {
			t.Errorf("a reply of %d bytes was read", n)
		}
	}
}

func TestRaftSettings(t *testing.T) {
	t.Parallel()
	c := cluster.RaftConfig("id")
	got := map[string]any{
		"protocol": c.ProtocolVersion, "heartbeat": c.HeartbeatTimeout, "election": c.ElectionTimeout, "lease": c.LeaderLeaseTimeout,
		"commit": c.CommitTimeout, "batch": c.MaxAppendEntries, "batchCh": c.BatchApplyCh, "noPreVote": c.PreVoteDisabled,
		"snapInterval": c.SnapshotInterval, "snapThreshold": c.SnapshotThreshold, "trailing": c.TrailingLogs,
		"shutdownOnRemove": c.ShutdownOnRemove, "noLegacy": c.NoLegacyTelemetry,
	}
	want := map[string]any{
		"protocol": raft.ProtocolVersion(3), "heartbeat": 500 * time.Millisecond, "election": 500 * time.Millisecond, "lease": 500 * time.Millisecond,
		"commit": 5 * time.Millisecond, "batch": 256, "batchCh": true, "noPreVote": false,
		"snapInterval": time.Minute, "snapThreshold": uint64(8192), "trailing": uint64(16384),
		"shutdownOnRemove": true, "noLegacy": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestEveryWriteOfTheLogIsSynced(t *testing.T) {
	t.Parallel()
	o := cluster.BoltOptions(t.TempDir())
	if o.NoSync || o.BoltOptions.NoSync || o.BoltOptions.NoGrowSync {
		t.Error("the log is written without sync")
	}
	if !o.BoltOptions.NoFreelistSync || o.BoltOptions.FreelistType != "hashmap" {
		t.Errorf("free list: %+v", o.BoltOptions)
	}
}

func TestTransportHasNeitherFastPathNorPipeline(t *testing.T) {
	t.Parallel()
	_, inner := raft.NewInmemTransport("a")
	defer inner.Close()
	seen := &heartbeatSpy{LoopbackTransport: inner}
	cluster.Serial(seen).SetHeartbeatHandler(func(raft.RPC) {})
	if seen.set {
		t.Error("the transport got a handler for heartbeats")
	}
	if _, err := cluster.Serial(seen).AppendEntriesPipeline("b", "b"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("AppendEntriesPipeline: %v, want that it is not supported", err)
	}
}

type heartbeatSpy struct {
	raft.LoopbackTransport
	set bool
}

func (s *heartbeatSpy) SetHeartbeatHandler(func(raft.RPC)) { s.set = true }

func TestTheLogIsMonotonic(t *testing.T) {
	t.Parallel()
	cache, err := raft.NewLogCache(1, cluster.WatchedStore(raft.NewInmemStore()))
	if err != nil {
		t.Fatal(err)
	}
	if !cache.IsMonotonic() {
		t.Error("Raft takes the log for one with gaps")
	}
}
