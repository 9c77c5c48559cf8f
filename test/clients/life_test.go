package clients_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// inDays is the point in time so many days after one of this run.
func inDays(days int) *check {
	return &check{fmt.Sprintf("%d days after this run", days), func(got any) bool {
		length := time.Duration(days) * 24 * time.Hour
		switch got := got.(type) {
		case float64:
			return recent.ok(got - length.Seconds())
		case string:
			at, err := time.Parse(time.RFC3339Nano, got)
			return err == nil && recent.ok(at.Add(-length).Format(time.RFC3339Nano))
		}
		return false
	}}
}

// cliLife walks a key through its life, each step through another node than the look
// at it: what the CLI of Debian knows, and with newer ones rotation on demand.
func cliLife(t *testing.T, c awsCLI) {
	key, _ := c.call(t, 0, "kms", "create-key", "--description", "first")["KeyMetadata"].(object)["KeyId"].(string)
	c.silent(t, 1, "kms", "update-key-description", "--key-id", key, "--description", "second")
	expect(t, "describe-key", object{"KeyMetadata": metadata(c.region, key, "second", true, c.materials)}, c.call(t, 2, "kms", "describe-key", "--key-id", key))
	expect(t, "list-key-policies", object{"PolicyNames": []any{"default"}}, c.call(t, 0, "kms", "list-key-policies", "--key-id", key))

	c.silent(t, 2, "kms", "tag-resource", "--key-id", key, "--tags", "TagKey=Purpose,TagValue=Test", "TagKey=CostCenter,TagValue=80432")
	c.silent(t, 0, "kms", "tag-resource", "--key-id", keyARN(c.region, key), "--tags", "TagKey=Purpose,TagValue=Orders")
	cost, purpose := object{"TagKey": "CostCenter", "TagValue": "80432"}, object{"TagKey": "Purpose", "TagValue": "Orders"}
	tags := func(node int) any { return c.call(t, node, "kms", "list-resource-tags", "--key-id", key)["Tags"] }
	expect(t, "list-resource-tags", []any{cost, purpose}, tags(1))
	c.silent(t, 2, "kms", "untag-resource", "--key-id", key, "--tag-keys", "CostCenter", "Absent")
	expect(t, "list-resource-tags", []any{purpose}, tags(0))
	c.refused(t, 1, "TagException", "TagResource", "Tags beginning with aws: are reserved",
		"kms", "tag-resource", "--key-id", key, "--tags", "TagKey=aws:x,TagValue=y")

	c.silent(t, 1, "kms", "enable-key-rotation", "--key-id", key)
	if on := c.call(t, 2, "kms", "get-key-rotation-status", "--key-id", key); on["KeyRotationEnabled"] != true {
		t.Fatalf("get-key-rotation-status: %v", on)
	}
	if c.materials {
		cliRotation(t, c, key)
	}
	c.silent(t, 0, "kms", "disable-key-rotation", "--key-id", key)
	if off := c.call(t, 1, "kms", "get-key-rotation-status", "--key-id", key); off["KeyRotationEnabled"] != false {
		t.Fatalf("get-key-rotation-status: %v", off)
	}
	cliDeletion(t, c, key)
}

// cliRotation rotates on demand, and waits until it is done.
func cliRotation(t *testing.T, c awsCLI, key string) {
	c.silent(t, 0, "kms", "enable-key-rotation", "--key-id", key, "--rotation-period-in-days", "180")
	expect(t, "get-key-rotation-status", object{"KeyRotationEnabled": true, "KeyId": key, "RotationPeriodInDays": 180.0, "NextRotationDate": inDays(180)},
		c.call(t, 2, "kms", "get-key-rotation-status", "--key-id", key))
	expect(t, "rotate-key-on-demand", object{"KeyId": key}, c.call(t, 1, "kms", "rotate-key-on-demand", "--key-id", key))
	eventually(t, "the rotation", func() string {
		return diff(object{"Rotations": []any{object{
			"KeyId": key, "KeyMaterialId": materialID, "KeyMaterialState": "CURRENT", "RotationDate": recent, "RotationType": "ON_DEMAND",
		}}}, c.call(t, 2, "kms", "list-key-rotations", "--key-id", key))
	})
}

// eventually waits until something that happens by itself has: what it returns is what
// is missing yet.
func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		diff := missing()
		if diff == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s: -want +got\n%s", what, diff)
		}
	}
}

// cliDeletion schedules a deletion and thinks better of it.
func cliDeletion(t *testing.T, c awsCLI, key string) {
	scheduled := c.call(t, 2, "kms", "schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7")
	expect(t, "schedule-key-deletion",
		object{"KeyId": keyARN(c.region, key), "DeletionDate": inDays(7), "KeyState": "PendingDeletion", "PendingWindowInDays": 7.0}, scheduled)
	for node := range nodes {
		c.refused(t, node, "KMSInvalidStateException", "Encrypt", keyARN(c.region, key)+" is pending deletion.",
			"kms", "encrypt", "--key-id", key, "--plaintext", file(t, []byte("x")))
	}
	expect(t, "cancel-key-deletion", object{"KeyId": keyARN(c.region, key)}, c.call(t, 0, "kms", "cancel-key-deletion", "--key-id", key))
	expect(t, "describe-key", object{"KeyMetadata": metadata(c.region, key, "second", false, c.materials)}, c.call(t, 1, "kms", "describe-key", "--key-id", key))
	c.refused(t, 2, "KMSInvalidStateException", "CancelKeyDeletion", keyARN(c.region, key)+" is not pending deletion.", "kms", "cancel-key-deletion", "--key-id", key)
}

// life walks a key through all calls of its life, the SDK's types and all, through
// three nodes.
func (c goClients) life(t *testing.T) {
	ctx := t.Context()
	key := got[kms.CreateKeyOutput](t)(c[0].CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata.KeyId
	first := got[kms.EncryptOutput](t)(c[1].Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("of the first material")}))
	got[kms.EnableKeyRotationOutput](t)(c[2].EnableKeyRotation(ctx, &kms.EnableKeyRotationInput{KeyId: key, RotationPeriodInDays: aws.Int32(90)}))
	var materials []string
	for n := range 3 {
		got[kms.RotateKeyOnDemandOutput](t)(c[n].RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key}))
		eventually(t, "rotation on demand", func() string {
			materials = c.rotated(t, key)
			return diff(n+2, len(materials))
		})
	}
	c.wantMaterials(t, key, materials, first.CiphertextBlob)
	status := got[kms.GetKeyRotationStatusOutput](t)(c[1].GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key}))
	next := 90*24*time.Hour - time.Until(aws.ToTime(status.NextRotationDate))
	if !status.KeyRotationEnabled || aws.ToInt32(status.RotationPeriodInDays) != 90 || next < -time.Second || next > 30*time.Minute || status.OnDemandRotationStartDate != nil {
		t.Fatalf("GetKeyRotationStatus: got %+v", status)
	}
	c.end(t, key)
}

// rotated lists a key's materials on node 2, page by page.
func (c goClients) rotated(t *testing.T, key *string) (ids []string) {
	in := &kms.ListKeyRotationsInput{KeyId: key, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial, Limit: aws.Int32(2)}
	for pages := kms.NewListKeyRotationsPaginator(c[2], in); pages.HasMorePages(); {
		for _, r := range got[kms.ListKeyRotationsOutput](t)(pages.NextPage(t.Context())).Rotations {
			ids = append(ids, *r.KeyMaterialId)
			if (r.RotationType == types.RotationTypeOnDemand) != (len(ids) > 1) || (r.RotationDate != nil) != (len(ids) > 1) {
				t.Fatalf("material %d: %+v", len(ids), r)
			}
		}
	}
	return ids
}

// wantMaterials checks on every node that the newest material encrypts and that the
// oldest still decrypts.
func (c goClients) wantMaterials(t *testing.T, key *string, ids []string, oldest []byte) {
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Fatalf("the materials %v are not all different", ids)
	}
	for _, client := range c {
		opened := got[kms.DecryptOutput](t)(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: oldest}))
		if !bytes.Equal(opened.Plaintext, []byte("of the first material")) || *opened.KeyMaterialId != ids[0] {
			t.Fatalf("the first ciphertext decrypts to %q with %s, want material %s", opened.Plaintext, *opened.KeyMaterialId, ids[0])
		}
		made := got[kms.GenerateDataKeyOutput](t)(client.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256}))
		described := got[kms.DescribeKeyOutput](t)(client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key}))
		newest := ids[len(ids)-1]
		same(t, "the current material", []string{newest, newest}, []string{*made.KeyMaterialId, *described.KeyMetadata.CurrentKeyMaterialId})
	}
}

// end schedules the key's deletion, cancels it, and schedules it again.
func (c goClients) end(t *testing.T, key *string) {
	ctx := t.Context()
	for range 2 {
		scheduled := got[kms.ScheduleKeyDeletionOutput](t)(c[0].ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key, PendingWindowInDays: aws.Int32(7)}))
		for _, client := range c {
			meta := got[kms.DescribeKeyOutput](t)(client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key})).KeyMetadata
			if meta.KeyState != types.KeyStatePendingDeletion || scheduled.KeyState != meta.KeyState || !aws.ToTime(meta.DeletionDate).Equal(aws.ToTime(scheduled.DeletionDate)) {
				t.Fatalf("ScheduleKeyDeletion answered %+v, DescribeKey %+v", scheduled, meta)
			}
			_, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key})
			sdkError[*types.KMSInvalidStateException](t, err, "KMSInvalidStateException", *meta.Arn+" is pending deletion.")
		}
		cancelled := got[kms.CancelKeyDeletionOutput](t)(c[1].CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key}))
		same(t, "CancelKeyDeletion", *scheduled.KeyId, *cancelled.KeyId)
		_, err := c[2].CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: key})
		sdkError[*types.KMSInvalidStateException](t, err, "KMSInvalidStateException", *scheduled.KeyId+" is not pending deletion.")
	}
}
