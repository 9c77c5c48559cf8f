package kmsapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// decision is a worked example of AWS's authorization, by its number in appendix A.2 of
// the behaviour document. $KEY is a key of Account with the alias alias/app and the tag
// env=dev, $DEST another one. The callers are U and V, users of Account, S, the session
// s of its role R, X, a user of OtherAccount, and root, Account's root user.
type decision struct {
	n int
	// policy is the key's; empty for the default one.
	policy string
	who    string
	// identity, boundary and session are policies of the caller.
	identity, boundary, session string
	// grant is the body of a CreateGrant for the key, but for KeyId; empty without one.
	grant    string
	op, body string
	// want is how a refusal goes on after the action; empty where the call is allowed.
	want string
	// action is what the refusal names, the operation's own if it is empty.
	action string
	// malformed is the text of a MalformedPolicyDocumentException.
	malformed string
}

const (
	noIdentity   = " on resource: $ARN because no identity-based policy allows the $ACTION action"
	noResource   = " on resource: $ARN because no resource-based policy allows the $ACTION action"
	noSession    = " on resource: $ARN because no session policy allows the $ACTION action"
	noBoundary   = " on resource: $ARN because no permissions boundary allows the $ACTION action"
	deniesOwn    = " on resource: $ARN with an explicit deny in an identity-based policy"
	deniesKey    = " on resource: $ARN with an explicit deny in a resource-based policy"
	three        = " on resource: $ARN" + threeReasons
	decryptByID  = `{"KeyId":"$KEY","CiphertextBlob":"$BLOB"}`
	decryptByARN = `{"KeyId":"$ARN","CiphertextBlob":"$BLOB"}`

	userU = "arn:aws:iam::111122223333:user/U"
	rootA = "arn:aws:iam::111122223333:root"
	rootX = "arn:aws:iam::444455556666:root"
	userX = "arn:aws:iam::444455556666:user/X"

	subsetA = `"EncryptionContextSubset":{"a":"1"}`
	equalsA = `"EncryptionContextEquals":{"a":"1"}`
)

// operationsTo are the parameters of a grant.
func operationsTo(grantee, operations string) string {
	return `"GranteePrincipal":"` + grantee + `","Operations":["` + strings.ReplaceAll(operations, " ", `","`) + `"]`
}

func decryptTo(grantee string) string { return operationsTo(grantee, "Decrypt") }

func passedTo(grantee string) string { return operationsTo(grantee, "CreateGrant Decrypt") }

// within adds a constraint to the parameters of a grant.
func within(grant, constraint string) string { return grant + `,"Constraints":{` + constraint + `}` }

// grantOf is the body of a CreateGrant.
func grantOf(grant string) string { return `{"KeyId":"$KEY",` + grant + `}` }

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

var (
	allKMS       = allowing("kms:*", "*", "")
	noKMS        = allowing("s3:*", "*", "")
	denyKMS      = strings.Replace(allKMS, "Allow", "Deny", 1)
	decryptK     = allowing("kms:Decrypt", "$ARN", "")
	onlyU        = policyOf(lets("Allow", userU, "kms:Decrypt", ""))
	deniedToAll  = policyOf(lets("Allow", rootA, "kms:*", ""), lets("Deny", rootA, "kms:Decrypt", ""))
	sharedWithX  = policyOf(lets("Allow", rootA, "kms:*", ""), lets("Allow", rootX, "kms:*", ""))
	unlessApp    = policyOf(lets("Allow", rootA, "kms:*", ""), lets("Deny", rootA, "kms:*", condition("StringNotEquals", "kms:EncryptionContext:app", "x")))
	byRequest    = policyOf(lets("Allow", userU, "kms:Decrypt", condition("StringEquals", "kms:RequestAlias", "alias/app")))
	toEverybody  = policyOf(lets("Allow", "*", "kms:Decrypt", ""))
	dev          = condition("StringEquals", "aws:ResourceTag/env", "dev")
	onlyV        = policyOf(lets("Allow", "arn:aws:iam::111122223333:user/V", "kms:*", ""))
	delegating   = policyOf(lets("Allow", rootA, "kms:*", ""))
	lockedOut    = "The new key policy will not allow you to update the key policy in the future."
	withoutCheck = func(operator string) string {
		return allowing("kms:PutKeyPolicy", "*", condition(operator, "kms:BypassPolicyLockoutSafetyCheck", "false"))
	}
)

// put is the body of a PutKeyPolicy.
func put(policy, more string) string {
	return `{"KeyId":"$KEY","Policy":"` + strings.ReplaceAll(policy, `"`, `\"`) + `"` + more + `}`
}

var decisions = []decision{
	{n: 1, who: "U", op: "Decrypt", body: decryptByID, want: noIdentity},
	{n: 2, who: "U", identity: decryptK, op: "Decrypt", body: decryptByID},
	{n: 3, who: "root", op: "Decrypt", body: decryptByID},
	{n: 3, who: "root", op: "PutKeyPolicy", body: put(delegating, "")},
	{n: 3, who: "root", op: "ScheduleKeyDeletion", body: byID},
	{n: 4, policy: onlyU, who: "U", op: "Decrypt", body: decryptByID},
	{n: 5, policy: onlyU, who: "V", identity: allKMS, op: "Decrypt", body: decryptByID, want: noResource},
	{n: 6, policy: onlyU, who: "root", op: "PutKeyPolicy", body: put(delegating, ""), want: noResource},
	{n: 7, policy: onlyU, who: "U", identity: denyKMS, op: "Decrypt", body: decryptByID, want: deniesOwn},
	{n: 8, policy: deniedToAll, who: "U", identity: allKMS, op: "Decrypt", body: decryptByID, want: deniesKey},
	{n: 8, policy: deniedToAll, who: "S", identity: allKMS, op: "Decrypt", body: decryptByID, want: deniesKey},
	{n: 8, policy: deniedToAll, who: "root", op: "Decrypt", body: decryptByID, want: deniesKey},
	{n: 8, policy: deniedToAll, grant: decryptTo(userU), who: "U", op: "Decrypt", body: decryptByID, want: deniesKey},
	{n: 9, policy: policyOf(lets("Allow", rootA, "kms:*", condition("StringEquals", "kms:ViaService", "s3.us-east-1.amazonaws.com"))), who: "U", identity: allKMS, op: "Decrypt", body: decryptByID, want: noResource},
	{n: 10, policy: policyOf(lets("Allow", "arn:aws:iam::111122223333:role/R", "kms:*", "")), who: "S", session: noKMS, op: "Decrypt", body: decryptByID, want: noSession},
	{n: 11, policy: policyOf(lets("Allow", "arn:aws:sts::111122223333:assumed-role/R/s", "kms:*", "")), who: "S", session: noKMS, op: "Decrypt", body: decryptByID},
	{n: 12, policy: onlyU, who: "U", boundary: noKMS, op: "Decrypt", body: decryptByID},
	{n: 13, who: "U", identity: allKMS, boundary: noKMS, op: "Decrypt", body: decryptByID, want: noBoundary},
	{n: 14, policy: sharedWithX, who: "X", op: "Decrypt", body: decryptByARN, want: noIdentity},
	{n: 14, policy: sharedWithX, who: "X", identity: decryptK, op: "Decrypt", body: decryptByARN},
	{n: 15, policy: policyOf(lets("Allow", "arn:aws:iam::444455556666:user/X", "kms:*", "")), who: "X", op: "Decrypt", body: decryptByARN, want: noIdentity},
	{n: 16, who: "X", identity: allKMS, op: "Decrypt", body: decryptByARN, want: three},
	{n: 17, policy: sharedWithX, who: "X", identity: allKMS, op: "DisableKey", body: `{"KeyId":"$ARN"}`, want: three},
	{n: 17, policy: sharedWithX, who: "X", identity: allKMS, op: "TagResource", body: `{"KeyId":"$ARN","Tags":[]}`, want: three},
	{n: 17, policy: sharedWithX, who: "X", identity: allKMS, op: "GetKeyPolicy", body: `{"KeyId":"$ARN"}`, want: three},
	{n: 18, policy: sharedWithX, who: "X", identity: allowing("kms:Decrypt", "*", ""), op: "Decrypt", body: decryptByID},
	{n: 19, grant: decryptTo(userX), who: "X", op: "Decrypt", body: decryptByARN},
	{n: 20, grant: decryptTo(rootX), who: "X", op: "Decrypt", body: decryptByARN, want: noIdentity},
	{n: 20, grant: decryptTo(rootX), who: "X", identity: decryptK, op: "Decrypt", body: decryptByARN},
	{n: 21, grant: within(decryptTo(userU), subsetA), who: "U", op: "Decrypt", body: `{"CiphertextBlob":"$AB","KeyId":"$KEY","EncryptionContext":{"a":"1","b":"2"}}`},
	{n: 21, grant: within(decryptTo(userU), subsetA), who: "U", op: "Decrypt", body: decryptByID, want: noIdentity},
	{n: 21, grant: within(decryptTo(userU), subsetA), who: "U", op: "Decrypt", body: `{"CiphertextBlob":"$CAPITAL","KeyId":"$KEY","EncryptionContext":{"A":"1"}}`, want: noIdentity},
	{n: 22, grant: within(decryptTo(userU), equalsA), who: "U", op: "Decrypt", body: `{"CiphertextBlob":"$AB","KeyId":"$KEY","EncryptionContext":{"a":"1","b":"2"}}`, want: noIdentity},
	{n: 23, grant: within(passedTo(userU), subsetA), who: "U", op: "CreateGrant", body: grantOf(within(decryptTo(userX), `"EncryptionContextEquals":{"a":"1","c":"3"}`))},
	{n: 23, grant: within(passedTo(userU), subsetA), who: "U", op: "CreateGrant", body: grantOf(decryptTo(userX)), want: noIdentity},
	{n: 23, grant: within(passedTo(userU), subsetA), who: "U", op: "CreateGrant", body: grantOf(within(operationsTo(userX, "Encrypt"), subsetA)), want: noIdentity},
	{n: 24, policy: policyOf(lets("Allow", userU, "kms:CreateGrant", condition("Bool", "kms:GrantIsForAWSResource", "true"))), who: "U", op: "CreateGrant", body: grantOf(decryptTo(userX)), want: noResource},
	{n: 25, policy: unlessApp, who: "U", identity: allKMS, op: "Encrypt", body: `{"KeyId":"$KEY","Plaintext":"AA=="}`, want: deniesKey},
	{n: 25, policy: unlessApp, who: "U", identity: allKMS, op: "Encrypt", body: `{"KeyId":"$KEY","Plaintext":"AA==","EncryptionContext":{"app":"x"}}`},
	{n: 26, policy: unlessApp, who: "U", identity: allKMS, op: "DescribeKey", body: byID, want: deniesKey},
	{n: 27, policy: byRequest, who: "U", op: "Decrypt", body: `{"KeyId":"alias/app","CiphertextBlob":"$BLOB"}`},
	{n: 27, policy: byRequest, who: "U", op: "Decrypt", body: decryptByID, want: noResource},
	{n: 28, who: "U", identity: allowing("kms:Decrypt", "*", dev), op: "Decrypt", body: decryptByID},
	{n: 28, policy: policyOf(lets("Allow", userU, "kms:Decrypt", dev)), who: "U", op: "Decrypt", body: decryptByID, want: noResource},
	{n: 29, who: "U", identity: allowing("kms:CreateAlias", "arn:aws:kms:us-east-1:111122223333:alias/*", ""), op: "CreateAlias", body: `{"AliasName":"alias/new","TargetKeyId":"$KEY"}`, want: noIdentity},
	{n: 30, policy: toEverybody, who: "U", op: "Decrypt", body: decryptByID},
	{n: 30, policy: toEverybody, who: "X", op: "Decrypt", body: decryptByARN, want: noIdentity},
	{n: 30, policy: toEverybody, who: "X", identity: decryptK, op: "Decrypt", body: decryptByARN},
	{n: 31, who: "U", identity: allowing("kms:ReEncrypt*", "$ARN", ""), op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$DEST"}`, action: "kms:ReEncryptTo",
		want: " on resource: $TOARN because no identity-based policy allows the kms:ReEncryptTo action"},
	{n: 32, who: "U", identity: allowing("kms:CreateKey", "*", ""), op: "CreateKey", body: newTags, action: "kms:TagResource", want: " because no identity-based policy allows the kms:TagResource action"},
	{n: 33, who: "U", identity: allKMS, op: "PutKeyPolicy", body: put(onlyV, ""), malformed: lockedOut},
	{n: 33, who: "U", identity: allKMS, op: "PutKeyPolicy", body: put(onlyV, `,"BypassPolicyLockoutSafetyCheck":true`)},
	{n: 34, who: "U", identity: allKMS, op: "PutKeyPolicy", body: put(delegating, "")},
	{n: 35, who: "U", identity: withoutCheck("Bool"), op: "PutKeyPolicy", body: put(delegating, ""), want: noIdentity},
	{n: 35, who: "U", identity: withoutCheck("BoolIfExists"), op: "PutKeyPolicy", body: put(delegating, "")},
}

// Each of the 35 decisions stands in the table.
func TestDecisionsAreComplete(t *testing.T) {
	t.Parallel()
	has := map[int]bool{}
	for _, d := range decisions {
		has[d.n] = true
	}
	for n := 1; n <= 35; n++ {
		if !has[n] {
			t.Errorf("%d is not in the table", n)
		}
	}
}

// stage is where decisions are taken.
type stage struct {
	*testkit.Solo
	callers map[string]testkit.Caller
	arns    map[string]string
	names   []string
}

// newStage makes the keys and the callers, of whom one has the decision's policies.
func newStage(t *testing.T, d *decision) *stage {
	s := &stage{Solo: testkit.Start(t), callers: map[string]testkit.Caller{"root": testkit.Root}, arns: map[string]string{"root": rootA}}
	key, dest := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	s.Must(t, "TagResource", obj{"KeyId": key, "Tags": []obj{{"TagKey": "env", "TagValue": "dev"}}})
	s.names = []string{"$KEY", key, "$ARN", testkit.ARN(key), "$DEST", dest, "$TOARN", testkit.ARN(dest), "$BLOB", s.NewBlob(t, key)}
	for name, account := range map[string]string{"U": testkit.Account, "V": testkit.Account, "X": testkit.OtherAccount} {
		who, id := s.NewUser(t, account, name, s.identityOf(d, name)...)
		s.bound(t, d, name, account, id)
		s.callers[name], s.arns[name] = who, "arn:aws:iam::"+account+":user/"+name
	}
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "R", s.identityOf(d, "S")...)
	session := service.Token{Type: kms.PrincipalAssumedRole, Subject: role.ID, Name: "s"}
	if d.session != "" {
		session.Policies = []string{d.session}
	}
	s.callers["S"], s.arns["S"] = sessionOf(t, s.Solo, session), "arn:aws:sts::111122223333:assumed-role/R/s"
	s.grant(t, d, key)
	if d.policy != "" {
		s.Must(t, "PutKeyPolicy", obj{"KeyId": key, "Policy": d.policy, "BypassPolicyLockoutSafetyCheck": true})
	}
	return s
}

// grant makes the decision's grant, and ciphertexts under contexts: {"a":"1","b":"2"},
// and {"A":"1"}.
func (s *stage) grant(t *testing.T, d *decision, key string) {
	if d.grant == "" {
		return
	}
	s.Must(t, "CreateGrant", fill(grantOf(d.grant), s.names...))
	for name, context := range map[string]obj{"$AB": {"a": "1", "b": "2"}, "$CAPITAL": {"A": "1"}} {
		made := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionContext": context})
		s.names = append(s.names, name, made["CiphertextBlob"].(string))
	}
}

func (s *stage) identityOf(d *decision, name string) []string {
	if d.who != name || d.identity == "" {
		return nil
	}
	return []string{fill(d.identity, s.names...)}
}

func (s *stage) bound(t *testing.T, d *decision, name, account, id string) {
	if d.who != name || d.boundary == "" {
		return
	}
	arn := s.NewManagedPolicy(t, account, "Boundary", d.boundary)
	s.Change(t, id, func(i *fsm.Identity) { i.Boundary = arn })
}

// The worked examples of appendix A.2, through the whole pipeline.
func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, d := range decisions {
		t.Run(fmt.Sprintf("%02d %s %s", d.n, d.who, d.op), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, &d)
			action := d.action
			if action == "" {
				action = "kms:" + d.op
			}
			want := success
			switch {
			case d.malformed != "":
				want = outcome{"MalformedPolicyDocumentException", d.malformed}
			case d.want != "":
				want = accessDenied("User: " + s.arns[d.who] + " is not authorized to perform: " + action + fill(d.want, append(s.names, "$ACTION", action)...))
			}
			wantOutcome(t, s.Call(t, s.callers[d.who], d.op, fill(d.body, s.names...)), want)
		})
	}
}
