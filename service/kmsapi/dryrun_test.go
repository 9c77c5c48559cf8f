package kmsapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// dryRuns are the operations that have DryRun (AWS KMS: "Testing your permissions", and
// since ML-KEM its two).
var dryRuns = strings.Fields(`CreateGrant Decapsulate Decrypt DeriveSharedSecret Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext
	GenerateDataKeyWithoutPlaintext GenerateMac ReEncrypt RetireGrant RevokeGrant Sign Verify VerifyMac`)

// newExample returns a place where the operation's call in the table of permissions
// succeeds, and the call's body.
func newExample(t *testing.T, op string) (*rights, obj) {
	t.Helper()
	i := slices.IndexFunc(permissionCases, func(c permissionCase) bool { return c.op == op })
	r, body := newRights(t, op), permissionCases[i].body
	if body == "" {
		return r, obj{}
	}
	return r, parse(t, fill(body, r.names...))
}

// A dry run of every operation that has it would succeed, and changes nothing; of every
// other one the parameter is unknown, and so ignored.
func TestDryRunOfEveryOperation(t *testing.T) {
	t.Parallel()
	for _, row := range rowCases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if has := slices.Contains(dryRuns, row.name); has != row.dryRun {
				t.Fatalf("DryRun is %t, want %t", row.dryRun, has)
			}
			s, body := newExample(t, row.name)
			if !row.dryRun {
				wantOutcome(t, s.Call(t, testkit.Root, row.name, with(body, obj{"DryRun": true})), success)
				return
			}
			before := s.Prune(t)
			for range 2 {
				a := s.Call(t, testkit.Root.As("invocation"), row.name, with(body, obj{"DryRun": true}))
				wantOutcome(t, a, dryRun)
				if rec := s.Record(t, a); rec["errorCode"] != "DryRunOperationException" || rec["responseElements"] != nil {
					t.Errorf("the dry run is recorded as %v", rec)
				}
			}
			if s.Prune(t) != before {
				t.Error("the dry run changed the state")
			}
			wantOutcome(t, s.Call(t, testkit.Root.As("invocation"), row.name, body), success)
			if changed := s.Prune(t) != before; changed != row.write {
				t.Errorf("the call itself changed the state: %t", changed)
			}
		})
	}
}

// useless are what makes a call that would succeed one that is refused: another caller,
// other parameters, or a change of its key.
var useless = []struct {
	name, code string
	who        string // "" is the root user
	more       obj
	change     func(t *testing.T, s *testkit.Solo, key string)
	not, only  string // operations that are not refused so, or the only ones that are
}{
	{name: "no rights", code: "AccessDeniedException", who: "nobody"},
	{name: "denied", code: "AccessDeniedException", who: "denied"},
	{name: "another account's key", code: "AccessDeniedException", more: obj{"KeyId": testkit.OtherARN(nobody), "SourceKeyId": testkit.OtherARN(nobody)}},
	{name: "no such key", code: "NotFoundException", more: obj{"KeyId": nobody, "SourceKeyId": nobody}},
	{name: "another Region's key", code: "NotFoundException", more: obj{"KeyId": "arn:aws:kms:eu-west-1:111122223333:key/" + nobody, "SourceKeyId": "arn:aws:kms:eu-west-1:111122223333:key/" + nobody}},
	{name: "no ARN of a key", code: "InvalidArnException", more: obj{"KeyId": "arn:x", "SourceKeyId": "arn:x"}},
	{name: "a constraint", code: "ValidationException", more: obj{"KeyId": "", "SourceKeyId": ""}},
	{name: "a wrong type", code: "SerializationException", more: obj{"KeyId": 1, "SourceKeyId": 1}},
	{name: "a grant token", code: "InvalidGrantTokenException", more: obj{"GrantTokens": []string{"token"}}, not: "RetireGrant RevokeGrant"},
	{name: "a grant", code: "NotFoundException", more: obj{"GrantId": noGrant}, only: "RetireGrant RevokeGrant"},
	{name: "disabled", code: "DisabledException", not: "RetireGrant RevokeGrant", change: func(t *testing.T, s *testkit.Solo, key string) { s.Must(t, "DisableKey", obj{"KeyId": key}) }},
	{name: "pending deletion", code: "KMSInvalidStateException", not: "RetireGrant RevokeGrant", change: func(t *testing.T, s *testkit.Solo, key string) { s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key}) }},
	{name: "another usage", code: "InvalidKeyUsageException", not: "CreateGrant RetireGrant RevokeGrant", change: func(t *testing.T, s *testkit.Solo, key string) {
		usage := "SIGN_VERIFY"
		if metadata(t, s, key)["KeyUsage"] == usage {
			usage = "KEY_AGREEMENT"
		}
		s.SetType(t, key, "ECC_NIST_P256", usage)
	}},
}

// Whatever else would refuse a call comes before its dry run, and says the same.
func TestRefusedDryRuns(t *testing.T) {
	t.Parallel()
	for _, op := range dryRuns {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			for _, row := range useless {
				if slices.Contains(strings.Fields(row.not), op) || row.only != "" && !slices.Contains(strings.Fields(row.only), op) {
					continue
				}
				s, body := newExample(t, op)
				key := s.keys[0]
				body = with(body, row.more)
				switch op { // keep only the members that the operation has
				case "ReEncrypt":
					delete(body, "KeyId")
				default:
					delete(body, "SourceKeyId")
				}
				callers := map[string]testkit.Caller{"": testkit.Root}
				callers["nobody"], _ = s.NewUser(t, testkit.Account, "nobody")
				callers["denied"], _ = s.NewUser(t, testkit.Account, "denied", allKMS, denyKMS)
				if row.change != nil {
					row.change(t, s.Solo, key)
				}
				before := s.Prune(t)
				dry, wet := s.Call(t, callers[row.who], op, with(body, obj{"DryRun": true})), s.Call(t, callers[row.who], op, body)
				if dry.Refusal == nil || dry.Refusal.Code != row.code {
					t.Errorf("%s: got %v, want %s", row.name, dry.Refusal, row.code)
				} else if wet.Refusal == nil || *wet.Refusal != *dry.Refusal {
					t.Errorf("%s: the call itself is answered %v, the dry run %v", row.name, wet.Refusal, dry.Refusal)
				}
				if s.Prune(t) != before {
					t.Errorf("%s: a refused call changed the state", row.name)
				}
			}
		})
	}
}

// A dry run without the ciphertext asks policies and grants for the key that the call
// names, under the encryption context that it gives.
func TestIgnoredCiphertexts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, dest := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	inApp := condition("StringEquals", "kms:EncryptionContext:app", "x")
	byPolicy, _ := s.NewUser(t, testkit.Account, "policy", allowing("kms:Decrypt kms:ReEncrypt*", "*", inApp))
	byGrant, _ := s.NewUser(t, testkit.Account, "grant")
	byBoth, _ := s.NewUser(t, testkit.Account, "both", allowing("kms:ReEncryptTo", "*", ""))
	sameKey, _ := s.NewUser(t, testkit.Account, "same", allowing("kms:ReEncrypt*", "*", condition("Bool", "kms:ReEncryptOnSameKey", "true")))
	byAlias, _ := s.NewUser(t, testkit.Account, "alias", allowing("kms:Decrypt", "*", condition("StringEquals", "kms:RequestAlias", "alias/app")))
	for _, name := range []string{"grant", "both"} {
		s.Must(t, "CreateGrant", with(granting(key, "arn:aws:iam::111122223333:user/"+name, "Decrypt ReEncryptFrom"), obj{"Constraints": obj{"EncryptionContextSubset": obj{"app": "x"}}}))
	}
	app, other := obj{"app": "x", "b": "2"}, obj{"app": "y"}
	ignore := obj{"DryRun": true, "DryRunModifiers": []string{"IGNORE_CIPHERTEXT"}}
	denied := func(name, action, id string) outcome {
		return deniedUser(name, action, testkit.ARN(id), "because no identity-based policy allows the "+action+" action")
	}
	for i, row := range []struct {
		who  testkit.Caller
		op   string
		body obj
		want outcome
	}{
		{byPolicy, "Decrypt", obj{"KeyId": key, "EncryptionContext": app}, dryRun},
		{byPolicy, "Decrypt", obj{"KeyId": key, "EncryptionContext": other}, denied("policy", "kms:Decrypt", key)},
		{byPolicy, "Decrypt", obj{"KeyId": key}, denied("policy", "kms:Decrypt", key)},
		{byGrant, "Decrypt", obj{"KeyId": key, "EncryptionContext": app}, dryRun},
		{byGrant, "Decrypt", obj{"KeyId": key, "EncryptionContext": other}, denied("grant", "kms:Decrypt", key)},
		{byGrant, "Decrypt", obj{"KeyId": dest, "EncryptionContext": app}, denied("grant", "kms:Decrypt", dest)},
		{byAlias, "Decrypt", obj{"KeyId": "alias/app"}, dryRun},
		{byAlias, "Decrypt", obj{"KeyId": key}, denied("alias", "kms:Decrypt", key)},
		{byPolicy, "ReEncrypt", obj{"SourceKeyId": key, "SourceEncryptionContext": app, "DestinationKeyId": dest, "DestinationEncryptionContext": app}, dryRun},
		{byPolicy, "ReEncrypt", obj{"SourceKeyId": key, "SourceEncryptionContext": other, "DestinationKeyId": dest, "DestinationEncryptionContext": app}, denied("policy", "kms:ReEncryptFrom", key)},
		{byPolicy, "ReEncrypt", obj{"SourceKeyId": key, "SourceEncryptionContext": app, "DestinationKeyId": dest, "DestinationEncryptionContext": other}, denied("policy", "kms:ReEncryptTo", dest)},
		{byBoth, "ReEncrypt", obj{"SourceKeyId": key, "SourceEncryptionContext": app, "DestinationKeyId": dest}, dryRun},
		{byBoth, "ReEncrypt", obj{"SourceKeyId": key, "SourceEncryptionContext": other, "DestinationKeyId": dest}, denied("both", "kms:ReEncryptFrom", key)},
		{byBoth, "ReEncrypt", obj{"SourceKeyId": dest, "SourceEncryptionContext": app, "DestinationKeyId": key}, denied("both", "kms:ReEncryptFrom", dest)},
		{sameKey, "ReEncrypt", obj{"SourceKeyId": key, "DestinationKeyId": "alias/app"}, dryRun},
		{sameKey, "ReEncrypt", obj{"SourceKeyId": key, "DestinationKeyId": dest}, denied("same", "kms:ReEncryptFrom", key)},
	} {
		a := s.Call(t, row.who, row.op, with(row.body, ignore))
		if wantOutcome(t, a, row.want); t.Failed() {
			t.Fatalf("row %d, %s %v", i, row.op, row.body)
		}
		// A ciphertext beside it is ignored, whatever it is.
		wantOutcome(t, s.Call(t, row.who, row.op, with(row.body, with(ignore, obj{"CiphertextBlob": s.NewBlob(t, dest)}))), row.want)
		wantOutcome(t, s.Call(t, row.who, row.op, with(row.body, with(ignore, obj{"CiphertextBlob": "AA=="}))), row.want)
	}
	// Algorithm and usage are checked all the same.
	signs, rsa := newKeyFor(t, s, "Sign"), newRSA(t, s)
	for id, want := range map[string]outcome{
		signs: keyUsage(testkit.ARN(signs) + " key usage is SIGN_VERIFY which is not valid for Decrypt."), rsa: badAlgorithm("SYMMETRIC_DEFAULT", "RSA_2048"),
		testkit.OtherARN(nobody): deniedTo(testkit.Account, "kms:Decrypt", testkit.OtherARN(nobody)), nobody: notFound("Key '" + testkit.ARN(nobody) + "' does not exist"),
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(ignore, obj{"KeyId": id})), want)
	}
}

// A dry run for an enclave verifies the document, and answers nothing of what it made.
func TestDryRunsForEnclaves(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	good, bad := recipient(e.Document(t, s.Now())), recipient(testkit.NewEnclave(t, s.Now()).Document(t, s.Now()))
	for _, c := range recipientCases(t, s) {
		if c.op == "GenerateRandom" {
			continue // it has no DryRun
		}
		a := s.Call(t, testkit.Root, c.op, with(c.body, with(good, obj{"DryRun": true})))
		wantOutcome(t, a, dryRun)
		if len(a.Raw) != 0 || a.Body != nil {
			t.Errorf("%s answers %s", c.op, a.Raw)
		}
		wantOutcome(t, s.Call(t, testkit.Root, c.op, with(c.body, with(bad, obj{"DryRun": true}))), notVerified("its certificate does not lead to a configured root certificate"))
	}
	ignore := obj{"KeyId": s.NewKey(t), "DryRun": true, "DryRunModifiers": []string{"IGNORE_CIPHERTEXT"}}
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(ignore, good)), dryRun)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(ignore, bad)), notVerified("its certificate does not lead to a configured root certificate"))
}
