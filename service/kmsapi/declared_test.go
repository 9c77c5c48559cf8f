package kmsapi_test

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wirekms "github.com/kmsd/kmsd/wire/kms"
)

// neverOccur are the errors that the model declares and that no call of kmsd can be
// answered, and why. The list is for operations that are served.
var neverOccur = []struct{ code, operations, why string }{
	{"DependencyTimeoutException", "*", "no call waits for another service"},
	{"KeyUnavailableException", "Decapsulate Decrypt DeriveSharedSecret Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GetPublicKey ReEncrypt Sign Verify VerifyMac",
		"a node that serves has every key; one that cannot answers ServiceUnavailableException for all of them"},
	{"CustomKeyStoreInvalidStateException", "CreateKey GenerateRandom", "there are no custom key stores"},
	{"CloudHsmClusterInvalidConfigurationException", "CreateKey", "there are no custom key stores"},
	{"XksKeyInvalidConfigurationException", "CreateKey", "there are no custom key stores"},
	{"XksKeyAlreadyInUseException", "CreateKey", "there are no custom key stores"},
	{"XksKeyNotFoundException", "CreateKey", "there are no custom key stores"},
	{"UnsupportedOperationException", "GenerateRandom", "it is for custom key stores of the external kind"},
	{"UnsupportedOperationException", "PutKeyPolicy", "every kind of key has a policy"},
	{"InvalidAliasNameException", "CreateAlias", "AWS answers ValidationException"},
	{"LimitExceededException", "TagResource", "AWS answers TagException"},
	{"NotFoundException", "ListRetirableGrants", "it names no key, and who does not exist is answered by InvalidArnException"},
	{"InvalidKeyUsageException", "GetPublicKey", "keys of every usage have a public key, and those that have none answer UnsupportedOperationException"},
	{"DisabledException", "GetPublicKey", "it works for disabled keys"},
	// AWS: "Key states of AWS KMS keys" has a tick in every column.
	{"KMSInvalidStateException", "DeleteAlias GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations PutKeyPolicy RetireGrant RevokeGrant", "they work in every state"},
}

// neverAnswered returns the errors that operations declare, that can occur, and that no
// call of this process was answered; and those of the list above that one was.
func neverAnswered() (out []string) {
	for _, row := range rows() {
		op, _ := wirekms.Lookup(row.Name)
		answered := testkit.Seen(op.Name)
		for _, code := range op.Errors {
			excused := slices.ContainsFunc(neverOccur, func(e struct{ code, operations, why string }) bool {
				return e.code == code && (e.operations == "*" || slices.Contains(strings.Fields(e.operations), op.Name))
			})
			switch seen := slices.Contains(answered, code); {
			case !seen && !excused:
				out = append(out, op.Name+": "+code)
			case seen && excused:
				out = append(out, op.Name+": "+code+", which cannot occur, was answered")
			}
		}
	}
	return out
}

// isWhole tells whether this process runs all tests of the package.
func isWhole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

// Every error that an operation is excused from is one that it declares, once, and for a
// reason; and the operation is served.
func TestNeverOccur(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, e := range neverOccur {
		if e.why == "" {
			t.Errorf("%s: no reason", e.code)
		}
		for _, name := range strings.Fields(e.operations) {
			if seen[e.code+" "+name] || seen[e.code+" *"] {
				t.Errorf("%s is excused from %s twice", name, e.code)
			}
			seen[e.code+" "+name] = true
			if name == "*" {
				continue
			}
			if op, ok := wirekms.Lookup(name); !ok || !slices.Contains(op.Errors, e.code) {
				t.Errorf("%s does not declare %s", name, e.code)
			}
			if !slices.ContainsFunc(rowCases, func(c rowCase) bool { return c.name == name }) {
				t.Errorf("%s is not served", name)
			}
		}
	}
}

// internal is the answer to what is the node's own fault.
var internal = outcome{"KMSInternalException", "The request was rejected because an internal exception occurred. The request can be retried."}

// A fault below the operations is answered by KMSInternalException, and shown to nobody.
func TestFaultsBelow(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	bodies := map[string]string{}
	for _, row := range rowCases {
		if !row.write { // TestUnknownOutcomes
			_, bodies[row.name] = exampleOf(t, s, row.name)
		}
	}
	s.Shut = func(uint64) error { return errors.New("a broken node") }
	for op, body := range bodies {
		wantOutcome(t, s.Call(t, testkit.Root, op, body), internal)
	}
}

// writeCases are a call of every operation that writes, which would succeed. $KEY is an
// enabled key, $GRANT a grant on it, $PENDING one that waits for its deletion.
var writeCases = map[string]string{
	"CancelKeyDeletion": `{"KeyId":"$PENDING"}`, "CreateAlias": `{"AliasName":"alias/new","TargetKeyId":"$KEY"}`, "CreateKey": `{}`,
	"CreateGrant": `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["Decrypt"]}`, "RetireGrant": `{"KeyId":"$KEY","GrantId":"$GRANT"}`, "RevokeGrant": `{"KeyId":"$KEY","GrantId":"$GRANT"}`,
	"DeleteAlias": `{"AliasName":"alias/it"}`, "DisableKey": `{"KeyId":"$KEY"}`, "DisableKeyRotation": `{"KeyId":"$KEY"}`,
	"DeleteImportedKeyMaterial": `{"KeyId":"$KEY"}`, "ImportKeyMaterial": "by kind", "ReplicateKey": "by kind", "UpdatePrimaryRegion": "by kind",
	"EnableKey": `{"KeyId":"$KEY"}`, "EnableKeyRotation": `{"KeyId":"$KEY"}`, "PutKeyPolicy": `{"KeyId":"$KEY","Policy":"$POLICY"}`,
	"RotateKeyOnDemand": `{"KeyId":"$KEY"}`, "ScheduleKeyDeletion": `{"KeyId":"$KEY"}`, "TagResource": `{"KeyId":"$KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}`,
	"UntagResource": `{"KeyId":"$KEY","TagKeys":["made"]}`, "UpdateAlias": `{"AliasName":"alias/it","TargetKeyId":"$KEY"}`,
	"UpdateKeyDescription": `{"KeyId":"$KEY","Description":"b"}`,
}

// When no proposal comes back, the caller hears that nobody knows. What is lost has
// changed nothing, and the call made again succeeds.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for _, row := range rowCases {
		if !row.write {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key, ending := s.Must(t, "CreateKey", `{"Tags":[{"TagKey":"made","TagValue":""}]}`)["KeyMetadata"].(obj)["KeyId"].(string), s.NewKey(t)
			s.NewAlias(t, "alias/it", key)
			s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": ending})
			body := fill(writeCases[row.name], "$KEY", key, "$GRANT", newGrant(t, s, key, "999999999999", "Decrypt"), "$PENDING", ending, "$POLICY", strings.ReplaceAll(rootPolicy, `"`, `\"`))
			if kinds[row.name] != "" {
				_, body = exampleOf(t, s, row.name)
			}
			before := s.Prune(t)
			s.Fault = func(fsm.Command) error { return kms.ErrOutcomeUnknown }
			wantOutcome(t, s.Call(t, testkit.Root, row.name, body), outcome{"KMSInternalException", "The outcome of this request is unknown."})
			s.Fault = nil
			if s.Prune(t) != before {
				t.Error("the state changed")
			}
			wantOutcome(t, s.Call(t, testkit.Root, row.name, body), success)
		})
	}
}

// A node that cannot open a key's material answers so, and not as if the ciphertext
// were wrong.
func TestMaterialThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	_, decapsulate := exampleOf(t, s, "Decapsulate")
	_, derive := exampleOf(t, s, "DeriveSharedSecret")
	_, sign := exampleOf(t, s, "Sign")
	_, mac := exampleOf(t, s, "GenerateMac")
	_, verifyMac := exampleOf(t, s, "VerifyMac")
	waiting := newKeyOf(t, s, imported)
	s.Service = s.NewServiceWith(func(c *service.Config) { c.Rows = rows() }) // with the keyring of nobody
	for op, body := range map[string]obj{
		"Encrypt": {"KeyId": key, "Plaintext": "AA=="}, "Decrypt": {"CiphertextBlob": blob}, "ReEncrypt": {"CiphertextBlob": blob, "DestinationKeyId": key},
		"GenerateDataKeyPair": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}, "GenerateDataKeyPairWithoutPlaintext": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateDataKey": {"KeyId": key, "KeySpec": "AES_256"}, "GenerateDataKeyWithoutPlaintext": {"KeyId": key, "KeySpec": "AES_256"},
		"Decapsulate": parse(t, decapsulate), "DeriveSharedSecret": parse(t, derive),
		"GetParametersForImport": {"KeyId": waiting, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, // whose token is not sealed
		"Sign":                   parse(t, sign), "GenerateMac": parse(t, mac), "VerifyMac": parse(t, verifyMac),
	} {
		t.Run(op, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, op, body), internal)
		})
	}
}
