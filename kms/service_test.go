package kms_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

func TestValidServiceName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"s3": true, "dynamodb": true, "object-store-2": true, "7": true, strings.Repeat("a", 63): true,
		"": false, "S3": false, "a.b": false, "a/b": false, "-a": false, "a-": false, "a b": false, "é": false, strings.Repeat("a", 64): false,
	} {
		if got := kms.ValidServiceName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestAsService(t *testing.T) {
	t.Parallel()
	session := kms.Principal{
		Type: kms.PrincipalAssumedRole, Account: "111122223333", UniqueID: "AROAEXAMPLE:node-1", ARN: "arn:aws:sts::111122223333:assumed-role/s3/node-1",
		RoleID: "AROAEXAMPLE", Service: &kms.Service{Name: "s3", Caller: "444455556666", Operator: "111122223333"},
	}
	p := session.AsService("eu-west-1")
	if p.Type != "AWSService" || p.Account != "444455556666" || p.ARN != "s3.amazonaws.com" || !p.IsService() || session.IsService() || session.Service.Region != "" {
		t.Errorf("got %+v of %+v", p, session)
	}
	for principal, want := range map[string]bool{
		"s3.amazonaws.com": true, "s3.eu-west-1.amazonaws.com": true, "s3.us-east-1.amazonaws.com": false, "S3.amazonaws.com": false, "s3": false, "": false,
	} {
		if got := p.Service.Is(principal); got != want {
			t.Errorf("is %q: %v", principal, got)
		}
	}
}
