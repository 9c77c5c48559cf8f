package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/admin"
)

func ptr[T any](v T) *T { return &v }

const memberID = "0b9c1f0e-1111-4a4a-8b8b-000000000001"

// What each request takes, and that a client's encoding of it decodes to the same.
func TestRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body string
		want wire.Request
	}{
		{``, &admin.GetStatusRequest{}}, {` {} `, &admin.GetStatusRequest{}},
		{``, &admin.ListMembersRequest{}}, {``, &admin.GetAuthorityRequest{}},
		{``, &admin.CreateJoinTokenRequest{}},
		{`{"ttlSeconds":null,"uses":null,"cidrs":null}`, &admin.CreateJoinTokenRequest{}},
		{`{"ttlSeconds":1,"uses":100,"cidrs":[]}`, &admin.CreateJoinTokenRequest{TTLSeconds: ptr(1), Uses: ptr(100), CIDRs: []string{}}},
		{`{"cidrs":["10.0.0.0\/8"],"ttlSeconds":86400}`, &admin.CreateJoinTokenRequest{TTLSeconds: ptr(86400), CIDRs: []string{"10.0.0.0/8"}}},
		{``, &admin.LeaveClusterRequest{}},
		{`{"force":false,"memberId":"` + memberID + `"}`, &admin.LeaveClusterRequest{MemberID: ptr(memberID), Force: ptr(false)}},
		{`{"memberId":"` + memberID + `","force":true}`, &admin.RemoveMemberRequest{MemberID: memberID, Force: ptr(true)}},
		{`{"accountId":"111122223333"}`, &admin.ResetRootCredentialRequest{AccountID: "111122223333"}},
		{``, &admin.CreateAccountRequest{}}, {`{"accountId":null}`, &admin.CreateAccountRequest{}},
		{`{"accountId":"000000000042"}`, &admin.CreateAccountRequest{AccountID: ptr("000000000042")}},
		{``, &admin.ListAccountsRequest{}}, {`{"marker":"111122223333"}`, &admin.ListAccountsRequest{Marker: ptr("111122223333")}},
		{`{"accountId":"111122223333"}`, &admin.CloseAccountRequest{AccountID: "111122223333"}},
		{``, &admin.GetConfigRequest{}}, {`{}`, &admin.SetConfigRequest{}},
		{`{"keysPerRegion":null,"aliasesPerKey":null,"throttle":null,"rates":null}`, &admin.SetConfigRequest{}},
		{`{"keysPerRegion":1,"aliasesPerKey":1,"throttle":"off"}`, &admin.SetConfigRequest{KeysPerRegion: ptr(1), AliasesPerKey: ptr(1), Throttle: ptr("off")}},
		{`{"keysPerRegion":10000000,"aliasesPerKey":100000,"throttle":"custom","rates":{"CreateKey":5,"symmetric":2.5e2,"rsa":0.25,"x":-1,"y":0.010}}`,
			&admin.SetConfigRequest{KeysPerRegion: ptr(10_000_000), AliasesPerKey: ptr(100_000), Throttle: ptr("custom"),
				Rates: map[string]admin.Rate{"CreateKey": 5000, "symmetric": 250_000, "rsa": 250, "x": -1000, "y": 10}}},
	} {
		got := fresh(tt.want)
		if err := got.Decode([]byte(tt.body)); err != nil {
			t.Errorf("%T %s: %v", tt.want, tt.body, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.body, diff)
		}
		text, err := json.Marshal(tt.want)
		again := fresh(tt.want)
		if err = errors.Join(err, again.Decode(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func fresh(v wire.Request) wire.Request {
	switch v.(type) {
	case *admin.GetStatusRequest:
		return new(admin.GetStatusRequest)
	case *admin.ListMembersRequest:
		return new(admin.ListMembersRequest)
	case *admin.GetAuthorityRequest:
		return new(admin.GetAuthorityRequest)
	case *admin.CreateJoinTokenRequest:
		return new(admin.CreateJoinTokenRequest)
	case *admin.LeaveClusterRequest:
		return new(admin.LeaveClusterRequest)
	case *admin.RemoveMemberRequest:
		return new(admin.RemoveMemberRequest)
	case *admin.ResetRootCredentialRequest:
		return new(admin.ResetRootCredentialRequest)
	case *admin.CreateAccountRequest:
		return new(admin.CreateAccountRequest)
	case *admin.ListAccountsRequest:
		return new(admin.ListAccountsRequest)
	case *admin.CloseAccountRequest:
		return new(admin.CloseAccountRequest)
	case *admin.GetConfigRequest:
		return new(admin.GetConfigRequest)
	case *admin.SetConfigRequest:
		return new(admin.SetConfigRequest)
	}
	panic("unknown request")
}

// Responses as text, typed by hand. A client reads back what was written, the
// secrets, too.
func TestResponses(t *testing.T) {
	t.Parallel()
	expires := time.Date(2026, 11, 24, 13, 0, 0, 345e6, time.UTC)
	for _, tt := range []struct {
		out  wire.Response
		want string
		into any
	}{
		{&admin.CreateJoinTokenResponse{TokenID: "id", Token: "kmsd1.secret", Expires: expires, Uses: 3},
			`{"tokenId":"id","token":"kmsd1.secret","expires":"2026-11-24T13:00:00.345Z","uses":3}`, new(admin.CreateJoinTokenResponse)},
		{&admin.RootCredential{AccountID: "111122223333", AccessKeyID: "AKIA", SecretAccessKey: "a/+\"b"},
			`{"accountId":"111122223333","accessKeyId":"AKIA","secretAccessKey":"a/+\"b"}`, new(admin.RootCredential)},
		{&admin.ListMembersResponse{Members: []admin.Member{}}, `{"members":[],"quorum":{"voters":0,"healthyVoters":0,"neededVoters":0,"failureTolerance":0}}`, new(admin.ListMembersResponse)},
		{&admin.Settings{KeysPerRegion: 100_000, AliasesPerKey: 50, Throttle: "off"}, `{"keysPerRegion":100000,"aliasesPerKey":50,"throttle":"off"}`, new(admin.Settings)},
		{&admin.Settings{KeysPerRegion: 1, AliasesPerKey: 2, Throttle: "custom", Rates: map[string]admin.Rate{"symmetric": 10_000_000, "CreateKey": 10, "rsa": 1500}},
			`{"keysPerRegion":1,"aliasesPerKey":2,"throttle":"custom","rates":{"CreateKey":0.01,"rsa":1.5,"symmetric":10000}}`, new(admin.Settings)},
		{&admin.GetStatusResponse{Quorum: &admin.Quorum{Voters: 5, Healthy: 4, Needed: 3, FailureTolerance: 1}},
			`{"clusterId":"","nodeId":"","release":"","clusterVersion":0,"supportedClusterVersion":0,"ready":false,"role":"",
			"quorum":{"voters":5,"healthyVoters":4,"neededVoters":3,"failureTolerance":1},
			"term":0,"appliedIndex":0,"stableIndex":0,"starts":0,"seal":"","diskFreeBytes":0,"diskSizeBytes":0,"wallOffsetMilliseconds":0}`, new(admin.GetStatusResponse)},
		{&admin.ExplainResponse{Allowed: true, Policies: []admin.PolicySay{}}, `{"allowed":true,"explicit":false,"principal":{"type":"","arn":"","uniqueId":""},"action":"","resource":"","policies":[]}`, new(admin.ExplainResponse)},
		{&admin.ExplainResponse{Explicit: true, Ground: "resource-based policy", Message: "no", Action: "a:b", Resource: "*", AbsentKeys: []string{"c:d"},
			Statement: &admin.Statement{Policy: "default", Holder: "h", Index: 1, Sid: "s", Text: json.RawMessage(`{"Effect":"Deny"}`)},
			Principal: admin.PrincipalSeen{Type: "IAMUser", ARN: "arn", UniqueID: "AIDA"}, Policies: []admin.PolicySay{{Kind: admin.PolicyKey, Policy: "default", Holder: "h", Denies: true}}},
			`{"allowed":false,"explicit":true,"ground":"resource-based policy","statement":{"policy":"default","attachedTo":"h","index":1,"sid":"s","text":{"Effect":"Deny"}},
			"message":"no","principal":{"type":"IAMUser","arn":"arn","uniqueId":"AIDA"},"action":"a:b","resource":"*",
			"policies":[{"kind":"key","policy":"default","attachedTo":"h","allows":false,"denies":true}],"absentContextKeys":["c:d"]}`, new(admin.ExplainResponse)},
		{&admin.ListAccountsResponse{Accounts: []admin.Account{}}, `{"accounts":[]}`, new(admin.ListAccountsResponse)},
		{&admin.ListAccountsResponse{Accounts: []admin.Account{{AccountID: "000000000042", Status: admin.AccountClosed, Created: expires}}, NextMarker: "000000000042"},
			`{"accounts":[{"accountId":"000000000042","status":"Closed","created":"2026-11-24T13:00:00.345Z"}],"nextMarker":"000000000042"}`, new(admin.ListAccountsResponse)},
		{&admin.CloseAccountResponse{}, `{}`, new(admin.CloseAccountResponse)},
		{&admin.LeaveClusterResponse{}, `{}`, new(admin.LeaveClusterResponse)},
		{&admin.RemoveMemberResponse{}, `{}`, new(admin.RemoveMemberResponse)},
		{&admin.GetAuthorityResponse{Certificate: "PEM\n"}, `{"certificate":"PEM\n"}`, new(admin.GetAuthorityResponse)},
		{&admin.GetStatusResponse{DestroyedSecrets: &admin.DestroyedSecrets{Index: 7, Since: expires}, Role: admin.RoleLeader},
			`{"clusterId":"","nodeId":"","release":"","clusterVersion":0,"supportedClusterVersion":0,"ready":false,"role":"leader",
			"term":0,"appliedIndex":0,"stableIndex":0,"starts":0,"seal":"","diskFreeBytes":0,"diskSizeBytes":0,"wallOffsetMilliseconds":0,
			"destroyedSecretsOnDisk":{"index":7,"since":"2026-11-24T13:00:00.345Z"}}`, new(admin.GetStatusResponse)},
		{&admin.GetStatusResponse{NotReady: []string{"no leader"}, Warnings: []string{"disk"}, Role: admin.RoleUnknown, CertificateExpires: expires},
			`{"clusterId":"","nodeId":"","release":"","clusterVersion":0,"supportedClusterVersion":0,"ready":false,"notReady":["no leader"],"warnings":["disk"],"role":"unknown",
			"term":0,"appliedIndex":0,"stableIndex":0,"starts":0,"seal":"","diskFreeBytes":0,"diskSizeBytes":0,"wallOffsetMilliseconds":0,
			"certificateExpires":"2026-11-24T13:00:00.345Z"}`, new(admin.GetStatusResponse)},
	} {
		got := string(tt.out.AppendJSON([]byte("before")))
		if want := "before" + strings.NewReplacer("\n\t\t\t", "").Replace(tt.want); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "before")), tt.into); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if diff := cmp.Diff(any(tt.out), tt.into); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
}

// No way of printing but AppendJSON shows a secret.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	for _, v := range []any{
		admin.CreateJoinTokenResponse{Token: "canary"}, &admin.RootCredential{SecretAccessKey: "canary"},
	} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if all := fmt.Sprintf("%s %v %+v %#v", text, v, v, v); strings.Contains(all, "canary") {
			t.Errorf("got %s", all)
		}
	}
}

// What decodes is within the bounds; what does not leaves nothing behind.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"ttlSeconds":60,"uses":2,"cidrs":["10.0.0.0/8"],"memberId":"` + memberID + `","force":true,"accountId":"111122223333"}`))
	f.Add([]byte(`{"uses":1,"uses":1}`))
	f.Add([]byte(`{"principal":"111122223333","action":"kms:Decrypt","resource":"*","context":{"aws:SourceIp":["10.0.0.1"],"a:b":[]}}`))
	f.Add([]byte(`{"keysPerRegion":7,"aliasesPerKey":7,"throttle":"custom","rates":{"CreateKey":0.25,"rsa":1e3}}`))
	f.Add([]byte(`{"memberId":"` + memberID + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var token admin.CreateJoinTokenRequest
		if err := token.Decode(body); err != nil {
			wantKind(t, err)
			if token.TTLSeconds != nil || token.Uses != nil || token.CIDRs != nil {
				t.Errorf("refused and kept: %+v", token)
			}
		} else if (token.Uses != nil && (*token.Uses < 1 || *token.Uses > 100)) ||
			(token.TTLSeconds != nil && (*token.TTLSeconds < 1 || *token.TTLSeconds > 86400)) || len(token.CIDRs) > 32 {
			t.Errorf("took %+v", token)
		}
		var config admin.SetConfigRequest
		if err := config.Decode(body); err != nil {
			wantKind(t, err)
			if config.KeysPerRegion != nil || config.AliasesPerKey != nil || config.Throttle != nil || config.Rates != nil {
				t.Errorf("refused and kept: %+v", config)
			}
		} else if (config.KeysPerRegion != nil && (*config.KeysPerRegion < 1 || *config.KeysPerRegion > 10_000_000)) ||
			(config.AliasesPerKey != nil && (*config.AliasesPerKey < 1 || *config.AliasesPerKey > 100_000)) || len(config.Rates) > 256 {
			t.Errorf("took %+v", config)
		}
		var explain admin.ExplainRequest
		if err := explain.Decode(body); err != nil {
			wantKind(t, err)
			if explain.Principal != "" || explain.Action != "" || explain.Resource != "" || explain.Context != nil {
				t.Errorf("refused and kept: %+v", explain)
			}
		} else if len(explain.Principal) > 2048 || len(explain.Context) > 50 {
			t.Errorf("took %+v", explain)
		}
		var member admin.RemoveMemberRequest
		if err := member.Decode(body); err != nil {
			wantKind(t, err)
			if member != (admin.RemoveMemberRequest{}) {
				t.Errorf("refused and kept: %+v", member)
			}
		} else if len(member.MemberID) != 36 {
			t.Errorf("took %+v", member)
		}
	})
}

func wantKind(t *testing.T, err error) {
	t.Helper()
	var serialization *wire.SerializationError
	var constraint *wire.ConstraintError
	if !errors.As(err, &serialization) && !errors.As(err, &constraint) {
		t.Errorf("got %T: %v", err, err)
	}
}

func TestQuorumInWords(t *testing.T) {
	t.Parallel()
	for want, q := range map[string]admin.Quorum{
		"1 of 1 voters are healthy, 1 are needed: the cluster tolerates no failure":       {Voters: 1, Healthy: 1, Needed: 1},
		"2 of 2 voters are healthy, 2 are needed: the cluster tolerates no failure":       {Voters: 2, Healthy: 2, Needed: 2},
		"3 of 3 voters are healthy, 2 are needed: the cluster tolerates the failure of 1": {Voters: 3, Healthy: 3, Needed: 2, FailureTolerance: 1},
	} {
		if got := q.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
