package kmsapi_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

// quotaCases are the request quota of every operation that is served and AWS's
// figure, in thousandths of a request per second (AWS: "Request quotas"). The key
// of the bodies does not exist, or cannot do what they ask for: calls that fail count,
// too. The others are of the spec that they are named after.
var quotaCases = []struct {
	op, quota string
	milli     uint32
	body      string
}{
	{"CancelKeyDeletion", "CancelKeyDeletion", 5_000, `{"KeyId":"$ID"}`},
	{"CreateAlias", "CreateAlias", 5_000, `{"AliasName":"alias/a","TargetKeyId":"$ID"}`},
	{"CreateGrant", "CreateGrant", 50_000, `{"KeyId":"$ID","GranteePrincipal":"999999999999","Operations":["Decrypt"]}`},
	{"CreateKey", "CreateKey", 5_000, `{}`},
	{"Decapsulate", "", 0, `{"KeyId":"$ID","SharedSecretCiphertextBlob":"AA==","EncapsulationAlgorithm":"ML_KEM"}`}, // AWS publishes no figure
	{"Decrypt", "symmetric", 10_000_000, `{"CiphertextBlob":"AA=="}`},
	{"DeleteAlias", "DeleteAlias", 15_000, `{"AliasName":"alias/a"}`},
	{"DeleteImportedKeyMaterial", "DeleteImportedKeyMaterial", 5_000, `{"KeyId":"$ID"}`},
	{"DeriveSharedSecret", "ecc", 1_000_000, `{"KeyId":"$ID","KeyAgreementAlgorithm":"ECDH","PublicKey":"AA=="}`},
	{"DescribeKey", "DescribeKey", 2_000_000, `{"KeyId":"$ID"}`},
	{"DisableKey", "DisableKey", 5_000, `{"KeyId":"$ID"}`},
	{"DisableKeyRotation", "DisableKeyRotation", 5_000, `{"KeyId":"$ID"}`},
	{"EnableKey", "EnableKey", 5_000, `{"KeyId":"$ID"}`},
	{"EnableKeyRotation", "EnableKeyRotation", 15_000, `{"KeyId":"$ID"}`},
	{"Encapsulate", "", 0, `{"KeyId":"$ID","EncapsulationAlgorithm":"ML_KEM"}`}, // AWS publishes no figure
	{"Encrypt", "symmetric", 10_000_000, `{"KeyId":"$ID","Plaintext":"AA=="}`},
	{"GenerateDataKey", "symmetric", 10_000_000, `{"KeyId":"$ID","KeySpec":"AES_256"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.RSA_2048", 1_000, `{"KeyId":"$ID","KeyPairSpec":"RSA_2048"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.RSA_3072", 500, `{"KeyId":"$ID","KeyPairSpec":"RSA_3072"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.RSA_4096", 100, `{"KeyId":"$ID","KeyPairSpec":"RSA_4096"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.ECC_NIST_P256", 25_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P256"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.ECC_NIST_P384", 10_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P384"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.ECC_NIST_P521", 5_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P521"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.ECC_SECG_P256K1", 25_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_SECG_P256K1"}`},
	{"GenerateDataKeyPair", "GenerateDataKeyPair.SM2", 25_000, `{"KeyId":"$ID","KeyPairSpec":"SM2"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.RSA_2048", 1_000, `{"KeyId":"$ID","KeyPairSpec":"RSA_2048"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.RSA_3072", 500, `{"KeyId":"$ID","KeyPairSpec":"RSA_3072"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.RSA_4096", 100, `{"KeyId":"$ID","KeyPairSpec":"RSA_4096"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.ECC_NIST_P256", 25_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P256"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.ECC_NIST_P384", 10_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P384"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.ECC_NIST_P521", 5_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_P521"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.ECC_SECG_P256K1", 25_000, `{"KeyId":"$ID","KeyPairSpec":"ECC_SECG_P256K1"}`},
	{"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyPair.SM2", 25_000, `{"KeyId":"$ID","KeyPairSpec":"SM2"}`},
	{"GenerateDataKeyPair", "", 0, `{"KeyId":"$ID","KeyPairSpec":"ECC_NIST_EDWARDS25519"}`}, // AWS publishes no figure
	{"GenerateDataKeyPair", "", 0, `{"KeyId":"$ID","KeyPairSpec":"ML_KEM_768"}`},            // AWS publishes no figure
	{"GenerateDataKeyWithoutPlaintext", "symmetric", 10_000_000, `{"KeyId":"$ID","KeySpec":"AES_256"}`},
	{"GenerateMac", "symmetric", 10_000_000, `{"KeyId":"$ID","Message":"AA==","MacAlgorithm":"HMAC_SHA_256"}`},
	{"GenerateRandom", "symmetric", 10_000_000, `{"NumberOfBytes":1}`},
	{"GetKeyLastUsage", "", 0, `{"KeyId":"$ID"}`}, // AWS publishes no figure
	{"GetKeyPolicy", "GetKeyPolicy", 1_000_000, `{"KeyId":"$ID"}`},
	{"GetKeyRotationStatus", "GetKeyRotationStatus", 1_000_000, `{"KeyId":"$ID"}`},
	{"GetParametersForImport", "GetParametersForImport", 250, `{"KeyId":"$ID","WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"}`},
	{"GetPublicKey", "GetPublicKey", 2_000_000, `{"KeyId":"$ID"}`},
	{"ImportKeyMaterial", "ImportKeyMaterial", 5_000, `{"KeyId":"$ID","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`},
	{"ListAliases", "ListAliases", 500_000, `{}`},
	{"ListGrants", "ListGrants", 100_000, `{"KeyId":"$ID"}`},
	{"ListKeyPolicies", "ListKeyPolicies", 100_000, `{"KeyId":"$ID"}`},
	{"ListKeyRotations", "ListKeyRotations", 100_000, `{"KeyId":"$ID"}`},
	{"ListKeys", "ListKeys", 500_000, `{}`},
	{"ListResourceTags", "ListResourceTags", 2_000_000, `{"KeyId":"$ID"}`},
	{"ListRetirableGrants", "ListRetirableGrants", 100_000, `{"RetiringPrincipal":"111122223333"}`},
	{"PutKeyPolicy", "PutKeyPolicy", 15_000, `{"KeyId":"$ID","Policy":"{}"}`},
	{"ReEncrypt", "symmetric", 10_000_000, `{"CiphertextBlob":"AA==","DestinationKeyId":"$ID"}`},
	{"ReplicateKey", "ReplicateKey", 5_000, `{"KeyId":"$ID","ReplicaRegion":"eu-west-$N"}`}, // two of CreateKey there: TestQuotasThere
	{"RetireGrant", "RetireGrant", 30_000, `{"KeyId":"$ID","GrantId":"` + noGrant + `"}`},
	{"RevokeGrant", "RevokeGrant", 30_000, `{"KeyId":"$ID","GrantId":"` + noGrant + `"}`},
	{"RotateKeyOnDemand", "RotateKeyOnDemand", 5_000, `{"KeyId":"$ID"}`},
	{"ScheduleKeyDeletion", "ScheduleKeyDeletion", 15_000, `{"KeyId":"$ID"}`},
	{"Sign", "rsa", 1_000_000, `{"KeyId":"$RSA_2048","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`},
	{"Sign", "ecc", 1_000_000, `{"KeyId":"$ECC_SECG_P256K1","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_384"}`},
	{"Sign", "ml-dsa", 1_000_000, `{"KeyId":"$ML_DSA_65","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`},
	{"TagResource", "TagResource", 10_000, `{"KeyId":"$ID","Tags":[{"TagKey":"a","TagValue":"b"}]}`},
	{"UntagResource", "UntagResource", 5_000, `{"KeyId":"$ID","TagKeys":["a"]}`},
	{"UpdateAlias", "UpdateAlias", 5_000, `{"AliasName":"alias/a","TargetKeyId":"$ID"}`},
	{"UpdateKeyDescription", "UpdateKeyDescription", 5_000, `{"KeyId":"$ID","Description":""}`},
	{"UpdatePrimaryRegion", "UpdatePrimaryRegion", 5_000, `{"KeyId":"$ID","PrimaryRegion":"eu-west-1"}`},
	{"Verify", "rsa", 1_000_000, `{"KeyId":"$RSA_4096","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","Signature":"AA=="}`},
	{"Verify", "ecc", 1_000_000, `{"KeyId":"$ECC_NIST_EDWARDS25519","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_384","Signature":"AA=="}`},
	{"Verify", "ml-dsa", 1_000_000, `{"KeyId":"$ML_DSA_44","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256","Signature":"AA=="}`},
	{"VerifyMac", "symmetric", 10_000_000, `{"KeyId":"$ID","Message":"AA==","MacAlgorithm":"HMAC_SHA_256","Mac":"AA=="}`},
}

// keyTypes are keys that exist, and their usage.
var keyTypes = strings.Fields("$RSA_2048 $RSA_4096 $ECC_SECG_P256K1 $ECC_NIST_EDWARDS25519 $ML_DSA_44 $ML_DSA_65")

// withKeys makes the keys that the body names. They have no material of their type.
func withKeys(t *testing.T, s *testkit.Solo, body string) string {
	t.Helper()
	for _, name := range keyTypes {
		if strings.Contains(body, name) {
			key := s.NewKey(t)
			s.SetType(t, key, name[1:], "SIGN_VERIFY")
			body = fill(body, name, key)
		}
	}
	return fill(body, "$ID", "1234abcd-12ab-34cd-56ef-1234567890ab")
}

// regionNumber makes the Regions of bodies differ.
var regionNumber atomic.Int64

// throttled tells whether the last of n calls is throttled. $N in the body is another
// number each time.
func throttled(t *testing.T, s *testkit.Solo, op, body string, n int) bool {
	t.Helper()
	var a testkit.Answer
	for range n {
		a = s.Call(t, testkit.Root, op, fill(body, "$N", strconv.FormatInt(regionNumber.Add(1), 10)))
	}
	return a.Refusal != nil && a.Refusal.Code == "ThrottlingException"
}

// Every operation counts towards its quota and towards no other.
func TestRequestQuotas(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	covered := map[string]bool{}
	for _, row := range quotaCases {
		covered[row.op] = true
		s.Apply(t, fsm.SetConfig{Throttle: fsm.NewThrottle(nil)})
		row.body = withKeys(t, s, row.body)
		var own, others []fsm.Rate
		for _, r := range service.AWSRates() {
			if r.Milli = 1000; r.Quota == row.quota {
				own = append(own, r)
			} else {
				r.Milli = 2000
				others = append(others, r)
			}
		}
		if row.quota != "" {
			s.Apply(t, fsm.SetConfig{Throttle: fsm.NewThrottle(own)})
			if throttled(t, s, row.op, row.body, 1) || !throttled(t, s, row.op, row.body, 1) {
				t.Errorf("%s does not count towards %s", row.op, row.quota)
			}
		}
		s.Apply(t, fsm.SetConfig{Throttle: fsm.NewThrottle(others)})
		if throttled(t, s, row.op, row.body, 3) {
			t.Errorf("%s counts towards another quota than %q", row.op, row.quota)
		}
	}
	for _, r := range rows() {
		if !covered[r.Name] {
			t.Errorf("the request quota of %s is not tested", r.Name)
		}
	}
}

// AWS's figures in force: as many calls at once, and as many more in the next
// second, by whichever of the operations that share the quota.
func TestAWSRates(t *testing.T) {
	t.Parallel()
	shared := map[string][]int{}
	for i, row := range quotaCases {
		if row.quota != "" {
			shared[row.quota] = append(shared[row.quota], i)
		}
	}
	for quota, cases := range shared {
		t.Run(quota, func(t *testing.T) {
			t.Parallel()
			s := testkit.StartWith(t, &fsm.Config{Throttle: &fsm.Throttle{AWS: true}})
			var bodies []string
			for _, i := range cases {
				bodies = append(bodies, withKeys(t, s, quotaCases[i].body))
			}
			for range 2 {
				milli := quotaCases[cases[0]].milli
				most := max(1, int(milli/1000)) // a rate below one a second is an interval
				for i := range most + 1 {
					op, body := quotaCases[cases[i%len(cases)]].op, bodies[i%len(cases)]
					if got, want := throttled(t, s, op, body, 1), i == most; got != want {
						t.Fatalf("call %d, %s: throttled %v", i+1, op, got)
					}
				}
				s.Advance(max(time.Second, 1000*time.Second/time.Duration(milli)))
			}
		})
	}
}

// A replica counts as two calls of CreateKey in its Region, of whomever it is, and a new
// primary as a call of UpdatePrimaryRegion in both.
func TestQuotasThere(t *testing.T) {
	t.Parallel()
	s := testkit.StartWith(t, &fsm.Config{Throttle: &fsm.Throttle{AWS: true}})
	const none = `{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","ReplicaRegion":"eu-west-1"}`
	if throttled(t, s, "ReplicateKey", none, 2) {
		t.Error("two replicas in a second are throttled")
	}
	eu := testkit.Root.In("eu-west-1")
	wantOutcome(t, s.Call(t, eu, "CreateKey", `{}`), success)
	wantOutcome(t, s.Call(t, eu, "CreateKey", `{}`), throttling)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateKey", `{}`), success)
	if !throttled(t, s, "ReplicateKey", none, 1) || throttled(t, s, "ReplicateKey", fill(none, "eu-west-1", "eu-west-2"), 1) {
		t.Error("replicas of another Region count")
	}
	to := fill(none, "ReplicaRegion", "PrimaryRegion")
	if throttled(t, s, "UpdatePrimaryRegion", to, 5) {
		t.Error("five primaries in a second are throttled")
	}
	if a := s.Call(t, eu, "UpdatePrimaryRegion", fill(to, "eu-west-1", "us-east-1")); a.Refusal == nil || a.Refusal.Code != "ThrottlingException" {
		t.Errorf("the sixth, from the other Region: %v", a.Refusal)
	}
}

// throttling is the answer to a call beyond its rate.
var throttling = outcome{"ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}

// The resource quotas that are settings, as every operation meets them.
func TestResourceQuotas(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	one, two := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/one", one)
	s.NewAlias(t, "alias/two", two)
	s.Must(t, "DisableKey", obj{"KeyId": two})
	set := func(body string) {
		t.Helper()
		wantOutcome(t, s.Admin(t, testkit.Root, "SetConfig", body), success)
	}
	keys := outcome{"LimitExceededException", "You have exceeded the number of KMS keys allowed for this account and Region."}
	aliases := outcome{"LimitExceededException", "You have exceeded the number of aliases allowed for this KMS key."}
	for _, row := range []struct {
		settings, op string
		body         obj
		want         outcome
	}{
		{`{"keysPerRegion":2}`, "CreateKey", obj{}, keys},
		{`{"keysPerRegion":2}`, "EnableKey", obj{"KeyId": two}, success}, // at the quota, not past it
		{`{"keysPerRegion":2}`, "DisableKey", obj{"KeyId": two}, success},
		{`{"keysPerRegion":1}`, "EnableKey", obj{"KeyId": two}, keys},
		{`{"keysPerRegion":1}`, "EnableKey", obj{"KeyId": one}, success}, // is enabled
		{`{"keysPerRegion":1}`, "Encrypt", obj{"KeyId": one, "Plaintext": "AA=="}, success},
		{`{"keysPerRegion":3}`, "EnableKey", obj{"KeyId": two}, success},
		{`{"keysPerRegion":3}`, "CreateKey", obj{}, success},
		{`{"keysPerRegion":3}`, "CreateKey", obj{}, keys},
		{`{"aliasesPerKey":1}`, "CreateAlias", obj{"AliasName": "alias/more", "TargetKeyId": one}, aliases},
		{`{"aliasesPerKey":1}`, "UpdateAlias", obj{"AliasName": "alias/two", "TargetKeyId": one}, aliases},
		{`{"aliasesPerKey":1}`, "UpdateAlias", obj{"AliasName": "alias/two", "TargetKeyId": two}, success},
		{`{"aliasesPerKey":2}`, "UpdateAlias", obj{"AliasName": "alias/two", "TargetKeyId": one}, success},
		{`{"aliasesPerKey":2}`, "CreateAlias", obj{"AliasName": "alias/more", "TargetKeyId": one}, aliases},
		{`{"aliasesPerKey":1}`, "CreateAlias", obj{"AliasName": "alias/more", "TargetKeyId": two}, success},
	} {
		set(row.settings)
		wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), row.want)
	}
}
