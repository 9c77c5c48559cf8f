package kmsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

type obj = testkit.JSON

// outcome is what a call is answered; the zero value is success.
type outcome struct{ code, message string }

var success = outcome{}

func notFound(message string) outcome     { return outcome{"NotFoundException", message} }
func validation(message string) outcome   { return outcome{"ValidationException", message} }
func accessDenied(message string) outcome { return outcome{"AccessDeniedException", message} }

// constraint is a violation of one of the model's constraints.
func constraint(entry string) outcome {
	return validation("1 validation error detected: " + entry)
}

func missing(member string) outcome {
	return constraint("Value null at '" + member + "' failed to satisfy constraint: Member must not be null")
}

// wantOutcome compares what a call was answered.
func wantOutcome(t *testing.T, a testkit.Answer, want outcome) {
	t.Helper()
	if a.Err != nil {
		t.Errorf("got no answer: %v", a.Err)
		return
	}
	got := success
	if a.Refusal != nil {
		got = outcome{a.Refusal.Code, a.Refusal.Message}
	}
	if got != want {
		t.Errorf("got  %q %q\nwant %q %q", got.code, got.message, want.code, want.message)
	}
}

// wantJSON compares a decoded value with JSON text.
func wantJSON(t *testing.T, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("the expected text %s is not JSON: %v", want, err)
	}
	if diff := cmp.Diff(got, w); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// parse returns a body that is written as text.
func parse(t testing.TB, body string) (out obj) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("the body %s is not JSON: %v", body, err)
	}
	return out
}

// with returns a copy of the body with more members.
func with(body obj, more obj) obj {
	out := obj{}
	for _, m := range []obj{body, more} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// kinds are the specs and usages of the keys that tests try operations with. The other
// operations are tried with symmetric encryption keys.
var kinds = map[string]string{
	"Decapsulate": "ML_KEM_768 ENCAPSULATE_DECAPSULATE", "DeriveSharedSecret": "ECC_NIST_P256 KEY_AGREEMENT", "Encapsulate": "ML_KEM_768 ENCAPSULATE_DECAPSULATE",
	"GenerateMac": "HMAC_256 GENERATE_VERIFY_MAC", "VerifyMac": "HMAC_256 GENERATE_VERIFY_MAC",
	"DeleteImportedKeyMaterial": imported, "GetParametersForImport": imported, "ImportKeyMaterial": imported,
	"ReplicateKey": related, "UpdatePrimaryRegion": related,
	"GetPublicKey": "ECC_NIST_P256 SIGN_VERIFY", "Sign": "ECC_NIST_P256 SIGN_VERIFY", "Verify": "ECC_NIST_P256 SIGN_VERIFY",
}

// imported is the kind of keys that wait for their material, related that of the
// primaries of multi-Region keys.
const (
	imported = "EXTERNAL"
	related  = "MULTIREGION"
)

// generatorP256 is the SubjectPublicKeyInfo of the base point of P-256 (SP 800-186
// §3.2.1.3): the public key of whose private key is one, so that the secret shared with
// it is the x-coordinate of one's own public key.
const generatorP256 = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="

// newKeyFor creates a key that the operation works with.
func newKeyFor(t testing.TB, s *testkit.Solo, op string) string {
	t.Helper()
	return newKeyOf(t, s, kinds[op])
}

// newKeyOf creates a key of a spec and a usage; "" is a symmetric encryption key.
func newKeyOf(t testing.TB, s *testkit.Solo, kind string) string {
	t.Helper()
	body := obj{}
	switch kind {
	case imported:
		body = obj{"Origin": "EXTERNAL"}
	case related:
		body = obj{"MultiRegion": true}
	}
	if spec, usage, ok := strings.Cut(kind, " "); ok {
		body = obj{"KeySpec": spec, "KeyUsage": usage}
	}
	return s.Must(t, "CreateKey", body)["KeyMetadata"].(obj)["KeyId"].(string)
}

// exampleOf returns a key, and the body of a call of the operation with it that
// succeeds: that of the operation's first row in the table of permissions.
func exampleOf(t testing.TB, s *testkit.Solo, op string) (key, body string) {
	t.Helper()
	i := slices.IndexFunc(permissionCases, func(c permissionCase) bool { return c.op == op })
	key = newKeyFor(t, s, op)
	return key, fill(permissionCases[i].body, append(newMade(t, s, op, key), "$KEY", key)...)
}

// newMade returns what bodies of the operation hold that was made with the key before:
// $BLOB is a ciphertext, $SIGNATURE and $MAC are those of the message "hello",
// $ENCAPSULATED is the ciphertext of a shared secret, $GRANT the id of a grant. It also
// makes the replica that the operation needs.
func newMade(t testing.TB, s *testkit.Solo, op, key string) []string {
	t.Helper()
	switch op {
	case "Decapsulate":
		made := s.Must(t, "Encapsulate", obj{"KeyId": key, "EncapsulationAlgorithm": "ML_KEM"})
		return []string{"$ENCAPSULATED", made["SharedSecretCiphertextBlob"].(string)}
	case "Verify":
		made := s.Must(t, "Sign", obj{"KeyId": key, "Message": "aGVsbG8=", "SigningAlgorithm": "ECDSA_SHA_256"})
		return []string{"$SIGNATURE", made["Signature"].(string)}
	case "ImportKeyMaterial":
		made := wrapped(t, s, key, "RSAES_OAEP_SHA_256", "RSA_2048", make([]byte, 32))
		return []string{"$TOKEN", made["ImportToken"].(string), "$WRAPPED", made["EncryptedKeyMaterial"].(string)}
	case "UpdatePrimaryRegion":
		there := testkit.Root.In("eu-west-1")
		s.Must(t, "ReplicateKey", obj{"KeyId": key, "ReplicaRegion": there.Region, "Tags": []obj{{"TagKey": "team", "TagValue": "red"}}})
		s.MustAs(t, there, "CreateAlias", obj{"AliasName": "alias/" + key, "TargetKeyId": key})
	case "VerifyMac":
		made := s.Must(t, "GenerateMac", obj{"KeyId": key, "Message": "aGVsbG8=", "MacAlgorithm": "HMAC_SHA_256"})
		return []string{"$MAC", made["Mac"].(string)}
	case "RetireGrant", "RevokeGrant":
		return []string{"$GRANT", newGrant(t, s, key, "999999999999", "DescribeKey"), "$BLOB", s.NewBlob(t, key)}
	}
	if kinds[op] != "" {
		return nil
	}
	return []string{"$BLOB", s.NewBlob(t, key)}
}

// inRegion is the ARN of a related key.
func inRegion(arn, region string) string { return strings.Replace(arn, testkit.Region, region, 1) }

// regionsOf are the Regions in which a key or its related keys are.
func regionsOf(s *testkit.Solo, key string) []string {
	regions := []string{testkit.Region}
	view := s.Machine.View()
	if k, ok := view.Key(testkit.Region, key); ok {
		for _, other := range view.Related(k) {
			if other.Region != testkit.Region {
				regions = append(regions, other.Region)
			}
		}
	}
	return regions
}

// newGrant makes a grant on a key of Account, and returns its id. The operations are
// separated by spaces.
func newGrant(t testing.TB, s *testkit.Solo, key, grantee, operations string) string {
	t.Helper()
	return s.Must(t, "CreateGrant", obj{"KeyId": key, "GranteePrincipal": grantee, "Operations": strings.Fields(operations)})["GrantId"].(string)
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func bytesOf(n int) string { return b64(make([]byte, n)) }

func unb64(t testing.TB, s any) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s.(string))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fill replaces $NAME by the values in text.
func fill(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// The tail of every refusal that must not tell what exists.
const threeReasons = " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"

// deniedTo is the refusal of an action on a named resource.
func deniedTo(account, action, resource string) outcome {
	return accessDenied("User: arn:aws:iam::" + account + ":root is not authorized to perform: " + action + " on resource: " + resource + threeReasons)
}

// deniedBlob is the refusal when the ciphertext alone names the key.
func deniedBlob(account, action string) outcome {
	return accessDenied("User: arn:aws:iam::" + account + ":root is not authorized to perform: " + action + " on the resource associated with this ciphertext" + threeReasons)
}
