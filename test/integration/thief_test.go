package integration_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A thief has everything that a removed member had, and what it can take from those
// that were not removed: the key of the cluster's present authority, with which it
// makes any certificate.
type thief struct {
	t       *testing.T
	removed *testkit.Loot
	members map[*member]*testkit.Loot
	nodes   *testkit.Authority
	api     *testkit.Authority
}

// rob copies the directory of a member that does not run, and opens the copy.
func (f *fleet) rob(m *member) *testkit.Loot {
	f.t.Helper()
	dir := filepath.Join(f.t.TempDir(), "copy")
	text, err := exec.Command("cp", "-a", m.data, dir).CombinedOutput()
	must(f.t, "copying the directory: "+string(text), 0, err)
	loot, err := testkit.Steal(f.t.Context(), dir, m.seal)
	must(f.t, "opening the copy", 0, err)
	return loot
}

// awaitRotation waits until a leader has replaced the authority that a removed member
// knew.
func (m *member) awaitRotation() {
	m.f.t.Helper()
	poll(m.f.t, unhurried, "the authority to be replaced", func() bool {
		return slices.ContainsFunc(m.f.alive(), func(m *member) bool {
			return strings.Contains(m.stderr.String(), "the old authority is not trusted any more")
		})
	})
}

// admits checks that a member serves whoever shows these papers, whatever member's
// protocol they speak.
func (m *member) admits(name string, who *testkit.Papers) {
	m.f.t.Helper()
	for _, protocol := range testkit.MemberProtocols {
		guest, err := who.Visit(m.f.t.Context(), protocol, m.cluster, m.f.root.ClusterID, m.id)
		if err != nil {
			m.f.t.Errorf("%s does not serve %s over %s: %v", m.name, name, protocol, err)
			continue
		}
		guest.Close()
	}
}

// refuses checks that a member serves nothing to whoever shows these papers.
func (m *member) refuses(name string, who *testkit.Papers) {
	m.f.t.Helper()
	for _, protocol := range testkit.MemberProtocols {
		guest, err := who.Visit(m.f.t.Context(), protocol, m.cluster, m.f.root.ClusterID, m.id)
		switch {
		case err == nil:
			guest.Close()
			m.f.t.Errorf("%s serves %s over %s", m.name, name, protocol)
		case !errors.Is(err, testkit.ErrTurnedAway):
			m.f.t.Errorf("%s, %s over %s: %v, want to be turned away", m.name, name, protocol, err)
		}
	}
}

// TestThiefOfTheAuthority removes a member. Its directory and seal and, beside them, the
// key of the authority that the cluster has now open no member's port, and no member
// takes who has them for another member.
func TestThiefOfTheAuthority(t *testing.T) {
	t.Parallel()
	f := foundThree(t, false)
	leader := f.leader()
	followers := f.followers(leader)
	dead, other := followers[0], followers[1]
	members := []*member{leader, other}
	id, _ := create(t, f.kms(leader))

	dead.crash()
	th := &thief{t: t, removed: f.rob(dead)}
	held := th.enter(members)
	leader.remove(dead)
	for name, guest := range held {
		if err := guest.AwaitEnd(); err != nil {
			t.Errorf("a connection %s outlives the membership: %v", name, err)
		}
	}
	leader.awaitRotation()

	th.take(members)
	before := f.list()
	forged := th.forgeAll()
	th.visit(forged)
	th.plead(members)
	if after := f.list(); len(after) != 2 || !slices.Equal(after, before) {
		t.Errorf("the members were %+v and are %+v", before, after)
	}

	// The leader finds the thief in the place of a member that is away.
	must(t, "stopping a member", 0, other.terminate())
	th.lure(leader, other, testkit.ProtocolRaft, testkit.ProtocolRPC)
	// A member that was just started, at another address, looks for the leader, and has
	// not heard yet who the members are.
	must(t, "stopping the leader", 0, leader.terminate())
	other.move()
	other.launch()
	th.lure(other, leader, testkit.ProtocolRPC)
	for name, who := range forged {
		other.refuses(name+", while it looks for the leader", who)
	}
	leader.launch()

	for _, m := range members {
		m.awaitReady()
		_, err := f.kms(m).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		must(t, "DescribeKey through "+m.name, 0, err)
		create(t, f.kms(m))
	}
	f.checkDigests()
}

// enter shows that the stolen identity is good before it is removed. Some of the
// connections are kept.
func (th *thief) enter(members []*member) map[string]*testkit.Guest {
	th.t.Helper()
	held := map[string]*testkit.Guest{}
	for _, m := range members {
		m.admits("a member that was not removed", th.removed.Papers())
		for _, protocol := range []string{testkit.ProtocolRaft, testkit.ProtocolRPC} {
			guest, err := th.removed.Papers().Visit(th.t.Context(), protocol, m.cluster, m.f.root.ClusterID, m.id)
			must(th.t, "connecting as a member", 0, err)
			th.t.Cleanup(guest.Close)
			held["with "+m.name+" over "+protocol] = guest
		}
	}
	return held
}

// take robs the members, one after the other, and opens their state for the keys of
// the authorities.
func (th *thief) take(members []*member) {
	th.t.Helper()
	th.members = map[*member]*testkit.Loot{}
	for _, m := range members {
		must(th.t, "stopping a member", 0, m.terminate())
		loot := m.f.rob(m)
		m.launch()
		m.awaitReady()
		var err error
		th.nodes, th.api, err = loot.Authorities()
		must(th.t, "opening the authorities", 0, err)
		if th.nodes.SPKI() != loot.Issuer() || th.nodes.SPKI() == th.removed.Issuer() {
			th.t.Fatal("the stolen authority is not the one that the cluster has now")
		}
		th.members[m] = loot
	}
}

// forge makes a certificate for a node, and for the key of a stolen member or, for nil,
// a new one.
func (th *thief) forge(by *testkit.Authority, nodeID string, of *testkit.Loot) *testkit.Papers {
	th.t.Helper()
	made, err := testkit.Forge(by, nodeID, of)
	must(th.t, "forging a certificate", 0, err)
	return made
}

const (
	unknownNode    = "0b9c1f0e-1111-4a4a-8b8b-000000000001"
	unknownCluster = "0b9c1f0e-2222-4a4a-8b8b-000000000002"
)

// forgeAll makes papers that no member may accept.
func (th *thief) forgeAll() map[string]*testkit.Papers {
	th.t.Helper()
	gone := th.removed.NodeID
	own, err := testkit.NewAuthority(th.removed.ClusterID)
	must(th.t, "making an authority", 0, err)
	elsewhere, err := testkit.Rename(th.nodes, unknownCluster)
	must(th.t, "renaming the authority", 0, err)
	forged := map[string]*testkit.Papers{
		"somebody without a certificate":                          testkit.NoPapers,
		"the removed node as it was":                              th.removed.Papers(),
		"the removed node with its key":                           th.forge(th.nodes, gone, th.removed),
		"the removed node with a new key":                         th.forge(th.nodes, gone, nil),
		"the removed node with its key, of the API's authority":   th.forge(th.api, gone, th.removed),
		"the removed node with its key, of the thief's authority": th.forge(own, gone, th.removed),
		"an unknown node":                                         th.forge(th.nodes, unknownNode, nil),
	}
	for m, loot := range th.members {
		forged["the removed node with the key of "+m.name] = th.forge(th.nodes, gone, loot)
		forged["an unknown node with the key of "+m.name] = th.forge(th.nodes, unknownNode, loot)
		forged[m.name+" with a new key"] = th.forge(th.nodes, m.id, nil)
		forged[m.name+" with the removed node's key"] = th.forge(th.nodes, m.id, th.removed)
		forged[m.name+" with its key, of the API's authority"] = th.forge(th.api, m.id, loot)
		forged[m.name+" with its key, of the thief's authority"] = th.forge(own, m.id, loot)
		forged[m.name+" with its key, of another cluster"] = th.forge(elsewhere, m.id, loot)
	}
	return forged
}

// visit goes to all members. Papers with a member's own key open them: forgeries are
// good, but for whose key they hold.
func (th *thief) visit(forged map[string]*testkit.Papers) {
	th.t.Helper()
	for m := range th.members {
		for other, loot := range th.members {
			m.admits(other.name+" with its key", th.forge(th.nodes, other.id, loot))
		}
		for name, who := range forged {
			m.refuses(name, who)
		}
	}
}

// plead asks over kmsd-join/1, where nobody needs a certificate, for everything that a
// member or somebody with a token may ask.
func (th *thief) plead(members []*member) {
	th.t.Helper()
	ask := func(m *member, p testkit.Plea) *testkit.Reply {
		th.t.Helper()
		reply, err := testkit.Plead(th.t.Context(), m.cluster, th.nodes.SPKI(), p)
		must(th.t, "asking "+m.name, 0, err)
		return reply
	}
	key, err := testkit.NewKey()
	must(th.t, "making a key", 0, err)
	forged := testkit.NewToken(th.nodes)
	for _, m := range members {
		// What a member may: ask who the others are.
		reply := ask(m, testkit.Plea{NodeID: m.id, Key: th.members[m].Key, Refresh: true})
		if reply.Code != "" || len(reply.Peers) != len(members) || len(reply.Root) > 0 {
			th.t.Errorf("%s tells a member %+v", m.name, reply)
		}
		ids := []string{th.removed.NodeID, unknownNode}
		for _, other := range members {
			ids = append(ids, other.id)
		}
		for _, id := range ids {
			for i, p := range []testkit.Plea{
				{NodeID: id, Key: th.removed.Key, Refresh: true}, {NodeID: id, Key: th.removed.Key}, {NodeID: id, Key: th.removed.Key, Token: forged},
				{NodeID: id, Key: key, Refresh: true}, {NodeID: id, Key: key}, {NodeID: id, Key: key, Token: forged},
			} {
				want := "InvalidJoinTokenException"
				if p.Refresh {
					want = "AccessDeniedException"
				}
				if reply := ask(m, p); reply.Code != want || reply.Gives() || len(reply.Statement) > 0 {
					th.t.Errorf("%s, asked for node %s, plea %d: %+v, want %s", m.name, id, i, reply, want)
				}
			}
			reply := ask(m, testkit.Plea{NodeID: id})
			if told := len(reply.Statement) > 0; told != (id == th.removed.NodeID) || reply.Gives() {
				th.t.Errorf("%s, asked whether node %s was removed: %+v", m.name, id, reply)
			}
		}
	}
}

// lure stands where a member should be that is away, until another one has dialled
// it for the protocols.
func (th *thief) lure(dialler, absent *member, protocols ...string) {
	th.t.Helper()
	own := th.members[absent]
	elsewhere, err := testkit.Rename(th.nodes, unknownCluster)
	must(th.t, "renaming the authority", 0, err)
	for name, who := range map[string]*testkit.Papers{
		"the member with a new key":                       th.forge(th.nodes, absent.id, nil),
		"the member with the removed node's key":          th.forge(th.nodes, absent.id, th.removed),
		"the member with its key, of the API's authority": th.forge(th.api, absent.id, own),
		"the member with its key, of another cluster":     th.forge(elsewhere, absent.id, own),
		"another member":                                  th.members[dialler].Papers(),
		"the removed node with its key":                   th.forge(th.nodes, th.removed.NodeID, th.removed),
		"the removed node as it was":                      th.removed.Papers(),
		"an unknown node with the member's key":           th.forge(th.nodes, unknownNode, own),
	} {
		for protocol, seen := range th.stand(name, who, absent, protocols, func(r testkit.Reception) bool { return r.Refused+r.Trusted > 0 }) {
			if seen.Trusted > 0 {
				th.t.Errorf("%s takes %s for %s over %s", dialler.name, name, absent.name, protocol)
			}
		}
	}
	// By the same means, the member itself.
	th.stand("the member with its key", th.forge(th.nodes, absent.id, own), absent, protocols, func(r testkit.Reception) bool { return r.Trusted > 0 })
}

// stand waits until somebody has dialled for the protocols with the outcome that is
// waited for.
func (th *thief) stand(name string, who *testkit.Papers, at *member, protocols []string, outcome func(testkit.Reception) bool) map[string]testkit.Reception {
	th.t.Helper()
	impostor, err := who.Impersonate(th.t.Context(), at.cluster)
	must(th.t, "listening in a member's place", 0, err)
	defer impostor.Close()
	seen := map[string]testkit.Reception{}
	poll(th.t, unhurried, fmt.Sprintf("%s to be dialled in the place of %s", name, at.name), func() bool {
		all := true
		for _, protocol := range protocols {
			seen[protocol] = impostor.Seen(protocol)
			all = all && outcome(seen[protocol])
		}
		return all
	})
	return seen
}
