package integration_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// A change has a key with the default policy, and a user without rights. Root changes
// both through one node.
type change struct {
	t      *testing.T
	c      *cluster
	by     int // the node
	region string
	kms    *kms.Client
	iam    *iam.Client
	key    string // ARN
	name   string // of the user; roles and groups have it, too
	user   string // ARN
	keyID  *string
	login  aws.CredentialsProvider // with the access key keyID
	after  string                  // what was acknowledged last
}

func newChange(t *testing.T, c *cluster, by int) *change {
	t.Helper()
	d := &change{t: t, c: c, by: by, region: newRegion()}
	d.kms = c.kms(by, d.region)
	d.iam = iam.New(iam.Options{BaseEndpoint: &c.nodes[by].endpoint, Region: "us-east-1", Credentials: c.credentials(), Retryer: patient()})
	_, d.key = create(t, d.kms)
	d.name = "Of." + d.region
	d.createUser()
	return d
}

func (d *change) createUser() {
	d.t.Helper()
	made, err := d.iam.CreateUser(d.t.Context(), &iam.CreateUserInput{UserName: &d.name})
	must(d.t, "CreateUser", made, err)
	d.user = *made.User.Arn
	key, err := d.iam.CreateAccessKey(d.t.Context(), &iam.CreateAccessKeyInput{UserName: &d.name})
	must(d.t, "CreateAccessKey", key, err)
	d.keyID = key.AccessKey.AccessKeyId
	d.login = credentials.NewStaticCredentialsProvider(*d.keyID, *key.AccessKey.SecretAccessKey, "")
	d.after = "CreateAccessKey"
}

// done takes note of a change, which must have been acknowledged.
func (d *change) done(what string, err error) {
	d.t.Helper()
	must(d.t, what, 0, err)
	d.after = what
}

// A question is a call through a node.
type question func(node int) error

// encrypt asks whether a caller may use the key.
func (d *change) encrypt(login aws.CredentialsProvider) question {
	return func(node int) error {
		client := d.c.kmsAt(d.c.nodes[node].endpoint, d.region, once, func(o *kms.Options) { o.Credentials = login })
		_, err := client.Encrypt(d.t.Context(), &kms.EncryptInput{KeyId: &d.key, Plaintext: []byte("x")})
		return err
	}
}

// sts is a client of a node with a caller's credential.
func (d *change) sts(node int, login aws.CredentialsProvider, retryer aws.Retryer) *sts.Client {
	return sts.New(sts.Options{BaseEndpoint: &d.c.nodes[node].endpoint, Region: d.region, Credentials: login, Retryer: retryer})
}

// identify asks whether a credential is one.
func (d *change) identify(login aws.CredentialsProvider) question {
	return func(node int) error {
		_, err := d.sts(node, login, aws.NopRetryer{}).GetCallerIdentity(d.t.Context(), nil)
		return err
	}
}

// everywhere asks all nodes, the changing one last: each must answer with want, empty
// for success.
func (d *change) everywhere(want string, ask question) {
	d.t.Helper()
	for i := range d.c.nodes {
		node := (d.by + 1 + i) % len(d.c.nodes)
		got := said(ask(node))
		if got != want && d.excused(got) {
			d.c.settle(d.t)
			poll(d.t, unhurried, "the node to serve", func() bool { got = said(ask(node)); return !unavailable(got) })
		}
		if got != want {
			d.t.Errorf("after %s through node %d, node %d says %q, want %q", d.after, d.by, node, got, want)
		}
	}
}

// excused tells whether the machine was so busy that the promise does not hold: the
// node refuses to serve, or the leader went on without a member.
func (d *change) excused(got string) bool {
	return unavailable(got) || strings.Contains(d.c.stderr.String(), passedOver)
}

// unavailable tells whether a node said that it cannot decide now, as KMS or as STS.
func unavailable(said string) bool { return strings.HasPrefix(said, "ServiceUnavailable") }

// said is an answer in words: code and text of a refusal, empty for success.
func said(err error) string {
	var refusal smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refusal):
		return refusal.ErrorCode() + ": " + refusal.ErrorMessage()
	}
	return err.Error()
}

// What callers are told (AWS IAM: "Troubleshoot access denied error messages").
const (
	noIdentityPolicy = "because no identity-based policy allows the kms:Encrypt action"
	noBoundary       = "because no permissions boundary allows the kms:Encrypt action"
	deniedByIdentity = "with an explicit deny in an identity-based policy"
	deniedByResource = "with an explicit deny in a resource-based policy"

	goneForKMS = "UnrecognizedClientException: The security token included in the request is invalid."
	goneForSTS = "InvalidClientTokenId: The security token included in the request is invalid."
)

// refused is how the key is refused to a principal.
func (d *change) refused(principal, reason string) string {
	return "AccessDeniedException: User: " + principal + " is not authorized to perform: kms:Encrypt on resource: " + d.key + " " + reason
}

// statement is an identity policy about encryption.
func statement(effect string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Action":"kms:Encrypt","Resource":"*"}]}`)
}

// trusting is a trust policy.
func trusting(principal string) *string {
	return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}]}`)
}
