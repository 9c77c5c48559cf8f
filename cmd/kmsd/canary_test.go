package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/canary"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// The secrets that the records of calls show, as CloudTrail's do.
var recorded = []canary.Canary{
	{Name: "a description", Secret: []byte(`canary description "1" <é> \ &`)},
	{Name: "a tag's value", Secret: []byte("canary tag é value")},
	{Name: "an alias", Secret: []byte("canary-alias-name")},
	{Name: "an encryption context", Secret: []byte(`canary "context" <value> é`)},
	{Name: "a policy's Sid", Secret: []byte("CanaryPolicySid")},
}

// text is the secret of a recorded canary.
func text(i int) *string { return aws.String(string(recorded[i].Secret)) }

// canaryPolicy is the default key policy with a name.
func canaryPolicy(account string) *string {
	return aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":%q,"Effect":"Allow",`+
		`"Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"}]}`, *text(4), account))
}

// TestCanaries plants secrets in everything that a call can hold, on every node,
// writes snapshots, and searches all files and the log for them. Of the audit log,
// which is plain by purpose, it demands that it holds what CloudTrail shows, and
// nothing else.
func TestCanaries(t *testing.T) {
	t.Parallel()
	c := startTest(t)
	secrets := []canary.Canary{{Name: "the root user's secret key", Secret: []byte(c.root.secret)}}
	for _, m := range c.members {
		secrets = append(secrets, c.plant(c.patientClient(m))...)
	}
	for i, m := range c.members {
		if err := m.node.Snapshot(t.Context()); err != nil {
			t.Fatalf("writing a snapshot on node %d: %v", i, err)
		}
	}
	secrets = append(secrets, c.plant(c.patientClient(c.members[0]))...) // behind the snapshots
	secrets = append(secrets, c.materials()...)
	all := append(secrets, recorded...)
	c.wantCleanMetrics(all)
	c.end()

	inAudit := func(path string) bool { return filepath.Base(filepath.Dir(path)) == "audit" }
	elsewhere := func(path string) bool { return !inAudit(path) }
	c.wantNone("outside the audit logs", elsewhere, 20, all)
	c.wantNone("in the audit logs", inAudit, 3, secrets)
	c.wantCleanLog(all)
	c.wantRecorded(inAudit)
	c.wantSnapshots()
}

// wantNone searches the chosen files, of which there must be some.
func (c *testCluster) wantNone(where string, choose func(string) bool, some int, canaries []canary.Canary) {
	c.t.Helper()
	found, files, err := canary.SearchFiles(c.cmd.Data, choose, canaries...)
	if err != nil || files < some {
		c.t.Errorf("searched %d files %s, want at least %d: %v", files, where, some, err)
	}
	for _, f := range found {
		c.t.Errorf("found %s: %v", where, f)
	}
}

// wantCleanLog searches the log and standard output, but for the one line that
// hands out the credential.
func (c *testCluster) wantCleanLog(canaries []canary.Canary) {
	c.t.Helper()
	before, line, found := bytes.Cut(c.out.bytes(), []byte("export AWS_ENDPOINT_URL="))
	_, behind, _ := bytes.Cut(line, []byte("\n"))
	if !found || len(before) == 0 || len(behind) == 0 {
		c.t.Errorf("the log is not there, or not whole: %d and %d bytes", len(before), len(behind))
	}
	for _, f := range canary.Search("the log", slices.Concat(before, behind), canaries...) {
		c.t.Errorf("found: %v", f)
	}
}

// wantCleanMetrics searches what every member tells Prometheus.
func (c *testCluster) wantCleanMetrics(canaries []canary.Canary) {
	c.t.Helper()
	for i, m := range c.members {
		res, err := http.Get("http://" + m.cfg.metrics.Addr().String() + "/metrics")
		c.must("scraping", err)
		text, err := io.ReadAll(res.Body)
		c.must("scraping", errors.Join(err, res.Body.Close()))
		if !bytes.Contains(text, []byte(`"DeriveSharedSecret"`)) {
			c.t.Errorf("the metrics of node %d do not tell of the calls", i)
		}
		for _, f := range canary.Search("the metrics", text, canaries...) {
			c.t.Errorf("found: %v", f)
		}
	}
}

// wantRecorded is the control of the run: what the records show is found in them.
func (c *testCluster) wantRecorded(inAudit func(string) bool) {
	c.t.Helper()
	for _, secret := range recorded {
		found, _, err := canary.SearchFiles(c.cmd.Data, inAudit, secret)
		if err != nil || len(found) == 0 {
			c.t.Errorf("no record shows %s: was it planted? %v", secret.Name, err)
		}
	}
	for i := range c.cmd.Nodes {
		if sum, err := audit.Verify(filepath.Join(nodeDir(c.cmd.Data, i), "audit")); err != nil || sum.Records == 0 {
			c.t.Errorf("the audit log of node %d: %d records, %v", i, sum.Records, err)
		}
	}
}

// wantSnapshots checks that the run has written what it was to search.
func (c *testCluster) wantSnapshots() {
	c.t.Helper()
	for i := range c.cmd.Nodes {
		states, err := filepath.Glob(filepath.Join(nodeDir(c.cmd.Data, i), "raft", "snapshots", "*", "state.bin"))
		if err != nil || len(states) == 0 {
			c.t.Errorf("node %d has no snapshot: %v", i, err)
		}
		if log, err := os.Stat(filepath.Join(nodeDir(c.cmd.Data, i), "raft", "raft.db")); err != nil || log.Size() < 16<<10 {
			c.t.Errorf("node %d has no log: %v", i, err)
		}
	}
}

// key makes a key and an alias of it, with secrets in all of their texts.
func (c *testCluster) key(client *awskms.Client) (id, alias *string) {
	c.t.Helper()
	made, err := client.CreateKey(c.t.Context(), &awskms.CreateKeyInput{
		Description: text(0), Policy: canaryPolicy(c.cmd.Account), Tags: []types.Tag{{TagKey: aws.String("k"), TagValue: text(1)}},
	})
	c.must("CreateKey", err)
	id = made.KeyMetadata.KeyId
	alias = aws.String("alias/" + *text(2) + "/" + *id)
	_, err = client.CreateAlias(c.t.Context(), &awskms.CreateAliasInput{AliasName: alias, TargetKeyId: id})
	c.must("CreateAlias", err)
	return id, alias
}

func (c *testCluster) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// plant makes calls with secrets, good ones and bad ones, and returns the secrets
// that no file may hold.
func (c *testCluster) plant(client *awskms.Client) []canary.Canary {
	c.t.Helper()
	ctx := c.t.Context()
	id, alias := c.key(client)
	context := map[string]string{"c": *text(3)}
	plain := []byte("canary plaintext under " + *id)
	sealed, err := client.Encrypt(ctx, &awskms.EncryptInput{KeyId: alias, Plaintext: plain, EncryptionContext: context})
	c.must("Encrypt", err)
	opened, err := client.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: context})
	c.must("Decrypt", err)
	if !bytes.Equal(opened.Plaintext, plain) {
		c.t.Error("Decrypt gives another plaintext")
	}
	data, err := client.GenerateDataKey(ctx, &awskms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256, EncryptionContext: context})
	c.must("GenerateDataKey", err)
	moved, err := client.ReEncrypt(ctx, &awskms.ReEncryptInput{CiphertextBlob: data.CiphertextBlob, SourceEncryptionContext: context, DestinationKeyId: alias})
	c.must("ReEncrypt", err)
	random, err := client.GenerateRandom(ctx, &awskms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)})
	c.must("GenerateRandom", err)
	c.fail(client, id, sealed.CiphertextBlob, plain)
	return append(slices.Concat(c.plantSigned(client, plain), c.plantPairs(client, id), c.plantShared(client)), []canary.Canary{
		{Name: "a plaintext", Secret: plain},
		{Name: "a data key", Secret: data.Plaintext},
		{Name: "random bytes", Secret: random.Plaintext},
		{Name: "a ciphertext", Secret: sealed.CiphertextBlob},
		{Name: "a ciphertext of a data key", Secret: data.CiphertextBlob},
		{Name: "a ciphertext made anew", Secret: moved.CiphertextBlob},
	}...)
}

// plantSigned is plant for the operations with signatures and MACs.
func (c *testCluster) plantSigned(client *awskms.Client, plain []byte) []canary.Canary {
	c.t.Helper()
	ctx := c.t.Context()
	newKey := func(spec types.KeySpec, usage types.KeyUsageType) *string {
		made, err := client.CreateKey(ctx, &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: usage, Policy: canaryPolicy(c.cmd.Account)})
		c.must("CreateKey", err)
		return made.KeyMetadata.KeyId
	}
	signing, mac := newKey(types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify), newKey(types.KeySpecHmac512, types.KeyUsageTypeGenerateVerifyMac)
	newKey(types.KeySpecRsa2048, types.KeyUsageTypeSignVerify)
	signed, err := client.Sign(ctx, &awskms.SignInput{KeyId: signing, Message: plain, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha384})
	c.must("Sign", err)
	maced, err := client.GenerateMac(ctx, &awskms.GenerateMacInput{KeyId: mac, Message: plain, MacAlgorithm: types.MacAlgorithmSpecHmacSha512})
	c.must("GenerateMac", err)
	_, err1 := client.Verify(ctx, &awskms.VerifyInput{KeyId: signing, Message: plain, Signature: plain, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha384})
	_, err2 := client.VerifyMac(ctx, &awskms.VerifyMacInput{KeyId: mac, Message: plain, Mac: plain, MacAlgorithm: types.MacAlgorithmSpecHmacSha512})
	for i, err := range []error{err1, err2} {
		if outcomeOf(err) != denied {
			c.t.Errorf("bad call %d: %v", i, err)
		}
	}
	return []canary.Canary{{Name: "a signature", Secret: signed.Signature}, {Name: "a MAC", Secret: maced.Mac}}
}

// fail makes calls with secrets that are refused.
func (c *testCluster) fail(client *awskms.Client, id *string, sealed, plain []byte) {
	c.t.Helper()
	ctx := c.t.Context()
	_, err1 := client.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: sealed, EncryptionContext: map[string]string{"d": *text(3)}})
	_, err2 := client.Decrypt(ctx, &awskms.DecryptInput{CiphertextBlob: append(plain, plain...)})
	_, err3 := client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: aws.String("alias/" + *text(2))})
	_, err4 := client.CreateKey(ctx, &awskms.CreateKeyInput{Description: aws.String(strings.Repeat(*text(0), 400))})
	_, err5 := client.Encrypt(ctx, &awskms.EncryptInput{KeyId: id, Plaintext: bytes.Repeat(plain, 200)})
	_, err6 := client.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: text(2)})
	for i, err := range []error{err1, err2, err3, err4, err5, err6} {
		if outcomeOf(err) != denied {
			c.t.Errorf("bad call %d: %v", i, err)
		}
	}
}

// materials returns the opened materials of all keys.
func (c *testCluster) materials() []canary.Canary {
	c.t.Helper()
	node := c.members[0].node
	var view *fsm.View
	until(c.t, "View", func() (ok bool) {
		var err error
		view, err = node.View(c.t.Context())
		return err == nil
	})
	ids, _ := view.ListKeys(c.cmd.Account, testRegion, "", 1000)
	var out []canary.Canary
	for _, id := range ids {
		key, _ := view.Key(testRegion, id)
		rec, ok := view.Material(id, key.CurrentMaterial)
		if !ok {
			c.t.Fatalf("key %s has no material", id)
		}
		secret, err := node.Keyring().Open(kmsapi.MaterialPurpose, rec.KeyID+"/"+rec.ID, rec.Sealed)
		c.must("opening a key's material", err)
		out = append(out, canary.PrivateKey("the material of "+id, secret)...)
	}
	if len(out) == 0 {
		c.t.Error("there are no keys")
	}
	return out
}
