package kmsapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// genericKeys are what every action on a key has (AWS KMS: "AWS KMS permissions"). Key
// policies do not have the last two.
var genericKeys = strings.Fields(`kms:CallerAccount kms:KeySpec kms:KeyUsage kms:KeyOrigin kms:MultiRegion kms:CustomerMasterKeySpec kms:CustomerMasterKeyUsage
	kms:ResourceAliases aws:ResourceTag/team`)

// contextKeys are those of an operation with an encryption context and a KeyId that may
// be an alias.
const contextKeys = "kms:EncryptionAlgorithm kms:EncryptionContext:App kms:EncryptionContextKeys kms:RequestAlias"

// Bodies of imports.
const (
	toImport = `{"KeyId":"$KEY","ImportToken":"$TOKEN","EncryptedKeyMaterial":"$WRAPPED","ExpirationModel":"KEY_MATERIAL_EXPIRES","ValidTo":1800000000}`
	toWrap   = `{"KeyId":"$KEY","WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"}`
)

// presence says which condition keys a call has beyond the generic ones, when its body
// has all that they come from. bare tells that it has not even those, unlet that the
// key's policy lets nobody make it and that it does not know the key's aliases. created
// are the keys of the actions that are asked for the key that the call makes.
type presence struct {
	op, body, keys string
	bare, unlet    bool
	created        string
}

var presences = []presence{
	{op: "CancelKeyDeletion", body: byID},
	{op: "CreateAlias", body: `{"AliasName":"alias/new","TargetKeyId":"$KEY"}`},
	{op: "CreateGrant", body: withGrant, keys: "kms:GrantConstraintType kms:GrantConstraintSourceArn kms:GrantIsForAWSResource kms:GrantOperations kms:GranteePrincipal kms:RetiringPrincipal " +
		"kms:EncryptionContext:App kms:EncryptionContextKeys"},
	{op: "CreateGrant", body: serviceGrant, keys: "kms:GrantConstraintSourceArn kms:GrantIsForAWSResource kms:GrantOperations kms:GranteeServicePrincipal kms:RetiringServicePrincipal"},
	{op: "CreateGrant", body: bareGrant, keys: "kms:GrantIsForAWSResource kms:GrantOperations kms:GranteePrincipal"},
	{op: "CreateKey", body: `{"BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"a","TagValue":"1"}]}`, bare: true,
		keys: `kms:BypassPolicyLockoutSafetyCheck kms:KeySpec kms:CustomerMasterKeySpec kms:KeyUsage kms:CustomerMasterKeyUsage kms:KeyOrigin kms:MultiRegion kms:CallerAccount
			aws:RequestTag/a aws:TagKeys`},
	{op: "Decapsulate", body: withDecapsulate, keys: "kms:RequestAlias"},
	{op: "Decrypt", body: openPair, keys: contextKeys},
	{op: "DeleteAlias", body: `{"AliasName":"alias/app"}`},
	{op: "DeleteImportedKeyMaterial", body: byID},
	{op: "DeriveSharedSecret", body: withDerive, keys: "kms:KeyAgreementAlgorithm kms:RequestAlias"},
	{op: "DescribeKey", body: byAlias, keys: "kms:RequestAlias"},
	{op: "DisableKey", body: byID, keys: "kms:TrailingDaysWithoutKeyUsage"},
	{op: "DisableKeyRotation", body: byID},
	{op: "EnableKey", body: byID},
	{op: "EnableKeyRotation", body: `{"KeyId":"$KEY","RotationPeriodInDays":180}`, keys: "kms:RotationPeriodInDays"},
	{op: "Encapsulate", body: withEncapsulate, keys: "kms:RequestAlias"},
	{op: "Encrypt", body: inPair, keys: contextKeys},
	{op: "GenerateDataKey", body: newPair, keys: contextKeys},
	{op: "GenerateDataKeyPair", body: newKeyPair, keys: contextKeys + " kms:DataKeyPairSpec"},
	{op: "GenerateDataKeyPairWithoutPlaintext", body: newKeyPair, keys: contextKeys + " kms:DataKeyPairSpec"},
	{op: "GenerateDataKeyWithoutPlaintext", body: newPair, keys: contextKeys},
	{op: "GenerateMac", body: withMac, keys: "kms:MacAlgorithm kms:RequestAlias"},
	{op: "GenerateRandom", body: `{"NumberOfBytes":1}`, bare: true},
	{op: "GetKeyLastUsage", body: byID},
	{op: "GetKeyPolicy", body: byID},
	{op: "GetKeyRotationStatus", body: byID},
	{op: "GetParametersForImport", body: toWrap, keys: "kms:WrappingAlgorithm kms:WrappingKeySpec"},
	{op: "GetPublicKey", body: byAlias, keys: "kms:RequestAlias"},
	{op: "ImportKeyMaterial", body: toImport, keys: "kms:ExpirationModel kms:ValidTo"},
	{op: "ListAliases", body: byID, bare: true},
	{op: "ListGrants", body: byID, keys: "kms:GrantIsForAWSResource"},
	{op: "ListKeyPolicies", body: byID},
	{op: "ListKeyRotations", body: byID},
	{op: "ListKeys", body: `{}`, bare: true},
	{op: "ListResourceTags", body: byID},
	{op: "ListRetirableGrants", body: `{"RetiringPrincipal":"111122223333"}`, bare: true},
	{op: "PutKeyPolicy", body: `{"KeyId":"$KEY","Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":true}`, keys: "kms:BypassPolicyLockoutSafetyCheck"},
	{op: "ReEncrypt", keys: contextKeys + " kms:ReEncryptOnSameKey", body: `{"CiphertextBlob":"$INPAIR","SourceKeyId":"alias/app","SourceEncryptionContext":{"App":"x","a:b":"y"},
		"DestinationKeyId":"alias/second","DestinationEncryptionContext":{"app":"z"}}`},
	{op: "ReplicateKey", body: `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1","BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"a","TagValue":"1"}]}`,
		keys: "kms:ReplicaRegion kms:MultiRegionKeyType",
		created: `kms:BypassPolicyLockoutSafetyCheck kms:KeySpec kms:CustomerMasterKeySpec kms:KeyUsage kms:CustomerMasterKeyUsage kms:KeyOrigin kms:MultiRegion
			kms:MultiRegionKeyType kms:CallerAccount aws:RequestTag/a aws:TagKeys`},
	{op: "RetireGrant", body: byGrant, unlet: true},
	{op: "RevokeGrant", body: byGrant, keys: "kms:GrantIsForAWSResource"},
	{op: "RotateKeyOnDemand", body: byID},
	{op: "ScheduleKeyDeletion", body: `{"KeyId":"$KEY","PendingWindowInDays":8}`, keys: "kms:ScheduleKeyDeletionPendingWindowInDays kms:TrailingDaysWithoutKeyUsage"},
	{op: "Sign", body: withSign, keys: "kms:MessageType kms:SigningAlgorithm kms:RequestAlias"},
	{op: "TagResource", body: tagged, keys: "aws:RequestTag/a aws:TagKeys"},
	{op: "UntagResource", body: `{"KeyId":"$KEY","TagKeys":["a"]}`, keys: "aws:TagKeys"},
	{op: "UpdateAlias", body: `{"AliasName":"alias/app","TargetKeyId":"$SECOND"}`},
	{op: "UpdateKeyDescription", body: `{"KeyId":"$KEY","Description":"x"}`},
	{op: "UpdatePrimaryRegion", body: `{"KeyId":"$KEY","PrimaryRegion":"eu-west-1"}`, keys: "kms:PrimaryRegion kms:MultiRegionKeyType"},
	{op: "Verify", body: withVerify, keys: "kms:MessageType kms:SigningAlgorithm kms:RequestAlias"},
	{op: "VerifyMac", body: withVerifyMac, keys: "kms:MacAlgorithm kms:RequestAlias"},
}

// neverPresent are the condition keys of AWS KMS that no operation has here, and why.
var neverPresent = map[string]string{
	"kms:RecipientAttestation:ImageSha384": noAttestation, "kms:RecipientAttestation:PCR0": noAttestation, "kms:RecipientAttestation:PCR31": noAttestation,
	"kms:RecipientAttestation:NitroTPMPCR4": noAttestation,
}

const noAttestation = "the calls of the cases bring no attestation document; TestAttestationConditions and TestNitroTPM have them"

// documented are the condition keys of AWS KMS, and the global ones that come from the
// key or the parameters.
var documented = strings.Fields(`kms:BypassPolicyLockoutSafetyCheck kms:CallerAccount kms:CustomerMasterKeySpec kms:CustomerMasterKeyUsage kms:DataKeyPairSpec
	kms:EncryptionAlgorithm kms:EncryptionContext:App kms:EncryptionContextKeys kms:ExpirationModel kms:GrantConstraintType kms:GrantConstraintSourceArn
	kms:GrantIsForAWSResource kms:GrantOperations kms:GranteePrincipal kms:RetiringPrincipal kms:GranteeServicePrincipal kms:RetiringServicePrincipal
	kms:KeyAgreementAlgorithm kms:KeyOrigin kms:KeySpec kms:KeyUsage kms:MacAlgorithm kms:MessageType kms:SigningAlgorithm kms:MultiRegion
	kms:MultiRegionKeyType kms:PrimaryRegion kms:ReplicaRegion kms:ReEncryptOnSameKey kms:RecipientAttestation:ImageSha384 kms:RecipientAttestation:PCR0
	kms:RecipientAttestation:PCR31 kms:RecipientAttestation:NitroTPMPCR4 kms:RequestAlias kms:ResourceAliases kms:RotationPeriodInDays kms:ScheduleKeyDeletionPendingWindowInDays
	kms:TrailingDaysWithoutKeyUsage kms:ValidTo kms:ViaService kms:WrappingAlgorithm kms:WrappingKeySpec aws:ResourceTag/team aws:RequestTag/a aws:TagKeys`)

// Every served operation has a row, every key an operation or a reason to have none,
// and every key of an operation a row that tries its values.
func TestConditionKeysAreComplete(t *testing.T) {
	t.Parallel()
	for _, row := range rows() {
		if !slices.ContainsFunc(presences, func(p presence) bool { return p.op == row.Name }) {
			t.Errorf("%s has no row", row.Name)
		}
	}
	tried := func(op, key string) bool {
		return slices.ContainsFunc(conditionCases, func(c conditionCase) bool { return (op == "" || c.op == op) && strings.EqualFold(c.key, key) })
	}
	has := map[string]bool{}
	for _, p := range presences {
		for _, key := range strings.Fields(p.keys + " " + p.created) {
			has[key] = true
			if !tried(p.op, key) {
				t.Errorf("no row tries %s of %s", key, p.op)
			}
		}
	}
	for _, key := range genericKeys {
		has[key] = true
		if !tried("", key) {
			t.Errorf("no row tries %s", key)
		}
	}
	has["kms:ViaService"] = serviceKeys["kms:ViaService"] != "" // of services alone
	for _, key := range documented {
		if has[key] == (neverPresent[key] != "") {
			t.Errorf("%s: some operation has it %t, reason to have none %q", key, has[key], neverPresent[key])
		}
	}
	for key := range has {
		if !slices.Contains(documented, key) {
			t.Errorf("AWS KMS has no key %s", key)
		}
	}
}

// nulls is a condition that holds when of the documented keys exactly these are there.
func nulls(keys []string) string {
	want := map[string]string{}
	for _, key := range documented {
		want[key] = "true"
	}
	for _, key := range keys {
		want[key] = "false"
	}
	text, _ := json.Marshal(obj{"Null": want})
	return string(text)
}

// Every call has the condition keys that AWS lists for it, and no others. The action on
// an alias has none.
func TestConditionKeyPresence(t *testing.T) {
	t.Parallel()
	const aliases = "arn:aws:kms:us-east-1:111122223333:alias/*"
	for _, p := range presences {
		t.Run(p.op, func(t *testing.T) {
			t.Parallel()
			keys := strings.Fields(p.keys)
			if !p.bare {
				keys = append(keys, genericKeys...)
			}
			if p.unlet {
				keys = slices.DeleteFunc(keys, func(key string) bool { return key == "kms:ResourceAliases" })
			}
			inKey := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key == "kms:ResourceAliases" || key == "aws:ResourceTag/team" })
			onAlias := allowing("kms:*", aliases, nulls(nil))
			for _, inKeyPolicy := range []bool{false, true} {
				r := newConditions(t, p.op)
				if p.op == "CancelKeyDeletion" {
					r.SetState(t, r.keys[0], "PendingDeletion")
				}
				identity := []string{onAlias}
				if p.created != "" {
					identity = append(identity, allowing("kms:CreateKey kms:TagResource", "*", nulls(strings.Fields(p.created))))
				}
				switch {
				case !inKeyPolicy:
					identity = append(identity, strings.Replace(allowing("kms:*", aliases, nulls(keys)), "Resource", "NotResource", 1))
				case p.bare || p.unlet:
					continue
				}
				who, _ := r.NewUser(t, testkit.Account, "alice", identity...)
				if inKeyPolicy {
					r.letIn(t, lets("Allow", "arn:aws:iam::111122223333:user/alice", "kms:*", nulls(inKey)))
				}
				want := success
				if p.op == "ImportKeyMaterial" {
					want.code = "ExpiredImportTokenException" // the keys are days old, and the token with them
				}
				wantOutcome(t, r.Call(t, who, p.op, fill(p.body, r.names...)), want)
			}
		})
	}
}

// sessionOf returns temporary credentials as STS makes them.
func sessionOf(t *testing.T, s *testkit.Solo, token service.Token) testkit.Caller {
	t.Helper()
	token.AccessKeyID, token.Secret = service.NewAccessKey("ASIA")
	token.Account, token.Issued = testkit.Account, s.Now().UnixMilli()
	token.Expires = token.Issued + 3_600_000
	sealed, err := token.Seal(s.Keyring)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Caller{AccessKey: token.AccessKeyID, Region: testkit.Region, Token: sealed}
}

// globalKeys are the values of the global keys for the root user, the user /eng/alice,
// a session of hers, and the session ci of the role /svc/App; "" where a key is absent.
// $USER and $ROLE are unique ids.
var globalKeys = map[string][4]string{
	"aws:PrincipalArn":       {"arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/eng/alice", "arn:aws:iam::111122223333:user/eng/alice", "arn:aws:iam::111122223333:role/svc/App"},
	"aws:PrincipalAccount":   alike("111122223333"),
	"aws:PrincipalType":      {"Account", "User", "User", "AssumedRole"},
	"aws:PrincipalTag/Team":  {"", "red", "red", "blue"}, // the session's own goes before the role's
	"aws:PrincipalTag/stage": {"", "dev", "dev", "prod"},
	"aws:PrincipalTag/none":  {},
	"aws:userid":             {"111122223333", "$USER", "$USER", "$ROLE:ci"},
	"aws:username":           {"", "alice", "alice", ""},
	"aws:SourceIdentity":     {"", "", "", "alice"},
	"aws:TokenIssueTime":     {"", "", "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z"},

	"aws:MultiFactorAuthPresent": {"", "", "false", "false"},
	"aws:MultiFactorAuthAge":     {},
	"aws:FederatedProvider":      {},
	"aws:PrincipalIsAWSService":  alike("false"),
	"aws:ViaAWSService":          alike("false"),
	"aws:SecureTransport":        alike("true"),
	"aws:SourceIp":               alike("192.0.2.7"),
	"aws:UserAgent":              alike("test/1"),
	"aws:Referer":                {},
	"aws:CurrentTime":            alike("2026-11-24T12:00:00Z"),
	"aws:EpochTime":              alike("1795521600"),
	"aws:RequestedRegion":        alike("us-east-1"),
	"aws:ResourceAccount":        alike("111122223333"),

	"aws:PrincipalOrgID": {}, "aws:PrincipalOrgPaths": {}, "aws:SourceVpc": {}, "aws:SourceVpce": {}, "aws:VpcSourceIp": {}, "aws:SourceArn": {}, "aws:SourceAccount": {},
	"aws:CalledVia": {}, "aws:CalledViaFirst": {}, "aws:CalledViaLast": {},
}

func alike(value string) [4]string { return [4]string{value, value, value, value} }

// The global keys of all kinds of callers.
func TestGlobalConditionKeys(t *testing.T) {
	t.Parallel()
	for key, values := range globalKeys {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			alice, userID := s.NewUser(t, testkit.Account, "/eng/alice")
			s.Change(t, userID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "team", Value: "red"}, {Key: "stage", Value: "dev"}} })
			role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
			s.Change(t, role.ID, func(i *fsm.Identity) { i.Tags = []fsm.Tag{{Key: "team", Value: "red"}, {Key: "stage", Value: "prod"}} })
			callers := []testkit.Caller{testkit.Root, alice,
				sessionOf(t, s, service.Token{Type: kms.PrincipalUser, Subject: userID, By: alice.AccessKey}),
				sessionOf(t, s, service.Token{Type: kms.PrincipalAssumedRole, Subject: role.ID, Name: "ci", SourceIdentity: "alice", Tags: []kms.SessionTag{{Key: "team", Value: "blue"}}}),
			}
			for i, who := range callers {
				right, wrong := condition("StringEquals", key, fill(values[i], "$USER", userID, "$ROLE", role.ID)), condition("StringEquals", key, "another")
				if values[i] == "" {
					right, wrong = condition("Null", key, "true"), condition("Null", key, "false")
				}
				for cond, want := range map[string]bool{right: true, wrong: false} {
					policy := `{"Version":"2012-10-17","Statement":[` + lets("Allow", "*", "kms:DescribeKey", cond) + `]}`
					id := s.Must(t, "CreateKey", obj{"Policy": policy, "BypassPolicyLockoutSafetyCheck": true})["KeyMetadata"].(obj)["KeyId"]
					if a := s.Call(t, who, "DescribeKey", obj{"KeyId": id}); a.Err != nil || (a.Refusal == nil) != want {
						t.Errorf("caller %d, %s: got %v %v, want allowed %t", i, cond, a.Refusal, a.Err, want)
					}
				}
			}
		})
	}
}
