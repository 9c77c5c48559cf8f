package kmsapi_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// thirdAccount is the account that newAccount makes.
const thirdAccount = "777788889999"

// newAccount makes a third account and returns its root user.
func newAccount(t *testing.T, s *testkit.Solo) testkit.Caller {
	t.Helper()
	const id = "AKIATHIRDACCOUNTROOT"
	secret, err := s.Keyring.Seal("kmsd/access-key/v1", id, []byte("a secret of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(t, fsm.CreateAccount{Account: fsm.Account{ID: thirdAccount, Created: s.Now().UnixMilli(), Status: fsm.StatusActive},
		AccessKey: fsm.AccessKey{ID: id, Account: thirdAccount, Type: kms.PrincipalRoot, UniqueID: thirdAccount,
			Status: fsm.StatusActive, Created: s.Now().UnixMilli(), SecretTerm: 1, Secret: secret}})
	return testkit.Caller{AccessKey: id, Region: testkit.Region}
}

// letAccount makes a key's policy let another account use it.
func letAccount(t *testing.T, s *testkit.Solo, owner testkit.Caller, key, ownerAccount, account string) {
	t.Helper()
	policy := `{"Version":"2012-10-17","Statement":[` + lets("Allow", ownerAccount, "kms:*", "") + "," + lets("Allow", account, "kms:*", "") + `]}`
	wantOutcome(t, s.Call(t, owner, "PutKeyPolicy", obj{"KeyId": key, "Policy": policy}), success)
}

// recipients returns the records of a call in the order of their recipients.
func recipients(t *testing.T, s *testkit.Solo, a testkit.Answer) (records []testkit.JSON, accounts []string) {
	t.Helper()
	records = s.RecordsOf(t, a.RequestID)
	slices.SortFunc(records, func(x, y testkit.JSON) int {
		return strings.Compare(x["recipientAccountId"].(string), y["recipientAccountId"].(string))
	})
	for _, r := range records {
		accounts = append(accounts, r["recipientAccountId"].(string))
	}
	return records, accounts
}

// wantShared checks that the records differ in event id, recipient and identity alone:
// the caller's is whole, the others' show an account (§7.2, §7.5).
func wantShared(t *testing.T, records []testkit.JSON, caller, callerIdentity string) {
	t.Helper()
	seen := map[any]bool{}
	for _, r := range records {
		want := `{"type":"AWSAccount","principalId":"` + caller + `","accountId":"` + caller + `"}`
		if r["recipientAccountId"] == caller {
			want = callerIdentity
		}
		wantJSON(t, r["userIdentity"], want)
		if id, _ := r["eventID"].(string); !uuid.MatchString(id) || seen[id] {
			t.Errorf("event id %v", r["eventID"])
		}
		seen[r["eventID"]] = true
		if id, _ := r["sharedEventID"].(string); !uuid.MatchString(id) || seen[id] {
			t.Errorf("shared event id %v", r["sharedEventID"])
		}
		for _, own := range []string{"userIdentity", "eventID", "recipientAccountId", "kmsd"} {
			delete(r, own)
		}
		if diff := cmp.Diff(records[0], r); diff != "" {
			t.Errorf("records differ: %s", diff)
		}
	}
}

const rootIdentity = `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE"}`

// A call on another account's key is recorded for both accounts, on three accounts' keys
// for three, and a refused one for the caller's alone (§7.5).
func TestSharedRecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	third := newAccount(t, s)
	own, theirs, thirds := s.NewKey(t), s.NewKeyOf(t, testkit.Other), s.NewKeyOf(t, third)
	ownARN, theirARN, thirdARN := testkit.ARN(own), testkit.OtherARN(theirs), "arn:aws:kms:us-east-1:"+thirdAccount+":key/"+thirds
	letAccount(t, s, testkit.Other, theirs, testkit.OtherAccount, testkit.Account)
	blob := s.MustAs(t, testkit.Other, "Encrypt", obj{"KeyId": theirs, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	both := []string{testkit.Account, testkit.OtherAccount}
	for _, row := range []struct {
		op       string
		body     obj
		accounts []string
	}{
		{"Encrypt", obj{"KeyId": ownARN, "Plaintext": "AA=="}, both[:1]},
		{"ListKeys", obj{}, both[:1]},
		{"Encrypt", obj{"KeyId": theirARN, "Plaintext": "AA=="}, both},
		{"Encrypt", obj{"KeyId": theirARN, "Plaintext": "AA==", "DryRun": true}, both},
		{"Decrypt", obj{"CiphertextBlob": blob}, both},
		{"Decrypt", obj{"CiphertextBlob": blob, "KeyId": theirs}, both},
		{"Decrypt", obj{"CiphertextBlob": blob, "EncryptionContext": obj{"a": "b"}}, both}, // InvalidCiphertextException
		{"GetKeyRotationStatus", obj{"KeyId": theirARN}, both},
		{"ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": theirARN}, both},
		{"ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": ownARN}, both},
		{"ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": thirdARN}, both[:1]}, // denied
		{"Encrypt", obj{"KeyId": thirdARN, "Plaintext": "AA=="}, both[:1]},                 // denied
		{"DisableKey", obj{"KeyId": theirARN}, both[:1]},                                   // denied: not across accounts
	} {
		records, accounts := recipients(t, s, s.Call(t, testkit.Root, row.op, row.body))
		if !slices.Equal(accounts, row.accounts) {
			t.Errorf("%s %v is recorded for %v, want %v", row.op, row.body, accounts, row.accounts)
			continue
		}
		if len(records) > 1 {
			wantShared(t, records, testkit.Account, rootIdentity)
		} else if _, linked := records[0]["sharedEventID"]; linked {
			t.Errorf("%s %v: got %v", row.op, row.body, records[0])
		}
	}
	letAccount(t, s, third, thirds, thirdAccount, testkit.Account)
	records, accounts := recipients(t, s, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": thirdARN}))
	if want := []string{testkit.Account, testkit.OtherAccount, thirdAccount}; !slices.Equal(accounts, want) {
		t.Fatalf("recorded for %v, want %v", accounts, want)
	}
	wantShared(t, records, testkit.Account, rootIdentity)
	s.Must(t, "DisableKey", obj{"KeyId": own})
	s.MustAs(t, testkit.Other, "DisableKey", obj{"KeyId": theirs})
	if _, accounts := recipients(t, s, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob})); !slices.Equal(accounts, both) {
		t.Errorf("DisabledException is recorded for %v, want %v", accounts, both)
	}
}

// A key's owner finds its key's last use in its own trail.
func TestLastUseOfSharedKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	own, theirs := s.NewKey(t), s.NewKeyOf(t, testkit.Other)
	letAccount(t, s, testkit.Other, theirs, testkit.OtherAccount, testkit.Account)
	blob := s.NewBlob(t, own)
	s.Advance(time.Second) // past the use that made it
	a := s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": testkit.OtherARN(theirs)})
	wantOutcome(t, a, success)
	for _, r := range s.RecordsOf(t, a.RequestID) {
		who, key := testkit.Root, own
		if r["recipientAccountId"] == testkit.OtherAccount {
			who, key = testkit.Other, theirs
		}
		last := s.MustAs(t, who, "GetKeyLastUsage", obj{"KeyId": key})["KeyLastUsage"].(testkit.JSON)
		if last["CloudTrailEventId"] != r["eventID"] {
			t.Errorf("%v: the last use is %v, want event %v", r["recipientAccountId"], last, r["eventID"])
		}
	}
}

// No reply without all records: the caller learns nothing of what another account's key
// gave when the copy cannot be written.
func TestSharedRecordsBeforeReplies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	theirs := s.NewKeyOf(t, testkit.Other)
	letAccount(t, s, testkit.Other, theirs, testkit.OtherAccount, testkit.Account)
	s.Trail.Fault = func(r *audit.Record) error {
		if len(r.Copies) != 1 || r.Copies[0].Account != testkit.OtherAccount {
			t.Errorf("copies %v", r.Copies)
		}
		return audit.ErrUnhealthy
	}
	a := s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": testkit.OtherARN(theirs), "Plaintext": "AA=="})
	if a.Raw != nil || a.Refusal != nil || !errors.Is(a.Err, kms.ErrUnavailable) {
		t.Errorf("got %v %v %v", a.Body, a.Refusal, a.Err)
	}
}

// A closed account's keys are to others as if they did not exist, also to those whom
// their policies let.
func TestKeysOfClosedAccounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	theirs := s.NewKeyOf(t, testkit.Other)
	arn := testkit.OtherARN(theirs)
	s.MustAs(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/theirs", "TargetKeyId": theirs})
	letAccount(t, s, testkit.Other, theirs, testkit.OtherAccount, testkit.Account)
	blob := s.Must(t, "Encrypt", obj{"KeyId": arn, "Plaintext": "aGVsbG8="})["CiphertextBlob"]
	ours := s.NewBlob(t, s.NewKey(t))
	const root, alias = "111122223333", "arn:aws:kms:us-east-1:444455556666:alias/theirs"
	calls := []struct {
		op   string
		body obj
		want outcome
	}{
		{"Encrypt", obj{"KeyId": arn, "Plaintext": "AA=="}, deniedTo(root, "kms:Encrypt", arn)},
		{"Encrypt", obj{"KeyId": alias, "Plaintext": "AA=="}, deniedTo(root, "kms:Encrypt", alias)},
		{"Decrypt", obj{"CiphertextBlob": blob}, deniedBlob(root, "kms:Decrypt")},
		{"Decrypt", obj{"CiphertextBlob": blob, "KeyId": arn}, deniedTo(root, "kms:Decrypt", arn)},
		{"Decrypt", obj{"CiphertextBlob": blob, "KeyId": theirs}, notFound("Key 'arn:aws:kms:us-east-1:111122223333:key/" + theirs + "' does not exist")},
		{"ReEncrypt", obj{"CiphertextBlob": ours, "DestinationKeyId": arn}, deniedTo(root, "kms:ReEncryptTo", arn)},
		{"GenerateDataKey", obj{"KeyId": arn, "KeySpec": "AES_256"}, deniedTo(root, "kms:GenerateDataKey", arn)},
		{"DescribeKey", obj{"KeyId": arn}, deniedTo(root, "kms:DescribeKey", arn)},
		{"GetKeyRotationStatus", obj{"KeyId": arn}, deniedTo(root, "kms:GetKeyRotationStatus", arn)},
	}
	for _, call := range calls {
		wantOutcome(t, s.Call(t, testkit.Root, call.op, call.body), success)
	}
	s.Apply(t, fsm.CloseAccount{ID: testkit.OtherAccount})
	for _, call := range calls {
		a := s.Call(t, testkit.Root, call.op, call.body)
		wantOutcome(t, a, call.want)
		if got := s.Record(t, a)["recipientAccountId"]; got != testkit.Account {
			t.Errorf("%s is recorded for %v", call.op, got)
		}
	}
}
