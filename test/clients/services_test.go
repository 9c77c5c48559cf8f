package clients_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// TestGoSDKService is a service that uses the account's AWS managed key, which comes into
// being by that, is seen on every node, and is managed by nobody.
func TestGoSDKService(t *testing.T) {
	t.Parallel()
	const region, alias = "me-central-1", "alias/aws/shelf"
	userARN, user := newUser(t, "shelf-process")
	roleARN := newRole(t, "shelf", userARN, "", "")
	got[iam.TagRoleOutput](t)(iamAt(t, 1).TagRole(t.Context(), &iam.TagRoleInput{RoleName: aws.String("shelf"),
		Tags: []iamtypes.Tag{{Key: aws.String("kmsd:service"), Value: aws.String("shelf")}}}))
	service := func(node int) *kms.Client {
		return kmsAt(t, node, region, aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(stsAt(t, node, region, user.provider()), roleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "node"
			o.Tags = []ststypes.Tag{{Key: aws.String("kmsd:account"), Value: aws.String(account)}}
		})))
	}
	root := kmsAt(t, 2, region, dev.root().provider())
	_, err := root.Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(alias), Plaintext: []byte("x")})
	sdkError[*types.NotFoundException](t, err, "NotFoundException", "Alias arn:aws:kms:"+region+":"+account+":"+alias+" is not found.")

	made := got[kms.GenerateDataKeyOutput](t)(service(0).GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: aws.String(alias), KeySpec: types.DataKeySpecAes256}))
	opened := got[kms.DecryptOutput](t)(service(1).Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob}))
	same(t, "Decrypt", string(made.Plaintext), string(opened.Plaintext))
	shown := got[kms.DescribeKeyOutput](t)(root.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: aws.String(alias)}))
	same(t, "DescribeKey", []string{*made.KeyId, "AWS"}, []string{*shown.KeyMetadata.Arn, string(shown.KeyMetadata.KeyManager)})
	rotation := got[kms.GetKeyRotationStatusOutput](t)(root.GetKeyRotationStatus(t.Context(), &kms.GetKeyRotationStatusInput{KeyId: made.KeyId}))
	same(t, "GetKeyRotationStatus", 365, int(aws.ToInt32(rotation.RotationPeriodInDays)))
	_, err = root.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: made.KeyId})
	sdkError[smithy.APIError](t, err, "AccessDeniedException", "User: arn:aws:iam::"+account+":root is not authorized to perform: kms:DisableKey on resource: "+*made.KeyId+
		" because no resource-based policy allows the kms:DisableKey action")
	_, err = root.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob})
	sdkError[smithy.APIError](t, err, "AccessDeniedException", "User: arn:aws:iam::"+account+":root is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access")
}
