package cluster_test

import "testing"

// A member that starts restores a snapshot from before a removal. Until it has caught
// up with a leader it goes by what it wrote down when it learned of the removal.
func TestOldSnapshotReadmitsNobody(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, quick)
	c.ready()
	lead := c.leader()
	dead, alive := (lead+1)%3, (lead+2)%3
	removed, old := c.nodes[dead].Credentials().Identity(), c.nodes[lead].Credentials().Issuer()
	if err := c.nodes[alive].Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stop(dead)
	c.remove(lead, dead)
	c.rotated(old)
	stays := c.nodes[lead].Credentials().Identity()
	c.stop(lead)
	c.stop(alive)
	n := c.start(alive)
	if _, ok := n.Machine().View().Node(removed.NodeID); !ok {
		t.Error("the snapshot does not have the removed node")
	}
	if n.Accept(removed.NodeID, removed.SPKI) {
		t.Error("a node that has not caught up accepts one that was removed")
	}
	if !n.Accept(stays.NodeID, stays.SPKI) {
		t.Error("a node that has not caught up does not accept a member")
	}
	c.start(lead)
	c.ready()
	c.wantEqual()
}
