package model_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

type obj = testkit.JSON

// nodes are a cluster of three in this process: state machines, Raft, mutual TLS,
// services and audit logs as the product has them. Only the services' clock is the
// test's: the machine's goes on for certificates.
type nodes struct {
	*testkit.Cluster
	t *testing.T
	// clock is what every service takes for the time, in milliseconds since 1970. It
	// stands still until the test moves it, and is ahead of the machine's.
	clock atomic.Int64
	// held keeps the leader from finding what is due.
	held atomic.Bool
}

func startNodes(t *testing.T) *nodes {
	t.Helper()
	c := &nodes{t: t}
	c.clock.Store(time.Now().AddDate(1, 0, 0).UnixMilli())
	c.Cluster = testkit.StartClusterWith(t, 3, func(n *testkit.ClusterNode, cfg *service.Config) {
		cfg.Cluster, cfg.Now = clockwork{n.Node, c.now}, c.now
		for _, work := range cfg.Due {
			work.Find = c.unlessHeld(work.Find)
		}
	})
	return c
}

func (c *nodes) now() time.Time { return time.UnixMilli(c.clock.Load()).UTC() }

// clockwork is a node whose service lives in the test's time.
type clockwork struct {
	*cluster.Node
	now func() time.Time
}

// Passed returns the test's time once the node knows its members' clocks, which are
// the machine's.
func (c clockwork) Passed() (time.Time, bool) {
	_, ok := c.Node.Passed()
	return c.now(), ok
}

func (c *nodes) unlessHeld(find func(*fsm.View, int64, int) []*fsm.Key) func(*fsm.View, int64, int) []*fsm.Key {
	return func(v *fsm.View, at int64, limit int) []*fsm.Key {
		if c.held.Load() {
			return nil
		}
		return find(v, at, limit)
	}
}

// up returns the numbers of the running nodes.
func (c *nodes) up() (out []int) {
	for i, n := range c.Nodes {
		if n.Node != nil {
			out = append(out, i)
		}
	}
	return out
}

// call makes a call through a node and returns the answer, or the code and text of the
// refusal.
func (c *nodes) call(i int, op string, body obj) (answer obj, code, message string) {
	answer, refusal := c.Do(i, op, body)
	if refusal != nil {
		return nil, refusal.Code, refusal.Message
	}
	return answer, "", ""
}

// sameDigests waits until the nodes have applied the same and compares what they hold.
func (c *nodes) sameDigests() {
	c.t.Helper()
	digests := map[[32]byte]bool{}
	c.Until("equal indexes", func() bool {
		clear(digests)
		indexes := map[uint64]bool{}
		for _, n := range c.Nodes {
			index, digest := n.Digest()
			indexes[index], digests[digest] = true, true
		}
		return len(indexes) == 1
	})
	if len(digests) != 1 {
		c.t.Error("the nodes hold different states at the same index")
	}
}

// events are those without a request in the audit logs of all nodes, by their ids: a
// record may stand in two logs, as the same event.
func (c *nodes) events() map[string]obj {
	out := map[string]obj{}
	for _, name := range []string{"RotateKey", "DeleteKey"} {
		for _, rec := range c.Events(name) {
			out[rec["eventID"].(string)] = rec
		}
	}
	return out
}
