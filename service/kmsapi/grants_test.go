package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// noGrant is the id of no grant.
const noGrant = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var (
	noToken      = outcome{"InvalidGrantTokenException", "The grant token is not valid."}
	fullOfGrants = outcome{"LimitExceededException", "You have exceeded the number of grants allowed for this KMS key."}
)

func noPrincipal(arn string) outcome {
	return outcome{"InvalidArnException", "ARN does not refer to a valid principal: " + arn}
}

// granting is the body of a CreateGrant.
func granting(key, grantee, operations string) obj {
	return obj{"KeyId": key, "GranteePrincipal": grantee, "Operations": strings.Fields(operations)}
}

// entries are the grants that a list shows, by their ids.
func entries(t *testing.T, s *testkit.Solo, key string) map[string]obj {
	t.Helper()
	out := map[string]obj{}
	for _, e := range s.Must(t, "ListGrants", obj{"KeyId": key, "Limit": 100})["Grants"].([]any) {
		out[e.(obj)["GrantId"].(string)] = e.(obj)
	}
	return out
}

// What CreateGrant refuses (AWS: CreateGrant).
func TestCreateGrantRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	one := granting(key, testkit.Account, "Decrypt")
	const source = "arn:aws:s3:us-east-1:111122223333:bucket"
	pairs := func(n int, value string) obj {
		out := obj{}
		for i := range n {
			out[fmt.Sprint(i)] = value
		}
		return out
	}
	oneGrantee := validation("You must specify either GranteePrincipal or GranteeServicePrincipal, but not both.")
	oneRetiring := validation("You can specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
	forService := validation("When you specify GranteeServicePrincipal, you must also specify a SourceArn grant constraint and a RetiringPrincipal or a RetiringServicePrincipal.")
	before := s.Prune(t)
	for _, row := range []struct {
		name string
		more obj
		want outcome
	}{
		{"no operation", obj{"Operations": []string{}}, validation("Operations must not be empty.")},
		{"no grantee", obj{"GranteePrincipal": nil}, oneGrantee},
		{"two grantees", obj{"GranteeServicePrincipal": "s3.amazonaws.com", "RetiringPrincipal": testkit.Account, "Constraints": obj{"SourceArn": source}}, oneGrantee},
		{"two to retire", obj{"RetiringPrincipal": testkit.Account, "RetiringServicePrincipal": "s3.amazonaws.com"}, oneRetiring},
		{"a service without a source", obj{"GranteePrincipal": nil, "GranteeServicePrincipal": "s3.amazonaws.com", "RetiringPrincipal": testkit.Account}, forService},
		{"a service without a retiring principal", obj{"GranteePrincipal": nil, "GranteeServicePrincipal": "s3.amazonaws.com", "Constraints": obj{"SourceArn": source}}, forService},
		{"both constraints", obj{"Constraints": obj{"EncryptionContextEquals": obj{"a": "1"}, "EncryptionContextSubset": obj{"a": "1"}}},
			validation("You can specify either EncryptionContextEquals or EncryptionContextSubset, but not both.")},
		{"nine pairs", obj{"Constraints": obj{"EncryptionContextEquals": pairs(9, "x")}}, validation("A grant constraint can include up to 8 encryption context pairs.")},
		{"a long value", obj{"Constraints": obj{"EncryptionContextSubset": obj{"a": strings.Repeat("ä", 385)}}}, validation("The encryption context value in a grant constraint cannot exceed 384 characters.")},
		{"another key's operation", obj{"Operations": []string{"Decrypt", "Sign", "VerifyMac"}}, validation("Sign is not supported for this key")},
		{"an alias", obj{"KeyId": "alias/app"}, notFound("Invalid keyId 'alias/app'")},
		{"an unknown key", obj{"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}, notFound("Key '" + testkit.ARN("1234abcd-12ab-34cd-56ef-1234567890ab") + "' does not exist")},
		{"a key that is none", obj{"KeyId": "arn:aws:s3:us-east-1:111122223333:key/x"}, outcome{"InvalidArnException", "Invalid arn arn:aws:s3:us-east-1:111122223333:key/x"}},
		{"a dry run", obj{"DryRun": true}, dryRun},
		{"a token of nothing", obj{"GrantTokens": []string{"token"}}, noToken},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(one, row.more)), row.want)
		})
	}
	if s.Prune(t) != before {
		t.Error("refused calls changed the state")
	}
	for _, more := range []obj{
		{"Constraints": obj{"EncryptionContextEquals": pairs(8, strings.Repeat("ä", 384))}}, {"Constraints": obj{}}, {"Constraints": nil}, {"Operations": []string{"Decrypt", "Decrypt"}},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(one, more)), success)
	}
}

// Grants on keys of every type permit what AWS lists for it, and nothing else (§4.13).
func TestGrantableOperations(t *testing.T) {
	t.Parallel()
	const symmetric = "Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext ReEncryptFrom ReEncryptTo"
	all := strings.Fields(strings.NewReplacer(",", "", "[", "", "]", "").Replace(grantEnum))
	for kind, can := range map[string]string{
		"": symmetric, "RSA_2048 ENCRYPT_DECRYPT": "Decrypt Encrypt ReEncryptFrom ReEncryptTo GetPublicKey", "ECC_NIST_P256 SIGN_VERIFY": "Sign Verify GetPublicKey",
		"ML_DSA_44 SIGN_VERIFY": "Sign Verify GetPublicKey", "ECC_NIST_P384 KEY_AGREEMENT": "DeriveSharedSecret GetPublicKey", "HMAC_256 GENERATE_VERIFY_MAC": "GenerateMac VerifyMac",
		"ML_KEM_768 ENCAPSULATE_DECAPSULATE": "Encapsulate Decapsulate GetPublicKey",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			key := newKeyOf(t, s, kind)
			for _, op := range all {
				want := validation(op + " is not supported for this key")
				if slices.Contains(strings.Fields(can+" CreateGrant RetireGrant DescribeKey"), op) {
					want = success
				}
				wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", granting(key, testkit.Account, op)), want)
			}
			constrained := with(granting(key, testkit.Account, "DescribeKey"), obj{"Constraints": obj{"EncryptionContextEquals": obj{"a": "1"}}})
			want := validation("Encryption context constraints are valid for symmetric encryption KMS keys only.")
			if kind == "" {
				want = success
			}
			wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", constrained), want)
			sourced := with(granting(key, testkit.Account, "DescribeKey"), obj{"Constraints": obj{"SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}})
			wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", sourced), success)
		})
	}
}

// A grant lets a user without policies call each operation that it permits, and no grant
// lets it call another.
func TestGrantsAllowTheirOperations(t *testing.T) {
	t.Parallel()
	covered := kms.GrantOperations(0)
	for _, row := range permissionCases {
		grantable := !slices.ContainsFunc(row.needs, func(n string) bool { return kms.GrantOperation(operationOf(n)) == 0 })
		if row.op == "RetireGrant" {
			covered |= kms.GrantRetireGrant // TestWhoMayRetire
			continue
		}
		for _, n := range row.needs {
			covered |= kms.GrantOperation(operationOf(n))
		}
		t.Run(row.op+" "+row.body, func(t *testing.T) {
			t.Parallel()
			r := newRights(t, row.op)
			who, _ := r.NewUser(t, testkit.Account, "alice")
			if kinds[row.op] == imported {
				for _, key := range r.keys {
					r.Must(t, "ImportKeyMaterial", wrapped(t, r.Solo, key, "RSAES_OAEP_SHA_256", "RSA_2048", make([]byte, 32)))
				}
			}
			spec := r.Must(t, "DescribeKey", obj{"KeyId": r.keys[0]})["KeyMetadata"].(obj)
			everything := kms.KeySpec(spec["KeySpec"].(string)).GrantOperations(kms.KeyUsage(spec["KeyUsage"].(string))).Names()
			call := func(want outcome) {
				t.Helper()
				wantOutcome(t, r.Call(t, who, row.op, fill(row.body, r.names...)), want)
			}
			first := r.needs(&row)[0]
			denied := first.noneBy("alice", "identity-based")
			call(denied)
			for _, key := range r.keys {
				for _, op := range everything {
					if !grantable || !slices.ContainsFunc(row.needs, func(n string) bool { return operationOf(n) == op }) {
						newGrant(t, r.Solo, key, "arn:aws:iam::111122223333:user/alice", op)
					}
				}
			}
			call(denied)
			if !grantable {
				return
			}
			for _, key := range r.keys {
				for _, n := range row.needs {
					newGrant(t, r.Solo, key, "arn:aws:iam::111122223333:user/alice", operationOf(n)+" DescribeKey")
				}
			}
			call(success)
		})
	}
	if covered != kms.AllGrantOperations {
		t.Errorf("tried are %v", covered.Names())
	}
}

// operationOf is the operation of what a row of the table of permissions needs.
func operationOf(need string) string {
	return strings.TrimPrefix(strings.Fields(need)[0], "kms:")
}

// Who can be in a grant, and how lists show it (§4.13, principals).
func TestGrantPrincipals(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewUser(t, testkit.Account, "/eng/alice")
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	s.NewIdentity(t, fsm.KindGroup, testkit.Account, "readers")
	_, id := s.NewUser(t, testkit.Account, "byid")
	for _, same := range []string{
		"arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:user/eng/alice", "arn:aws:iam::111122223333:role/svc/App", "arn:aws:sts::111122223333:assumed-role/App/s",
		"arn:aws:sts::111122223333:federated-user/bob", "arn:aws:iam::999999999999:user/whoever", "arn:aws:iam::999999999999:root",
	} {
		made := s.Must(t, "CreateGrant", with(granting(key, same, "Decrypt"), obj{"RetiringPrincipal": same}))
		if e := entries(t, s, key)[made["GrantId"].(string)]; e["GranteePrincipal"] != same || e["RetiringPrincipal"] != same {
			t.Errorf("%s is shown as %v and %v", same, e["GranteePrincipal"], e["RetiringPrincipal"])
		}
	}
	byNumber := newGrant(t, s, key, "111122223333", "Decrypt")
	if e := entries(t, s, key)[byNumber]; e["GranteePrincipal"] != "arn:aws:iam::111122223333:root" {
		t.Errorf("an account is shown as %v", e["GranteePrincipal"])
	}
	for _, bad := range []string{
		"arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/eng/ALICE", "arn:aws:iam::111122223333:user/nobody", "arn:aws:iam::111122223333:role/App",
		"arn:aws:sts::111122223333:assumed-role/Nope/s", "arn:aws:iam::111122223333:group/readers", "arn:aws:s3:::bucket", "arn:aws-cn:iam::111122223333:root", "alice", "1234", id,
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", granting(key, bad, "Decrypt")), noPrincipal(bad))
		wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(granting(key, testkit.Account, "Decrypt"), obj{"RetiringPrincipal": bad})), noPrincipal(bad))
	}
}

// A grant is for its grantee and nobody of the same name; lists show what is left of it
// (§4.13).
func TestGranteesAreBoundToIDs(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	bob, id := s.NewUser(t, testkit.Account, "bob")
	const arn = "arn:aws:iam::111122223333:user/bob"
	grant := s.Must(t, "CreateGrant", with(granting(key, arn, "DescribeKey"), obj{"RetiringPrincipal": arn}))["GrantId"].(string)
	wantOutcome(t, s.Call(t, bob, "DescribeKey", obj{"KeyId": key}), success)
	s.Apply(t, fsm.DeleteAccessKey{Account: testkit.Account, ID: bob.AccessKey})
	s.Apply(t, fsm.DeleteIdentity{ID: id})
	if e := entries(t, s, key)[grant]; e["GranteePrincipal"] != id || e["RetiringPrincipal"] != id {
		t.Errorf("a deleted user is shown as %v and %v, want %s", e["GranteePrincipal"], e["RetiringPrincipal"], id)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "ListGrants", obj{"KeyId": key, "GranteePrincipal": arn}), noPrincipal(arn))
	if got := s.Must(t, "ListGrants", obj{"KeyId": key, "GranteePrincipal": id})["Grants"].([]any); len(got) != 1 {
		t.Errorf("by the id of a deleted user: %v", got)
	}
	again, _ := s.NewUser(t, testkit.Account, "bob")
	wantOutcome(t, s.Call(t, again, "DescribeKey", obj{"KeyId": key}), deniedUser("bob", "kms:DescribeKey", testkit.ARN(key), "because no identity-based policy allows the kms:DescribeKey action"))
	wantOutcome(t, s.Call(t, again, "RetireGrant", obj{"KeyId": key, "GrantId": grant}), deniedUser("bob", "kms:RetireGrant", testkit.ARN(key), "because no identity-based policy allows the kms:RetireGrant action"))
}

// A role's grant is for all of its sessions, a session's for that alone.
func TestGrantsToRoles(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	toRole, toSession := s.NewKey(t), s.NewKey(t)
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "/svc/App")
	session := func(name string, policies ...string) testkit.Caller {
		return sessionOf(t, s, service.Token{Type: kms.PrincipalAssumedRole, Subject: role.ID, Name: name, Policies: policies})
	}
	newGrant(t, s, toRole, "arn:aws:iam::111122223333:role/svc/App", "DescribeKey")
	newGrant(t, s, toSession, "arn:aws:sts::111122223333:assumed-role/App/one", "DescribeKey")
	denied := accessDenied("User: arn:aws:sts::111122223333:assumed-role/App/two is not authorized to perform: kms:DescribeKey on resource: " + testkit.ARN(toSession) +
		" because no identity-based policy allows the kms:DescribeKey action")
	wantOutcome(t, s.Call(t, session("one"), "DescribeKey", obj{"KeyId": toRole}), success)
	wantOutcome(t, s.Call(t, session("two"), "DescribeKey", obj{"KeyId": toRole}), success)
	wantOutcome(t, s.Call(t, session("one"), "DescribeKey", obj{"KeyId": toSession}), success)
	wantOutcome(t, s.Call(t, session("two"), "DescribeKey", obj{"KeyId": toSession}), denied)
	// Only what a session policy denies limits a grant.
	wantOutcome(t, s.Call(t, session("one", noKMS), "DescribeKey", obj{"KeyId": toRole}), success)
	wantOutcome(t, s.Call(t, session("one", denyKMS), "DescribeKey", obj{"KeyId": toRole}),
		accessDenied("User: arn:aws:sts::111122223333:assumed-role/App/one is not authorized to perform: kms:DescribeKey on resource: "+testkit.ARN(toRole)+" with an explicit deny in a session policy"))
}

// With a name and the same parameters a grant is made once, and every call has a token
// of its own (detail 33).
func TestGrantNames(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewUser(t, testkit.Account, "alice")
	body := with(granting(key, "arn:aws:iam::111122223333:user/alice", "Decrypt Encrypt"), obj{"Name": "app/1", "Constraints": obj{"EncryptionContextSubset": obj{"a": "1", "b": "2"}}})
	first := s.Must(t, "CreateGrant", body)
	for _, same := range []obj{{}, {"KeyId": testkit.ARN(key)}, {"Operations": []string{"Encrypt", "Decrypt", "Encrypt"}}} {
		again := s.Must(t, "CreateGrant", with(body, same))
		if again["GrantId"] != first["GrantId"] || again["GrantToken"] == first["GrantToken"] {
			t.Errorf("%v: got %v after %v", same, again, first)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(body, obj{"DryRun": true})), dryRun)
	seen := map[any]bool{first["GrantId"]: true}
	for _, other := range []obj{
		{"Name": "app/2"}, {"Name": nil}, {"Name": nil, "Operations": []string{"Decrypt"}}, {"Operations": []string{"Decrypt"}}, {"GranteePrincipal": testkit.Account}, {"RetiringPrincipal": testkit.Account},
		{"Constraints": obj{"EncryptionContextSubset": obj{"a": "1"}}}, {"Constraints": obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}}, {"Constraints": nil}, {"Name": nil},
	} {
		made := s.Must(t, "CreateGrant", with(body, other))
		if seen[made["GrantId"]] {
			t.Errorf("%v: an old grant", other)
		}
		seen[made["GrantId"]] = true
	}
	all := entries(t, s, key)
	names := map[any]int{}
	for _, e := range all {
		names[e["Name"]]++
	}
	if len(all) != len(seen) || names[""] != 3 || names["app/1"] != 7 || names["app/2"] != 1 {
		t.Errorf("%d grants, %v", len(all), names)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "RevokeGrant", obj{"KeyId": key, "GrantId": first["GrantId"]}), success)
	if again := s.Must(t, "CreateGrant", body); again["GrantId"] == first["GrantId"] {
		t.Error("a revoked grant came back under its id")
	}
}

// What a grant with constraints on the encryption context lets through: of requests by
// their contexts, of DescribeKey all (§5.5).
func TestGrantConstraints(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who, _ := s.NewUser(t, testkit.Account, "alice")
	for _, c := range []struct {
		constraint obj
		context    obj
		want       bool
	}{
		{nil, nil, true}, {nil, obj{"a": "1"}, true},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, obj{"b": "2", "a": "1"}, true},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, obj{"a": "1"}, false},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, obj{"a": "1", "b": "2", "c": "3"}, false},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, obj{"a": "1", "b": "3"}, false},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, obj{"a": "1", "B": "2"}, false},
		{obj{"EncryptionContextEquals": obj{"a": "1", "b": "2"}}, nil, false},
		{obj{"EncryptionContextEquals": obj{}}, nil, true},
		{obj{"EncryptionContextEquals": obj{}}, obj{}, true},
		{obj{"EncryptionContextEquals": obj{}}, obj{"a": "1"}, false},
		{obj{"EncryptionContextSubset": obj{"a": "1", "b": "2"}}, obj{"b": "2", "a": "1"}, true},
		{obj{"EncryptionContextSubset": obj{"a": "1", "b": "2"}}, obj{"a": "1", "b": "2", "c": "3"}, true},
		{obj{"EncryptionContextSubset": obj{"a": "1", "b": "2"}}, obj{"a": "1", "c": "3"}, false},
		{obj{"EncryptionContextSubset": obj{"a": "1"}}, obj{"a": "2", "b": "1"}, false},
		{obj{"EncryptionContextSubset": obj{"a": "1"}}, obj{"A": "1"}, false},
		{obj{"EncryptionContextSubset": obj{"a": "1"}}, nil, false},
		{obj{"EncryptionContextSubset": obj{}}, nil, true},
		{obj{"SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}, nil, false}, // no call of a user is on behalf of a resource
	} {
		key := s.NewKey(t)
		s.Must(t, "CreateGrant", with(granting(key, "arn:aws:iam::111122223333:user/alice", "Encrypt GenerateDataKey DescribeKey"), obj{"Constraints": c.constraint}))
		for op, body := range map[string]obj{"Encrypt": {"Plaintext": "AA=="}, "GenerateDataKey": {"KeySpec": "AES_256"}} {
			a := s.Call(t, who, op, with(body, obj{"KeyId": key, "EncryptionContext": c.context}))
			if a.Err != nil || (a.Refusal == nil) != c.want {
				t.Errorf("%s with %v under %v: got %v, want allowed %t", op, c.context, c.constraint, a.Refusal, c.want)
			}
		}
		if a := s.Call(t, who, "DescribeKey", obj{"KeyId": key}); (a.Refusal == nil) == (c.constraint["SourceArn"] != nil) {
			t.Errorf("DescribeKey under %v: got %v", c.constraint, a.Refusal)
		}
	}
}

// Each side of ReEncrypt needs a grant of its own, whose constraints see that side's
// context.
func TestReEncryptUnderGrants(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	who, _ := s.NewUser(t, testkit.Account, "alice")
	from, to := s.NewKey(t), s.NewKey(t)
	blob := s.Must(t, "Encrypt", obj{"KeyId": from, "Plaintext": "AA==", "EncryptionContext": obj{"a": "1"}})["CiphertextBlob"]
	body := func(context obj) obj {
		return obj{"CiphertextBlob": blob, "SourceEncryptionContext": obj{"a": "1"}, "DestinationKeyId": to, "DestinationEncryptionContext": context}
	}
	lacksTo := deniedUser("alice", "kms:ReEncryptTo", testkit.ARN(to), "because no identity-based policy allows the kms:ReEncryptTo action")
	constrained := func(key, op string, context obj) {
		s.Must(t, "CreateGrant", with(granting(key, "arn:aws:iam::111122223333:user/alice", op), obj{"Constraints": obj{"EncryptionContextEquals": context}}))
	}
	constrained(from, "ReEncryptFrom", obj{"a": "1"})
	wantOutcome(t, s.Call(t, who, "ReEncrypt", body(obj{"b": "2"})), lacksTo)
	constrained(to, "ReEncryptFrom", obj{"b": "2"})
	constrained(from, "ReEncryptTo", obj{"b": "2"})
	wantOutcome(t, s.Call(t, who, "ReEncrypt", body(obj{"b": "2"})), lacksTo)
	constrained(to, "ReEncryptTo", obj{"b": "2"})
	wantOutcome(t, s.Call(t, who, "ReEncrypt", body(obj{"b": "2"})), success)
	wantOutcome(t, s.Call(t, who, "ReEncrypt", body(obj{"a": "1"})), lacksTo)
}

// A grant that permits CreateGrant makes none that is wider (§5.5).
func TestGrantChains(t *testing.T) {
	t.Parallel()
	equals, subset := func(pairs obj) obj { return obj{"EncryptionContextEquals": pairs} }, func(pairs obj) obj { return obj{"EncryptionContextSubset": pairs} }
	const user = "arn:aws:iam::111122223333:user/"
	for _, c := range []struct {
		parent     string
		within     obj
		child      string
		constraint obj
		want       bool
	}{
		{"CreateGrant Decrypt", nil, "Decrypt", nil, true},
		{"CreateGrant Decrypt", nil, "Encrypt", nil, false},
		{"CreateGrant Decrypt", nil, "Decrypt Encrypt", nil, false},
		{"CreateGrant Decrypt", nil, "CreateGrant Decrypt", nil, true},
		{"CreateGrant Decrypt", nil, "Decrypt RetireGrant", nil, false},
		{"CreateGrant Decrypt RetireGrant", nil, "RetireGrant", nil, true},
		{"Decrypt", nil, "Decrypt", nil, false},
		{"CreateGrant Decrypt", nil, "Decrypt", equals(obj{"a": "1"}), true},
		{"CreateGrant Decrypt", nil, "Decrypt", obj{"SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}, true},
		{"CreateGrant Decrypt", equals(obj{"a": "1"}), "Decrypt", equals(obj{"a": "1"}), true},
		{"CreateGrant Decrypt", equals(obj{"a": "1"}), "Decrypt", equals(obj{"a": "1", "b": "2"}), false},
		{"CreateGrant Decrypt", equals(obj{"a": "1"}), "Decrypt", subset(obj{"a": "1"}), false},
		{"CreateGrant Decrypt", equals(obj{"a": "1"}), "Decrypt", nil, false},
		{"CreateGrant Decrypt", equals(obj{}), "Decrypt", nil, false},
		{"CreateGrant Decrypt", equals(obj{}), "Decrypt", equals(obj{}), true},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", subset(obj{"a": "1"}), true},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", subset(obj{"a": "1", "b": "2"}), true},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", subset(obj{"b": "2"}), false},
		{"CreateGrant Decrypt", subset(obj{"a": "1", "b": "2"}), "Decrypt", subset(obj{"a": "1"}), false},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", equals(obj{"a": "1"}), true},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", equals(obj{"a": "1", "c": "3"}), true},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", equals(obj{"a": "2"}), false},
		{"CreateGrant Decrypt", subset(obj{"a": "1"}), "Decrypt", nil, false},
		{"CreateGrant DescribeKey", subset(obj{"a": "1"}), "DescribeKey", nil, false},
		{"CreateGrant Decrypt", obj{"SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}, "Decrypt", obj{"SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}, false}, // the call itself has no source
	} {
		s := testkit.Start(t)
		key := s.NewKey(t)
		alice, _ := s.NewUser(t, testkit.Account, "alice")
		s.NewUser(t, testkit.Account, "bob")
		s.Must(t, "CreateGrant", with(granting(key, user+"alice", c.parent), obj{"Constraints": c.within}))
		want := deniedUser("alice", "kms:CreateGrant", testkit.ARN(key), "because no identity-based policy allows the kms:CreateGrant action")
		if c.want {
			want = success
		}
		a := s.Call(t, alice, "CreateGrant", with(granting(key, user+"bob", c.child), obj{"Constraints": c.constraint}))
		t.Run(fmt.Sprintf("%s %v makes %s %v", c.parent, c.within, c.child, c.constraint), func(t *testing.T) { wantOutcome(t, a, want) })
	}
}

// A policy lets its caller grant what the caller itself may not do; and a grant outlives
// whoever made it.
func TestGrantsByPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	maker, id := s.NewUser(t, testkit.Account, "maker", allowing("kms:CreateGrant", "*", ""))
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	made := s.MustAs(t, maker, "CreateGrant", granting(key, "arn:aws:iam::111122223333:user/alice", "Encrypt"))
	encrypt := obj{"KeyId": key, "Plaintext": "AA=="}
	wantOutcome(t, s.Call(t, maker, "Encrypt", with(encrypt, obj{"GrantTokens": []any{made["GrantToken"]}})), deniedUser("maker", "kms:Encrypt", testkit.ARN(key), "because no identity-based policy allows the kms:Encrypt action"))
	s.Change(t, id, func(i *fsm.Identity) { i.Inline = nil })
	s.Apply(t, fsm.DeleteAccessKey{Account: testkit.Account, ID: maker.AccessKey})
	s.Apply(t, fsm.DeleteIdentity{ID: id})
	wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), success)
	if e := entries(t, s, key)[made["GrantId"].(string)]; e["IssuingAccount"] != "arn:aws:iam::111122223333:root" {
		t.Errorf("issued by %v", e["IssuingAccount"])
	}
	s.Must(t, "DisableKey", obj{"KeyId": key})
	wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), outcome{"DisabledException", testkit.ARN(key) + " is disabled."})
	s.Must(t, "EnableKey", obj{"KeyId": key})
	wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), success)
}
