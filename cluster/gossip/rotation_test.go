package gossip_test

import (
	"testing"

	"github.com/kmsd/kmsd/cluster/gossip"
)

func TestKeysRotateWhileRunning(t *testing.T) {
	t.Parallel()
	nodes := []*node{start(t, node1, nil), start(t, node2, nil), start(t, node3, nil)}
	nodes[1].join(t, nodes[0])
	nodes[2].join(t, nodes[0])
	for _, n := range nodes {
		await(t, "all know each other", func() bool { return n.sees(node1) && n.sees(node2) && n.sees(node3) })
	}
	received := func(n *node) float64 { return n.metric(t, "kmsd_gossip_packets_received_total", "") }
	// exchange waits until every node has had packets under the present keys.
	exchange := func() {
		t.Helper()
		before := map[*node]float64{}
		for _, n := range nodes {
			before[n] = received(n)
		}
		for _, n := range nodes {
			await(t, "packets arrive", func() bool { return received(n) > before[n] })
		}
	}
	exchange()
	for _, keys := range [][][]byte{{key(1), key(2)}, {key(2), key(1)}, {key(2)}} {
		for _, n := range nodes {
			if err := n.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			exchange() // also while others have the step before
		}
	}
	for _, n := range nodes {
		if got := n.dropped(t, ""); got != 0 {
			t.Errorf("%v packets dropped in the rotation, want none", got)
		}
		for _, id := range []string{node1, node2, node3} {
			if !n.sees(id) {
				t.Errorf("member %s is lost", id)
			}
		}
		n.send(t, gossip.Seal(clusterA, key(1), gossip.Labelled(clusterA, deadMessage(node2, node2, 50))))
		await(t, "the old key is refused", func() bool { return n.dropped(t, "unauthentic") == 1 })
	}
}

func TestSetKeysRefuses(t *testing.T) {
	t.Parallel()
	a := start(t, node1, nil)
	for name, keys := range map[string][][]byte{
		"none": {}, "short": {key(1)[:31]}, "empty": {key(1), nil}, "nine": {
			key(1), key(2), key(3), key(4), key(5), key(6), key(7), key(8), key(9),
		},
	} {
		if err := a.SetKeys(keys); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	// The keys are as they were, and the caller's slices are its own.
	mine := key(1)
	if err := a.SetKeys([][]byte{mine}); err != nil {
		t.Fatal(err)
	}
	clear(mine)
	a.send(t, gossip.Seal(clusterA, key(1), gossip.Labelled(clusterB, []byte{0})))
	await(t, "the key opens", func() bool { return a.dropped(t, "malformed") == 1 })
}
