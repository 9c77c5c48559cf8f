package sts_test

import (
	"encoding/xml"
	"testing"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/sts"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	op, ok := sts.Lookup("GetCallerIdentity")
	if !ok || len(sts.Operations()) != 1 || op.Output != wire.MembersOutput {
		t.Fatalf("got %v, %t, want the one operation", op, ok)
	}
	if err := op.New().Decode([]byte("Action=GetCallerIdentity&Version=2011-06-15")); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	out := sts.GetCallerIdentityResponse{
		Arn: new("arn:aws:iam::111111111111:user/eng/alice"), UserId: new("AIDAEXAMPLEEXAMPLE111"), Account: new("111111111111"),
	}
	got := string(wire.AppendQueryResponse(nil, op.Name, sts.Namespace, "req-1", out.AppendXML(nil)))
	want := `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>arn:aws:iam::111111111111:user/eng/alice</Arn><UserId>AIDAEXAMPLEEXAMPLE111</UserId><Account>111111111111</Account>` +
		`</GetCallerIdentityResult><ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var parsed struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Arn     string   `xml:"GetCallerIdentityResult>Arn"`
	}
	if err := xml.Unmarshal([]byte(got), &parsed); err != nil || parsed.Arn != *out.Arn {
		t.Errorf("parsed: got %v, %v, want the ARN", parsed, err)
	}
}
