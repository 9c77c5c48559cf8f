package service_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// gateCases are calls and what they rest on: an answer or refusal is released only
// after everything up to the index of that is what every node serves.
var gateCases = []struct{ name, op, body, restsOn, want string }{
	{"a key", "DescribeKey", `{"KeyId":"$ID"}`, "key", ""},
	{"a key in use", "Encrypt", `{"KeyId":"$ID","Plaintext":"AA=="}`, "key", ""},
	{"an alias", "DescribeKey", `{"KeyId":"alias/app"}`, "alias", ""},
	{"a list", "ListAliases", `{}`, "alias", ""},
	{"a disabled key", "Encrypt", `{"KeyId":"$OFF","Plaintext":"AA=="}`, "off", "DisabledException"},
	{"a damaged ciphertext", "Decrypt", `{"KeyId":"$ID","CiphertextBlob":"AA=="}`, "key", "InvalidCiphertextException"},
	{"a write's refusal", "CreateAlias", `{"AliasName":"alias/new","TargetKeyId":"$PENDING"}`, "pending", "KMSInvalidStateException"},
	{"a credential alone", "Encrypt", `{`, "genesis", "SerializationException"},
	{"a repeat", "CreateKey", `{}`, "repeat", ""},
}

func TestGate(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	index := map[string]uint64{"genesis": 1}
	note := func(name string) { index[name] = s.Machine.Index() }
	key := s.NewKey(t)
	note("key")
	s.NewAlias(t, "alias/app", key)
	note("alias")
	off := s.NewKey(t)
	s.Must(t, "DisableKey", obj{"KeyId": off})
	note("off")
	pending := s.NewKey(t)
	s.SetState(t, pending, "PendingDeletion")
	note("pending")
	s.Call(t, testkit.Root.As("id"), "CreateKey", `{}`)
	note("repeat")
	names := []string{"$ID", key, "$OFF", off, "$PENDING", pending}
	for _, row := range gateCases {
		t.Run(row.name, func(t *testing.T) {
			var settled uint64
			s.Shut = func(i uint64) error { settled = max(settled, i); return nil }
			a := s.Call(t, testkit.Root.As("id"), row.op, fill(row.body, names))
			wantCode(t, a, row.want)
			if settled < index[row.restsOn] {
				t.Errorf("waited for index %d, want at least %d", settled, index[row.restsOn])
			}
			s.Shut = func(uint64) error { return kms.ErrUnavailable }
			a = s.Call(t, testkit.Root.As("id"), row.op, fill(row.body, names))
			want := "ServiceUnavailableException"
			if row.restsOn == "repeat" {
				want = "KMSInternalException" // it was applied
			}
			wantCode(t, a, want)
			if rec := s.Record(t, a); rec["errorCode"] != want || rec["responseElements"] != nil {
				t.Errorf("recorded as %v", rec["errorCode"])
			}
		})
	}
}

// What is not there also rests on state: on the last change near its place.
func TestGateOfAbsence(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	s.Must(t, "DeleteAlias", obj{"AliasName": "alias/app"})
	deleted := s.Machine.Index()
	var settled uint64
	s.Shut = func(i uint64) error { settled = i; return nil }
	wantCode(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/app"}), "NotFoundException")
	if settled < deleted {
		t.Errorf("waited for index %d, want %d", settled, deleted)
	}
}

// A session that only authenticates waits for the credential.
func TestSessionSettles(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewKey(t)
	s.SetAccessKey(t, testkit.OtherKey, "Inactive")
	changed := s.Machine.Index()
	session, err := s.Service.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := session.Secret(testkit.OtherKey, ""); ok {
		t.Error("an inactive access key authenticates")
	}
	if _, _, ok := session.Secret("AKIANOBODY", ""); ok {
		t.Error("an unknown access key authenticates")
	}
	var settled uint64
	s.Shut = func(i uint64) error { settled = i; return kms.ErrUnavailable }
	if err := session.Settle(context.Background()); !errors.Is(err, kms.ErrUnavailable) || settled < changed {
		t.Errorf("got %v at index %d, want %d", err, settled, changed)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	session, principal := open(t, s)
	secret, _, _ := session.Secret(testkit.AccessKey, "")
	got := must[[]byte](t)(secret.Open())
	if string(got) != "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" || secret.AccessKeyID != testkit.AccessKey || secret.ModIndex != 1 {
		t.Errorf("got %q, %s at %d", got, secret.AccessKeyID, secret.ModIndex)
	}
	wantSame(t, principal, kms.Principal{Type: "Root", Account: "111122223333", UniqueID: "111122223333", ARN: "arn:aws:iam::111122223333:root", AccessKeyID: testkit.AccessKey})
}
