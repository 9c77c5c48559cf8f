package clients_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
)

// patience is how often clients of the SDK for Go, which read no environment here, try
// where others have attempts.
const patience = 10

// waiting has each call of a client wait as settle says.
func waiting(t *testing.T) func(*middleware.Stack) error {
	wait := middleware.InitializeMiddlewareFunc("settle", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		dev.settle(t)
		return next.HandleInitialize(ctx, in)
	})
	return func(s *middleware.Stack) error { return s.Initialize.Add(wait, middleware.Before) }
}

// A login is a credential as the environment of a client holds it.
type login struct{ keyID, secret, token string }

func (l login) provider() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(l.keyID, l.secret, l.token)
}

// environment replaces the root user's credential.
func (l login) environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + l.keyID, "AWS_SECRET_ACCESS_KEY=" + l.secret, "AWS_SESSION_TOKEN=" + l.token}
}

// root is the root user's credential.
func (c *cluster) root() login { return login{keyID: c.accessKeyID, secret: c.secret} }

// iamAt is a client of IAM as the root user.
func iamAt(t *testing.T, node int) *iam.Client {
	return iam.New(iam.Options{
		BaseEndpoint: &dev.endpoints[node], Region: "us-east-1", Credentials: dev.root().provider(), RetryMaxAttempts: patience,
		APIOptions: []func(*middleware.Stack) error{waiting(t)},
	})
}

func stsAt(t *testing.T, node int, region string, who aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{
		BaseEndpoint: &dev.endpoints[node], Region: region, Credentials: who, RetryMaxAttempts: patience,
		APIOptions: []func(*middleware.Stack) error{waiting(t)},
	})
}

func kmsAt(t *testing.T, node int, region string, who aws.CredentialsProvider) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: &dev.endpoints[node], Region: region, Credentials: who, RetryMaxAttempts: patience,
	}, settling(t))
}

// newUser makes a user with an access key and without rights.
func newUser(t *testing.T, name string) (arn string, who login) {
	t.Helper()
	user := got[iam.CreateUserOutput](t)(iamAt(t, 0).CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}))
	key := got[iam.CreateAccessKeyOutput](t)(iamAt(t, 1).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &name}))
	return *user.User.Arn, login{keyID: *key.AccessKey.AccessKeyId, secret: *key.AccessKey.SecretAccessKey}
}

// newRole makes a role that trusts somebody, as far as more says, with an inline policy
// of the same name if that is not empty.
func newRole(t *testing.T, name, trusted, more, policy string) (arn string) {
	t.Helper()
	role := got[iam.CreateRoleOutput](t)(iamAt(t, 1).CreateRole(t.Context(), &iam.CreateRoleInput{
		RoleName: &name, Path: aws.String("/clients/"), AssumeRolePolicyDocument: aws.String(trusting(trusted, more)),
	}))
	if policy != "" {
		got[iam.PutRolePolicyOutput](t)(iamAt(t, 2).PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
			RoleName: &name, PolicyName: &name, PolicyDocument: &policy,
		}))
	}
	return *role.Role.Arn
}

// trusting is a trust policy; more may add elements to its statement.
func trusting(arn, more string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":["sts:AssumeRole","sts:TagSession"]` + more + `}]}`
}

// allowing is an identity policy.
func allowing(action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"*"}]}`
}

// The policies of AWS that tests attach.
const (
	readOnly  = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	powerUser = "arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser"
)

// sessionARN is the ARN of a role's session: without the role's path.
func sessionARN(role, session string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session
}

// Identifiers as IAM makes them.
var (
	userID   = pattern("user id", `AIDA[A-Z2-7]{17}`)
	groupID  = pattern("group id", `AGPA[A-Z2-7]{17}`)
	roleID   = pattern("role id", `AROA[A-Z2-7]{17}`)
	longTerm = pattern("access key id", `AKIA[A-Z2-7]{16}`)
	passing  = pattern("temporary access key id", `ASIA[A-Z2-7]{16}`)
	secret   = pattern("secret access key", `[A-Za-z0-9+/]{40}`)
)
