package cluster_test

import (
	"testing"
)

func TestWritesAreSeenOnEveryNodeAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	c.ready()
	for round := range 12 {
		c.seenAtOnce(round % 3)
	}
	c.wantEqual()
}

func TestSingleNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	id := c.forward(0)
	if !c.has(0, id) {
		t.Error("the key is missing")
	}
	c.stop(0)
	c.start(0)
	c.ready()
	if !c.has(0, id) {
		t.Error("the key is missing after a restart")
	}
}
