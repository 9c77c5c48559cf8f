package audit_test

import (
	"encoding/json"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

// shared is a call by a role's session on keys of two other accounts.
func shared() *audit.Record {
	r := newRecord("ReEncrypt")
	r.Principal = kms.Principal{
		Type: kms.PrincipalAssumedRole, Account: "111111111111", UniqueID: "AROAEXAMPLE:s", ARN: "arn:aws:sts::111111111111:assumed-role/App/s",
		AccessKeyID: "ASIAEXAMPLE", RoleID: "AROAEXAMPLE", RoleARN: "arn:aws:iam::111111111111:role/App", Session: &kms.Session{Issued: 1714564800000},
	}
	r.RequestParameters.String("destinationKeyId", otherARN)
	r.Resources = []audit.Resource{{Account: "222222222222", ARN: keyARN}, {Account: "333333333333", ARN: otherARN}}
	r.SharedEventID = "0b6c5f9e-0000-4000-8000-000000000003"
	r.Copies = []audit.Copy{{EventID: "e158beb4-0000-4000-8000-000000000004", Account: "222222222222"}, {EventID: "e158beb4-0000-4000-8000-000000000005", Account: "333333333333"}}
	return r
}

// written appends a record to a new log and returns its lines without their links.
func written(t *testing.T, r *audit.Record) (lines []string) {
	t.Helper()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	if err := l.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	for line := range strings.Lines(string(read(t, files(t, dir)[0]))) {
		record, _, _ := strings.Cut(line, `,"kmsd":`)
		lines = append(lines, record+"}")
	}
	verify(t, dir, len(lines))
	return lines
}

// The caller's record shows the caller, the owners' copies only its account and
// principal id; all else but event id and recipient is the same.
func TestCopies(t *testing.T) {
	t.Parallel()
	const (
		caller = `"type":"AssumedRole","principalId":"AROAEXAMPLE:s","arn":"arn:aws:sts::111111111111:assumed-role/App/s","accountId":"111111111111","accessKeyId":"ASIAEXAMPLE",
			"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111111111111:role/App","accountId":"111111111111","userName":"App"},
			"webIdFederationData":{},"attributes":{"creationDate":"2024-05-01T12:00:00Z","mfaAuthenticated":"false"}}`
		foreigner = `"type":"AWSAccount","principalId":"AROAEXAMPLE:s","accountId":"111111111111"`
	)
	var want []string
	for _, row := range [][3]string{{caller, "1", "111111111111"}, {foreigner, "4", "222222222222"}, {foreigner, "5", "333333333333"}} {
		want = append(want, oneLine(`{"eventVersion":"1.11","userIdentity":{`+row[0]+`},"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com",
			"eventName":"ReEncrypt","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1.26.1",
			"requestParameters":{"destinationKeyId":"arn:aws:kms:us-east-1:111111111111:key/0987dcba-09fe-87dc-65ba-ab0987654321"},"responseElements":null,
			"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-00000000000`+row[1]+`","readOnly":true,"resources":[
			{"accountId":"222222222222","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
			{"accountId":"333333333333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/0987dcba-09fe-87dc-65ba-ab0987654321"}],
			"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"`+row[2]+`","sharedEventID":"0b6c5f9e-0000-4000-8000-000000000003","eventCategory":"Management",
			"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}}`))
	}
	if diff := cmp.Diff(want, written(t, shared())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What a new leader writes of it is the same.
	if diff := cmp.Diff(want, written(t, trip(t, shared()))); diff != "" {
		t.Errorf("after a trip, -want +got:\n%s", diff)
	}
	for account, event := range map[string]string{"111111111111": "1", "222222222222": "4", "333333333333": "5", "444444444444": "1"} {
		if got := shared().EventIn(account); got != "e158beb4-0000-4000-8000-00000000000"+event {
			t.Errorf("event in %s: %s", account, got)
		}
	}
}

// Owners hear of what fails after the caller was let in, and nothing of what was
// refused to the caller.
func TestCopiesOfFailures(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{kms.CodeAccessDenied: 1, kms.CodeDisabled: 3, kms.CodeInvalidCiphertext: 3, kms.CodeDryRun: 3} {
		r := trip(t, shared())
		r.Err = &kms.Error{Code: code}
		lines := written(t, r)
		if len(lines) != want {
			t.Errorf("%s: %d records, want %d", code, len(lines), want)
		}
		for _, line := range lines {
			var rec map[string]any
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatal(err)
			}
			if _, linked := rec["sharedEventID"]; linked != (want == 3) {
				t.Errorf("%s: got %v", code, rec)
			}
		}
	}
}

// Append succeeds only when all lines are written. They share a write.
func TestCopiesAreDurable(t *testing.T) {
	t.Parallel()
	for lines := range 3 {
		disk := newDisk()
		cfg := audit.Config{Dir: t.TempDir(), SyncInterval: time.Hour}
		cfg.SetOpen(disk.open)
		l := open(t, cfg)
		keep := 0
		for range lines {
			keep += len(shared().AppendJSON(nil)) // about a line
		}
		disk.fail(fault{call: "write", err: syscall.ENOSPC, keep: keep})
		if err := l.Append(t.Context(), shared()); !errors.Is(err, audit.ErrUnhealthy) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("with room for %d lines: %v", lines, err)
		}
	}
}

// Copies stand among other records, and none of the lines is written when one of them
// is too large.
func TestCopiesAmongOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	done := make(chan error, 2)
	go func() { done <- l.Append(t.Context(), record(0)) }()
	go func() { done <- l.Append(t.Context(), shared()) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	r := shared()
	r.Copies[1].Account = strings.Repeat("3", 2<<20)
	if err := l.Append(t.Context(), r); !errors.Is(err, audit.ErrTooLarge) {
		t.Errorf("a copy that is too large: %v", err)
	}
	closeLog(t, l)
	verify(t, dir, 4)
}
