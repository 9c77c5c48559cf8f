package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// encrypt uses a key through a member, again while the member cannot serve, and
// returns the request that succeeded.
func (c *testCluster) encrypt(m *member, key string) string {
	c.t.Helper()
	var request string
	until(c.t, "an Encrypt", func() bool {
		out, err := c.client(m).Encrypt(c.t.Context(), &awskms.EncryptInput{KeyId: &key, Plaintext: []byte("x")})
		if err == nil {
			request, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		}
		return err == nil
	})
	return request
}

// shows tells whether a member shows the request as the key's last use.
func (c *testCluster) shows(m *member, key, request string) bool {
	c.t.Helper()
	out, err := c.client(m).GetKeyLastUsage(c.t.Context(), &awskms.GetKeyLastUsageInput{KeyId: &key})
	if err != nil || aws.ToString(out.KeyId) != key || out.KeyLastUsage == nil || out.KeyLastUsage.KmsRequestId == nil {
		return false
	}
	last := out.KeyLastUsage
	return *last.KmsRequestId == request && last.Operation == types.KeyLastUsageTrackingOperationEncrypt && last.CloudTrailEventId != nil && last.Timestamp != nil
}

func (c *testCluster) newKey(m *member) string { return c.newKeyOf(m, "", "") }

// newKeyOf makes a key of a spec and a usage, or of their defaults.
func (c *testCluster) newKeyOf(m *member, spec types.KeySpec, usage types.KeyUsageType) string {
	c.t.Helper()
	var key string
	until(c.t, "a CreateKey", func() bool {
		out, err := c.client(m).CreateKey(c.t.Context(), &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
		if err == nil {
			key = *out.KeyMetadata.KeyId
		}
		return err == nil
	})
	return key
}

// except returns the members but one.
func (c *testCluster) except(i int) []*member {
	var out []*member
	for j, m := range c.members {
		if j != i {
			out = append(out, m)
		}
	}
	return out
}

// A use on any node is seen on that node at once and on all nodes after a round,
// whoever leads.
func TestLastUsageReachesEveryNode(t *testing.T) {
	t.Parallel()
	c := startWith(t, 100*time.Millisecond)
	key, idle := c.newKey(c.members[0]), c.newKey(c.members[1])
	everywhere := func(on []*member, request string) {
		for _, m := range on {
			until(t, "the use on every node", func() bool { return c.shows(m, key, request) })
		}
	}
	for _, m := range c.members {
		everywhere(c.members, c.encrypt(m, key))
	}
	lead := c.leader()
	survivors := c.except(lead)
	if err := c.members[lead].stop(t.Context()); err != nil {
		t.Errorf("stopping the leader: %v", err)
	}
	for _, m := range survivors {
		everywhere(survivors, c.encrypt(m, key))
		out, err := c.client(m).GetKeyLastUsage(t.Context(), &awskms.GetKeyLastUsageInput{KeyId: &idle})
		if err == nil && (out.KeyLastUsage == nil || out.KeyLastUsage.Operation != "" || out.KeyLastUsage.Timestamp != nil) {
			t.Errorf("a key that nobody used shows %+v", out.KeyLastUsage)
		}
	}
}

// Between rounds that never come, a follower hands its uses to the leader when it
// stops, and a leader brings all of them into the state when it does. Where a slow
// machine does not leave the time for it, the log says so.
func TestLastUsageIsHandedOver(t *testing.T) {
	t.Parallel()
	c := startWith(t, time.Hour)
	lead := c.leader()
	leader, others := c.members[lead], c.except(lead)
	keys := []string{c.newKey(leader), c.newKey(leader)}
	lost := c.lostUses

	requests := []string{c.encrypt(others[0], keys[0]), c.encrypt(leader, keys[1])}
	until(t, "the use where it happened", func() bool { return c.shows(others[0], keys[0], requests[0]) })
	for _, m := range []*member{leader, others[1]} {
		if c.shows(m, keys[0], requests[0]) {
			t.Error("the use is seen elsewhere before a round: this test proves nothing")
		}
	}
	others[0].service.HandOver(t.Context())
	until(t, "the use on the leader", func() bool { return c.shows(leader, keys[0], requests[0]) || lost() })
	if err := leader.stop(t.Context()); err != nil {
		t.Errorf("stopping the leader: %v", err)
	}
	for i, key := range keys {
		until(t, "the uses that were handed over", func() bool { return c.shows(others[1], key, requests[i]) || lost() })
	}
}

// A node that leaves the cluster gives its uses away before.
func TestLastUsageOfALeaver(t *testing.T) {
	t.Parallel()
	c := startWith(t, time.Hour)
	lead := c.leader()
	leaver := c.except(lead)[0]
	key := c.newKey(leaver)
	request := c.encrypt(leaver, key)
	if err := (adminNode{leaver}).Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	until(t, "the use on a node that stays", func() bool {
		for _, m := range c.members {
			if m != leaver && c.shows(m, key, request) {
				return true
			}
		}
		return c.lostUses()
	})
}

// lostUses tells whether a node gave up handing its uses over.
func (c *testCluster) lostUses() bool {
	return bytes.Contains(c.out.bytes(), []byte("last uses not handed over"))
}
