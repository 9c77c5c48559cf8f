package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

// abroad is the root user of Account in the Region of the replicas.
var abroad = testkit.Root.In("eu-west-1")

// newPrimary creates a multi-Region primary key in us-east-1.
func newPrimary(t testing.TB, s *testkit.Solo, more obj) string {
	t.Helper()
	return s.Must(t, "CreateKey", with(obj{"MultiRegion": true}, more))["KeyMetadata"].(obj)["KeyId"].(string)
}

// replicate makes a replica of a key of us-east-1.
func replicate(t testing.TB, s *testkit.Solo, key, region string) {
	t.Helper()
	s.Must(t, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": region})
}

// metadataIn is what DescribeKey shows of a key in a Region.
func metadataIn(t testing.TB, s *testkit.Solo, region, key string) obj {
	t.Helper()
	return s.MustAs(t, testkit.Root.In(region), "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)
}

// replicaMetadata is the KeyMetadata of a new replica in eu-west-1 beside one in
// ap-south-1.
const replicaMetadata = `{"AWSAccountId":"111122223333","KeyId":"$ID","Arn":"arn:aws:kms:eu-west-1:111122223333:key/$ID","CreationDate":1795521600.345,"Enabled":false,
	"Description":"$D","KeyUsage":"ENCRYPT_DECRYPT","KeyState":"Creating","Origin":"AWS_KMS","KeyManager":"CUSTOMER","CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","KeySpec":"SYMMETRIC_DEFAULT",
	"EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"CurrentKeyMaterialId":"$M","MultiRegion":true,"MultiRegionConfiguration":{"MultiRegionKeyType":"REPLICA",
	"PrimaryKey":{"Arn":"arn:aws:kms:us-east-1:111122223333:key/$ID","Region":"us-east-1"},"ReplicaKeys":[
	{"Arn":"arn:aws:kms:ap-south-1:111122223333:key/$ID","Region":"ap-south-1"},{"Arn":"arn:aws:kms:eu-west-1:111122223333:key/$ID","Region":"eu-west-1"}]}}`

// A replica has the default policy, no tags and no description unless the call says
// otherwise. The answer says that it is being created; whoever asks then finds it enabled.
func TestReplicateKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, obj{"Description": "first", "Tags": []obj{{"TagKey": "a", "TagValue": "1"}}, "Policy": rootPolicy})
	replicate(t, s, key, "ap-south-1")
	names := []string{"$ID", key, "$M", materialOf(t, s, key)}
	for _, row := range []struct {
		region, description string
		body                obj
		policy, tags        string
	}{
		{"eu-west-1", "", obj{"KeyId": key}, defaultPolicy, `[]`},
		{"eu-west-2", "there", obj{"KeyId": testkit.ARN(key), "Description": "there", "Policy": rootPolicy, "Tags": []obj{{"TagKey": "b", "TagValue": "2"}}}, rootPolicy, `[{"TagKey":"b","TagValue":"2"}]`},
	} {
		got := s.Must(t, "ReplicateKey", with(row.body, obj{"ReplicaRegion": row.region}))
		if row.region == "eu-west-1" {
			wantJSON(t, got["ReplicaKeyMetadata"], fill(replicaMetadata, append(names, "$D", row.description)...))
		}
		wantJSON(t, got["ReplicaTags"], row.tags)
		if got["ReplicaPolicy"] != row.policy {
			t.Errorf("%s: the policy is %v", row.region, got["ReplicaPolicy"])
		}
		there := testkit.Root.In(row.region)
		if m := metadataIn(t, s, row.region, key); m["KeyState"] != "Enabled" || m["Enabled"] != true || m["Description"] != row.description {
			t.Errorf("%s: %v", row.region, m)
		}
		wantJSON(t, s.MustAs(t, there, "ListResourceTags", obj{"KeyId": key})["Tags"], row.tags)
		if p := s.MustAs(t, there, "GetKeyPolicy", obj{"KeyId": key})["Policy"]; p != row.policy {
			t.Errorf("%s: the policy is %v", row.region, p)
		}
	}
	var regions []any
	for _, r := range metadata(t, s, key)["MultiRegionConfiguration"].(obj)["ReplicaKeys"].([]any) {
		regions = append(regions, r.(obj)["Region"])
	}
	if !slices.Equal(regions, []any{"ap-south-1", "eu-west-1", "eu-west-2"}) {
		t.Errorf("the primary shows replicas in %v", regions)
	}
}

// What the two operations refuse (§4.11 of the behaviour). A refusal changes nothing.
func TestMultiRegionRefusals(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	single, key, off, busy := s.NewKey(t), newPrimary(t, s, nil), newPrimary(t, s, nil), newPrimary(t, s, nil)
	replicate(t, s, key, "eu-west-1")
	replicate(t, s, busy, "eu-west-1")
	s.MustAs(t, abroad, "ScheduleKeyDeletion", obj{"KeyId": busy})
	replicate(t, s, off, "eu-west-1")
	s.MustAs(t, abroad, "DisableKey", obj{"KeyId": off})
	const none = "mrk-1234abcd12ab34cd56ef1234567890ab"
	there := func(key string) string { return inRegion(testkit.ARN(key), "eu-west-1") }
	notPrimary := func(arn string) outcome { return unsupported(arn + " is not a multi-region primary key.") }
	badARN := outcome{"InvalidArnException", "Invalid arn arn:aws:s3:::x"}
	for _, row := range []struct {
		who  testkit.Caller
		op   string
		body obj
		want outcome
	}{
		{testkit.Root, "ReplicateKey", obj{"KeyId": none, "ReplicaRegion": "eu-west-1"}, notFound("Key '" + testkit.ARN(none) + "' does not exist")},
		{testkit.Root, "ReplicateKey", obj{"KeyId": "alias/app", "ReplicaRegion": "eu-west-1"}, notFound("Invalid keyId 'alias/app'")},
		{testkit.Root, "ReplicateKey", obj{"KeyId": "arn:aws:s3:::x", "ReplicaRegion": "eu-west-1"}, badARN},
		{testkit.Root, "ReplicateKey", obj{"KeyId": single, "ReplicaRegion": "eu-west-1"}, notPrimary(testkit.ARN(single))},
		{testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "us-east-1"}, validation("The replica Region us-east-1 is the Region of the primary key.")},
		{testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-1"}, exists(key)},
		{testkit.Root, "ReplicateKey", obj{"KeyId": busy, "ReplicaRegion": "eu-west-1"}, exists(busy)},
		{testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-2", "Policy": "{"}, outcome{"MalformedPolicyDocumentException", "Policy contains invalid json"}},
		{testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-2", "Tags": []obj{{"TagKey": "aws:x", "TagValue": ""}}}, outcome{"TagException", "Tags beginning with aws: are reserved"}},
		{abroad, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-2"}, notPrimary(there(key))},
		{abroad, "ReplicateKey", obj{"KeyId": testkit.ARN(key), "ReplicaRegion": "eu-west-2"}, notFound("Invalid arn us-east-1")},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": none, "PrimaryRegion": "eu-west-1"}, notFound("Key '" + testkit.ARN(none) + "' does not exist")},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": "arn:aws:s3:::x", "PrimaryRegion": "eu-west-1"}, badARN},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": single, "PrimaryRegion": "eu-west-1"}, notPrimary(testkit.ARN(single))},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": "us-east-1"}, unsupported(testkit.ARN(key) + " is the multi-region primary key already.")},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": "eu-west-2"}, notFound("Key '" + inRegion(testkit.ARN(key), "eu-west-2") + "' does not exist")},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": off, "PrimaryRegion": "eu-west-1"}, outcome{"DisabledException", there(off) + " is disabled."}},
		{testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": busy, "PrimaryRegion": "eu-west-1"}, outcome{"KMSInvalidStateException", there(busy) + " is pending deletion."}},
		{abroad, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": "us-east-1"}, notPrimary(there(key))},
	} {
		t.Run(row.op+" "+row.want.message, func(t *testing.T) {
			before := s.Prune(t)
			wantOutcome(t, s.Call(t, row.who, row.op, row.body), row.want)
			if s.Prune(t) != before {
				t.Error("the state changed")
			}
		})
	}
}

func exists(key string) outcome {
	return outcome{"AlreadyExistsException", "Unable to replicate key " + testkit.ARN(key) + " to region eu-west-1, as it already exist."}
}

// The keys of the replica's Region count, and so does every key of a set.
func TestReplicasCountTowardsTheQuota(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{KeysPerRegion: 2})
	one, two := newPrimary(t, s, nil), newPrimary(t, s, nil)
	full := outcome{"LimitExceededException", "You have exceeded the number of KMS keys allowed for this account and Region."}
	s.MustAs(t, abroad, "CreateKey", obj{})
	replicate(t, s, one, "eu-west-1")
	wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", obj{"KeyId": two, "ReplicaRegion": "eu-west-1"}), full)
	wantOutcome(t, s.Call(t, abroad, "CreateKey", obj{}), full)
	replicate(t, s, two, "eu-west-2")
}

// The lockout check asks whether the caller may change the replica's policy (§5.8 of the
// behaviour, detail 37), in the replica's Region and with its tags.
func TestReplicaLockout(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	locked := outcome{"MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."}
	others := `{"Version":"2012-10-17","Statement":[` + lets("Allow", "arn:aws:iam::999999999999:root", "kms:*", "") + `]}`
	body := obj{"KeyId": key, "ReplicaRegion": "eu-west-1", "Policy": others}
	wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", body), locked)
	wantOutcome(t, s.Call(t, testkit.Root, "ReplicateKey", with(body, obj{"BypassPolicyLockoutSafetyCheck": true, "ReplicaRegion": "eu-west-3"})), success)
	replicates := allowing("kms:ReplicateKey kms:CreateKey kms:TagResource", "*", "")
	for name, row := range map[string]struct {
		resource, condition string
		want                outcome
	}{
		"here":  {testkit.ARN(key), "", locked},
		"there": {inRegion(testkit.ARN(key), "eu-west-1"), "", success},
		"east":  {"*", condition("StringEquals", "aws:RequestedRegion", "us-east-1"), locked},
		"red":   {"*", condition("StringEquals", "aws:ResourceTag/team", "red"), success},
		"blue":  {"*", condition("StringEquals", "aws:ResourceTag/team", "blue"), locked},
	} {
		key := key
		if row.want == success && name != "there" {
			key = newPrimary(t, s, nil)
		}
		who, _ := s.NewUser(t, testkit.Account, name, replicates, allowing("kms:PutKeyPolicy", row.resource, row.condition))
		tags := []obj{{"TagKey": "team", "TagValue": "red"}}
		wantOutcome(t, s.Call(t, who, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-1", "Policy": rootPolicy, "Tags": tags}), row.want)
		if name == "there" {
			s.MustAs(t, abroad, "ScheduleKeyDeletion", obj{"KeyId": key})
		}
	}
}

// An SDK's attempts of one call make one replica, or move the primary once.
func TestRepeatedMultiRegionCalls(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	body := obj{"KeyId": key, "ReplicaRegion": "eu-west-1", "Description": "d", "Tags": []obj{{"TagKey": "a", "TagValue": "1"}}}
	first := s.Call(t, testkit.Root.As("one"), "ReplicateKey", body)
	again := s.Call(t, testkit.Root.As("one"), "ReplicateKey", body)
	wantOutcome(t, first, success)
	wantOutcome(t, again, success)
	if string(first.Raw) != string(again.Raw) {
		t.Errorf("the repetition is answered %s, not %s", again.Raw, first.Raw)
	}
	original, rec := s.RecordsOf(t, first.RequestID)[0], s.Record(t, again)
	wantJSON(t, rec["additionalEventData"], fill(`{"repeatOf":"$FIRST"}`, "$FIRST", first.RequestID))
	for _, member := range []string{"eventName", "awsRegion", "requestParameters", "responseElements", "resources"} {
		if fmt.Sprint(rec[member]) != fmt.Sprint(original[member]) {
			t.Errorf("%s: %v and %v", member, rec[member], original[member])
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root.As("two"), "ReplicateKey", body), exists(key))
	move := obj{"KeyId": key, "PrimaryRegion": "eu-west-1"}
	for range 2 {
		wantOutcome(t, s.Call(t, testkit.Root.As("three"), "UpdatePrimaryRegion", move), success)
	}
	wantOutcome(t, s.Call(t, testkit.Root.As("four"), "UpdatePrimaryRegion", move), unsupported(testkit.ARN(key)+" is not a multi-region primary key."))
}

// destroy lets a key's waiting period pass and ends it, as the leader's due work does.
func destroy(t *testing.T, s *testkit.Solo, region, key string) {
	t.Helper()
	s.MustAs(t, testkit.Root.In(region), "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7})
	finish(t, s, region, key)
}

// finish ends a key that waits for its deletion.
func finish(t *testing.T, s *testkit.Solo, region, key string) {
	t.Helper()
	s.Advance(8 * oneDay)
	k, ok := s.Machine.View().Key(region, key)
	if !ok {
		t.Fatalf("there is no key in %s", region)
	}
	s.Apply(t, fsm.DeleteKey{Account: k.Account, Region: region, KeyID: key, DeletionDate: k.DeletionDate})
}

// The primary moves, and with it what only a primary may have done to it.
func TestUpdatePrimaryRegion(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	replicate(t, s, key, "eu-west-1")
	replicate(t, s, key, "ap-south-1")
	s.Must(t, "EnableKeyRotation", obj{"KeyId": key, "RotationPeriodInDays": 100})
	if a := s.Call(t, testkit.Root, "UpdatePrimaryRegion", obj{"KeyId": testkit.ARN(key), "PrimaryRegion": "eu-west-1"}); a.Refusal != nil || len(a.Raw) != 0 {
		t.Fatalf("moved: %v, %q", a.Refusal, a.Raw)
	}
	want := fill(`{"MultiRegionKeyType":"$TYPE","PrimaryKey":{"Arn":"arn:aws:kms:eu-west-1:111122223333:key/$ID","Region":"eu-west-1"},"ReplicaKeys":[
		{"Arn":"arn:aws:kms:ap-south-1:111122223333:key/$ID","Region":"ap-south-1"},{"Arn":"arn:aws:kms:us-east-1:111122223333:key/$ID","Region":"us-east-1"}]}`, "$ID", key)
	for region, kind := range map[string]string{"us-east-1": "REPLICA", "ap-south-1": "REPLICA", "eu-west-1": "PRIMARY"} {
		m := metadataIn(t, s, region, key)
		wantJSON(t, m["MultiRegionConfiguration"], fill(want, "$TYPE", kind))
		if m["KeyState"] != "Enabled" {
			t.Errorf("%s: %v", region, m["KeyState"])
		}
		got := s.MustAs(t, testkit.Root.In(region), "GetKeyRotationStatus", obj{"KeyId": key})
		if got["RotationPeriodInDays"] != 100.0 || got["KeyRotationEnabled"] != true {
			t.Errorf("%s: the rotation is %v", region, got)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "DisableKeyRotation", obj{"KeyId": key}), unsupported(testkit.ARN(key)+" is a multi-region replica key."))
	wantOutcome(t, s.Call(t, abroad, "DisableKeyRotation", obj{"KeyId": key}), success)
	if got := status(t, s, key); got["KeyRotationEnabled"] != false {
		t.Errorf("after the new primary's change: %v", got)
	}
}

// The new primary's policy counts as much as the old one's.
func TestUpdatePrimaryRegionNeedsBothPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice", allowing("kms:*", "*", ""))
	s.NewUser(t, testkit.Account, "bob")
	for region, shut := range map[string]testkit.Caller{"us-east-1": testkit.Root, "eu-west-1": abroad} {
		key := newPrimary(t, s, nil)
		replicate(t, s, key, "eu-west-1")
		policy := `{"Version":"2012-10-17","Statement":[` + lets("Allow", "arn:aws:iam::111122223333:user/bob", "kms:*", "") + `]}`
		s.MustAs(t, shut, "PutKeyPolicy", obj{"KeyId": key, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true})
		a := s.Call(t, alice, "UpdatePrimaryRegion", obj{"KeyId": key, "PrimaryRegion": "eu-west-1"})
		arn := inRegion(testkit.ARN(key), region)
		wantOutcome(t, a, deniedUser("alice", "kms:UpdatePrimaryRegion", arn, "because no resource-based policy allows the kms:UpdatePrimaryRegion action"))
		// The record in the caller's Region shows the key there alone.
		wantJSON(t, s.Record(t, a)["resources"], fill(`[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$ARN"}]`, "$ARN", testkit.ARN(key)))
	}
}

// Both operations stand in the trails of both Regions (§7.3 of the behaviour): KMS calls
// in the other one for the caller.
func TestMultiRegionRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	replicate(t, s, key, "ap-south-1")
	names := []string{"$ID", key, "$M", materialOf(t, s, key), "$HERE", testkit.ARN(key), "$THERE", inRegion(testkit.ARN(key), "eu-west-1"), "$POLICY", strings.ReplaceAll(rootPolicy, `"`, `\"`)}
	const metadata = `{"AWSAccountId":"111122223333","keyId":"$ID","arn":"$THERE","creationDate":"Nov 24, 2026, 12:00:00 PM","enabled":false,"description":"d","keyUsage":"ENCRYPT_DECRYPT",
		"keyState":"Creating","origin":"AWS_KMS","keyManager":"CUSTOMER","customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT","encryptionAlgorithms":["SYMMETRIC_DEFAULT"],
		"multiRegion":true,"multiRegionConfiguration":{"multiRegionKeyType":"REPLICA","primaryKey":{"arn":"$HERE","region":"us-east-1"},"replicaKeys":[
		{"arn":"arn:aws:kms:ap-south-1:111122223333:key/$ID","region":"ap-south-1"},{"arn":"$THERE","region":"eu-west-1"}]},"currentKeyMaterialId":"$M"}`
	for _, row := range []struct {
		op, body    string
		here, there recordCase
	}{
		{"ReplicateKey", `{"KeyId":"$ID","ReplicaRegion":"eu-west-1","Description":"d","Policy":"$POLICY","Tags":[{"TagKey":"a","TagValue":"1"}]}`,
			recordCase{op: "ReplicateKey", res: "$HERE",
				request:  `{"keyId":"$ID","replicaRegion":"eu-west-1","bypassPolicyLockoutSafetyCheck":false,"description":"d","policy":"$POLICY","tags":[{"tagKey":"a","tagValue":"1"}]}`,
				response: `{"replicaKeyMetadata":` + metadata + `,"replicaPolicy":"$POLICY"}`},
			recordCase{op: "CreateKey", res: "$THERE",
				request: `{"description":"d","origin":"AWS_KMS","bypassPolicyLockoutSafetyCheck":false,"customerMasterKeySpec":"SYMMETRIC_DEFAULT","keySpec":"SYMMETRIC_DEFAULT",
					"keyUsage":"ENCRYPT_DECRYPT","multiRegion":true,"policy":"$POLICY","tags":[{"tagKey":"a","tagValue":"1"}]}`,
				response: `{"keyMetadata":` + metadata + `}`}},
		{"UpdatePrimaryRegion", `{"KeyId":"$HERE","PrimaryRegion":"eu-west-1"}`,
			recordCase{op: "UpdatePrimaryRegion", res: "$HERE", request: `{"keyId":"$HERE","primaryRegion":"eu-west-1"}`, response: `{"keyId":"$HERE"}`},
			recordCase{op: "UpdatePrimaryRegion", res: "$THERE", request: `{"keyId":"$HERE","primaryRegion":"eu-west-1"}`, response: `{"keyId":"$THERE"}`}},
	} {
		a := s.Call(t, testkit.Root, row.op, fill(row.body, names...))
		wantOutcome(t, a, success)
		recs := s.RecordsOf(t, a.RequestID)
		if len(recs) != 2 {
			t.Fatalf("%s has %d records", row.op, len(recs))
		}
		for i, want := range []recordCase{row.here, row.there} {
			rec := recs[i]
			wantJSON(t, rec["requestParameters"], fill(want.request, names...))
			wantJSON(t, rec["responseElements"], fill(want.response, names...))
			wantJSON(t, rec["resources"], fill(`[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"`+want.res+`"}]`, names...))
			region := []string{"us-east-1", "eu-west-1"}[i]
			if rec["eventName"] != want.op || rec["awsRegion"] != region || rec["readOnly"] != false || rec["eventType"] != "AwsApiCall" {
				t.Errorf("%s: %v", region, rec)
			}
		}
		if recs[0]["eventID"] == recs[1]["eventID"] || recs[0]["userIdentity"].(obj)["invokedBy"] != nil || recs[1]["userIdentity"].(obj)["invokedBy"] != "kms.amazonaws.com" {
			t.Errorf("the records are %v", recs)
		}
	}
	// What is refused happened nowhere else.
	a := s.Call(t, testkit.Root, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": "eu-west-2"})
	if rec := s.Record(t, a); rec["errorCode"] != "UnsupportedOperationException" || rec["awsRegion"] != "us-east-1" {
		t.Errorf("refused: %v", rec)
	}
}

// Callers of other accounts hear nothing of a key, whatever its policy says.
func TestReplicasAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := newPrimary(t, s, nil)
	replicate(t, s, key, "eu-west-1")
	setPolicy(t, s, key, lets("Allow", "444455556666", "kms:*", ""))
	for _, call := range []struct{ op, body string }{{"ReplicateKey", `{"KeyId":"$ARN","ReplicaRegion":"eu-west-2"}`}, {"UpdatePrimaryRegion", `{"KeyId":"$ARN","PrimaryRegion":"eu-west-1"}`}} {
		wantOutcome(t, s.Call(t, testkit.Other, call.op, fill(call.body, "$ARN", testkit.ARN(key))), deniedTo("444455556666", "kms:"+call.op, testkit.ARN(key)))
	}
	there := inRegion(testkit.ARN(key), "eu-west-1")
	wantOutcome(t, s.Call(t, testkit.Other.In("eu-west-1"), "DescribeKey", obj{"KeyId": there}), success)
}
