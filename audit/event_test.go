package audit_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

const nextMaterial = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

func serviceEvent(name string) *audit.Record {
	return &audit.Record{
		EventID: "e158beb4-0000-4000-8000-000000000001", EventName: name, EventSource: audit.SourceKMS,
		Region: "us-east-1", Time: 1714564800999, Resources: []audit.Resource{key(keyARN)},
		RecipientAccount: "111111111111", ServiceEvent: true,
	}
}

func rotation() *audit.Record {
	r := serviceEvent("RotateKey")
	r.Details.String("rotationType", "AUTOMATIC")
	r.Details.String("keyOrigin", "AWS_KMS")
	r.Details.String("previousKeyMaterialId", material)
	r.Details.String("currentKeyMaterialId", nextMaterial)
	r.Details.String("keyId", keyID)
	return r
}

const rotationRecord = `
	{"eventVersion":"1.11","userIdentity":{"accountId":"111111111111","invokedBy":"AWS Internal"},
	"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"RotateKey","awsRegion":"us-east-1",
	"sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":null,"responseElements":null,
	"eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":false,
	"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
	"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management",
	"serviceEventDetails":{"rotationType":"AUTOMATIC","keyOrigin":"AWS_KMS",
	"previousKeyMaterialId":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"currentKeyMaterialId":"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210",
	"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}}`

// An event without a request names no caller, and its record survives a command.
func TestRecordOfServiceEvent(t *testing.T) {
	t.Parallel()
	check(t, rotation(), rotationRecord)
	check(t, trip(t, rotation()), rotationRecord)
	deletion := serviceEvent("DeleteKey")
	deletion.Details.String("keyId", keyID)
	const want = `
		{"eventVersion":"1.11","userIdentity":{"accountId":"111111111111","invokedBy":"AWS Internal"},
		"eventTime":"2024-05-01T12:00:00Z","eventSource":"kms.amazonaws.com","eventName":"DeleteKey","awsRegion":"us-east-1",
		"sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":null,"responseElements":null,
		"eventID":"e158beb4-0000-4000-8000-000000000001","readOnly":false,
		"resources":[{"accountId":"111111111111","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],
		"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111111111111","eventCategory":"Management",
		"serviceEventDetails":{"keyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}}`
	check(t, deletion, want)
	check(t, trip(t, deletion), want)
}

// What a new leader makes of an event whose command was refused.
func TestRefusedServiceEvent(t *testing.T) {
	t.Parallel()
	r := trip(t, rotation())
	r.Err = &kms.Error{Code: kms.CodeConflict, Message: "nothing is due"}
	check(t, r, strings.Replace(rotationRecord, `"requestParameters":null`,
		`"errorCode":"ConflictException","errorMessage":"nothing is due","requestParameters":null`, 1))
}

// An event shows nothing of a caller, whatever stands in the record.
func TestServiceEventHasNoCaller(t *testing.T) {
	t.Parallel()
	call := newRecord("RotateKey")
	r := rotation()
	r.RequestID, r.Principal, r.Source = call.RequestID, call.Principal, call.Source
	check(t, r, rotationRecord)
}

// oldRecord is decrypt() as it was encoded before there were service events. It may
// lie in logs and snapshots for ever.
const oldRecord = `
	01b401782465313538626562342d303030302d343030302d383030302d30303030303030303030303102782434653564346231632d303030302d3430
	30302d383030302d30303030303030303030303203674465637279707404716b6d732e616d617a6f6e6177732e636f6d056975732d656173742d3106
	1b0000018f3406a1e707f50a64526f6f740b6c3131313131313131313131310c6c3131313131313131313131310d781e61726e3a6177733a69616d3a
	3a3131313131313131313131313a726f6f740e74414b4941494f53464f444e4e374558414d504c4514693139322e302e322e3715746177732d73646b
	2d676f2d76322f312e32362e3116781b6b6d732e75732d656173742d312e616d617a6f6e6177732e636f6d1767544c5376312e33181876544c535f41
	45535f3132385f47434d5f534841323536181e585f7b22656e6372797074696f6e416c676f726974686d223a2253594d4d45545249435f4445464155
	4c54222c226b65794964223a22616c6961732f617070222c22656e6372797074696f6e436f6e74657874223a7b22617070223a2278227d7d18205854
	7b226b65794d6174657269616c4964223a22303132333435363738396162636465663031323334353637383961626364656630313233343536373839
	61626364656630313233343536373839616263646566227d182881826c313131313131313131313131784b61726e3a6177733a6b6d733a75732d6561
	73742d313a3131313131313131313131313a6b65792f31323334616263642d313261622d333463642d353665662d313233343536373839306162`

func TestOldEncoding(t *testing.T) {
	t.Parallel()
	b, err := hex.DecodeString(oneLine(oldRecord))
	if err != nil {
		t.Fatal(err)
	}
	r, err := audit.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(r.AppendJSON(nil)), string(decrypt().AppendJSON(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
