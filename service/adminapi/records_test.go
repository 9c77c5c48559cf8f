package adminapi_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
)

// The whole records, typed by hand: members of the caller, of the call and of the
// answer. $TOKEN, $KEY and $ACCOUNT stand for the ids that the call made.
func TestRecords(t *testing.T) {
	t.Parallel()
	const (
		root      = `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE"}`
		localUser = `{"type":"LocalOperator","uid":"1000"}`
	)
	for _, c := range []struct {
		op, body, request, response string
		readOnly, local             bool
	}{
		{"GetStatus", ``, `null`, `null`, true, true},
		{"ListMembers", ``, `null`, `null`, true, true},
		{"LeaveCluster", `{}`, `null`, `null`, false, true},
		{"LeaveCluster", `{"force":true,"memberId":"0b9c1f0e-1111-4a4a-8b8b-000000000001"}`,
			`{"memberId":"0b9c1f0e-1111-4a4a-8b8b-000000000001","force":true}`, `null`, false, true},
		{"RemoveMember", `{"memberId":"0b9c1f0e-2222-4a4a-8b8b-000000000002","force":false}`,
			`{"memberId":"0b9c1f0e-2222-4a4a-8b8b-000000000002","force":false}`, `null`, false, false},
		{"CreateJoinToken", ``, `null`, `{"tokenId":"$TOKEN","expires":"Nov 24, 2026, 1:00:00 PM"}`, false, false},
		{"CreateJoinToken", `{"ttlSeconds":60,"uses":3,"cidrs":["10.1.2.3/8"]}`,
			`{"ttlSeconds":60,"uses":3,"cidrs":["10.1.2.3/8"]}`, `{"tokenId":"$TOKEN","expires":"Nov 24, 2026, 12:01:00 PM"}`, false, false},
		{"GetConfig", ``, `null`, `null`, true, false},
		{"SetConfig", `{"aliasesPerKey":60,"keysPerRegion":7,"throttle":"off"}`, `{"keysPerRegion":7,"aliasesPerKey":60,"throttle":"off"}`, `null`, false, false},
		{"SetConfig", `{"throttle":"custom","rates":{"symmetric":10000,"GetParametersForImport":0.25}}`,
			`{"throttle":"custom","rates":{"GetParametersForImport":"0.25","symmetric":"10000"}}`, `null`, false, false},
		{"Explain", `{"principal":"arn:aws:iam::111122223333:root","action":"kms:ListKeys","resource":"*","context":{"kms:EncryptionContext:b":["canary"],"aws:SourceIp":["canary"]}}`,
			`{"principalArn":"arn:aws:iam::111122223333:root","action":"kms:ListKeys","resource":"*","contextKeys":["aws:SourceIp","kms:EncryptionContext:b"]}`, `null`, true, false},
		{"ResetRootCredential", `{"accountId":"444455556666"}`, `{"accountId":"444455556666"}`, `{"accountId":"444455556666","accessKeyId":"$KEY"}`, false, true},
		{"CreateAccount", ``, `null`, `{"accountId":"$ACCOUNT","accessKeyId":"$KEY"}`, false, false},
		{"CreateAccount", `{"accountId":"000000000042"}`, `{"accountId":"000000000042"}`, `{"accountId":"000000000042","accessKeyId":"$KEY"}`, false, false},
		{"ListAccounts", ``, `null`, `null`, true, false},
		{"ListAccounts", `{"marker":"111122223333"}`, `{"marker":"111122223333"}`, `null`, true, false},
		{"CloseAccount", `{"accountId":"444455556666"}`, `{"accountId":"444455556666"}`, `null`, false, false},
	} {
		s := start(t)
		check := func(a testkit.Answer, caller string) {
			t.Helper()
			wantOK(t, a)
			response := c.response
			for name, member := range map[string]string{"$TOKEN": "tokenId", "$KEY": "accessKeyId", "$ACCOUNT": "accountId"} {
				if id, ok := a.Body[member].(string); ok {
					response = strings.ReplaceAll(response, name, id)
				}
			}
			readOnly := map[bool]string{true: "true", false: "false"}[c.readOnly]
			got := s.Record(t, a)
			for _, drawn := range []string{"eventID", "requestID", "kmsd"} {
				delete(got, drawn)
			}
			wantSame(t, any(got), parse(t, `{"eventVersion":"1.11","userIdentity":`+caller+`,"eventTime":"2026-11-24T12:00:00Z",
				"eventSource":"kmsd.local","eventName":"`+c.op+`","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"test/1",
				"requestParameters":`+c.request+`,"responseElements":`+response+`,"readOnly":`+readOnly+`,
				"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management",
				"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`))
		}
		check(s.Admin(t, testkit.Root, c.op, c.body), root)
		if c.local {
			check(s.Local(t, uid, c.op, c.body), localUser)
		}
	}
}

// The record that a new leader writes for a dead one names the local operator, too.
func TestRecordOfNewLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		s.Local(t, uid, "ResetRootCredential", `{"accountId":"444455556666"}`)
		if pending := s.Machine.View().PendingAudit(0, 10); len(pending) != 1 {
			t.Fatalf("%d pending records", len(pending))
		}
		ctx, resign := context.WithTimeout(t.Context(), time.Second)
		defer resign()
		s.NewService().Lead(ctx, s.Machine.Index())
		if n := s.CountInTrail(t, `"userIdentity":{"type":"LocalOperator","uid":"1000"}`); n != 2 {
			t.Errorf("%d records of the local operator, want that of the old leader and that of the new one", n)
		}
	})
}
