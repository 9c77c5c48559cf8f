package audit_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

const (
	thereARN   = "arn:aws:kms:eu-west-1:111111111111:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	thereEvent = "e158beb4-0000-4000-8000-000000000006"
)

// moved is a call that did something in another Region.
func moved() *audit.Record {
	r := newRecord("UpdatePrimaryRegion")
	r.ReadOnly = false
	r.RequestParameters.String("primaryRegion", "eu-west-1")
	r.ResponseElements.String("keyId", keyARN)
	r.Additional.String("only", "here")
	r.Resources = []audit.Resource{key(keyARN)}
	there := audit.Elsewhere{EventID: thereEvent, EventName: "UpdatePrimaryRegion", Region: "eu-west-1", Resources: []audit.Resource{key(thereARN)}}
	there.RequestParameters.String("primaryRegion", "eu-west-1")
	there.ResponseElements.String("keyId", thereARN)
	r.Elsewhere = []audit.Elsewhere{there}
	return r
}

const movedThere = `{"eventVersion":"1.11","userIdentity":{"type":"Root","principalId":"111111111111","arn":"arn:aws:iam::111111111111:root","accountId":"111111111111",
	"accessKeyId":"AKIAIOSFODNN7EXAMPLE","invokedBy":"kms.amazonaws.com"},"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com",
	"eventName":"UpdatePrimaryRegion","awsRegion":"eu-west-1","sourceIPAddress":"kms.amazonaws.com","userAgent":"kms.amazonaws.com",
	"requestParameters":{"primaryRegion":"eu-west-1"},"responseElements":{"keyId":"arn:aws:kms:eu-west-1:111111111111:key/mrk-1234abcd12ab34cd56ef1234567890ab"},
	"requestID":"4e5d4b1c-0000-4000-8000-000000000002","eventID":"e158beb4-0000-4000-8000-000000000006","readOnly":false,"resources":[
	{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111111111111:key/mrk-1234abcd12ab34cd56ef1234567890ab"}],
	"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management"}`

// The record in the other Region says that KMS called there for the caller.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	want := []string{string(moved().AppendJSON(nil)), oneLine(movedThere)}
	if diff := cmp.Diff(want, written(t, moved())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want, written(t, trip(t, moved()))); diff != "" {
		t.Errorf("after a trip, -want +got:\n%s", diff)
	}
	refused := trip(t, moved())
	refused.Err = &kms.Error{Code: kms.CodeDisabled}
	if lines := written(t, refused); len(lines) != 1 || !strings.Contains(lines[0], "DisabledException") {
		t.Errorf("of a refusal: %q", lines)
	}
}

const synchronizedThere = `{"eventVersion":"1.11","userIdentity":{"accountId":"111111111111","invokedBy":"AWS Internal"},"eventTime":"2024-05-01T12:00:00Z",
	"eventSource":"kms.amazonaws.com","eventName":"SynchronizeMultiRegionKey","awsRegion":"eu-west-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",
	"requestParameters":null,"responseElements":null,"requestID":"4e5d4b1c-0000-4000-8000-000000000007","eventID":"e158beb4-0000-4000-8000-000000000006","readOnly":false,
	"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
	"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management"}`

// What the service does by itself in another Region is a call of its own there.
func TestElsewhereOfServiceEvents(t *testing.T) {
	t.Parallel()
	r := rotation()
	r.Elsewhere = []audit.Elsewhere{{EventID: thereEvent, EventName: "SynchronizeMultiRegionKey", Region: "eu-west-1", RequestID: "4e5d4b1c-0000-4000-8000-000000000007", Resources: []audit.Resource{key(keyARN)}}}
	want := []string{oneLine(rotationRecord), oneLine(synchronizedThere)}
	for _, r := range []*audit.Record{r, trip(t, r)} {
		if diff := cmp.Diff(want, written(t, r)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// Objects of more than 8 KB stand in no other Region's record.
func TestLargeObjectsElsewhere(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]string{8<<10 - 40: `"policy":"xx`, 8 << 10: `"requestParameters":null`} {
		r := moved()
		r.Elsewhere[0].RequestParameters = audit.Params{}
		r.Elsewhere[0].RequestParameters.String("policy", strings.Repeat("x", size))
		for _, r := range []*audit.Record{r, trip(t, r)} {
			if line := written(t, r)[1]; !strings.Contains(line, want) || !strings.Contains(line, `"responseElements":{`) {
				t.Errorf("%d bytes: got %.2000s", size, line)
			}
		}
	}
}
