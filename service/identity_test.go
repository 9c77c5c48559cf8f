package service_test

import (
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	a := s.Raw(t, testkit.Other.In("eu-west-1"), "sts", "GetCallerIdentity", "Action=GetCallerIdentity&Version=2011-06-15")
	wantCode(t, a, "")
	want := "<GetCallerIdentityResult><Arn>arn:aws:iam::444455556666:root</Arn><UserId>444455556666</UserId><Account>444455556666</Account></GetCallerIdentityResult>"
	wantSame(t, string(a.Raw), want)
	rec := s.Record(t, a)
	for name, want := range map[string]any{
		"eventSource": "sts.amazonaws.com", "eventName": "GetCallerIdentity", "awsRegion": "eu-west-1", "readOnly": true,
		"requestParameters": nil, "responseElements": nil, "recipientAccountId": "444455556666",
	} {
		wantSame(t, rec[name], want)
	}
	if _, ok := rec["resources"]; ok {
		t.Errorf("resources are %v", rec["resources"])
	}
}

func TestUnknownOperations(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, row := range []struct {
		service, op string
		known       bool
	}{
		{"kms", "Encrypt", true}, {"sts", "GetCallerIdentity", true}, {"kms", "encrypt", false}, {"kms", "GetCallerIdentity", false},
		{"sts", "Encrypt", false}, {"kms", "", false}, {"kms", "ConnectCustomKeyStore", false}, {"iam", "CreateUser", true}, {"iam", "CreateInstanceProfile", false},
	} {
		if got := s.Service.Knows(row.service, row.op); got != row.known {
			t.Errorf("Knows(%q, %q) = %v", row.service, row.op, got)
		}
		if !row.known {
			wantCode(t, s.Raw(t, testkit.Root, row.service, row.op, ""), "UnknownOperationException")
		}
	}
	if err := s.Service.Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
}
