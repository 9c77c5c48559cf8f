package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// retiring is a place with callers who may retire a grant or not, by their names.
type retiring struct {
	*testkit.Solo
	key     string
	callers map[string]testkit.Caller
	arns    map[string]string
}

func newRetiring(t *testing.T) *retiring {
	s := testkit.Start(t)
	r := &retiring{Solo: s, key: s.NewKey(t), callers: map[string]testkit.Caller{"root": testkit.Root, "other root": testkit.Other},
		arns: map[string]string{"root": rootA, "other root": rootX}}
	third := newAccount(t, s)
	r.callers["third root"], r.arns["third root"] = third, "arn:aws:iam::"+thirdAccount+":root"
	retire := allowing("kms:RetireGrant", "*", "")
	for name, account := range map[string]string{"alice": testkit.Account, "bob": testkit.Account, "delegate": testkit.Account, "xaver": testkit.OtherAccount, "their delegate": testkit.OtherAccount} {
		var policies []string
		if strings.HasSuffix(name, "delegate") {
			policies = []string{retire}
		}
		user := strings.ReplaceAll(name, " ", "-")
		r.callers[name], _ = s.NewUser(t, account, user, policies...)
		r.arns[name] = "arn:aws:iam::" + account + ":user/" + user
	}
	role := s.NewIdentity(t, fsm.KindRole, testkit.Account, "App")
	r.callers["session"] = sessionOf(t, s, service.Token{Type: kms.PrincipalAssumedRole, Subject: role.ID, Name: "s"})
	r.arns["session"] = "arn:aws:sts::111122223333:assumed-role/App/s"
	return r
}

// Who may retire a grant (§5.5): whom it names as its retiring principal, its grantee if
// it permits that, and the accounts that own the key, made the grant or are named, by
// their root users and by whom these let. Nobody else, whatever a key policy says.
func TestWhoMayRetire(t *testing.T) {
	t.Parallel()
	const user, role = "arn:aws:iam::111122223333:user/", "arn:aws:iam::111122223333:role/App"
	for _, c := range []struct {
		name string
		by   string // who makes the grant
		more obj
		may  string
	}{
		{"nobody named", "root", nil, "root, delegate"},
		{"the grantee, who is not let", "root", obj{"GranteePrincipal": user + "alice", "Operations": []string{"Decrypt"}}, "root, delegate"},
		{"the grantee, who is let", "root", obj{"GranteePrincipal": user + "alice", "Operations": []string{"RetireGrant"}}, "root, delegate, alice"},
		{"a role that is let", "root", obj{"GranteePrincipal": role, "Operations": []string{"RetireGrant"}}, "root, delegate, session"},
		{"a user to retire", "root", obj{"RetiringPrincipal": user + "bob"}, "root, delegate, bob"},
		{"a role to retire", "root", obj{"RetiringPrincipal": role}, "root, delegate, session"},
		{"a session to retire", "root", obj{"RetiringPrincipal": "arn:aws:sts::111122223333:assumed-role/App/s"}, "root, delegate, session"},
		{"another session to retire", "root", obj{"RetiringPrincipal": "arn:aws:sts::111122223333:assumed-role/App/other"}, "root, delegate"},
		{"a user of another account to retire", "root", obj{"RetiringPrincipal": "arn:aws:iam::444455556666:user/xaver"}, "root, delegate, xaver"},
		{"another account to retire", "root", obj{"RetiringPrincipal": "444455556666"}, "root, delegate, other root, their delegate"},
		{"another account that is let", "root", obj{"GranteePrincipal": "444455556666", "Operations": []string{"RetireGrant", "Decrypt"}}, "root, delegate, other root, their delegate"},
		{"another account that is not let", "root", obj{"GranteePrincipal": "444455556666"}, "root, delegate"},
		{"another account made it", "other root", nil, "root, delegate, other root, their delegate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRetiring(t)
			arn := testkit.ARN(r.key)
			setPolicy(t, r.Solo, r.key, lets("Allow", "*", "kms:RetireGrant", ""), lets("Allow", testkit.OtherAccount, "kms:CreateGrant", ""))
			made := r.MustAs(t, r.callers[c.by], "CreateGrant", with(granting(arn, testkit.Account, "Decrypt"), c.more))
			byID, byToken := obj{"KeyId": arn, "GrantId": made["GrantId"]}, obj{"GrantToken": made["GrantToken"]}
			may := strings.Split(c.may, ", ")
			for name, who := range r.callers {
				if slices.Contains(may, name) {
					wantOutcome(t, r.Call(t, who, "RetireGrant", with(byID, obj{"DryRun": true})), dryRun)
					wantOutcome(t, r.Call(t, who, "RetireGrant", with(byToken, obj{"DryRun": true})), dryRun)
					continue
				}
				account := strings.Split(r.arns[name], ":")[4]
				refusal := "User: " + r.arns[name] + " is not authorized to perform: kms:RetireGrant on "
				onKey := refusal + "resource: " + arn
				own := onKey + " because no identity-based policy allows the kms:RetireGrant action"
				wantID, wantToken := onKey+threeReasons, refusal+"the resource associated with this grant token"+threeReasons
				if account == testkit.Account {
					wantID, wantToken = own, own
				} else if account == testkit.OtherAccount && slices.Contains(may, "other root") {
					wantID = own
				}
				wantOutcome(t, r.Call(t, who, "RetireGrant", byID), accessDenied(wantID))
				wantOutcome(t, r.Call(t, who, "RetireGrant", byToken), accessDenied(wantToken))
			}
			wantOutcome(t, r.Call(t, r.callers[may[len(may)-1]], "RetireGrant", byToken), success)
			wantOutcome(t, r.Call(t, testkit.Root, "RetireGrant", byToken), noToken)
			wantOutcome(t, r.Call(t, testkit.Root, "RetireGrant", byID), notFound("Grant ID "+made["GrantId"].(string)+" not found"))
		})
	}
}

// What RetireGrant and RevokeGrant refuse, and that a denial counts more than a right.
func TestRetireRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	made := s.Must(t, "CreateGrant", granting(key, testkit.Account, "Decrypt"))
	id, token := made["GrantId"].(string), made["GrantToken"].(string)
	badID, which := outcome{"InvalidGrantIdException", "The grant ID is not valid."}, validation("You must specify either GrantToken, or both KeyId and GrantId.")
	noKey := notFound("Key '" + testkit.ARN("1234abcd-12ab-34cd-56ef-1234567890ab") + "' does not exist")
	before := s.Prune(t)
	for _, row := range []struct {
		op   string
		body obj
		want outcome
	}{
		{"RetireGrant", obj{}, which}, {"RetireGrant", obj{"KeyId": key}, which}, {"RetireGrant", obj{"GrantId": id}, which},
		{"RetireGrant", obj{"GrantToken": token, "KeyId": key}, which}, {"RetireGrant", obj{"GrantToken": token, "GrantId": id}, which},
		{"RetireGrant", obj{"GrantToken": token, "GrantId": id, "KeyId": key}, which},
		{"RetireGrant", obj{"KeyId": key, "GrantId": "x"}, badID}, {"RetireGrant", obj{"KeyId": key, "GrantId": strings.ToUpper(strings.Repeat("a", 64))}, badID},
		{"RetireGrant", obj{"KeyId": key, "GrantId": noGrant}, notFound("Grant ID " + noGrant + " not found")},
		{"RetireGrant", obj{"KeyId": other, "GrantId": id}, notFound("Grant ID " + id + " not found")},
		{"RetireGrant", obj{"KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab", "GrantId": id}, noKey},
		{"RetireGrant", obj{"KeyId": "alias/app", "GrantId": id}, notFound("Invalid keyId 'alias/app'")},
		{"RetireGrant", obj{"KeyId": "arn:aws:s3:::x", "GrantId": id}, outcome{"InvalidArnException", "Invalid arn arn:aws:s3:::x"}},
		{"RetireGrant", obj{"GrantToken": "x"}, noToken}, {"RetireGrant", obj{"GrantToken": token[1:]}, noToken}, {"RetireGrant", obj{"GrantToken": strings.Repeat("A", 8192)}, noToken},
		{"RetireGrant", obj{"GrantToken": token, "DryRun": true}, dryRun},
		{"RevokeGrant", obj{"KeyId": key, "GrantId": "x"}, badID},
		{"RevokeGrant", obj{"KeyId": key, "GrantId": noGrant}, notFound("Grant ID " + noGrant + " not found")},
		{"RevokeGrant", obj{"KeyId": other, "GrantId": id}, notFound("Grant ID " + id + " not found")},
		{"RevokeGrant", obj{"KeyId": "arn:aws:s3:::x", "GrantId": id}, outcome{"InvalidArnException", "Invalid arn arn:aws:s3:::x"}},
		{"RevokeGrant", obj{"KeyId": key, "GrantId": id, "DryRun": true}, dryRun},
	} {
		t.Run(row.op, func(t *testing.T) { wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), row.want) })
	}
	wantOutcome(t, s.Call(t, testkit.Root.In("eu-west-1"), "RetireGrant", obj{"GrantToken": token}), noToken)
	if s.Prune(t) != before {
		t.Error("refused calls changed the state")
	}
	setPolicy(t, s, key, lets("Deny", rootA, "kms:RetireGrant", ""))
	denied := accessDenied("User: arn:aws:iam::111122223333:root is not authorized to perform: kms:RetireGrant on resource: " + testkit.ARN(key) + " with an explicit deny in a resource-based policy")
	wantOutcome(t, s.Call(t, testkit.Root, "RetireGrant", obj{"GrantToken": token}), denied)
	wantOutcome(t, s.Call(t, testkit.Root, "RevokeGrant", obj{"KeyId": key, "GrantId": id}), success)
}

// Whoever lacks rights on another account's key does not learn by RetireGrant what
// there is.
func TestRetireTellsNoExistence(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	id := newGrant(t, s, key, testkit.Account, "Decrypt")
	for _, arn := range []string{testkit.ARN(key), testkit.ARN("1234abcd-12ab-34cd-56ef-1234567890ab")} {
		for _, grant := range []string{id, noGrant} {
			wantOutcome(t, s.Call(t, testkit.Other, "RetireGrant", obj{"KeyId": arn, "GrantId": grant}), deniedTo(testkit.OtherAccount, "kms:RetireGrant", arn))
		}
	}
}

// A grant ends at once, for calls with its token, too; those of other grants go on.
func TestGrantsEnd(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	const arn = "arn:aws:iam::111122223333:user/alice"
	denied := deniedUser("alice", "kms:Encrypt", testkit.ARN(key), "because no identity-based policy allows the kms:Encrypt action")
	for _, end := range []string{"RetireGrant", "RevokeGrant"} {
		made, again := s.Must(t, "CreateGrant", granting(key, arn, "Encrypt")), s.Must(t, "CreateGrant", granting(key, arn, "Encrypt"))
		token := obj{"GrantTokens": []any{made["GrantToken"]}}
		encrypt := obj{"KeyId": key, "Plaintext": "AA=="}
		wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), success)
		wantOutcome(t, s.Call(t, alice, "Encrypt", with(encrypt, token)), success)
		wantOutcome(t, s.Call(t, testkit.Root, end, obj{"KeyId": key, "GrantId": made["GrantId"]}), success)
		wantOutcome(t, s.Call(t, alice, "Encrypt", with(encrypt, token)), noToken)
		wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), success)
		wantOutcome(t, s.Call(t, testkit.Root, end, obj{"KeyId": key, "GrantId": again["GrantId"]}), success)
		wantOutcome(t, s.Call(t, alice, "Encrypt", encrypt), denied)
	}
	newGrant(t, s, key, arn, "Encrypt")
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7})
	if len(entries(t, s, key)) != 1 {
		t.Error("a scheduled deletion took the grant away")
	}
}

// Tokens are of grants: those of another key's are ignored, whoever presents them.
func TestGrantTokensOfOtherKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	mine := s.Must(t, "CreateGrant", granting(key, "arn:aws:iam::111122223333:user/alice", "Encrypt"))
	theirs := s.Must(t, "CreateGrant", granting(other, testkit.Account, "Encrypt"))
	denied := deniedUser("alice", "kms:Encrypt", testkit.ARN(other), "because no identity-based policy allows the kms:Encrypt action")
	for _, row := range []struct {
		key    string
		tokens []any
		want   outcome
	}{
		{key, []any{mine["GrantToken"]}, success}, {key, []any{theirs["GrantToken"]}, success}, {key, []any{theirs["GrantToken"], mine["GrantToken"]}, success},
		{other, []any{mine["GrantToken"]}, denied}, {other, []any{theirs["GrantToken"]}, denied}, {key, []any{mine["GrantToken"], "x"}, noToken},
	} {
		wantOutcome(t, s.Call(t, alice, "Encrypt", obj{"KeyId": row.key, "Plaintext": "AA==", "GrantTokens": row.tokens}), row.want)
	}
	elsewhere := s.MustAs(t, testkit.Root.In("eu-west-1"), "CreateKey", obj{})["KeyMetadata"].(obj)["KeyId"].(string)
	far := s.MustAs(t, testkit.Root.In("eu-west-1"), "CreateGrant", granting(elsewhere, testkit.Account, "Encrypt"))["GrantToken"]
	wantOutcome(t, s.Call(t, alice, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "GrantTokens": []any{far}}), success)
}

func TestListGrantsEntries(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	wantJSON(t, s.Must(t, "ListGrants", obj{"KeyId": key}), `{"Grants":[],"Truncated":false}`)
	s.NewUser(t, testkit.Account, "alice")
	s.Advance(time.Second)
	for _, row := range []struct {
		body obj
		want string
	}{
		{with(granting(key, "111122223333", "Decrypt"), obj{"Constraints": obj{"EncryptionContextSubset": obj{}}}),
			`{"KeyId":"$ARN","GrantId":"$ID","Name":"","CreationDate":1795521601.345,"GranteePrincipal":"arn:aws:iam::111122223333:root","IssuingAccount":"arn:aws:iam::111122223333:root","Operations":["Decrypt"]}`},
		{with(granting(testkit.ARN(key), "arn:aws:iam::111122223333:user/alice", "ReEncryptTo DescribeKey Encrypt"), obj{"Name": "n:/_-9", "RetiringPrincipal": "444455556666",
			"Constraints": obj{"EncryptionContextEquals": obj{"b": "2", "a": "1"}, "SourceArn": "arn:aws:s3:us-east-1:111122223333:bucket"}}),
			`{"KeyId":"$ARN","GrantId":"$ID","Name":"n:/_-9","CreationDate":1795521601.345,"GranteePrincipal":"arn:aws:iam::111122223333:user/alice","RetiringPrincipal":"arn:aws:iam::444455556666:root",
				"IssuingAccount":"arn:aws:iam::111122223333:root","Operations":["Encrypt","ReEncryptTo","DescribeKey"],
				"Constraints":{"EncryptionContextEquals":{"a":"1","b":"2"},"SourceArn":"arn:aws:s3:us-east-1:111122223333:bucket"}}`},
		{parse(t, fill(serviceGrant, "$KEY", key)),
			`{"KeyId":"$ARN","GrantId":"$ID","Name":"","CreationDate":1795521601.345,"GranteeServicePrincipal":"s3.amazonaws.com","RetiringServicePrincipal":"ec2.amazonaws.com",
				"IssuingAccount":"arn:aws:iam::111122223333:root","Operations":["Decrypt"],"Constraints":{"SourceArn":"arn:aws:s3:us-east-1:999999999999:bucket"}}`},
	} {
		made := s.Must(t, "CreateGrant", row.body)
		id := made["GrantId"].(string)
		if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || len(made) != 2 {
			t.Errorf("CreateGrant answers %v", made)
		}
		wantJSON(t, s.Must(t, "ListGrants", obj{"KeyId": key, "GrantId": id}), fill(`{"Grants":[`+row.want+`],"Truncated":false}`, "$ARN", testkit.ARN(key), "$ID", id))
	}
}

func TestListGrantsPages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	s.NewUser(t, testkit.Account, "alice")
	const alice = "arn:aws:iam::111122223333:user/alice"
	var all, hers []string
	for i := range 101 {
		grantee := testkit.Account
		if i%3 == 0 {
			grantee = alice
		}
		id := s.Must(t, "CreateGrant", with(granting(key, grantee, []string{"Decrypt", "Encrypt"}[i%2]), obj{"Constraints": obj{"EncryptionContextSubset": obj{"i": fmt.Sprint(i)}}}))["GrantId"].(string)
		if all = append(all, id); i%3 == 0 {
			hers = append(hers, id)
		}
	}
	theirs := newGrant(t, s, other, alice, "Decrypt")
	slices.Sort(all)
	for limit, want := range map[any]string{nil: "50 50 1", 50: "50 50 1", 100: "100 1", 1000: "100 1"} {
		got := pages(t, s, "ListGrants", obj{"KeyId": key, "Limit": limit}, "Grants", "GrantId")
		if sizes(got) != want || !slices.Equal(slices.Concat(got...), all) {
			t.Errorf("Limit %v: pages of %s, want %s", limit, sizes(got), want)
		}
	}
	got := pages(t, s, "ListGrants", obj{"KeyId": key, "Limit": 10, "GranteePrincipal": alice}, "Grants", "GrantId")
	found := slices.Sorted(slices.Values(slices.Concat(got...)))
	if slices.Sort(hers); sizes(got) != "10 10 10 4" || !slices.Equal(found, hers) {
		t.Errorf("hers: pages of %s", sizes(got))
	}
	for _, row := range []struct {
		more obj
		want int
	}{
		{obj{"GrantId": hers[0]}, 1}, {obj{"GrantId": hers[0], "GranteePrincipal": alice}, 1}, {obj{"GrantId": hers[0], "GranteePrincipal": testkit.Account}, 0},
		{obj{"GrantId": theirs}, 0}, {obj{"GrantId": noGrant}, 0}, {obj{"GranteePrincipal": testkit.OtherAccount}, 0}, {obj{"GranteePrincipal": "AIDAEXAMPLEEXAMPLEEXA"}, 0},
	} {
		if got := s.Must(t, "ListGrants", with(obj{"KeyId": key, "Limit": 100}, row.more)); len(got["Grants"].([]any)) != row.want || got["Truncated"] != false {
			t.Errorf("%v: got %v", row.more, got)
		}
	}
	marker := s.Must(t, "ListGrants", obj{"KeyId": key, "Limit": 1})["NextMarker"].(string)
	bad := outcome{"InvalidMarkerException", "Could not deserialize marker '" + marker + "'"}
	for _, row := range []struct {
		op   string
		body obj
		want outcome
	}{
		{"ListGrants", obj{"KeyId": key, "Marker": marker}, success},
		{"ListGrants", obj{"KeyId": other, "Marker": marker}, bad},
		{"ListGrants", obj{"KeyId": key, "Marker": marker, "GranteePrincipal": alice}, bad},
		{"ListGrants", obj{"KeyId": key, "Marker": marker, "GrantId": hers[0]}, bad},
		{"ListRetirableGrants", obj{"RetiringPrincipal": testkit.Account, "Marker": marker}, bad},
		{"ListGrants", obj{"KeyId": key, "GrantId": "x"}, outcome{"InvalidGrantIdException", "The grant ID is not valid."}},
		{"ListGrants", obj{"KeyId": key, "GranteePrincipal": "arn:aws:iam::111122223333:user/nobody"}, noPrincipal("arn:aws:iam::111122223333:user/nobody")},
		{"ListGrants", obj{"KeyId": key, "GranteeServicePrincipal": "s3.amazonaws.com"}, validation("GranteeServicePrincipal can be used by service principals only.")},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), row.want)
	}
}

// The grants that a principal of one's own account may retire, on keys of all accounts
// of a Region.
func TestListRetirableGrants(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewUser(t, testkit.Account, "alice")
	s.NewIdentity(t, fsm.KindRole, testkit.Account, "App")
	const alice = "arn:aws:iam::111122223333:user/alice"
	keys := []string{s.NewKey(t), s.NewKey(t)}
	theirs := s.NewKeyOf(t, testkit.Other)
	far := s.NewKeyOf(t, testkit.Root.In("eu-west-1"))
	var hers []string
	for i := range 5 {
		key := keys[i%2]
		hers = append(hers, s.Must(t, "CreateGrant", with(granting(key, testkit.Account, "Decrypt"), obj{"RetiringPrincipal": alice}))["GrantId"].(string))
		s.Must(t, "CreateGrant", with(granting(key, alice, "Decrypt RetireGrant"), obj{"RetiringPrincipal": "arn:aws:iam::111122223333:role/App"}))
		newGrant(t, s, key, alice, "Decrypt")
	}
	hers = append(hers, s.MustAs(t, testkit.Other, "CreateGrant", with(granting(theirs, testkit.OtherAccount, "Decrypt"), obj{"RetiringPrincipal": alice}))["GrantId"].(string))
	s.MustAs(t, testkit.Root.In("eu-west-1"), "CreateGrant", with(granting(far, testkit.Account, "Decrypt"), obj{"RetiringPrincipal": alice}))
	slices.Sort(hers)
	got := pages(t, s, "ListRetirableGrants", obj{"RetiringPrincipal": alice, "Limit": 4}, "Grants", "GrantId")
	if found := slices.Sorted(slices.Values(slices.Concat(got...))); sizes(got) != "4 2" || !slices.Equal(found, hers) {
		t.Errorf("pages of %s: %v, want %v", sizes(got), found, hers)
	}
	wantJSON(t, s.Must(t, "ListRetirableGrants", obj{"RetiringPrincipal": testkit.Account}), `{"Grants":[],"Truncated":false}`)
	which := validation("You must specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
	for _, row := range []struct {
		body obj
		want outcome
	}{
		{obj{}, which}, {obj{"RetiringPrincipal": alice, "RetiringServicePrincipal": "s3.amazonaws.com"}, which},
		{obj{"RetiringServicePrincipal": "s3.amazonaws.com"}, validation("RetiringServicePrincipal can be used by service principals only.")},
		{obj{"RetiringPrincipal": "arn:aws:iam::111122223333:user/nobody"}, noPrincipal("arn:aws:iam::111122223333:user/nobody")},
		{obj{"RetiringPrincipal": "444455556666"}, noPrincipal("444455556666")},
		{obj{"RetiringPrincipal": "arn:aws:iam::444455556666:root"}, noPrincipal("arn:aws:iam::444455556666:root")},
		{obj{"RetiringPrincipal": alice, "Marker": "x"}, outcome{"InvalidMarkerException", "Could not deserialize marker 'x'"}},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, "ListRetirableGrants", row.body), row.want)
	}
	wantOutcome(t, s.Call(t, testkit.Other, "ListRetirableGrants", obj{"RetiringPrincipal": alice}), noPrincipal(alice))
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	if got := s.Must(t, "ListRetirableGrants", obj{"RetiringPrincipal": alice})["Grants"].([]any); len(got) != 5 {
		t.Errorf("%d grants, want those on keys of accounts that are open", len(got))
	}
}

// A key has at most 50,000 grants.
func TestGrantQuota(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	fillGrants(t, s, key, 49_999)
	body := granting(key, testkit.Account, "Decrypt")
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(body, obj{"DryRun": true})), dryRun)
	named := s.Must(t, "CreateGrant", with(body, obj{"Name": "last"}))
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", body), fullOfGrants)
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", with(body, obj{"DryRun": true})), fullOfGrants)
	if again := s.Must(t, "CreateGrant", with(body, obj{"Name": "last"})); again["GrantId"] != named["GrantId"] {
		t.Error("a grant that is there was made again")
	}
	s.Must(t, "RevokeGrant", obj{"KeyId": key, "GrantId": named["GrantId"]})
	wantOutcome(t, s.Call(t, testkit.Root, "CreateGrant", body), success)
}

// fillGrants makes n grants on a key of Account behind the service's back: to an account
// of no caller, for Decrypt and DescribeKey, each under a context of its own.
func fillGrants(t testing.TB, s *testkit.Solo, key string, n int) {
	t.Helper()
	fillGrantsTo(t, s, key, "999999999999", n)
}

// fillGrantsTo is fillGrants with another grantee: an account or a unique id.
func fillGrantsTo(t testing.TB, s *testkit.Solo, key, grantee string, n int) {
	t.Helper()
	s.ApplyAll(t, n, func(i int) fsm.Args {
		return fsm.CreateGrant{Grant: fsm.Grant{Account: testkit.Account, Region: testkit.Region, KeyID: key, ID: fmt.Sprintf("%064x", i), Created: s.Now().UnixMilli(),
			Grantee: grantee, Issuer: testkit.Account, Operations: kms.GrantDecrypt | kms.GrantDescribeKey,
			Constraint: fsm.ContextEquals, Context: []fsm.ContextPair{{Name: "volume", Value: fmt.Sprint(i)}}}}
	})
}

// A retry of an SDK's call makes no second grant, and retires none twice.
func TestGrantsOnce(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	body := granting(key, testkit.Account, "Decrypt")
	call := testkit.Root.As("11111111-2222-4333-8444-555555555555")
	first, again := s.MustAs(t, call, "CreateGrant", body), s.MustAs(t, call, "CreateGrant", body)
	if again["GrantId"] != first["GrantId"] || again["GrantToken"] == first["GrantToken"] {
		t.Errorf("a retry got %v after %v", again, first)
	}
	for _, op := range []string{"RetireGrant", "RevokeGrant"} {
		body := obj{"KeyId": key, "GrantId": newGrant(t, s, key, testkit.Account, "Decrypt")}
		for range 2 {
			wantOutcome(t, s.Call(t, testkit.Root.As(op), op, body), success)
		}
		wantOutcome(t, s.Call(t, testkit.Root, op, body), notFound("Grant ID "+body["GrantId"].(string)+" not found"))
	}
	wantOutcome(t, s.Call(t, testkit.Root, "RetireGrant", obj{"GrantToken": again["GrantToken"]}), success)
	if n := len(entries(t, s, key)); n != 0 {
		t.Errorf("%d grants are left", n)
	}
}

// A grant that is made through another falls with it while it is being made: a right
// that was taken away makes nothing any more.
func TestGrantsThroughRevokedGrants(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	parent := newGrant(t, s, key, "arn:aws:iam::111122223333:user/alice", "CreateGrant Decrypt")
	s.Fault = func(fsm.Command) error {
		s.Fault = nil
		s.Apply(t, fsm.DeleteGrant{Account: testkit.Account, Region: testkit.Region, KeyID: key, GrantID: parent})
		return nil
	}
	wantOutcome(t, s.Call(t, alice, "CreateGrant", granting(key, testkit.OtherAccount, "Decrypt")),
		deniedUser("alice", "kms:CreateGrant", testkit.ARN(key), "because no identity-based policy allows the kms:CreateGrant action"))
	if n := len(entries(t, s, key)); n != 0 {
		t.Errorf("%d grants are left", n)
	}
}

// Of two calls that make the same grant with a name at once, both get the one.
func TestGrantNamesRace(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	body := with(granting(key, testkit.Account, "Decrypt"), obj{"Name": "n"})
	var inner obj
	s.Fault = func(fsm.Command) error {
		s.Fault = nil
		inner = s.Must(t, "CreateGrant", body)
		return nil
	}
	if outer := s.Must(t, "CreateGrant", body); outer["GrantId"] != inner["GrantId"] || len(entries(t, s, key)) != 1 {
		t.Errorf("got %v and %v", outer, inner)
	}
}

// Grants on another account's key: its owner sees the records, and what the foreign
// account made is its own to retire.
func TestGrantsAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	arn := testkit.ARN(key)
	three := deniedTo(testkit.OtherAccount, "kms:CreateGrant", arn)
	wantOutcome(t, s.Call(t, testkit.Other, "CreateGrant", granting(arn, testkit.OtherAccount, "Decrypt")), three)
	xaver, _ := s.NewUser(t, testkit.OtherAccount, "xaver")
	newGrant(t, s, key, "arn:aws:iam::444455556666:user/xaver", "CreateGrant Encrypt DescribeKey")
	a := s.Call(t, xaver, "CreateGrant", granting(arn, testkit.OtherAccount, "DescribeKey"))
	wantOutcome(t, a, success)
	if _, accounts := recipients(t, s, a); !slices.Equal(accounts, []string{testkit.Account, testkit.OtherAccount}) {
		t.Errorf("recorded for %v", accounts)
	}
	if e := entries(t, s, key)[a.Body["GrantId"].(string)]; e["IssuingAccount"] != rootX || e["KeyId"] != arn {
		t.Errorf("got %v", e)
	}
	wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", obj{"KeyId": arn}), success)
	wantOutcome(t, s.Call(t, xaver, "Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}), success)
	for op, body := range map[string]obj{"ListGrants": {"KeyId": arn}, "RevokeGrant": {"KeyId": arn, "GrantId": a.Body["GrantId"]}} {
		wantOutcome(t, s.Call(t, testkit.Other, op, body), deniedTo(testkit.OtherAccount, "kms:"+op, arn))
	}
	wantOutcome(t, s.Call(t, testkit.Other, "RetireGrant", obj{"KeyId": arn, "GrantId": a.Body["GrantId"]}), success)
	wantOutcome(t, s.Call(t, testkit.Other, "DescribeKey", obj{"KeyId": arn}), deniedTo(testkit.OtherAccount, "kms:DescribeKey", arn))
}
