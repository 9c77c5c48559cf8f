package audit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

// byService is a call of the service s3 for an account, on that account's key or another
// one's. The operator account is 999999999999.
func byService(caller string, owner string) *audit.Record {
	r := newRecord("Decrypt")
	session := kms.Principal{
		Type: kms.PrincipalAssumedRole, Account: "999999999999", UniqueID: "AROAEXAMPLE:node", ARN: "arn:aws:sts::999999999999:assumed-role/S3/node",
		AccessKeyID: "ASIAEXAMPLE", RoleID: "AROAEXAMPLE", RoleARN: "arn:aws:iam::999999999999:role/S3", Session: &kms.Session{Issued: 1714564800000},
		Service: &kms.Service{Name: "s3", Caller: caller, Operator: "999999999999", Session: "arn:aws:sts::999999999999:assumed-role/S3/node"},
	}
	r.Principal = session.AsService("us-east-1")
	r.Resources = []audit.Resource{{Account: owner, ARN: keyARN}}
	for i, account := range []string{owner, "999999999999"} {
		if account != caller {
			r.SharedEventID = "0b6c5f9e-0000-4000-8000-000000000003"
			r.Copies = append(r.Copies, audit.Copy{EventID: "e158beb4-0000-4000-8000-00000000000" + string(rune('4'+i)), Account: account})
		}
	}
	return r
}

const (
	asService = `"userIdentity":{"type":"AWSService","invokedBy":"s3.amazonaws.com"}`
	// atOperator is what the account of the service's role sees.
	atOperator = `"userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:node","arn":"arn:aws:sts::999999999999:assumed-role/S3/node","accountId":"999999999999","accessKeyId":"ASIAEXAMPLE",
		"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::999999999999:role/S3","accountId":"999999999999","userName":"S3"},
		"webIdFederationData":{},"attributes":{"creationDate":"2024-05-01T12:00:00Z","mfaAuthenticated":"false"}},"invokedBy":"s3.amazonaws.com"}`
	fromService = `"sourceIPAddress":"s3.amazonaws.com","userAgent":"s3.amazonaws.com"`
	fromSession = `"sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1.26.1"`
	sessionTLS  = `,"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.us-east-1.amazonaws.com"}`
)

// TestService has everybody but the operator see the service, and the operator which of
// its sessions that is.
func TestService(t *testing.T) {
	t.Parallel()
	denial := &kms.Error{Code: kms.CodeAccessDenied, Message: "no"}
	for _, c := range []struct {
		name, caller, owner string
		err                 *kms.Error
		// want are the lines: who, from where, TLS, the event's last digit, the recipient.
		want   [][5]string
		shared bool
	}{
		{"on a key of the account", "111111111111", "111111111111", nil, [][5]string{
			{asService, fromService, "", "1", "111111111111"}, {atOperator, fromSession, sessionTLS, "5", "999999999999"}}, true},
		{"on another account's key", "111111111111", "222222222222", nil, [][5]string{
			{asService, fromService, "", "1", "111111111111"}, {asService, fromService, "", "4", "222222222222"}, {atOperator, fromSession, sessionTLS, "5", "999999999999"}}, true},
		{"for the operator", "999999999999", "999999999999", nil, [][5]string{{atOperator, fromSession, sessionTLS, "1", "999999999999"}}, false},
		{"for the operator on another account's key", "999999999999", "222222222222", nil, [][5]string{
			{atOperator, fromSession, sessionTLS, "1", "999999999999"}, {asService, fromService, "", "4", "222222222222"}}, true},
		{"refused", "111111111111", "222222222222", denial, [][5]string{
			{asService, fromService, "", "1", "111111111111"}, {atOperator, fromSession, sessionTLS, "5", "999999999999"}}, true},
		{"refused to the operator", "999999999999", "222222222222", denial, [][5]string{{atOperator, fromSession, sessionTLS, "1", "999999999999"}}, false},
	} {
		record := byService(c.caller, c.owner)
		record.Err = c.err
		var want []string
		for _, line := range c.want {
			failed, shared := "", ""
			if c.err != nil {
				failed = `"errorCode":"AccessDenied","errorMessage":"no",`
			}
			if c.shared {
				shared = `"sharedEventID":"0b6c5f9e-0000-4000-8000-000000000003",`
			}
			want = append(want, oneLine(`{"eventVersion":"1.11",`+line[0]+`,"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com",
				"eventName":"Decrypt","awsRegion":"us-east-1",`+line[1]+`,`+failed+`"requestParameters":null,"responseElements":null,
				"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-00000000000`+line[3]+`","readOnly":true,"resources":[
				{"accountId":"`+c.owner+`","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
				"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"`+line[4]+`",`+shared+`"eventCategory":"Management"`+line[2]+`}`))
		}
		if diff := cmp.Diff(want, written(t, record)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
		if diff := cmp.Diff(want, written(t, trip(t, record))); diff != "" {
			t.Errorf("%s, after a trip: -want +got:\n%s", c.name, diff)
		}
	}
}
