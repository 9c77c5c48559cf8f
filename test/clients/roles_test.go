package clients_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A roleTest is about a program that gets its credentials by assuming a role.
type roleTest struct {
	region, userARN string
	user            login
	role, roleARN   string
	key             string // ARN; its policy names the role
}

// newRoleTest makes a role for a user, and a key whose policy lets all sessions of the
// role encrypt and decrypt, and those of the team "red" make data keys.
func newRoleTest(t *testing.T, region string) *roleTest {
	t.Helper()
	r := &roleTest{region: region, role: "GoApp." + region}
	r.userARN, r.user = newUser(t, "go."+region)
	r.roleARN = newRole(t, r.role, r.userARN, "", "")
	statement := func(principal, actions, more string) string {
		return `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + actions + `,"Resource":"*"` + more + `}`
	}
	made := got[kms.CreateKeyOutput](t)(kmsAt(t, 2, region, dev.root().provider()).CreateKey(t.Context(), &kms.CreateKeyInput{Policy: aws.String(
		`{"Version":"2012-10-17","Statement":[` + statement(account, `"kms:*"`, "") + `,` +
			statement(r.roleARN, `["kms:Encrypt","kms:Decrypt"]`, "") + `,` +
			statement(r.roleARN, `"kms:GenerateDataKey"`, `,"Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}`) + `]}`,
	)}))
	r.key = *made.KeyMetadata.Arn
	return r
}

// assumed is a client of KMS that assumes the role by itself, through another node.
func (r *roleTest) assumed(t *testing.T, node int, adapt func(*stscreds.AssumeRoleOptions)) *kms.Client {
	provider := stscreds.NewAssumeRoleProvider(stsAt(t, (node+1)%nodes, r.region, r.user.provider()), r.roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "app"
		adapt(o)
	})
	return kmsAt(t, node, r.region, aws.NewCredentialsCache(provider))
}

// refusal is how the key is refused to a session.
func (r *roleTest) refusal(action, reason string) string {
	return "User: " + sessionARN(r.role, "app") + " is not authorized to perform: " + action + " on resource: " + r.key + " because no " + reason + " allows the " + action + " action"
}

func (r *roleTest) encrypt(t *testing.T, client *kms.Client) ([]byte, error) {
	out, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &r.key, Plaintext: []byte("orders")})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

func (r *roleTest) dataKey(t *testing.T, client *kms.Client) error {
	_, err := client.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &r.key, KeySpec: types.DataKeySpecAes256})
	return err
}

// TestGoSDKRole has the SDK assume a role for a client of KMS, whose rights come from a
// key's policy, session tags and a session policy, until the role is deleted.
func TestGoSDKRole(t *testing.T) {
	t.Parallel()
	r := newRoleTest(t, "me-south-1")
	_, err := r.encrypt(t, kmsAt(t, 0, r.region, r.user.provider()))
	sdkError[smithy.APIError](t, err, "AccessDeniedException", "User: "+r.userARN+" is not authorized to perform: kms:Encrypt on resource: "+r.key+
		" because no identity-based policy allows the kms:Encrypt action")
	plain := r.assumed(t, 1, func(*stscreds.AssumeRoleOptions) {})
	blob, err := r.encrypt(t, plain)
	if err != nil {
		t.Fatal(err)
	}
	sdkError[smithy.APIError](t, r.dataKey(t, plain), "AccessDeniedException", r.refusal("kms:GenerateDataKey", "identity-based policy"))

	team := func(name string) func(*stscreds.AssumeRoleOptions) {
		return func(o *stscreds.AssumeRoleOptions) {
			o.Tags = []ststypes.Tag{{Key: aws.String("team"), Value: &name}}
		}
	}
	if err := r.dataKey(t, r.assumed(t, 2, team("red"))); err != nil {
		t.Fatal(err)
	}
	sdkError[smithy.APIError](t, r.dataKey(t, r.assumed(t, 0, team("blue"))), "AccessDeniedException", r.refusal("kms:GenerateDataKey", "identity-based policy"))

	narrow := r.assumed(t, 2, func(o *stscreds.AssumeRoleOptions) { o.Policy = aws.String(allowing("kms:Decrypt")) })
	opened := got[kms.DecryptOutput](t)(narrow.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob}))
	same(t, "Decrypt", []string{"orders", r.key}, []string{string(opened.Plaintext), aws.ToString(opened.KeyId)})
	_, err = r.encrypt(t, narrow)
	sdkError[smithy.APIError](t, err, "AccessDeniedException", r.refusal("kms:Encrypt", "session policy"))
	r.deleted(t, plain)
}

// deleted deletes the role: its sessions end, and a role made anew under its name has
// none of its rights.
func (r *roleTest) deleted(t *testing.T, living *kms.Client) {
	got[iam.DeleteRoleOutput](t)(iamAt(t, 0).DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &r.role}))
	_, err := r.encrypt(t, living)
	sdkError[smithy.APIError](t, err, "UnrecognizedClientException", unknownCredential)
	fresh := r.assumed(t, 2, func(*stscreds.AssumeRoleOptions) {})
	_, err = r.encrypt(t, fresh)
	sdkError[smithy.APIError](t, err, "AccessDenied", "User: "+r.userARN+" is not authorized to perform: sts:AssumeRole on resource: "+r.roleARN)
	newRole(t, r.role, r.userARN, "", "")
	_, err = r.encrypt(t, fresh)
	sdkError[smithy.APIError](t, err, "AccessDeniedException", r.refusal("kms:Encrypt", "identity-based policy"))
}

// recordedSTS keeps the sessions that a provider got.
type recordedSTS struct {
	*sts.Client
	sessions []*ststypes.Credentials
}

func (s *recordedSTS) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, options ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	out, err := s.Client.AssumeRole(ctx, in, options...)
	if err == nil {
		s.sessions = append(s.sessions, out.Credentials)
	}
	return out, err
}

// refreshing is a client of KMS that assumes the role when its session ends within the
// window.
func (r *roleTest) refreshing(t *testing.T, node int, window time.Duration) (*kms.Client, *recordedSTS) {
	from := &recordedSTS{Client: stsAt(t, (node+1)%nodes, r.region, r.user.provider())}
	provider := stscreds.NewAssumeRoleProvider(from, r.roleARN, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "app" })
	return kmsAt(t, node, r.region, aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = window })), from
}

// TestGoSDKRoleRefresh has the SDK assume a role again whenever its session is about to
// end: a session lasts a quarter of an hour, so that a window of an hour is each call.
func TestGoSDKRoleRefresh(t *testing.T) {
	t.Parallel()
	r := newRoleTest(t, "me-west-1")
	cached, once := r.refreshing(t, 0, 0)
	renewed, often := r.refreshing(t, 1, time.Hour)
	const calls = 3
	for range calls {
		for _, client := range []*kms.Client{cached, renewed} {
			if _, err := r.encrypt(t, client); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(once.sessions) != 1 || len(often.sessions) != calls {
		t.Fatalf("%d calls got %d and %d sessions, want 1 and %d", calls, len(once.sessions), len(often.sessions), calls)
	}
	ids := map[string]bool{}
	for node, s := range often.sessions {
		ids[*s.AccessKeyId] = true
		if left := time.Until(*s.Expiration); left > 15*time.Minute || left < 10*time.Minute {
			t.Errorf("a session of the SDK's default of 15 minutes has %s left", left)
		}
		old := login{*s.AccessKeyId, *s.SecretAccessKey, *s.SessionToken} // good until its end
		if _, err := r.encrypt(t, kmsAt(t, node%nodes, r.region, old.provider())); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != calls {
		t.Errorf("%d sessions have %d access key ids", calls, len(ids))
	}
	r.untrusted(t, cached, renewed)
}

// untrusted takes the user out of the role's trust policy: a session lives on, and
// cannot be renewed.
func (r *roleTest) untrusted(t *testing.T, cached, renewed *kms.Client) {
	got[iam.UpdateAssumeRolePolicyOutput](t)(iamAt(t, 2).UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{
		RoleName: &r.role, PolicyDocument: aws.String(trusting(account, "")),
	}))
	if _, err := r.encrypt(t, cached); err != nil {
		t.Fatal(err)
	}
	_, err := r.encrypt(t, renewed)
	sdkError[smithy.APIError](t, err, "AccessDenied", "User: "+r.userARN+" is not authorized to perform: sts:AssumeRole on resource: "+r.roleARN)
}

// profiles are a configuration file, in which a program's profile names its role and
// whose credential assumes it. The SDK for Go takes no endpoint for AssumeRole from the
// profile's endpoint_url.
const profiles = `[profile caller]
aws_access_key_id = %[1]s
aws_secret_access_key = %[2]s

[profile app]
role_arn = %[3]s
source_profile = caller
role_session_name = app
region = %[4]s
services = kmsd

[services kmsd]
kms =
  endpoint_url = %[5]s
sts =
  endpoint_url = %[5]s
`

// TestProfileRole has programs assume a role because a profile says so: the SDK for Go,
// and the AWS CLI of the PATH, since Debian's knows no endpoint but that of its command.
func TestProfileRole(t *testing.T) {
	t.Parallel()
	r := newRoleTest(t, "me-central-1")
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(profiles, r.user.keyID, r.user.secret, r.roleARN, r.region, dev.endpoints[1])
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles([]string{path}), config.WithSharedConfigProfile("app"),
		config.WithRetryMaxAttempts(patience))
	if err != nil {
		t.Fatal(err)
	}
	dev.settle(t)
	blob, err := r.encrypt(t, kms.NewFromConfig(cfg, settling(t)))
	if err != nil {
		t.Fatal(err)
	}
	cli, other := onPath("aws", debianCLI)
	if !other {
		return
	}
	c := newAWSCLI(t, cli, r.region, false)
	cmd := c.command(t, 2, "--profile", "app", "kms", "decrypt", "--ciphertext-blob", file(t, blob), "--query", "KeyId", "--output", "text")
	cmd.Env = append(os.Environ(), attempts, "AWS_CONFIG_FILE="+path)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != r.key+"\n" {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

// clusterHeader is what Kubernetes on EKS has signed with the identity of a caller, so
// that a token is good for one cluster alone.
const clusterHeader = "x-k8s-aws-id"

// TestPresignedIdentity makes a token as EKS and Vault do, and redeems it with nothing
// but HTTP.
func TestPresignedIdentity(t *testing.T) {
	t.Parallel()
	const region = "me-north-1"
	userARN, user := newUser(t, "presigner."+region)
	role := "Presigner." + region
	made := got[sts.AssumeRoleOutput](t)(stsAt(t, 1, region, user.provider()).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(newRole(t, role, userARN, "", "")), RoleSessionName: aws.String("node"),
	}))
	app := login{keyID: *made.Credentials.AccessKeyId, secret: *made.Credentials.SecretAccessKey, token: *made.Credentials.SessionToken}
	for node, who := range []struct {
		login
		arn string
	}{{dev.root(), "arn:aws:iam::" + account + ":root"}, {user, userARN}, {app, sessionARN(role, "node")}} {
		url := presign(t, node, region, who.provider(), "my-cluster")
		status, arn, _ := redeem(t, url, "my-cluster")
		if status != http.StatusOK || arn != who.arn {
			t.Errorf("node %d: got %d and %q, want %q", node, status, arn, who.arn)
		}
		for _, cluster := range []string{"another-cluster", ""} {
			if status, arn, code := redeem(t, url, cluster); status != http.StatusForbidden || arn != "" || code != "SignatureDoesNotMatch" {
				t.Errorf("node %d, header %q: got %d, %q and %s, want SignatureDoesNotMatch", node, cluster, status, arn, code)
			}
		}
	}
	got[iam.DeleteRoleOutput](t)(iamAt(t, 0).DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &role}))
	if status, _, code := redeem(t, presign(t, 1, region, app.provider(), "my-cluster"), "my-cluster"); status != http.StatusForbidden || code != "InvalidClientTokenId" {
		t.Errorf("the session of a deleted role: got %d and %s, want InvalidClientTokenId", status, code)
	}
}

// presign returns a URL that shows who the caller is, for a minute.
func presign(t *testing.T, node int, region string, who aws.CredentialsProvider, cluster string) string {
	t.Helper()
	signed, err := sts.NewPresignClient(stsAt(t, node, region, who)).PresignGetCallerIdentity(t.Context(), nil, func(o *sts.PresignOptions) {
		o.ClientOptions = append(o.ClientOptions, func(o *sts.Options) {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(clusterHeader, cluster), smithyhttp.SetHeaderValue("X-Amz-Expires", "60"))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed.URL
}

// redeem fetches a URL with the header, if that is not empty.
func redeem(t *testing.T, url, cluster string) (status int, arn, code string) {
	t.Helper()
	dev.settle(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cluster != "" {
		req.Header.Set(clusterHeader, cluster)
	}
	resp, err := dev.http(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Arn  string `xml:"GetCallerIdentityResult>Arn"`
		Code string `xml:"Error>Code"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode, answer.Arn, answer.Code
}
