package clients_test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestGoSDKRegions uses one key in two Regions: it replicates the key, decrypts there
// what was encrypted here, and moves the primary. It is not parallel: see TestGoSDK.
func TestGoSDKRegions(t *testing.T) {
	ctx := t.Context()
	var c goClients
	for i := range nodes {
		c[i] = kms.NewFromConfig(goConfig(t, dev.endpoints[i]), settling(t))
	}
	multiRegion, region, days := true, "eu-central-2", int32(7)
	there := func(o *kms.Options) { o.Region = region }
	m := got[kms.CreateKeyOutput](t)(c[0].CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: &multiRegion})).KeyMetadata
	replica := got[kms.ReplicateKeyOutput](t)(c[1].ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: m.KeyId, ReplicaRegion: &region})).ReplicaKeyMetadata
	same(t, "ReplicateKey", []string{*m.KeyId, "REPLICA", "Creating"}, []string{*replica.KeyId, string(replica.MultiRegionConfiguration.MultiRegionKeyType), string(replica.KeyState)})
	now := got[kms.DescribeKeyOutput](t)(c[2].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: replica.Arn}, there)).KeyMetadata
	same(t, "the replica", types.KeyStateEnabled, now.KeyState)

	text := []byte("from one Region to another")
	sealed := got[kms.EncryptOutput](t)(c[0].Encrypt(ctx, &kms.EncryptInput{KeyId: m.KeyId, Plaintext: text}))
	for i, client := range c {
		out := got[kms.DecryptOutput](t)(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}, there))
		if *out.KeyId != *replica.Arn || !bytes.Equal(out.Plaintext, text) {
			t.Errorf("node %d decrypts with %s: %q", i, *out.KeyId, out.Plaintext)
		}
	}
	got[kms.UpdatePrimaryRegionOutput](t)(c[2].UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: m.KeyId, PrimaryRegion: &region}))
	config := got[kms.DescribeKeyOutput](t)(c[1].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: m.KeyId})).KeyMetadata.MultiRegionConfiguration
	same(t, "UpdatePrimaryRegion", []string{"REPLICA", *replica.Arn, *m.Arn}, []string{string(config.MultiRegionKeyType), *config.PrimaryKey.Arn, *config.ReplicaKeys[0].Arn})
	ending := got[kms.ScheduleKeyDeletionOutput](t)(c[0].ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: m.KeyId, PendingWindowInDays: &days}, there))
	if ending.KeyState != types.KeyStatePendingReplicaDeletion || ending.DeletionDate != nil {
		t.Errorf("the primary that waits for its replica: %+v", ending)
	}
}
