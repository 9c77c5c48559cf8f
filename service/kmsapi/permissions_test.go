package kmsapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
	wirekms "github.com/kmsd/kmsd/wire/kms"
)

// permissionCase is a row of AWS's table of permissions (AWS KMS: "AWS KMS
// permissions"). needs are the actions in the order in which they are checked, each
// with what it is on; a third word says how a refusal names that: "unnamed" for not at
// all, "blob" for the key of a ciphertext. x tells that other accounts may be let in.
// Keys, aliases and the rest are named as in rights.
type permissionCase struct {
	op, body string
	needs    []string
	x        bool
	// unlet tells that the key's policy lets nobody: the grant does.
	unlet bool
}

// onKey is what an operation needs that is checked against its key alone.
func onKey(op string) []string { return []string{"kms:" + op + " $ARN"} }

func onNothing(op string) []string { return []string{"kms:" + op + " *"} }

var permissionCases = []permissionCase{
	{op: "CancelKeyDeletion", body: `{"KeyId":"$PENDING"}`, needs: []string{"kms:CancelKeyDeletion $PENDINGARN"}},
	{op: "CreateAlias", body: `{"AliasName":"alias/new","TargetKeyId":"$KEY"}`, needs: []string{"kms:CreateAlias $OWN:alias/new", "kms:CreateAlias $ARN"}},
	{op: "CreateGrant", body: `{"KeyId":"$KEY","GranteePrincipal":"999999999999","Operations":["DescribeKey"]}`, needs: onKey("CreateGrant"), x: true},
	{op: "CreateKey", body: `{}`, needs: onNothing("CreateKey")},
	{op: "CreateKey", body: `{"Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":true}`, needs: onNothing("CreateKey")},
	{op: "CreateKey", body: `{"Tags":[{"TagKey":"a","TagValue":"b"}]}`, needs: []string{"kms:CreateKey *", "kms:TagResource * unnamed"}},
	{op: "Decapsulate", body: `{"KeyId":"$KEY","SharedSecretCiphertextBlob":"$ENCAPSULATED","EncapsulationAlgorithm":"ML_KEM"}`, needs: onKey("Decapsulate"), x: true},
	{op: "Decrypt", body: `{"KeyId":"$KEY","CiphertextBlob":"$BLOB"}`, needs: onKey("Decrypt"), x: true},
	{op: "Decrypt", body: `{"CiphertextBlob":"$BLOB"}`, needs: []string{"kms:Decrypt $ARN blob"}, x: true},
	{op: "DeleteAlias", body: `{"AliasName":"alias/app"}`, needs: []string{"kms:DeleteAlias $OWN:alias/app", "kms:DeleteAlias $ARN"}},
	{op: "DeleteImportedKeyMaterial", body: `{"KeyId":"$KEY"}`, needs: onKey("DeleteImportedKeyMaterial")},
	{op: "DeriveSharedSecret", body: `{"KeyId":"$KEY","KeyAgreementAlgorithm":"ECDH","PublicKey":"` + generatorP256 + `"}`, needs: onKey("DeriveSharedSecret"), x: true},
	{op: "DescribeKey", body: `{"KeyId":"$KEY"}`, needs: onKey("DescribeKey"), x: true},
	{op: "DisableKey", body: `{"KeyId":"$KEY"}`, needs: onKey("DisableKey")},
	{op: "DisableKeyRotation", body: `{"KeyId":"$KEY"}`, needs: onKey("DisableKeyRotation")},
	{op: "EnableKey", body: `{"KeyId":"$KEY"}`, needs: onKey("EnableKey")},
	{op: "EnableKeyRotation", body: `{"KeyId":"$KEY"}`, needs: onKey("EnableKeyRotation")},
	{op: "Encapsulate", body: `{"KeyId":"$KEY","EncapsulationAlgorithm":"ML_KEM"}`, needs: onKey("Encapsulate"), x: true},
	{op: "Encrypt", body: `{"KeyId":"$KEY","Plaintext":"AA=="}`, needs: onKey("Encrypt"), x: true},
	{op: "GenerateDataKey", body: `{"KeyId":"$KEY","KeySpec":"AES_256"}`, needs: onKey("GenerateDataKey"), x: true},
	{op: "GenerateDataKeyPair", body: `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P256"}`, needs: onKey("GenerateDataKeyPair"), x: true},
	{op: "GenerateDataKeyPairWithoutPlaintext", body: `{"KeyId":"$KEY","KeyPairSpec":"ECC_NIST_P256"}`, needs: onKey("GenerateDataKeyPairWithoutPlaintext"), x: true},
	{op: "GenerateDataKeyWithoutPlaintext", body: `{"KeyId":"$KEY","KeySpec":"AES_256"}`, needs: onKey("GenerateDataKeyWithoutPlaintext"), x: true},
	{op: "GenerateMac", body: `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`, needs: onKey("GenerateMac"), x: true},
	{op: "GenerateRandom", body: `{"NumberOfBytes":1}`, needs: onNothing("GenerateRandom")},
	{op: "GetKeyLastUsage", body: `{"KeyId":"$KEY"}`, needs: onKey("GetKeyLastUsage")},
	{op: "GetKeyPolicy", body: `{"KeyId":"$KEY"}`, needs: onKey("GetKeyPolicy")},
	{op: "GetKeyRotationStatus", body: `{"KeyId":"$KEY"}`, needs: onKey("GetKeyRotationStatus"), x: true},
	{op: "GetParametersForImport", body: `{"KeyId":"$KEY","WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048"}`, needs: onKey("GetParametersForImport")},
	{op: "GetPublicKey", body: `{"KeyId":"$KEY"}`, needs: onKey("GetPublicKey"), x: true},
	{op: "ImportKeyMaterial", body: `{"KeyId":"$KEY","ImportToken":"$TOKEN","EncryptedKeyMaterial":"$WRAPPED","ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`, needs: onKey("ImportKeyMaterial")},
	{op: "ListAliases", body: `{}`, needs: onNothing("ListAliases")},
	{op: "ListAliases", body: `{"KeyId":"$KEY"}`, needs: onNothing("ListAliases")},
	{op: "ListGrants", body: `{"KeyId":"$KEY"}`, needs: onKey("ListGrants"), x: true},
	{op: "ListKeyPolicies", body: `{"KeyId":"$KEY"}`, needs: onKey("ListKeyPolicies")},
	{op: "ListKeyRotations", body: `{"KeyId":"$KEY"}`, needs: onKey("ListKeyRotations")},
	{op: "ListKeys", body: `{}`, needs: onNothing("ListKeys")},
	{op: "ListResourceTags", body: `{"KeyId":"$KEY"}`, needs: onKey("ListResourceTags")},
	{op: "ListRetirableGrants", body: `{"RetiringPrincipal":"111122223333"}`, needs: onNothing("ListRetirableGrants")},
	{op: "PutKeyPolicy", body: `{"KeyId":"$KEY","Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":true}`, needs: onKey("PutKeyPolicy")},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$SECOND"}`, needs: []string{"kms:ReEncryptFrom $ARN blob", "kms:ReEncryptTo $SECONDARN"}, x: true},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","SourceKeyId":"$KEY","DestinationKeyId":"$SECOND"}`, needs: []string{"kms:ReEncryptFrom $ARN", "kms:ReEncryptTo $SECONDARN"}, x: true},
	{op: "ReplicateKey", body: `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1"}`, needs: []string{"kms:ReplicateKey $ARN", "kms:CreateKey *"}},
	{op: "ReplicateKey", body: `{"KeyId":"$KEY","ReplicaRegion":"eu-west-1","Policy":"$POLICY","BypassPolicyLockoutSafetyCheck":true,"Tags":[{"TagKey":"a","TagValue":"b"}]}`,
		needs: []string{"kms:ReplicateKey $ARN", "kms:CreateKey *", "kms:TagResource * unnamed"}},
	{op: "RetireGrant", body: `{"KeyId":"$KEY","GrantId":"$GRANT"}`, needs: onKey("RetireGrant"), x: true, unlet: true},
	{op: "RevokeGrant", body: `{"KeyId":"$KEY","GrantId":"$GRANT"}`, needs: onKey("RevokeGrant"), x: true},
	{op: "RotateKeyOnDemand", body: `{"KeyId":"$KEY"}`, needs: onKey("RotateKeyOnDemand")},
	{op: "ScheduleKeyDeletion", body: `{"KeyId":"$KEY"}`, needs: onKey("ScheduleKeyDeletion")},
	{op: "Sign", body: `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256"}`, needs: onKey("Sign"), x: true},
	{op: "TagResource", body: `{"KeyId":"$KEY","Tags":[{"TagKey":"a","TagValue":"b"}]}`, needs: onKey("TagResource")},
	{op: "UntagResource", body: `{"KeyId":"$KEY","TagKeys":["a"]}`, needs: onKey("UntagResource")},
	{op: "UpdateAlias", body: `{"AliasName":"alias/app","TargetKeyId":"$SECOND"}`, needs: []string{"kms:UpdateAlias $OWN:alias/app", "kms:UpdateAlias $ARN", "kms:UpdateAlias $SECONDARN"}},
	{op: "UpdateKeyDescription", body: `{"KeyId":"$KEY","Description":"x"}`, needs: onKey("UpdateKeyDescription")},
	{op: "UpdatePrimaryRegion", body: `{"KeyId":"$KEY","PrimaryRegion":"eu-west-1"}`, needs: []string{"kms:UpdatePrimaryRegion $ARN", "kms:UpdatePrimaryRegion $THEREARN"}},
	{op: "Verify", body: `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`, needs: onKey("Verify"), x: true},
	{op: "VerifyMac", body: `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`, needs: onKey("VerifyMac"), x: true},
}

// notServed are the operations of AWS's table without a row above, and why.
var notServed = map[string]string{
	"ConnectCustomKeyStore": noStores, "CreateCustomKeyStore": noStores, "DeleteCustomKeyStore": noStores, "DescribeCustomKeyStores": noStores,
	"DisconnectCustomKeyStore": noStores, "UpdateCustomKeyStore": noStores,
}

const noStores = "there are no custom key stores"

// Every operation of AWS KMS has a row or a reason to have none.
func TestPermissionsAreComplete(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	for _, row := range rows() {
		served[row.Name] = true
	}
	for _, op := range wirekms.Operations() {
		has := slices.ContainsFunc(permissionCases, func(c permissionCase) bool { return c.op == op.Name })
		if has != served[op.Name] || has == (notServed[op.Name] != "") {
			t.Errorf("%s: served %t, has a row %t, reason to have none %q", op.Name, served[op.Name], has, notServed[op.Name])
		}
	}
	for op := range notServed {
		if _, ok := wirekms.Lookup(op); !ok {
			t.Errorf("AWS KMS has no %s", op)
		}
	}
}

// rights is a place in which one call is made: two keys of Account that its operation works with, the first with the
// alias alias/app, and one that waits for its deletion.
type rights struct {
	*testkit.Solo
	keys  []string // $KEY and $SECOND
	names []string // what the rows call things
}

func newRights(t *testing.T, op string) *rights {
	s := testkit.Start(t)
	key, second, pending := newKeyFor(t, s, op), newKeyFor(t, s, op), newKeyFor(t, s, op)
	s.NewAlias(t, "alias/app", key)
	made := newMade(t, s, op, key)
	s.SetState(t, pending, "PendingDeletion")
	return &rights{Solo: s, keys: []string{key, second}, names: append(made,
		"$KEY", key, "$ARN", testkit.ARN(key), "$SECONDARN", testkit.ARN(second), "$SECOND", second, "$PENDINGARN", testkit.ARN(pending), "$PENDING", pending,
		"$THEREARN", inRegion(testkit.ARN(key), "eu-west-1"),
		"$OWN", "arn:aws:kms:us-east-1:111122223333", "$POLICY", strings.ReplaceAll(rootPolicy, `"`, `\"`),
	)}
}

// letIn adds a statement to the policies of both keys.
func (r *rights) letIn(t *testing.T, statement string) {
	t.Helper()
	for _, key := range r.keys {
		setPolicy(t, r.Solo, key, statement)
	}
}

// need is one action on one thing.
type need struct{ action, on, shown string }

func (r *rights) needs(row *permissionCase) (out []need) {
	for _, text := range row.needs {
		words := append(strings.Fields(fill(text, r.names...)), "")
		out = append(out, need{words[0], words[1], words[2]})
	}
	return out
}

func (n need) onKey() bool { return strings.Contains(n.on, ":key/") }

// refusal is the answer to user/name without the action.
func (n need) refusal(account, name, why string) outcome {
	text := "User: arn:aws:iam::" + account + ":user/" + name + " is not authorized to perform: " + n.action
	switch n.shown {
	case "unnamed":
		return accessDenied(text + " " + why)
	case "blob":
		return accessDenied(text + " on the resource associated with this ciphertext" + threeReasons)
	}
	return accessDenied(text + " on resource: " + n.on + " " + why)
}

func (n need) noneBy(name, policies string) outcome {
	return n.refusal("111122223333", name, "because no "+policies+" policy allows the "+n.action+" action")
}

// policiesFor allows each need by a policy of its own, and nothing else.
func policiesFor(needs []need) (out []string) {
	for _, n := range needs {
		out = append(out, allowing(n.action, n.on, ""))
	}
	return out
}

// eachPermission runs a test for every row, in a place of its own.
func eachPermission(t *testing.T, f func(t *testing.T, row *permissionCase)) {
	for i := range permissionCases {
		row := &permissionCases[i]
		t.Run(row.op+" "+row.body, func(t *testing.T) {
			t.Parallel()
			f(t, row)
		})
	}
}

// A user whose policies allow exactly what the row says may call; without any one of
// that the answer names it.
func TestPermissionsByIdentityPolicies(t *testing.T) {
	t.Parallel()
	eachPermission(t, func(t *testing.T, row *permissionCase) {
		for missing := range len(row.needs) + 1 {
			r := newRights(t, row.op)
			needs := r.needs(row)
			want, have := success, needs
			if missing < len(needs) {
				want, have = needs[missing].noneBy("alice", "identity-based"), slices.Delete(slices.Clone(needs), missing, missing+1)
			}
			who, _ := r.NewUser(t, testkit.Account, "alice", policiesFor(have)...)
			wantOutcome(t, r.Call(t, who, row.op, fill(row.body, r.names...)), want)
		}
	})
}

// A key's policy grants what is checked against the key, and nothing else.
func TestPermissionsByKeyPolicies(t *testing.T) {
	t.Parallel()
	eachPermission(t, func(t *testing.T, row *permissionCase) {
		r := newRights(t, row.op)
		others := slices.DeleteFunc(r.needs(row), need.onKey)
		who, _ := r.NewUser(t, testkit.Account, "alice")
		with, _ := r.NewUser(t, testkit.Account, "bob", policiesFor(others)...)
		r.keys = append(r.keys, fill("$PENDING", r.names...))
		r.letIn(t, `{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/alice","arn:aws:iam::111122223333:user/bob"]},"Action":"kms:*","Resource":"*"}`)
		if len(others) > 0 {
			wantOutcome(t, r.Call(t, who, row.op, fill(row.body, r.names...)), others[0].noneBy("alice", "identity-based"))
		}
		want := success
		if row.unlet {
			want = r.needs(row)[0].noneBy("bob", "identity-based")
		}
		wantOutcome(t, r.Call(t, with, row.op, fill(row.body, r.names...)), want)
	})
}

// Identity policies count on a key as far as the key's policy lets them in.
func TestPermissionsWithoutDelegation(t *testing.T) {
	t.Parallel()
	eachPermission(t, func(t *testing.T, row *permissionCase) {
		r := newRights(t, row.op)
		who, _ := r.NewUser(t, testkit.Account, "alice", allowing("kms:*", "*", ""))
		r.NewUser(t, testkit.Account, "bob")
		for _, key := range append(r.keys, fill("$PENDING", r.names...)) {
			policy := `{"Version":"2012-10-17","Statement":[` + lets("Allow", "arn:aws:iam::111122223333:user/bob", "kms:*", "") + `]}`
			r.Must(t, "PutKeyPolicy", obj{"KeyId": key, "Policy": policy, "BypassPolicyLockoutSafetyCheck": true})
		}
		want, needs := success, r.needs(row)
		if i := slices.IndexFunc(needs, need.onKey); i >= 0 && !row.unlet {
			want = needs[i].noneBy("alice", "resource-based")
		}
		wantOutcome(t, r.Call(t, who, row.op, fill(row.body, r.names...)), want)
	})
}

// Callers of another account that the key's policy lets in may call what AWS lets
// accounts share, if their own policies allow it, too; of everything else they hear
// what they would of a key that does not exist.
func TestPermissionsAcrossAccounts(t *testing.T) {
	t.Parallel()
	eachPermission(t, func(t *testing.T, row *permissionCase) {
		if !strings.Contains(row.body, "$KEY") && !strings.Contains(row.body, "$PENDING") && !strings.Contains(row.body, "$BLOB") {
			return // it names no key, or an alias of the caller's own account
		}
		for _, let := range []bool{true, false} {
			r := newRights(t, row.op)
			who, _ := r.NewUser(t, testkit.OtherAccount, "xaver", allowing("kms:*", "*", ""))
			none, _ := r.NewUser(t, testkit.OtherAccount, "none")
			denied, _ := r.NewUser(t, testkit.OtherAccount, "denied", strings.Replace(allowing("kms:*", "*", ""), "Allow", "Deny", 1))
			if let {
				r.keys = append(r.keys, fill("$PENDING", r.names...))
				r.letIn(t, lets("Allow", "444455556666", "kms:*", ""))
			}
			body := fill(fill(row.body, "$KEY", "$ARN", "$SECOND", "$SECONDARN", "$PENDING", "$PENDINGARN"), r.names...)
			first := need{"kms:" + row.op, testkit.ARN(r.keys[0]), ""}
			if i := slices.IndexFunc(r.needs(row), need.onKey); i >= 0 {
				first = r.needs(row)[i]
			}
			three := func(name string) outcome {
				return first.refusal("444455556666", name, strings.TrimPrefix(threeReasons, " "))
			}
			if !row.x || !let || row.unlet {
				wantOutcome(t, r.Call(t, who, row.op, body), three("xaver"))
				if row.op != "CreateAlias" && row.op != "ListAliases" {
					wantOutcome(t, r.Call(t, denied, row.op, body), three("denied"))
				}
				continue
			}
			wantOutcome(t, r.Call(t, who, row.op, body), success)
			wantOutcome(t, r.Call(t, none, row.op, body), first.refusal("444455556666", "none", "because no identity-based policy allows the "+first.action+" action"))
			wantOutcome(t, r.Call(t, denied, row.op, body), first.refusal("444455556666", "denied", "with an explicit deny in an identity-based policy"))
		}
	})
}

// Actions on no key need a policy on everything: the ARN of keys does not cover them.
func TestPermissionsOnNothing(t *testing.T) {
	t.Parallel()
	eachPermission(t, func(t *testing.T, row *permissionCase) {
		r := newRights(t, row.op)
		first := r.needs(row)[0]
		if first.on != "*" {
			return
		}
		who, _ := r.NewUser(t, testkit.Account, "alice", allowing("kms:*", "arn:aws:kms:*:111122223333:*", ""))
		wantOutcome(t, r.Call(t, who, row.op, fill(row.body, r.names...)), first.noneBy("alice", "identity-based"))
	})
}

// What does not exist in the caller's own account is told even to whom nothing is
// allowed; in another account it never is (AWS KMS: "Key access").
func TestExistenceInTheOwnAccount(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	nobody, _ := s.NewUser(t, testkit.Account, "nobody")
	const none = "1234abcd-12ab-34cd-56ef-1234567890ab"
	noKey := notFound("Key '" + testkit.ARN(none) + "' does not exist")
	noAlias := notFound("Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found.")
	for _, c := range []struct {
		op   string
		body obj
		want outcome
	}{
		{"DescribeKey", obj{"KeyId": none}, noKey},
		{"DescribeKey", obj{"KeyId": testkit.ARN(none)}, noKey},
		{"DescribeKey", obj{"KeyId": "alias/none"}, noAlias},
		{"DisableKey", obj{"KeyId": none}, noKey},
		{"CreateAlias", obj{"AliasName": "alias/new", "TargetKeyId": none}, noKey},
		{"UpdateAlias", obj{"AliasName": "alias/none", "TargetKeyId": key}, noAlias},
		{"DeleteAlias", obj{"AliasName": "alias/none"}, noAlias},
		{"DescribeKey", obj{"KeyId": testkit.OtherARN(none)}, accessDenied("User: arn:aws:iam::111122223333:user/nobody is not authorized to perform: kms:DescribeKey on resource: " + testkit.OtherARN(none) + threeReasons)},
	} {
		wantOutcome(t, s.Call(t, nobody, c.op, c.body), c.want)
	}
}
