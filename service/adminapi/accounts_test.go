package adminapi_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// account makes an account and returns its root user.
func account(t *testing.T, s *testkit.Solo, id string) testkit.Caller {
	t.Helper()
	a := s.Admin(t, testkit.Root, "CreateAccount", `{"accountId":"`+id+`"}`)
	wantOK(t, a)
	return testkit.Caller{AccessKey: a.Body["accessKeyId"].(string), Region: testkit.Region}
}

// The root user of a new account may do everything in it, and nothing elsewhere.
func TestCreateAccount(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.Admin(t, testkit.Root, "CreateAccount", `{"accountId":"000000000042"}`)
	wantOK(t, a)
	if len(a.Body) != 3 || a.Body["accountId"] != "000000000042" {
		t.Errorf("got %v", a.Body)
	}
	wantSecret(t, s, a)
	root := testkit.Caller{AccessKey: a.Body["accessKeyId"].(string), Region: testkit.Region}
	key := s.NewKeyOf(t, root)
	if got := s.MustAs(t, root, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)["AWSAccountId"]; got != "000000000042" {
		t.Errorf("the key is in account %v", got)
	}
	if _, refusal := s.Do(t, testkit.Root, "DescribeKey", obj{"KeyId": "arn:aws:kms:us-east-1:000000000042:key/" + key}); refusal == nil || refusal.Code != "AccessDeniedException" {
		t.Errorf("the operator may use it: %v", refusal)
	}
	wantRefusal(t, s.Admin(t, testkit.Root, "CreateAccount", `{"accountId":"000000000042"}`), "AlreadyExistsException", "The account 000000000042 already exists.")

	for range 3 {
		a = s.Admin(t, testkit.Root, "CreateAccount", `{}`)
		wantOK(t, a)
		wantSecret(t, s, a)
		if id := a.Body["accountId"].(string); !regexp.MustCompile("^[1-9][0-9]{11}$").MatchString(id) {
			t.Errorf("drew %s", id)
		}
	}
	if n := len(accounts(t, s, `{}`)); n != 6 {
		t.Errorf("%d accounts, want 6", n)
	}
}

// accounts returns what a page of ListAccounts shows.
func accounts(t *testing.T, s *testkit.Solo, body string) []any {
	t.Helper()
	a := s.Admin(t, testkit.Root, "ListAccounts", body)
	wantOK(t, a)
	return a.Body["accounts"].([]any)
}

// Retries of one call, and of a forward whose reply was lost, are answered with the
// account that the first one made and its secret.
func TestCreateAccountOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	who := testkit.Root.As("invocation")
	first := s.Admin(t, who, "CreateAccount", `{}`)
	wantOK(t, first)
	again := s.Admin(t, who, "CreateAccount", `{}`)
	wantOK(t, again)
	wantSame(t, any(again.Body), any(first.Body))
	wantSame(t, s.Record(t, again)["responseElements"], any(obj{"accountId": first.Body["accountId"], "accessKeyId": first.Body["accessKeyId"]}))

	lost := false
	s.Lost = func(fsm.Command) error {
		if lost {
			return nil
		}
		lost = true
		return kms.ErrOutcomeUnknown
	}
	a := s.Admin(t, testkit.Root, "CreateAccount", `{}`)
	wantOK(t, a)
	wantSecret(t, s, a)
	if n := len(accounts(t, s, `{}`)); n != 4 {
		t.Errorf("%d accounts, want 4", n)
	}
	wantOK(t, s.Local(t, uid, "ResetRootCredential", `{"accountId":"`+first.Body["accountId"].(string)+`"}`))
	wantRefusal(t, s.Admin(t, who, "CreateAccount", `{}`), "ConflictException", "The credential was replaced by a later reset.")
}

func TestListAccounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	account(t, s, "000000000042")
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	const old, made = "1970-01-01T00:00:00Z", "2026-11-24T12:00:00.345Z"
	wantSame(t, any(accounts(t, s, ``)), any([]any{
		obj{"accountId": "000000000042", "status": "Active", "created": made},
		obj{"accountId": testkit.Account, "status": "Active", "created": old},
		obj{"accountId": testkit.OtherAccount, "status": "Closed", "created": old},
	}))
}

// A page has 1,000 accounts.
func TestListAccountsByPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 999 {
		id := fmt.Sprintf("9%011d", i)
		s.Apply(t, fsm.CreateAccount{Account: fsm.Account{ID: id, Status: fsm.StatusActive},
			AccessKey: fsm.AccessKey{ID: "AKIA" + id, Account: id, Type: kms.PrincipalRoot, UniqueID: id, Status: fsm.StatusActive, Secret: []byte("sealed")}})
	}
	first := s.Admin(t, testkit.Root, "ListAccounts", `{}`)
	wantOK(t, first)
	if n := len(first.Body["accounts"].([]any)); n != 1000 || first.Body["nextMarker"] != "900000000997" {
		t.Errorf("%d accounts, then %v", n, first.Body["nextMarker"])
	}
	last := s.Admin(t, testkit.Root, "ListAccounts", `{"marker":"900000000997"}`)
	wantOK(t, last)
	wantSame(t, any(last.Body), any(obj{"accounts": []any{obj{"accountId": "900000000998", "status": "Active", "created": "1970-01-01T00:00:00Z"}}}))
}

// Closing is final: nobody is let in, no new credential is given, the id stays taken.
func TestCloseAccount(t *testing.T) {
	t.Parallel()
	s := start(t)
	user, _ := s.NewUser(t, testkit.OtherAccount, "user")
	body := `{"accountId":"` + testkit.OtherAccount + `"}`
	for range 2 { // once more does no harm
		a := s.Admin(t, testkit.Root, "CloseAccount", body)
		wantOK(t, a)
		wantSame(t, any(a.Body), any(obj{}))
		if s.Known(t, user) || s.Known(t, testkit.Other) || !s.Known(t, testkit.Root) {
			t.Error("the wrong ones are let in")
		}
	}
	before := s.Machine.Digest()
	wantRefusal(t, s.Admin(t, testkit.Root, "ResetRootCredential", body), "ConflictException", "The account 444455556666 is closed.")
	wantRefusal(t, s.Local(t, uid, "ResetRootCredential", body), "ConflictException", "The account 444455556666 is closed.")
	wantRefusal(t, s.Admin(t, testkit.Root, "CreateAccount", body), "AlreadyExistsException", "The account 444455556666 already exists.")
	if s.Machine.Digest() != before {
		t.Error("a refused call changed the state")
	}
}

// A policy decides which of the operators may what.
func TestAccountRights(t *testing.T) {
	t.Parallel()
	s := start(t)
	const lists = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kmsd:List*","Resource":"` + cluster + `"}}`
	lister, _ := s.NewUser(t, testkit.Account, "lister", lists)
	wantOK(t, s.Admin(t, lister, "ListAccounts", `{}`))
	for _, op := range []string{"CreateAccount", "CloseAccount"} {
		wantRefusal(t, s.Admin(t, lister, op, `{"accountId":"`+testkit.OtherAccount+`"}`), "AccessDeniedException",
			"User: arn:aws:iam::111122223333:user/lister is not authorized to perform: kmsd:"+op+" on resource: "+cluster+
				" because no identity-based policy allows the kmsd:"+op+" action")
	}
	// A role of the operator account has its rights, whoever may assume it.
	guest, _ := s.NewUser(t, testkit.OtherAccount, "guest", everything)
	s.SetTrust(t, s.NewIdentity(t, fsm.KindRole, testkit.Account, "Lister", lists).ID, trustsAll)
	session := assume(t, s, guest, "arn:aws:iam::111122223333:role/Lister")
	wantOK(t, s.Admin(t, session, "ListAccounts", `{}`))
	wantRefusal(t, s.Admin(t, session, "CreateAccount", `{}`), "AccessDeniedException",
		"User: arn:aws:sts::111122223333:assumed-role/Lister/ci is not authorized to perform: kmsd:CreateAccount on resource: "+cluster+
			" because no identity-based policy allows the kmsd:CreateAccount action")
}
