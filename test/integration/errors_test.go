package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// typed tells whether err is, for the SDK, of type E.
func typed[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// named tells whether err is an error of no type, for the SDK, with a code.
func named(code string) func(error) bool {
	return func(err error) bool {
		var e *smithy.GenericAPIError
		return errors.As(err, &e) && e.Code == code
	}
}

// TestErrors checks that the SDK recognises the errors of every node by their
// types.
func TestErrors(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	nodes := c.everyKMS(newRegion())
	key, _ := create(t, nodes[0])
	other, _ := create(t, nodes[1])
	disabled, _ := create(t, nodes[2])
	_, err := nodes[0].DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled})
	must(t, "DisableKey", 0, err)
	alias := func(i int) *string { return aws.String(fmt.Sprintf("alias/full/%d", i)) }
	for i := range 50 { // as many as a key may have
		_, err := nodes[i%3].CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias(i), TargetKeyId: &key})
		must(t, "CreateAlias", 0, err)
	}
	sealed, err := nodes[1].Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")})
	must(t, "Encrypt", sealed, err)
	c.settle(t)
	absent, text := aws.String("00000000-0000-4000-8000-000000000000"), []byte("x")

	type client = *kms.Client
	for _, tc := range []struct {
		name string
		want func(error) bool
		do   func(context.Context, client) (any, error)
	}{
		{"unknown key", typed[*types.NotFoundException], func(ctx context.Context, n client) (any, error) {
			return n.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: absent})
		}},
		{"unknown alias", typed[*types.NotFoundException], func(ctx context.Context, n client) (any, error) {
			return n.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/none")})
		}},
		{"disabled key", typed[*types.DisabledException], func(ctx context.Context, n client) (any, error) {
			return n.Encrypt(ctx, &kms.EncryptInput{KeyId: &disabled, Plaintext: text})
		}},
		{"alias that exists", typed[*types.AlreadyExistsException], func(ctx context.Context, n client) (any, error) {
			return n.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias(7), TargetKeyId: &other})
		}},
		{"alias too many", typed[*types.LimitExceededException], func(ctx context.Context, n client) (any, error) {
			return n.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias(50), TargetKeyId: &key})
		}},
		{"bad ciphertext", typed[*types.InvalidCiphertextException], func(ctx context.Context, n client) (any, error) {
			return n.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: text})
		}},
		{"wrong key", typed[*types.IncorrectKeyException], func(ctx context.Context, n client) (any, error) {
			return n.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, KeyId: &other})
		}},
		{"bad ARN", typed[*types.InvalidArnException], func(ctx context.Context, n client) (any, error) {
			return n.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("arn:aws:kms")})
		}},
		{"bad marker", typed[*types.InvalidMarkerException], func(ctx context.Context, n client) (any, error) {
			return n.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("x")})
		}},
		{"bad grant token", typed[*types.InvalidGrantTokenException], func(ctx context.Context, n client) (any, error) {
			return n.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: text, GrantTokens: []string{"x"}})
		}},
		{"bad tag", typed[*types.TagException], func(ctx context.Context, n client) (any, error) {
			return n.CreateKey(ctx, &kms.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("aws:x"), TagValue: aws.String("y")}}})
		}},
		{"bad policy", typed[*types.MalformedPolicyDocumentException], func(ctx context.Context, n client) (any, error) {
			return n.CreateKey(ctx, &kms.CreateKeyInput{Policy: aws.String("{")})
		}},
		{"spec of nowhere", typed[*types.UnsupportedOperationException], func(ctx context.Context, n client) (any, error) {
			return n.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecSm2, KeyUsage: types.KeyUsageTypeSignVerify})
		}},
		{"dry run of a read", typed[*types.DryRunOperationException], func(ctx context.Context, n client) (any, error) {
			return n.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: text, DryRun: aws.Bool(true)})
		}},
		{"reserved alias", named("NotAuthorizedException"), func(ctx context.Context, n client) (any, error) {
			return n.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/x"), TargetKeyId: &other})
		}},
		{"constraint of the model", named("ValidationException"), func(ctx context.Context, n client) (any, error) {
			return n.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: make([]byte, 4097)})
		}},
		{"operation of a later version", named("UnknownOperationException"), func(ctx context.Context, n client) (any, error) {
			return n.CreateCustomKeyStore(ctx, &kms.CreateCustomKeyStoreInput{CustomKeyStoreName: aws.String("x")})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for i, n := range nodes {
				if _, err := tc.do(t.Context(), n); !tc.want(err) {
					t.Errorf("node %d: %v", i, err)
				}
			}
		})
	}
}
