package kmsapi_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/kmsapi"
	"github.com/kmsd/kmsd/wire"
	wirekms "github.com/kmsd/kmsd/wire/kms"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if undeclared := undeclaredCodes(); len(undeclared) > 0 {
		fmt.Println("FAIL: answers that the model does not declare:\n  " + strings.Join(undeclared, "\n  "))
		code = 1
	}
	if never := neverAnswered(); code == 0 && isWhole() && len(never) > 0 {
		fmt.Println("FAIL: errors that the model declares and no test was answered:\n  " + strings.Join(never, "\n  "))
		code = 1
	}
	os.Exit(code)
}

// common are the errors that every operation may answer without declaring them
// (AWS: "Common errors").
var common = strings.Fields(`ValidationException AccessDeniedException NotAuthorizedException SerializationException UnknownOperationException
	ThrottlingException MissingAuthenticationTokenException IncompleteSignatureException InvalidSignatureException UnrecognizedClientException
	ExpiredTokenException OptInRequired InternalFailure ServiceUnavailableException RequestEntityTooLargeException`)

// undocumented are codes that operations answer although the model declares them
// for other operations only.
var undocumented = map[string][]string{
	// A malformed ARN is answered alike by all operations that take a KeyId.
	"InvalidArnException": {"CreateAlias", "Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "ReEncrypt", "Sign", "UpdateAlias", "Verify", "VerifyMac"},
	// It takes GrantTokens.
	"InvalidGrantTokenException": {"DescribeKey"},
}

// undeclaredCodes returns what calls of this process were answered against the
// model.
func undeclaredCodes() []string {
	var out []string
	for _, op := range wirekms.Operations() {
		for _, code := range testkit.Seen(op.Name) {
			if !slices.Contains(op.Errors, code) && !slices.Contains(common, code) && !slices.Contains(undocumented[code], op.Name) {
				out = append(out, op.Name+": "+code)
			}
		}
	}
	return out
}

func rows() []*service.Row {
	return kmsapi.Rows(kmsapi.Config{Keyring: crypto.NewKeyring(testkit.ClusterID, crypto.NewRoot()), Materials: crypto.NewMaterialCache(1)})
}

// rowCase is what the documents say of an operation: once tells that a second
// application gives another result, x that other accounts may be let in.
type rowCase struct {
	name                   string
	write, once, dryRun, x bool
	actions                string
}

var rowCases = []rowCase{
	{name: "CancelKeyDeletion", write: true, once: true, actions: "kms:CancelKeyDeletion"},
	{name: "CreateAlias", write: true, once: true, actions: "kms:CreateAlias"},
	{name: "CreateGrant", write: true, once: true, dryRun: true, x: true, actions: "kms:CreateGrant"},
	{name: "CreateKey", write: true, once: true, actions: "kms:CreateKey"},
	{name: "Decapsulate", dryRun: true, x: true, actions: "kms:Decapsulate"},
	{name: "Decrypt", dryRun: true, x: true, actions: "kms:Decrypt"},
	{name: "DeleteAlias", write: true, once: true, actions: "kms:DeleteAlias"},
	{name: "DeleteImportedKeyMaterial", write: true, actions: "kms:DeleteImportedKeyMaterial"},
	{name: "DeriveSharedSecret", dryRun: true, x: true, actions: "kms:DeriveSharedSecret"},
	{name: "DescribeKey", x: true, actions: "kms:DescribeKey"},
	{name: "DisableKey", write: true, actions: "kms:DisableKey"},
	{name: "DisableKeyRotation", write: true, actions: "kms:DisableKeyRotation"},
	{name: "EnableKey", write: true, actions: "kms:EnableKey"},
	{name: "EnableKeyRotation", write: true, actions: "kms:EnableKeyRotation"},
	{name: "Encapsulate", dryRun: true, x: true, actions: "kms:Encapsulate"},
	{name: "Encrypt", dryRun: true, x: true, actions: "kms:Encrypt"},
	{name: "GenerateDataKey", dryRun: true, x: true, actions: "kms:GenerateDataKey"},
	{name: "GenerateDataKeyPair", dryRun: true, x: true, actions: "kms:GenerateDataKeyPair"},
	{name: "GenerateDataKeyPairWithoutPlaintext", dryRun: true, x: true, actions: "kms:GenerateDataKeyPairWithoutPlaintext"},
	{name: "GenerateDataKeyWithoutPlaintext", dryRun: true, x: true, actions: "kms:GenerateDataKeyWithoutPlaintext"},
	{name: "GenerateMac", dryRun: true, x: true, actions: "kms:GenerateMac"},
	{name: "GenerateRandom", actions: "kms:GenerateRandom"},
	{name: "GetKeyLastUsage", actions: "kms:GetKeyLastUsage"},
	{name: "GetKeyPolicy", actions: "kms:GetKeyPolicy"},
	{name: "GetKeyRotationStatus", x: true, actions: "kms:GetKeyRotationStatus"},
	{name: "GetParametersForImport", actions: "kms:GetParametersForImport"},
	{name: "GetPublicKey", x: true, actions: "kms:GetPublicKey"},
	{name: "ImportKeyMaterial", write: true, once: true, actions: "kms:ImportKeyMaterial"},
	{name: "ListAliases", actions: "kms:ListAliases"},
	{name: "ListGrants", x: true, actions: "kms:ListGrants"},
	{name: "ListKeyPolicies", actions: "kms:ListKeyPolicies"},
	{name: "ListKeyRotations", actions: "kms:ListKeyRotations"},
	{name: "ListKeys", actions: "kms:ListKeys"},
	{name: "ListResourceTags", actions: "kms:ListResourceTags"},
	{name: "ListRetirableGrants", actions: "kms:ListRetirableGrants"},
	{name: "PutKeyPolicy", write: true, actions: "kms:PutKeyPolicy"},
	{name: "ReEncrypt", dryRun: true, x: true, actions: "kms:ReEncryptFrom kms:ReEncryptTo"},
	{name: "ReplicateKey", write: true, once: true, actions: "kms:ReplicateKey"},
	{name: "RetireGrant", write: true, once: true, dryRun: true, x: true, actions: "kms:RetireGrant"},
	{name: "RevokeGrant", write: true, once: true, dryRun: true, x: true, actions: "kms:RevokeGrant"},
	{name: "RotateKeyOnDemand", write: true, once: true, actions: "kms:RotateKeyOnDemand"},
	{name: "ScheduleKeyDeletion", write: true, once: true, actions: "kms:ScheduleKeyDeletion"},
	{name: "Sign", dryRun: true, x: true, actions: "kms:Sign"},
	{name: "TagResource", write: true, actions: "kms:TagResource"},
	{name: "UntagResource", write: true, actions: "kms:UntagResource"},
	{name: "UpdateAlias", write: true, actions: "kms:UpdateAlias"},
	{name: "UpdateKeyDescription", write: true, actions: "kms:UpdateKeyDescription"},
	{name: "UpdatePrimaryRegion", write: true, once: true, actions: "kms:UpdatePrimaryRegion"},
	{name: "Verify", dryRun: true, x: true, actions: "kms:Verify"},
	{name: "VerifyMac", dryRun: true, x: true, actions: "kms:VerifyMac"},
}

func TestRows(t *testing.T) {
	t.Parallel()
	var got []rowCase
	for _, r := range rows() {
		if r.Service != "kms" || r.Open {
			t.Errorf("%s: service %s, open %v", r.Name, r.Service, r.Open)
		}
		if _, ok := wirekms.Lookup(r.Name); !ok {
			t.Errorf("the model has no operation %s", r.Name)
		}
		got = append(got, rowCase{r.Name, r.Write, r.Once, r.HasDryRun, r.CrossAccount, strings.Join(r.Actions(), " ")})
	}
	slices.SortFunc(got, func(a, b rowCase) int { return strings.Compare(a.name, b.name) })
	if !slices.Equal(got, rowCases) {
		t.Errorf("got  %+v\nwant %+v", got, rowCases)
	}
}

// The operations without an output answer an empty body, the others an object.
func TestOutputs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	s.NewAlias(t, "alias/app", key)
	bodies := map[string]obj{
		"CreateAlias": {"AliasName": "alias/new", "TargetKeyId": key}, "CreateKey": {}, "Decrypt": {"CiphertextBlob": blob}, "DeleteAlias": {"AliasName": "alias/app"},
		"DescribeKey": {"KeyId": key}, "DisableKey": {"KeyId": key}, "EnableKey": {"KeyId": key}, "Encrypt": {"KeyId": key, "Plaintext": "AA=="},
		"GenerateDataKey": {"KeyId": key, "KeySpec": "AES_256"}, "GenerateDataKeyWithoutPlaintext": {"KeyId": key, "KeySpec": "AES_256"},
		"GenerateDataKeyPair": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}, "GenerateDataKeyPairWithoutPlaintext": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateRandom": {"NumberOfBytes": 1}, "GetKeyPolicy": {"KeyId": key}, "ListAliases": {}, "ListKeys": {},
		"ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": key}, "UpdateAlias": {"AliasName": "alias/new", "TargetKeyId": key},
		"EnableKeyRotation": {"KeyId": key}, "DisableKeyRotation": {"KeyId": key}, "GetKeyRotationStatus": {"KeyId": key}, "RotateKeyOnDemand": {"KeyId": key},
		"ListKeyRotations": {"KeyId": key}, "TagResource": {"KeyId": key, "Tags": []obj{{"TagKey": "a", "TagValue": ""}}}, "UntagResource": {"KeyId": key, "TagKeys": []string{"a"}},
		"ListResourceTags": {"KeyId": key}, "GetKeyLastUsage": {"KeyId": key}, "ListKeyPolicies": {"KeyId": key}, "UpdateKeyDescription": {"KeyId": key, "Description": ""},
		"CreateGrant": {"KeyId": key, "GranteePrincipal": testkit.Account, "Operations": []string{"Decrypt"}}, "ListGrants": {"KeyId": key}, "ListRetirableGrants": {"RetiringPrincipal": testkit.Account},
		"RetireGrant": {"KeyId": key, "GrantId": newGrant(t, s, key, testkit.Account, "Decrypt")}, "RevokeGrant": {"KeyId": key, "GrantId": newGrant(t, s, key, testkit.Account, "Decrypt")},
		"ScheduleKeyDeletion": {"KeyId": key}, "CancelKeyDeletion": {"KeyId": key}, "PutKeyPolicy": {"KeyId": key, "Policy": rootPolicy},
	}
	for _, row := range []string{"CreateAlias", "UpdateAlias", "DeleteAlias", "DisableKey", "EnableKey", "CreateKey", "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey",
		"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext",
		"GenerateDataKeyWithoutPlaintext", "GenerateRandom", "GetKeyLastUsage", "GetKeyPolicy", "ListAliases", "ListKeys", "ReEncrypt", "EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus",
		"RotateKeyOnDemand", "ListKeyRotations", "TagResource", "UntagResource", "ListResourceTags", "ListKeyPolicies", "UpdateKeyDescription",
		"CreateGrant", "ListGrants", "ListRetirableGrants", "RetireGrant", "RevokeGrant", "ReplicateKey", "UpdatePrimaryRegion",
		"PutKeyPolicy", "ScheduleKeyDeletion", "CancelKeyDeletion", "GetPublicKey", "Sign", "Verify", "GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate"} {
		var body any = bodies[row]
		if kinds[row] != "" {
			_, body = exampleOf(t, s, row)
		}
		a := s.Call(t, testkit.Root, row, body)
		wantOutcome(t, a, success)
		op, _ := wirekms.Lookup(row)
		if empty := len(a.Raw) == 0; empty != (op.Output == wire.NoOutput) {
			t.Errorf("%s answers %q", row, a.Raw)
		}
	}
	if len(bodies)+len(kinds) != len(rowCases) {
		t.Errorf("%d operations of %d were called", len(bodies), len(rowCases))
	}
}
