package model_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// newService makes the service s3 and returns how it signs for Account.
func (c *nodes) newService() testkit.Caller {
	c.t.Helper()
	const trust = `{"Version":"2012-10-17","Statement":[]}`
	role := fsm.Identity{ID: "AROA00000000000000009", Kind: fsm.KindRole, Account: testkit.Account, Name: "s3", Path: "/", Created: 1,
		Trust: sha256.Sum256([]byte(trust)), MaxSession: 3600, Tags: []fsm.Tag{{Key: "kmsd:service", Value: "s3"}}}
	c.Apply(fsm.CreateIdentity{Identity: role, Texts: []string{trust}})
	token := service.Token{AccessKeyID: "ASIASERVICE", Secret: "secret", Type: kms.PrincipalAssumedRole, Account: testkit.Account, Subject: role.ID, Name: "node",
		Issued: c.now().UnixMilli(), Expires: c.now().Add(time.Hour).UnixMilli(), Tags: []kms.SessionTag{{Key: "kmsd:account", Value: testkit.Account}}}
	c.Until("the keyring is there", func() bool { return c.Nodes[0].Keyring().Current() != 0 })
	sealed, err := token.Seal(c.Nodes[0].Keyring())
	if err != nil {
		c.t.Fatal(err)
	}
	return testkit.Caller{AccessKey: token.AccessKeyID, Region: testkit.Region, Token: sealed}
}

// TestFirstUses has many first uses of an AWS managed key at once, on all nodes, also
// while the leader stops: there is one key in each Region, whoever asks first, and every
// node can use it as soon as one has answered.
func TestFirstUses(t *testing.T) {
	t.Parallel()
	c := startNodes(t)
	store := c.newService()
	for round, region := range []string{"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-south-1", "sa-east-1"} {
		stopped := -1
		if round%3 == 2 {
			stopped = c.Leader()
		}
		var calls sync.WaitGroup
		var mu sync.Mutex
		named := map[string]int{}
		for n := range 12 {
			node := n % 3
			if node == stopped {
				continue
			}
			other := (node + 1) % 3
			if other == stopped {
				other = (node + 2) % 3
			}
			calls.Go(func() {
				got := c.firstUse(node, other, n%2 == 0, store.In(region))
				mu.Lock()
				defer mu.Unlock()
				named[got]++
			})
		}
		if stopped >= 0 {
			c.Stop(stopped)
		}
		calls.Wait()
		if stopped >= 0 {
			c.Start(stopped)
			c.Ready()
		}
		if len(named) != 1 {
			t.Errorf("in %s the calls were answered with the keys %v", region, named)
		}
	}
	events := map[any]bool{} // one of them may stand in two nodes' logs
	for _, event := range c.Events("CreateKey") {
		events[event["eventID"]] = true
	}
	if len(events) != 6 {
		t.Errorf("%d keys were recorded, want 6", len(events))
	}
	c.sameDigests()
}

// firstUse describes the key through a node, or uses it and opens what it has sealed on
// another node, and returns the key's ARN.
func (c *nodes) firstUse(node, other int, describes bool, store testkit.Caller) string {
	if describes {
		out, refusal := c.DoAs(node, testkit.Root.In(store.Region), "DescribeKey", obj{"KeyId": "alias/aws/s3"})
		if refusal != nil {
			return refusal.Error()
		}
		return out["KeyMetadata"].(obj)["Arn"].(string)
	}
	out, refusal := c.DoAs(node, store, "GenerateDataKey", obj{"KeyId": "alias/aws/s3", "KeySpec": "AES_256"})
	if refusal != nil {
		return refusal.Error()
	}
	opened, refusal := c.DoAs(other, store, "Decrypt", obj{"CiphertextBlob": out["CiphertextBlob"]})
	if refusal != nil || opened["Plaintext"] != out["Plaintext"] {
		return fmt.Sprint(opened, refusal)
	}
	if arn := out["KeyId"].(string); strings.HasPrefix(arn, "arn:aws:kms:"+store.Region+":111122223333:key/") {
		return arn
	}
	return fmt.Sprint("not the key of the account and Region: ", out["KeyId"])
}
