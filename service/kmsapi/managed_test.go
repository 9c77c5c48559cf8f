package kmsapi_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const (
	aliasS3  = "alias/aws/s3"
	theirS3  = "arn:aws:kms:us-east-1:444455556666:alias/aws/s3"
	noS3     = "Alias arn:aws:kms:us-east-1:444455556666:alias/aws/s3 is not found."
	describe = `{"KeyId":"alias/aws/s3"}`
)

// managedKeys are the AWS managed keys of OtherAccount, by what ListAliases shows.
func managedKeys(t testing.TB, s *testkit.Solo) map[string]string {
	t.Helper()
	keys := map[string]string{}
	for _, entry := range s.MustAs(t, testkit.Other, "ListAliases", obj{})["Aliases"].([]any) {
		keys[entry.(obj)["AliasName"].(string)] = entry.(obj)["TargetKeyId"].(string)
	}
	return keys
}

// DescribeKey by whoever may brings an AWS managed key into being, in its Region and
// account alone.
func TestManagedKeyByDescribe(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", describe), notFound(noS3)) // there is no such service
	s.NewServiceRole(t, "s3")
	wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", `{"KeyId":"alias/aws/ebs"}`), notFound(strings.Replace(noS3, "s3", "ebs", 1)))
	mallory, _ := s.NewUser(t, testkit.OtherAccount, "mallory", allowing("kms:ListAliases", "*", ""))
	before := s.Prune(t)
	a := s.Call(t, mallory, "DescribeKey", describe)
	wantOutcome(t, a, accessDenied("User: arn:aws:iam::444455556666:user/mallory is not authorized to perform: kms:DescribeKey on resource: "+theirS3+" because no identity-based policy allows the kms:DescribeKey action"))
	if record := s.Record(t, a); record["resources"] != nil {
		t.Errorf("a refusal shows the key %v", record["resources"])
	}
	// Another account names it in vain, even by ARN.
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": theirS3}), accessDenied("User: arn:aws:iam::111122223333:root is not authorized to perform: kms:DescribeKey on resource: "+theirS3+threeReasons))
	if s.Prune(t) != before {
		t.Error("a refused call has changed the state")
	}

	alice, _ := s.NewUser(t, testkit.OtherAccount, "alice", allowing("kms:DescribeKey", "arn:aws:kms:*:444455556666:key/*", `{"StringEquals":{"kms:RequestAlias":"alias/aws/s3"},"ForAnyValue:StringLike":{"kms:ResourceAliases":"alias/aws/*"}}`))
	a = s.Call(t, alice, "DescribeKey", obj{"KeyId": theirS3})
	wantOutcome(t, a, success)
	id := managedKeys(t, s)[aliasS3]
	metadata := a.Body["KeyMetadata"].(obj)
	material := metadata["CurrentKeyMaterialId"].(string)
	wantJSON(t, metadata, fill(`{"AWSAccountId":"444455556666","KeyId":"$ID","Arn":"arn:aws:kms:us-east-1:444455556666:key/$ID","CreationDate":1795521600.345,
		"Enabled":true,"Description":"Protects what the service s3 keeps for this account where no other key is named","KeyUsage":"ENCRYPT_DECRYPT","KeyState":"Enabled","Origin":"AWS_KMS",
		"KeyManager":"AWS","CustomerMasterKeySpec":"SYMMETRIC_DEFAULT","KeySpec":"SYMMETRIC_DEFAULT","EncryptionAlgorithms":["SYMMETRIC_DEFAULT"],"MultiRegion":false,"CurrentKeyMaterialId":"$MATERIAL"}`,
		"$ID", id, "$MATERIAL", material))
	if record := s.Record(t, a); record["resources"].([]any)[0].(obj)["ARN"] != testkit.OtherARN(id) || record["errorCode"] != nil {
		t.Errorf("the record is %v", record)
	}
	events := s.Events(t, "CreateKey")
	if len(events) != 1 {
		t.Fatalf("%d keys were made", len(events))
	}
	event := events[0]
	wantJSON(t, event["userIdentity"], `{"accountId":"444455556666","invokedBy":"AWS Internal"}`)
	wantJSON(t, event["serviceEventDetails"], `{"keyId":"`+id+`","aliasName":"alias/aws/s3"}`)
	wantJSON(t, event["resources"], `[{"accountId":"444455556666","type":"AWS::KMS::Key","ARN":"`+testkit.OtherARN(id)+`"}]`)

	for _, who := range []testkit.Caller{testkit.Other, alice} {
		if again := s.MustAs(t, who, "DescribeKey", describe); again["KeyMetadata"].(obj)["KeyId"] != id {
			t.Errorf("described again it is %v", again)
		}
	}
	elsewhere := s.MustAs(t, testkit.Other.In("eu-west-1"), "DescribeKey", describe)["KeyMetadata"].(obj)["KeyId"]
	ours := s.Must(t, "DescribeKey", describe)["KeyMetadata"].(obj)["KeyId"]
	if elsewhere == id || ours == id || elsewhere == ours {
		t.Error("Regions or accounts share a key")
	}
}

// The first use through its service brings an AWS managed key into being; no other call
// does.
func TestManagedKeyByFirstUse(t *testing.T) {
	t.Parallel()
	uses := map[string]string{
		"Encrypt": `{"KeyId":"$ALIAS","Plaintext":"AA=="}`, "GenerateDataKey": `{"KeyId":"$ALIAS","KeySpec":"AES_256"}`,
		"GenerateDataKeyWithoutPlaintext": `{"KeyId":"$ALIAS","KeySpec":"AES_256"}`, "GenerateDataKeyPair": `{"KeyId":"$ALIAS","KeyPairSpec":"ECC_NIST_P256"}`,
		"GenerateDataKeyPairWithoutPlaintext": `{"KeyId":"$ALIAS","KeyPairSpec":"ECC_NIST_P256"}`, "ReEncrypt": `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$ALIAS"}`,
		"DescribeKey": `{"KeyId":"$ALIAS"}`,
	}
	for op, text := range uses {
		for _, alias := range []string{aliasS3, theirS3} {
			t.Run(op+" "+alias, func(t *testing.T) {
				t.Parallel()
				s := testkit.Start(t)
				store, table := s.NewServiceRole(t, "s3", allKMS), s.NewServiceRole(t, "dynamodb", allKMS)
				them := s.Session(t, store, forThem)
				source := openKey(t, s, lets("Allow", "*", "kms:*", ""))
				blob := s.MustAs(t, them, "Encrypt", obj{"KeyId": source, "Plaintext": "AA=="})["CiphertextBlob"].(string)
				body := fill(text, "$ALIAS", alias, "$BLOB", blob)
				before := s.Prune(t)
				if op != "DescribeKey" {
					dry := strings.TrimSuffix(body, "}") + `,"DryRun":true}`
					wantOutcome(t, s.Call(t, them, op, dry), outcome{"DryRunOperationException", "The request would have succeeded, but the DryRun option is set."})
					wantOutcome(t, s.Call(t, testkit.Other, op, body), notFound(noS3))
					wantOutcome(t, s.Call(t, s.Session(t, table, forThem), op, body), notFound(noS3))
				}
				if a := s.Call(t, s.Session(t, store), op, fill(text, "$ALIAS", theirS3, "$BLOB", blob)); a.Refusal == nil {
					t.Error("the role's own session has used it")
				}
				if s.Prune(t) != before {
					t.Fatal("a call that is none has changed the state")
				}
				a := s.Call(t, them, op, body)
				wantOutcome(t, a, success)
				id := managedKeys(t, s)[aliasS3]
				if id == "" || len(s.Events(t, "CreateKey")) != 1 {
					t.Fatal("no key was made, or several")
				}
				for _, record := range s.RecordsOf(t, a.RequestID) {
					resources := record["resources"].([]any)
					if last := resources[len(resources)-1].(obj); last["ARN"] != testkit.OtherARN(id) || op == "ReEncrypt" != (len(resources) == 2) {
						t.Errorf("the record has %v", resources)
					}
				}
				wantOutcome(t, s.Call(t, them, op, body), success)
				if len(managedKeys(t, s)) != 1 {
					t.Error("there are two keys")
				}
			})
		}
	}
}

// No other operation makes an AWS managed key, not even the service's.
func TestManagedKeyByNoOther(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	them := s.Session(t, s.NewServiceRole(t, "s3"), forThem)
	source := openKey(t, s, lets("Allow", "*", "kms:*", ""))
	blob := s.MustAs(t, them, "Encrypt", obj{"KeyId": source, "Plaintext": "AA=="})["CiphertextBlob"].(string)
	for op, body := range map[string]string{
		"Decrypt": `{"KeyId":"alias/aws/s3","CiphertextBlob":"$BLOB"}`, "GetPublicKey": describe,
		"ReEncrypt": `{"CiphertextBlob":"$BLOB","SourceKeyId":"alias/aws/s3","DestinationKeyId":"$KEY"}`,
		"Sign":      `{"KeyId":"alias/aws/s3","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`, "GenerateMac": `{"KeyId":"alias/aws/s3","Message":"AA==","MacAlgorithm":"HMAC_SHA_256"}`,
	} {
		wantOutcome(t, s.Call(t, them, op, fill(body, "$BLOB", blob, "$KEY", source)), notFound(noS3))
	}
	if len(managedKeys(t, s)) != 0 {
		t.Error("a key was made")
	}
}

// An AWS managed key is seen and not managed (AWS KMS: "AWS managed keys"): reading
// works, everything else is refused to the account's root user, too.
func TestManagedKeyIsUnmanageable(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{KeysPerRegion: 1, AliasesPerKey: 1})
	store := s.NewServiceRole(t, "s3")
	them := s.Session(t, store, forThem)
	own := openKey(t, s)
	key := s.MustAs(t, testkit.Other, "DescribeKey", describe)["KeyMetadata"].(obj)["KeyId"].(string) // beyond the quota
	blob := s.MustAs(t, them, "Encrypt", obj{"KeyId": aliasS3, "Plaintext": "aGVsbG8="})["CiphertextBlob"].(string)
	grant := s.MustAs(t, them, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": "999999999999", "Operations": []string{"Decrypt"}})["GrantId"].(string)
	policy := strings.ReplaceAll(policyOf(lets("Allow", rootX, "kms:*", "")), `"`, `\"`)
	for op, body := range map[string]string{
		"CancelKeyDeletion": byID, "CreateAlias": `{"AliasName":"alias/mine","TargetKeyId":"$KEY"}`, "CreateGrant": `{"KeyId":"$KEY","GranteePrincipal":"444455556666","Operations":["Decrypt"]}`,
		"Decrypt": `{"KeyId":"$KEY","CiphertextBlob":"$BLOB"}`, "DeleteImportedKeyMaterial": byID, "DisableKey": byID, "DisableKeyRotation": byID, "EnableKey": byID, "EnableKeyRotation": byID,
		"Encrypt": `{"KeyId":"alias/aws/s3","Plaintext":"AA=="}`, "GenerateDataKey": `{"KeyId":"$KEY","KeySpec":"AES_256"}`, "PutKeyPolicy": `{"KeyId":"$KEY","Policy":"` + policy + `"}`,
		"RotateKeyOnDemand": byID, "ScheduleKeyDeletion": byID, "TagResource": `{"KeyId":"$KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}`, "UntagResource": `{"KeyId":"$KEY","TagKeys":["a"]}`,
		"UpdateKeyDescription": `{"KeyId":"$KEY","Description":"mine"}`,
	} {
		body = fill(body, "$KEY", key, "$BLOB", blob)
		for who, caller := range map[string]testkit.Caller{"arn:aws:iam::444455556666:root": testkit.Other, "s3.amazonaws.com": them} {
			if who == "s3.amazonaws.com" && slices.Contains([]string{"CreateAlias", "CreateGrant", "Decrypt", "Encrypt", "GenerateDataKey"}, op) {
				continue // it may, or it is asked for the alias first
			}
			wantOutcome(t, s.Call(t, caller, op, body), accessDenied("User: "+who+" is not authorized to perform: kms:"+op+" on resource: "+testkit.OtherARN(key)+
				" because no resource-based policy allows the kms:"+op+" action"))
		}
	}
	notAuthorized := outcome{"NotAuthorizedException", ""}
	wantOutcome(t, s.Call(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/aws/ebs", "TargetKeyId": own}), notAuthorized)
	wantOutcome(t, s.Call(t, testkit.Other, "UpdateAlias", obj{"AliasName": aliasS3, "TargetKeyId": own}), notAuthorized)
	wantOutcome(t, s.Call(t, testkit.Other, "DeleteAlias", obj{"AliasName": aliasS3}), notAuthorized)
	s.MustAs(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/mine", "TargetKeyId": own})
	wantOutcome(t, s.Call(t, testkit.Other, "UpdateAlias", obj{"AliasName": "alias/mine", "TargetKeyId": key}), accessDenied(
		"User: arn:aws:iam::444455556666:root is not authorized to perform: kms:UpdateAlias on resource: "+testkit.OtherARN(key)+" because no resource-based policy allows the kms:UpdateAlias action"))

	keys := s.MustAs(t, testkit.Other, "ListKeys", obj{})["Keys"].([]any)
	if len(keys) != 2 || !slices.ContainsFunc(keys, func(k any) bool { return k.(obj)["KeyId"] == key }) {
		t.Errorf("the keys are %v", keys)
	}
	status := s.MustAs(t, testkit.Other, "GetKeyRotationStatus", obj{"KeyId": key})
	wantJSON(t, status, `{"KeyId":"`+key+`","KeyRotationEnabled":true,"RotationPeriodInDays":365,"NextRotationDate":1827057600.345}`)
	text := s.MustAs(t, testkit.Other, "GetKeyPolicy", obj{"KeyId": key})["Policy"].(string)
	wantJSON(t, parse(t, text)["Id"], `"auto-s3-2"`)
	for _, op := range []string{"ListGrants", "ListResourceTags", "ListKeyPolicies", "ListKeyRotations", "GetKeyLastUsage"} {
		wantOutcome(t, s.Call(t, testkit.Other, op, obj{"KeyId": key}), success)
	}
	wantOutcome(t, s.Call(t, testkit.Other, "RevokeGrant", obj{"KeyId": key, "GrantId": grant}), success)
	// Other accounts have nothing of it, neither directly nor through the service.
	for _, who := range []testkit.Caller{testkit.Root, s.Session(t, store, forUs)} {
		a := s.Call(t, who, "Decrypt", obj{"KeyId": testkit.OtherARN(key), "CiphertextBlob": blob})
		if a.Refusal == nil || !strings.HasSuffix(a.Refusal.Message, threeReasons) {
			t.Errorf("another account: %v %v", a.Refusal, a.Err)
		}
	}
	if opened := s.MustAs(t, them, "Decrypt", obj{"CiphertextBlob": blob}); opened["Plaintext"] != "aGVsbG8=" {
		t.Errorf("opened %v", opened)
	}
}

// A key of the account that has a quota left has it still after an AWS managed key was
// made, and the key outlives its service: seen, and of no use.
func TestManagedKeyOutlivesItsService(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{KeysPerRegion: 1, AliasesPerKey: 1})
	role := s.NewServiceRole(t, "s3")
	s.MustAs(t, testkit.Other, "DescribeKey", describe)
	openKey(t, s)
	s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = nil })
	s.MustAs(t, testkit.Other, "DescribeKey", describe)
	if a := s.Call(t, testkit.Other, "Encrypt", `{"KeyId":"alias/aws/s3","Plaintext":"AA=="}`); a.Refusal == nil || a.Refusal.Code != "AccessDeniedException" {
		t.Errorf("got %v %v", a.Refusal, a.Err)
	}
}

// Many first uses at once make one key.
func TestManagedKeyAtOnce(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	them := s.Session(t, s.NewServiceRole(t, "s3"), forThem)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			who, op, body := them, "GenerateDataKey", `{"KeyId":"alias/aws/s3","KeySpec":"AES_256"}`
			if i%2 == 0 {
				who, op, body = testkit.Other, "DescribeKey", describe
			}
			wantOutcome(t, s.Call(t, who, op, body), success)
		})
	}
	all.Wait()
	if n := len(s.Events(t, "CreateKey")); n != 1 || len(managedKeys(t, s)) != 1 {
		t.Errorf("%d keys were made, there are %v", n, managedKeys(t, s))
	}
}

// Whatever becomes of the proposal, there is one key in the end or none, and the answer
// says which.
func TestManagedKeyUnderFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		arrange func(s *testkit.Solo)
		code    string
		created int
	}{
		"proposed in vain, then again": {func(s *testkit.Solo) { s.Fault = once(kms.ErrUnavailable) }, "", 1},
		"never proposed":               {func(s *testkit.Solo) { s.Fault = func(fsm.Command) error { return kms.ErrUnavailable } }, "ServiceUnavailableException", 0},
		"applied, outcome unknown":     {func(s *testkit.Solo) { s.Lost = once(kms.ErrOutcomeUnknown) }, "", 1},
		"audit log is sick":            {func(s *testkit.Solo) { s.Trail.Sick = errors.New("full") }, "ServiceUnavailableException", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			s.NewServiceRole(t, "s3")
			c.arrange(s)
			a := s.Call(t, testkit.Other, "DescribeKey", describe)
			code := ""
			if a.Refusal != nil {
				code = a.Refusal.Code
			}
			if code != c.code || a.Err != nil {
				t.Errorf("got %v %v, want %q", a.Refusal, a.Err, c.code)
			}
			s.Fault, s.Lost, s.Trail.Sick = nil, nil, nil
			if n := len(managedKeys(t, s)); n != c.created {
				t.Errorf("there are %d keys, want %d", n, c.created)
			}
			wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", describe), success)
			if n := len(managedKeys(t, s)); n != 1 {
				t.Errorf("in the end there are %d keys", n)
			}
		})
	}
}

// once fails the first command.
func once(err error) func(fsm.Command) error {
	failed := false
	return func(fsm.Command) error {
		if failed {
			return nil
		}
		failed = true
		return err
	}
}

// What the leader's View shows decides: a service that ends before the leader looks
// makes no key, and neither does a caller who loses the right.
func TestManagedKeyIsDecidedByTheLeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(s *testkit.Solo, role *fsm.Identity, user string)
		want outcome
	}{
		"service": {func(s *testkit.Solo, role *fsm.Identity, _ string) {
			s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = nil })
		}, notFound(noS3)},
		"right": {func(s *testkit.Solo, _ *fsm.Identity, user string) {
			s.Change(t, user, func(i *fsm.Identity) { i.Inline = nil })
		}, accessDenied("User: arn:aws:iam::444455556666:user/alice is not authorized to perform: kms:DescribeKey on resource: " + theirS3 + " because no identity-based policy allows the kms:DescribeKey action")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			role := s.NewServiceRole(t, "s3")
			alice, id := s.NewUser(t, testkit.OtherAccount, "alice", allowing("kms:DescribeKey", "*", ""))
			ended := false
			s.Fault = func(fsm.Command) error {
				if !ended {
					ended = true
					c.end(s, role, id)
				}
				return nil
			}
			a := s.Call(t, alice, "DescribeKey", describe)
			wantOutcome(t, a, c.want)
			if len(managedKeys(t, s)) != 0 {
				t.Error("a key was made")
			}
			if record := s.Record(t, a); record["errorCode"] == nil {
				t.Errorf("the record is %v", record)
			}
		})
	}
}

// An AWS managed key rotates a year after it was made; what it has sealed opens still.
func TestManagedKeyRotates(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	them := s.Session(t, s.NewServiceRole(t, "s3"), forThem)
	blob := s.MustAs(t, them, "Encrypt", obj{"KeyId": aliasS3, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	id := managedKeys(t, s)[aliasS3]
	opened := s.Apply(t, fsm.LeaderOpen{Term: 2, NodeID: "leader"})
	s.Advance(365 * 24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	led := make(chan struct{})
	go func() {
		defer close(led)
		s.Service.Lead(ctx, opened)
	}()
	if !testkit.Eventually(func() bool { return len(s.Events(t, "RotateKey")) > 0 }) {
		t.Error("the key was not rotated")
	}
	cancel()
	<-led
	event := s.Events(t, "RotateKey")
	if len(event) != 1 || event[0]["serviceEventDetails"].(obj)["keyId"] != id || event[0]["serviceEventDetails"].(obj)["rotationType"] != "AUTOMATIC" {
		t.Errorf("the events are %v", event)
	}
	if list := s.MustAs(t, testkit.Other, "ListKeyRotations", obj{"KeyId": id})["Rotations"].([]any); len(list) != 1 {
		t.Errorf("the rotations are %v", list)
	}
	later := s.Session(t, &fsm.Identity{ID: roleID(t, s), Account: testkit.Account}, forThem)
	if plain := s.MustAs(t, later, "Decrypt", obj{"CiphertextBlob": blob}); plain["Plaintext"] != "aGVsbG8=" {
		t.Errorf("opened %v", plain)
	}
}

// roleID is the unique id of the service s3.
func roleID(t testing.TB, s *testkit.Solo) string {
	t.Helper()
	role, ok := s.Machine.View().ServiceRole(testkit.Account, "s3")
	if !ok {
		t.Fatal("there is no service s3")
	}
	return role.ID
}
