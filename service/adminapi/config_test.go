package adminapi_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// awsFigures are AWS's request quotas, in requests per second (AWS: "Request quotas
// for each AWS KMS API operation").
const awsFigures = `"CancelKeyDeletion":5,"ConnectCustomKeyStore":5,"CreateAlias":5,"CreateCustomKeyStore":5,"CreateGrant":50,"CreateKey":5,
	"DeleteAlias":15,"DeleteCustomKeyStore":5,"DeleteImportedKeyMaterial":5,"DescribeCustomKeyStores":5,"DescribeKey":2000,"DisableKey":5,
	"DisableKeyRotation":5,"DisconnectCustomKeyStore":5,"EnableKey":5,"EnableKeyRotation":15,
	"GenerateDataKeyPair.ECC_NIST_P256":25,"GenerateDataKeyPair.ECC_NIST_P384":10,"GenerateDataKeyPair.ECC_NIST_P521":5,
	"GenerateDataKeyPair.ECC_SECG_P256K1":25,"GenerateDataKeyPair.RSA_2048":1,"GenerateDataKeyPair.RSA_3072":0.5,
	"GenerateDataKeyPair.RSA_4096":0.1,"GenerateDataKeyPair.SM2":25,"GetKeyPolicy":1000,"GetKeyRotationStatus":1000,
	"GetParametersForImport":0.25,"GetPublicKey":2000,"ImportKeyMaterial":5,"ListAliases":500,"ListGrants":100,"ListKeyPolicies":100,
	"ListKeyRotations":100,"ListKeys":500,"ListResourceTags":2000,"ListRetirableGrants":100,"PutKeyPolicy":15,"ReplicateKey":5,
	"RetireGrant":30,"RevokeGrant":30,"RotateKeyOnDemand":5,"ScheduleKeyDeletion":15,"TagResource":10,"UntagResource":5,"UpdateAlias":5,
	"UpdateCustomKeyStore":5,"UpdateKeyDescription":5,"UpdatePrimaryRegion":5,"ecc":1000,"ml-dsa":1000,"rsa":1000,"symmetric":10000`

// Settings change one by one; both operations answer what is in force.
func TestConfig(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	want := `{"keysPerRegion":100000,"aliasesPerKey":50,"throttle":"off"}`
	a := s.Admin(t, testkit.Root, "GetConfig", ``)
	wantOK(t, a)
	wantSame(t, any(a.Body), parse(t, want))
	for _, step := range []struct{ body, want string }{
		{`{"keysPerRegion":7}`, `{"keysPerRegion":7,"aliasesPerKey":50,"throttle":"off"}`},
		{`{"aliasesPerKey":100000,"throttle":"aws"}`, `{"keysPerRegion":7,"aliasesPerKey":100000,"throttle":"aws","rates":{` + awsFigures + `}}`},
		{`{"keysPerRegion":10000000}`, `{"keysPerRegion":10000000,"aliasesPerKey":100000,"throttle":"aws","rates":{` + awsFigures + `}}`},
		{`{"throttle":"custom","rates":{"rsa":0.01,"CreateKey":1000000}}`,
			`{"keysPerRegion":10000000,"aliasesPerKey":100000,"throttle":"custom","rates":{"rsa":0.01,"CreateKey":1000000}}`},
		{`{"throttle":"custom","rates":{"symmetric":2.5}}`, `{"keysPerRegion":10000000,"aliasesPerKey":100000,"throttle":"custom","rates":{"symmetric":2.5}}`},
		{`{"throttle":"custom","rates":{` + awsFigures + `}}`, `{"keysPerRegion":10000000,"aliasesPerKey":100000,"throttle":"custom","rates":{` + awsFigures + `}}`},
		{`{"throttle":"off","keysPerRegion":1,"aliasesPerKey":1}`, `{"keysPerRegion":1,"aliasesPerKey":1,"throttle":"off"}`},
		{`{"throttle":"off"}`, `{"keysPerRegion":1,"aliasesPerKey":1,"throttle":"off"}`},
	} {
		for range 2 { // setting it again changes nothing
			a := s.Admin(t, testkit.Root, "SetConfig", step.body)
			wantOK(t, a)
			wantSame(t, any(a.Body), parse(t, step.want))
			a = s.Admin(t, testkit.Root, "GetConfig", ``)
			wantOK(t, a)
			wantSame(t, any(a.Body), parse(t, step.want))
		}
	}
}

// What is refused changes nothing, and says what is wrong.
func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wantOK(t, s.Admin(t, testkit.Root, "SetConfig", `{"keysPerRegion":7,"throttle":"custom","rates":{"rsa":1}}`))
	before := s.Machine.Digest()
	for body, message := range map[string]string{
		``:                                     "The call names no setting.",
		`{}`:                                   "The call names no setting.",
		`{"throttle":"custom"}`:                "The throttle custom needs rates.",
		`{"throttle":"custom","rates":{}}`:     "The throttle custom needs rates.",
		`{"rates":{"rsa":1}}`:                  "Rates are for the throttle custom.",
		`{"rates":{}}`:                         "Rates are for the throttle custom.",
		`{"throttle":"aws","rates":{"rsa":1}}`: "Rates are for the throttle custom.",
		`{"throttle":"custom","rates":{"rsa":1,"CreateKeys":5}}`:                  `There is no request quota "CreateKeys".`,
		`{"throttle":"custom","rates":{"createkey":5}}`:                           `There is no request quota "createkey".`,
		`{"throttle":"custom","rates":{"":5}}`:                                    `There is no request quota "".`,
		`{"throttle":"custom","rates":{"rsa":0}}`:                                 "The rate of rsa must be between 0.01 and 1000000 requests per second.",
		`{"throttle":"custom","rates":{"rsa":-1}}`:                                "The rate of rsa must be between 0.01 and 1000000 requests per second.",
		`{"throttle":"custom","rates":{"rsa":0.009}}`:                             "The rate of rsa must be between 0.01 and 1000000 requests per second.",
		`{"throttle":"custom","rates":{"rsa":1000000.001}}`:                       "The rate of rsa must be between 0.01 and 1000000 requests per second.",
		`{"aliasesPerKey":3,"throttle":"custom","rates":{"rsa":1,"CreateKey":0}}`: "The rate of CreateKey must be between 0.01 and 1000000 requests per second.",
	} {
		a := s.Admin(t, testkit.Root, "SetConfig", body)
		wantRefusal(t, a, "ValidationException", message)
		if got := s.Record(t, a)["errorMessage"]; got != message {
			t.Errorf("recorded %v", got)
		}
	}
	const one = "1 validation error detected: "
	wantRefusal(t, s.Admin(t, testkit.Root, "SetConfig", `{"keysPerRegion":0}`), "ValidationException",
		one+"Value '0' at 'keysPerRegion' failed to satisfy constraint: Member must have value greater than or equal to 1")
	wantRefusal(t, s.Admin(t, testkit.Root, "SetConfig", `{"keysPerZone":5}`), "SerializationException", "Payload holds a member that is not known")
	if s.Machine.Digest() != before {
		t.Error("a refused call changed the state")
	}
}

// Two changes of different settings at once both count: the second one is decided
// anew, and answers what is in force then.
func TestConfigRace(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	raced := false
	s.Fault = func(fsm.Command) error {
		if !raced {
			raced = true
			wantOK(t, s.Admin(t, testkit.Root, "SetConfig", `{"keysPerRegion":9}`))
		}
		return nil
	}
	a := s.Admin(t, testkit.Root, "SetConfig", `{"aliasesPerKey":8}`)
	wantOK(t, a)
	wantSame(t, any(a.Body), parse(t, `{"keysPerRegion":9,"aliasesPerKey":8,"throttle":"off"}`))
}

// The leader's reply is lost after the settings have changed.
func TestConfigReplyLost(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	lost := 0
	s.Lost = func(fsm.Command) error {
		if lost++; lost == 1 {
			return kms.ErrOutcomeUnknown
		}
		return nil
	}
	a := s.Admin(t, testkit.Root, "SetConfig", `{"aliasesPerKey":8}`)
	wantOK(t, a)
	wantSame(t, any(a.Body), parse(t, `{"keysPerRegion":100000,"aliasesPerKey":8,"throttle":"off"}`))
}

// Request rates are for the operations of AWS KMS alone: the operator can take them
// back, and anybody ask who he is.
func TestOperatorIsNotThrottled(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	figures := parse(t, "{"+awsFigures+"}").(map[string]any)
	var rates []string
	for name := range maps.Keys(figures) {
		rates = append(rates, fmt.Sprintf(`"%s":0.01`, name))
	}
	for range 5 {
		wantOK(t, s.Admin(t, testkit.Root, "SetConfig", `{"throttle":"custom","rates":{`+strings.Join(rates, ",")+`}}`))
		wantOK(t, s.Admin(t, testkit.Root, "GetConfig", ``))
		wantOK(t, s.Admin(t, testkit.Root, "CreateJoinToken", ``))
		wantOK(t, s.Raw(t, testkit.Root, "sts", "GetCallerIdentity", ``))
	}
	wantOK(t, s.Raw(t, testkit.Root, "kms", "CreateKey", `{}`))
	wantRefusal(t, s.Raw(t, testkit.Root, "kms", "CreateKey", `{}`), "ThrottlingException",
		"You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}
