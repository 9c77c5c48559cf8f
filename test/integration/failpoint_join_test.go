//go:build failpoint

package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// joinedPerCluster is how many of the nodes whose joining was interrupted become members
// of one cluster.
const joinedPerCluster = 6

// ofJoin ends "kmsd join" at each of its moments. The node that it makes afterwards is
// the one that it began, and there is no other.
func (c *crashes) ofJoin(t *testing.T) {
	f, tr := found(t), newTrace(t)
	m := f.newMember()
	m.env = []string{tr.env()}
	f.ok(m.run("join", "--token", f.token(), f.members[0].cluster))
	for part := range slices.Chunk(tr.moments(t), joinedPerCluster) {
		t.Run(fmt.Sprint("from ", part[0]), func(t *testing.T) {
			t.Parallel()
			f := foundHastily(t)
			first := f.members[0]
			id, _ := create(t, f.kms(first))
			for i, at := range part {
				f.joinTwice(at, i%2 == 0, id)
				c.add(at)
				if n := len(f.list()); n != i+2 {
					t.Fatalf("%s: the cluster has %d members, want %d", at, n, i+2)
				}
			}
		})
	}
}

// joinTwice lets a node join that is ended at a moment, and again: with another token,
// as an operator does whose token has expired meanwhile, or with the same one.
func (f *fleet) joinTwice(at moment, another bool, key string) {
	f.t.Helper()
	first, m := f.members[0], f.newMember()
	token := f.token()
	m.env = []string{at.kill()}
	f.dies(m.run("join", "--token", token, first.cluster), at)
	m.env = []string{hasty}
	begun := m.begun()
	if !m.starts(nothingThere, initAgain, joinAgain) {
		if another {
			token = f.token()
		}
		f.ok(m.run("join", "--token", token, first.cluster))
		m.launch()
		m.awaitReady()
	}
	s, _ := m.tryStatus()
	if m.id = s.NodeID; begun != "" && m.id != begun {
		f.t.Errorf("%s: the node that has joined is %s, not %s, as which it began", at, m.id, begun)
	}
	_, err := f.kms(m).DescribeKey(f.t.Context(), &kms.DescribeKeyInput{KeyId: &key})
	must(f.t, "DescribeKey through the node that has joined", 0, err)
	m.checkLeftovers()
	m.crash()
}

// begun is the node as which joining was begun, "" if it was not.
func (m *member) begun() string {
	m.f.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.data, "join.json"))
	if os.IsNotExist(err) {
		return ""
	}
	var pending struct{ NodeID string }
	must(m.f.t, "reading what was begun", 0, err)
	must(m.f.t, "reading what was begun", 0, json.Unmarshal(text, &pending))
	return pending.NodeID
}

// ofAdmission ends the server that admits a node at each moment from the node's request
// on. The node's join goes on as if nothing had happened, and uses its token once.
func (c *crashes) ofAdmission(t *testing.T) {
	tr := newTrace(t)
	f := foundHastily(t)
	f.admit(tr.env(), func(*member) {})
	each(t, tr.moments(t), func(t *testing.T, at moment) {
		f := foundHastily(t)
		first := f.members[0]
		id, _ := create(t, f.kms(first))
		used := f.admit(at.kill(), func(m *member) {
			c.account(at, m.endsAt(at))
			first.env = []string{hasty}
			first.launch()
			first.awaitReady()
		})
		joined := f.members[1]
		joined.env = []string{hasty}
		joined.launch()
		joined.awaitReady()
		_, err := f.kms(joined).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		must(t, "DescribeKey through the node that has joined", 0, err)
		if n := len(f.list()); n != 2 {
			t.Errorf("the cluster has %d members, want 2", n)
		}
		f.refuses(t, "a token that was used", used, first.cluster, "used")
		first.checkLeftovers()
		joined.checkLeftovers()
	})
}

// foundHastily is found with a node that is quick to lead.
func foundHastily(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t)
	first := f.newMember()
	first.env = []string{hasty}
	f.founded(first.run("init", "--json"))
	first.launch()
	first.awaitReady()
	return f
}

// admit restarts the first node with a failpoint that counts from now on, and lets a
// node join. meanwhile runs while it does. The token is returned.
func (f *fleet) admit(env string, meanwhile func(first *member)) string {
	t := f.t
	t.Helper()
	first, m := f.members[0], f.newMember()
	token := f.token()
	must(t, "stopping the first node", 0, first.terminate())
	first.arm(env)
	first.launch()
	first.awaitReady()
	first.fire()
	join := command("join", "--config", m.config, "--token", token, first.cluster)
	must(t, "starting to join", 0, join.start())
	meanwhile(first)
	code, err := join.wait(patience)
	if err != nil || code != 0 {
		join.kill()
		t.Fatalf("joining ended with code %d, %v: %s", code, err, join.tail())
	}
	return token
}
