package audit_test

import (
	"testing"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

func localRecord(account string) *audit.Record {
	r := newRecord("LeaveCluster")
	r.EventSource = audit.SourceAdmin
	r.Principal = kms.LocalOperator(1000)
	r.Principal.Account = account
	r.Source = kms.Source{IP: "admin.sock", UserAgent: "kmsd"}
	r.ReadOnly = false
	return r
}

// The caller at a node's admin socket is known by its uid alone.
func TestRecordOfLocalOperator(t *testing.T) {
	t.Parallel()
	const want = `
		{"eventVersion":"1.11","userIdentity":{"type":"LocalOperator","uid":"1000"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kmsd.local","eventName":"LeaveCluster","awsRegion":"us-east-1",
		"sourceIPAddress":"admin.sock","userAgent":"kmsd","requestParameters":null,"responseElements":null,
		"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":false,
		"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management"}`
	r := localRecord("111111111111")
	check(t, r, want)
	check(t, trip(t, r), want)
}

// A node that cannot prove its state does not know the operator account.
func TestRecordWithoutAccount(t *testing.T) {
	t.Parallel()
	check(t, localRecord(""), `
		{"eventVersion":"1.11","userIdentity":{"type":"LocalOperator","uid":"1000"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kmsd.local","eventName":"LeaveCluster","awsRegion":"us-east-1",
		"sourceIPAddress":"admin.sock","userAgent":"kmsd","requestParameters":null,"responseElements":null,
		"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":false,
		"eventType":"AwsApiCall","managementEvent":true,"eventCategory":"Management"}`)
}
