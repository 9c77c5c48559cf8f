package kmsapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// keyIDCase is a form of KeyId (AWS: "Key identifiers (KeyId)") with $KEY for a
// key of the caller's, named alias/app, and $THEIRS for one of another account's,
// named alias/theirs. alias is the answer of an operation that accepts aliases,
// key that of one that does not; $ACTION stands for its permission.
type keyIDCase struct {
	name, id   string
	alias, key outcome
}

func both(name, id string, want outcome) keyIDCase { return keyIDCase{name, id, want, want} }

const (
	own     = "arn:aws:kms:us-east-1:111122223333:"
	foreign = "arn:aws:kms:us-east-1:444455556666:"
	nobody  = "0badcafe-0bad-4bad-8bad-0badcafe0bad"
)

func invalidArn(value string) outcome { return outcome{"InvalidArnException", "Invalid arn " + value} }

var keyIDCases = []keyIDCase{
	both("key ID", "$KEY", success),
	both("key ARN", own+"key/$KEY", success),
	{"alias name", "alias/app", success, notFound("Invalid keyId 'alias/app'")},
	{"alias ARN", own + "alias/app", success, invalidArn(own + "alias/app")},
	both("ARN in another Region", "arn:aws:kms:eu-west-1:111122223333:key/$KEY", notFound("Invalid arn eu-west-1")),
	both("alias ARN in another Region", "arn:aws:kms:eu-west-1:111122223333:alias/app", notFound("Invalid arn eu-west-1")),
	both("ARN without a Region", "arn:aws:kms::111122223333:key/$KEY", notFound("Invalid arn ")),
	both("ARN in another partition", "arn:aws-cn:kms:us-east-1:111122223333:key/$KEY", notFound("Invalid arn us-east-1")),
	both("ARN of another service", "arn:aws:s3:us-east-1:111122223333:key/$KEY", invalidArn("arn:aws:s3:us-east-1:111122223333:key/$KEY")),
	both("ARN of another resource", own+"grant/x", invalidArn(own+"grant/x")),
	both("ARN without a resource", own, invalidArn(own)),
	both("ARN cut short", "arn:aws:kms:us-east-1", invalidArn("arn:aws:kms:us-east-1")),
	both("ARN without an account", "arn:aws:kms:us-east-1::key/$KEY", invalidArn("arn:aws:kms:us-east-1::key/$KEY")),
	both("ARN with a malformed account", "arn:aws:kms:us-east-1:1111:key/$KEY", invalidArn("arn:aws:kms:us-east-1:1111:key/$KEY")),
	{"unknown alias", "alias/nope", notFound("Alias " + own + "alias/nope is not found."), notFound("Invalid keyId 'alias/nope'")},
	{"alias in other letters", "alias/App", notFound("Alias " + own + "alias/App is not found."), notFound("Invalid keyId 'alias/App'")},
	{"unknown alias ARN", own + "alias/nope", notFound("Alias " + own + "alias/nope is not found."), invalidArn(own + "alias/nope")},
	{"predefined alias", "alias/aws/ebs", notFound("Alias " + own + "alias/aws/ebs is not found."), notFound("Invalid keyId 'alias/aws/ebs'")},
	both("no identifier at all", "my key", notFound("Invalid keyId 'my key'")),
	both("key ID in capitals", strings.ToUpper(nobody), notFound("Invalid keyId '"+strings.ToUpper(nobody)+"'")),
	both("unknown key ID", nobody, notFound("Key '"+own+"key/"+nobody+"' does not exist")),
	both("unknown multi-Region key ID", "mrk-1234abcd12ab34cd56ef1234567890ab", notFound("Key '"+own+"key/mrk-1234abcd12ab34cd56ef1234567890ab' does not exist")),
	both("unknown key ARN", own+"key/"+nobody, notFound("Key '"+own+"key/"+nobody+"' does not exist")),
	both("another account's key ID", "$THEIRS", notFound("Key '"+own+"key/$THEIRS' does not exist")),
	both("another account's key ARN", foreign+"key/$THEIRS", deniedTo("111122223333", "$ACTION", foreign+"key/$THEIRS")),
	both("unknown key ARN of another account", foreign+"key/"+nobody, deniedTo("111122223333", "$ACTION", foreign+"key/"+nobody)),
	{"another account's alias ARN", foreign + "alias/theirs", deniedTo("111122223333", "$ACTION", foreign+"alias/theirs"), invalidArn(foreign + "alias/theirs")},
	{"unknown alias ARN of another account", foreign + "alias/nope", deniedTo("111122223333", "$ACTION", foreign+"alias/nope"), invalidArn(foreign + "alias/nope")},
	{"another account's alias name", "alias/theirs", notFound("Alias " + own + "alias/theirs is not found."), notFound("Invalid keyId 'alias/theirs'")},
	both("own key's id in another account's ARN", foreign+"key/$KEY", deniedTo("111122223333", "$ACTION", foreign+"key/$KEY")),
	both("another account's key id in an own ARN", own+"key/$THEIRS", notFound("Key '"+own+"key/$THEIRS' does not exist")),
	both("2,049 characters", strings.Repeat("a", 2049), constraint("Value '"+strings.Repeat("a", 2049)+"' at '$MEMBER' failed to satisfy constraint: Member must have length less than or equal to 2048")),
	both("nothing", "", constraint("Value '' at '$MEMBER' failed to satisfy constraint: Member must have length greater than or equal to 1")),
}

// keyIDCalls are the operations that name a key, each with one identifier as $ID.
var keyIDCalls = []struct {
	op, action, member, body string
	aliases                  bool
}{
	{"DescribeKey", "kms:DescribeKey", "keyId", `{"KeyId":"$ID"}`, true},
	{"GetPublicKey", "kms:GetPublicKey", "keyId", `{"KeyId":"$ID"}`, true},
	{"Sign", "kms:Sign", "keyId", `{"KeyId":"$ID","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`, true},
	{"Verify", "kms:Verify", "keyId", `{"KeyId":"$ID","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`, true},
	{"GenerateMac", "kms:GenerateMac", "keyId", `{"KeyId":"$ID","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`, true},
	{"VerifyMac", "kms:VerifyMac", "keyId", `{"KeyId":"$ID","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`, true},
	{"Encrypt", "kms:Encrypt", "keyId", `{"KeyId":"$ID","Plaintext":"AA=="}`, true},
	{"DeriveSharedSecret", "kms:DeriveSharedSecret", "keyId", `{"KeyId":"$ID","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`, true},
	{"Encapsulate", "kms:Encapsulate", "keyId", `{"KeyId":"$ID","EncapsulationAlgorithm":"ML_KEM"}`, true},
	{"Decapsulate", "kms:Decapsulate", "keyId", `{"KeyId":"$ID","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`, true},
	{"Decrypt", "kms:Decrypt", "keyId", `{"KeyId":"$ID","CiphertextBlob":"$BLOB"}`, true},
	{"GenerateDataKey", "kms:GenerateDataKey", "keyId", `{"KeyId":"$ID","KeySpec":"AES_128"}`, true},
	{"GenerateDataKeyPair", "kms:GenerateDataKeyPair", "keyId", `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P256"}`, true},
	{"GenerateDataKeyPairWithoutPlaintext", "kms:GenerateDataKeyPairWithoutPlaintext", "keyId", `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P256"}`, true},
	{"GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyWithoutPlaintext", "keyId", `{"KeyId":"$ID","KeySpec":"AES_128"}`, true},
	{"ReEncrypt", "kms:ReEncryptFrom", "sourceKeyId", `{"SourceKeyId":"$ID","CiphertextBlob":"$BLOB","DestinationKeyId":"$KEY"}`, true},
	{"ReEncrypt", "kms:ReEncryptTo", "destinationKeyId", `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$ID"}`, true},
	{"GetKeyPolicy", "kms:GetKeyPolicy", "keyId", `{"KeyId":"$ID"}`, false},
	{"ListAliases", "kms:ListAliases", "keyId", `{"KeyId":"$ID"}`, false},
	{"DisableKey", "kms:DisableKey", "keyId", `{"KeyId":"$ID"}`, false},
	{"EnableKey", "kms:EnableKey", "keyId", `{"KeyId":"$ID"}`, false},
	{"UpdateKeyDescription", "kms:UpdateKeyDescription", "keyId", `{"KeyId":"$ID","Description":"x"}`, false},
	{"TagResource", "kms:TagResource", "keyId", `{"KeyId":"$ID","Tags":[{"TagKey":"a","TagValue":"b"}]}`, false},
	{"UntagResource", "kms:UntagResource", "keyId", `{"KeyId":"$ID","TagKeys":["a"]}`, false},
	{"ListResourceTags", "kms:ListResourceTags", "keyId", `{"KeyId":"$ID"}`, false},
	{"GetKeyLastUsage", "kms:GetKeyLastUsage", "keyId", `{"KeyId":"$ID"}`, false},
	{"PutKeyPolicy", "kms:PutKeyPolicy", "keyId", `{"KeyId":"$ID","Policy":"` + strings.ReplaceAll(rootPolicy, `"`, `\"`) + `"}`, false},
	{"ListKeyPolicies", "kms:ListKeyPolicies", "keyId", `{"KeyId":"$ID"}`, false},
	{"EnableKeyRotation", "kms:EnableKeyRotation", "keyId", `{"KeyId":"$ID"}`, false},
	{"DisableKeyRotation", "kms:DisableKeyRotation", "keyId", `{"KeyId":"$ID"}`, false},
	{"GetKeyRotationStatus", "kms:GetKeyRotationStatus", "keyId", `{"KeyId":"$ID"}`, false},
	{"ListKeyRotations", "kms:ListKeyRotations", "keyId", `{"KeyId":"$ID"}`, false},
}

// onceCalls work once only on a key, so that each case has a key of its own.
var onceCalls = map[string]string{
	"ScheduleKeyDeletion": "Enabled", "CancelKeyDeletion": "PendingDeletion", "RotateKeyOnDemand": "Enabled",
}

func TestKeyIdentifiersOfOnceCalls(t *testing.T) {
	t.Parallel()
	for op, state := range onceCalls {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			theirs := s.NewKeyOf(t, testkit.Other)
			s.MustAs(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/theirs", "TargetKeyId": theirs})
			app := s.NewAlias(t, "alias/app", s.NewKey(t))
			for _, row := range keyIDCases {
				t.Run(row.name, func(t *testing.T) {
					key := s.NewKey(t)
					s.Must(t, "UpdateAlias", obj{"AliasName": app, "TargetKeyId": key})
					s.SetState(t, key, state)
					names := []string{"$KEY", key, "$THEIRS", theirs, "$ACTION", "kms:" + op, "$MEMBER", "keyId"}
					body := obj{"KeyId": fill(row.id, names...)}
					wantOutcome(t, s.Call(t, testkit.Root, op, body), outcome{row.key.code, fill(row.key.message, names...)})
				})
			}
		})
	}
}

func TestKeyIdentifiers(t *testing.T) {
	t.Parallel()
	for _, call := range keyIDCalls {
		t.Run(call.op+" "+call.member, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key, theirs := newKeyFor(t, s, call.op), s.NewKeyOf(t, testkit.Other)
			s.NewAlias(t, "alias/app", key)
			s.MustAs(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/theirs", "TargetKeyId": theirs})
			names := append(newMade(t, s, call.op, key), "$KEY", key, "$THEIRS", theirs, "$ACTION", call.action, "$MEMBER", call.member)
			for _, row := range keyIDCases {
				t.Run(row.name, func(t *testing.T) {
					want := row.key
					if call.aliases {
						want = row.alias
					}
					body := fill(fill(call.body, "$ID", row.id), names...)
					wantOutcome(t, s.Call(t, testkit.Root, call.op, body), outcome{want.code, fill(want.message, names...)})
				})
			}
		})
	}
}

// The target of an alias is a key; naming an alias there has an answer of its own.
func TestAliasTargets(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, theirs := s.NewKey(t), s.NewKeyOf(t, testkit.Other)
	s.NewAlias(t, "alias/app", key)
	notAliases := validation("Aliases must refer to keys. Not aliases")
	for _, op := range []string{"CreateAlias", "UpdateAlias"} {
		for _, row := range []struct {
			target string
			want   outcome
		}{
			{"alias/app", notAliases},
			{own + "alias/app", notAliases},
			{foreign + "alias/app", notAliases},
			{nobody, notFound("Key '" + own + "key/" + nobody + "' does not exist")},
			{theirs, notFound("Key '" + own + "key/" + theirs + "' does not exist")},
			{foreign + "key/" + theirs, deniedTo("111122223333", "kms:"+op, foreign+"key/"+theirs)},
			{"arn:aws:kms:eu-west-1:111122223333:key/" + key, notFound("Invalid arn eu-west-1")},
			{"my key", notFound("Invalid keyId 'my key'")},
			{own + "grant/x", invalidArn(own + "grant/x")},
		} {
			t.Run(op+" "+row.target, func(t *testing.T) {
				wantOutcome(t, s.Call(t, testkit.Root, op, obj{"AliasName": "alias/app", "TargetKeyId": row.target}), row.want)
			})
		}
	}
}

func TestRegionsAreApart(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	blob := s.NewBlob(t, key)
	europe := testkit.Root.In("eu-west-1")
	for _, row := range []struct {
		op   string
		body obj
		want outcome
	}{
		{"DescribeKey", obj{"KeyId": key}, notFound("Key 'arn:aws:kms:eu-west-1:111122223333:key/" + key + "' does not exist")},
		{"DescribeKey", obj{"KeyId": testkit.ARN(key)}, notFound("Invalid arn us-east-1")},
		{"DescribeKey", obj{"KeyId": "alias/app"}, notFound("Alias arn:aws:kms:eu-west-1:111122223333:alias/app is not found.")},
		{"Decrypt", obj{"CiphertextBlob": blob}, deniedBlob("111122223333", "kms:Decrypt")},
		{"DeleteAlias", obj{"AliasName": "alias/app"}, notFound("Alias arn:aws:kms:eu-west-1:111122223333:alias/app is not found.")},
	} {
		t.Run(row.op, func(t *testing.T) { wantOutcome(t, s.Call(t, europe, row.op, row.body), row.want) })
	}
	if got := s.MustAs(t, europe, "ListKeys", obj{})["Keys"].([]any); len(got) != 0 {
		t.Errorf("eu-west-1 lists %v", got)
	}
	other := s.NewKeyOf(t, europe)
	got := s.MustAs(t, europe, "ListKeys", obj{})["Keys"]
	wantJSON(t, got, `[{"KeyId":"`+other+`","KeyArn":"arn:aws:kms:eu-west-1:111122223333:key/`+other+`"}]`)
}
