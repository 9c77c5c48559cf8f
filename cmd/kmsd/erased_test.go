package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/wire/admin"
)

// apply proposes a command, with the leader's time as the test wants it.
func (c *testCluster) apply(ms int64, args fsm.Args) *kms.Error {
	c.t.Helper()
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{Time: ms}, args)
	if err != nil {
		c.t.Fatal(err)
	}
	result, _, err := c.members[c.leader()].node.Propose(c.t.Context(), cmd)
	if err != nil || result.Conflict {
		c.t.Fatalf("%T: %+v, %v", args, result, err)
	}
	return result.Err
}

// hasSigningKey tells whether a member verifies a request of the root user's without
// opening the secret.
func (c *testCluster) hasSigningKey(m *member, modIndex uint64) bool {
	c.t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://localhost/", http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(nil)
	creds := aws.Credentials{AccessKeyID: c.root.id, SecretAccessKey: c.root.secret}
	now := time.Now()
	if err := v4.NewSigner().SignHTTP(c.t.Context(), creds, r, hex.EncodeToString(sum[:]), "kms", testRegion, now); err != nil {
		c.t.Fatal(err)
	}
	in := &sigv4.Request{Method: r.Method, Path: "/", Host: r.Host, Header: r.Header}
	sig, err := sigv4.Parse(in, sigv4.JSON)
	if err != nil {
		c.t.Fatal(err)
	}
	opened := false
	secret := sigv4.Secret{AccessKeyID: c.root.id, ModIndex: modIndex, Open: func() ([]byte, error) {
		opened = true
		return []byte("not the secret"), nil // so that this look caches nothing
	}}
	if err := m.verifier.Verify(sig, in, secret, now); err != nil && !opened {
		c.t.Errorf("verifying by the cached key: %v", err)
	}
	return !opened
}

// use makes every opened form of the keys' material on a member: symmetric material, a
// private key, its public key, and a MAC key; of the key that encapsulates, too, both.
func (c *testCluster) use(m *member, symmetric, signing, mac, kem string) {
	c.t.Helper()
	c.encrypt(m, symmetric)
	client, ctx, message := c.patientClient(m), c.t.Context(), []byte("x")
	signed, err := client.Sign(ctx, &awskms.SignInput{KeyId: &signing, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	c.must("Sign", err)
	_, err = client.Verify(ctx, &awskms.VerifyInput{KeyId: &signing, Message: message, Signature: signed.Signature, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	c.must("Verify", err)
	_, err = client.GenerateMac(ctx, &awskms.GenerateMacInput{KeyId: &mac, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	c.must("GenerateMac", err)
	shared, err := client.Encapsulate(ctx, &awskms.EncapsulateInput{KeyId: &kem, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem})
	c.must("Encapsulate", err)
	_, err = client.Decapsulate(ctx, &awskms.DecapsulateInput{
		KeyId: &kem, SharedSecretCiphertextBlob: shared.SharedSecretCiphertextBlob, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem,
	})
	c.must("Decapsulate", err)
}

// destroy ends keys as their waiting periods do.
func (c *testCluster) destroy(keys ...string) {
	c.t.Helper()
	const day = 24 * int64(time.Hour/time.Millisecond)
	date := 1 + 7*day
	for _, key := range keys {
		if refusal := c.apply(1, &fsm.ScheduleKeyDeletion{Account: c.cmd.Account, Region: testRegion, KeyID: key, Window: 7, DeletionDate: date}); refusal != nil {
			c.t.Fatal(refusal)
		}
	}
	for _, key := range keys {
		// The leader also deletes what is due by itself.
		refusal := c.apply(date+day, &fsm.DeleteKey{Account: c.cmd.Account, Region: testRegion, KeyID: key, DeletionDate: date})
		if refusal != nil && refusal.Code != kms.CodeNotFound {
			c.t.Fatal(refusal)
		}
	}
}

// TestDestroyedSecretsLeaveMemory: opened material and signing keys are dropped on
// every member, and those of others are kept.
func TestDestroyedSecretsLeaveMemory(t *testing.T) {
	t.Parallel()
	c := startTest(t)
	first := c.members[0]
	gone, kept := c.newKey(first), c.newKey(first)
	signing, mac := c.newKeyOf(first, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify), c.newKeyOf(first, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac)
	kem := c.newKeyOf(first, types.KeySpecMlKem768, types.KeyUsageTypeEncapsulateDecapsulate)
	for i, m := range c.members {
		c.use(m, gone, signing, mac, kem)
		c.encrypt(m, kept)
		if n := m.materials.Len(); n != 7 {
			t.Errorf("member %d has %d opened materials, want 7", i, n)
		}
	}
	c.destroy(gone, signing, mac, kem)
	for _, m := range c.members {
		until(t, "the material leaves memory", func() bool { return m.materials.Len() == 1 })
	}

	leader := c.members[c.leader()].node
	view, err := leader.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, ok := view.AccessKey(c.root.id)
	if !ok {
		t.Fatal("there is no root credential")
	}
	for i, m := range c.members {
		if !c.hasSigningKey(m, root.ModIndex) {
			t.Errorf("member %d has no signing key of the root user's: this test shows nothing", i)
		}
	}
	const id = "AKIAI44QH8DHBEXAMPLE"
	sealed, err := leader.Keyring().Seal(service.SecretPurpose, id, []byte("another secret"))
	if err != nil {
		t.Fatal(err)
	}
	if refusal := c.apply(1, &fsm.ResetRootCredential{Account: c.cmd.Account, AccessKey: fsm.AccessKey{
		ID: id, Account: c.cmd.Account, Type: kms.PrincipalRoot, UniqueID: c.cmd.Account, Status: fsm.StatusActive, SecretTerm: 1, Secret: sealed,
	}}); refusal != nil {
		t.Fatal(refusal)
	}
	for _, m := range c.members {
		until(t, "the signing key leaves memory", func() bool { return !c.hasSigningKey(m, root.ModIndex) })
		if n := m.materials.Len(); n != 1 {
			t.Errorf("%d opened materials, want that of the other key", n)
		}
		m.forget(nil)
		if n := m.materials.Len(); n != 0 {
			t.Errorf("%d opened materials after all were forgotten", n)
		}
	}
	// The operator is told that the disks hold them still.
	until(t, "the status tells", func() bool {
		s, err := adminNode{c.members[0]}.Status(t.Context())
		return err == nil && s.DestroyedSecrets != nil && s.DestroyedSecrets.Index > 0 && time.Since(s.DestroyedSecrets.Since) < patience
	})
}

func TestDestroyedSecretsInStatus(t *testing.T) {
	t.Parallel()
	since := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	row := []string{"Destroyed secrets", "on the disk, sealed, since 2031-05-06T07:08:09Z"}
	has := func(s *admin.GetStatusResponse) bool {
		for _, r := range statusRows(s) {
			if strings.Join(r, "\n") == strings.Join(row, "\n") {
				return true
			}
		}
		return false
	}
	if has(&admin.GetStatusResponse{}) || !has(&admin.GetStatusResponse{DestroyedSecrets: &admin.DestroyedSecrets{Since: since}}) {
		t.Error("the status shows it where it should not, or not where it should")
	}
	n := adminNode{&member{}}
	for age, want := range map[time.Duration]bool{0: false, 23 * time.Hour: false, 25 * time.Hour: true} {
		s := &cluster.Status{Stain: &cluster.Stain{Index: 1, Since: time.Now().Add(-age)}}
		if got := strings.Contains(strings.Join(n.warn(s), "\n"), "may still be on the disk"); got != want {
			t.Errorf("after %v: warned %v, want %v", age, got, want)
		}
	}
}
