package clients_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// goRegion is the Region of the tests with the AWS SDK for Go.
const goRegion = "us-west-2"

// goConfig is the configuration of a program that leaves everything to the
// environment.
func goConfig(t *testing.T, endpoint string) aws.Config {
	t.Helper()
	t.Setenv("AWS_ENDPOINT_URL", endpoint)
	t.Setenv("AWS_ACCESS_KEY_ID", dev.accessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", dev.secret)
	t.Setenv("AWS_REGION", goRegion)
	name, value, _ := strings.Cut(attempts, "=")
	t.Setenv(name, value)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestGoSDK is not parallel: the SDK reads the process's environment.
func TestGoSDK(t *testing.T) {
	var c goClients
	for i := range nodes {
		cfg := goConfig(t, dev.endpoints[i])
		c[i] = kms.NewFromConfig(cfg, settling(t))
		who, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "GetCallerIdentity", rootIdentity, object{"UserId": *who.UserId, "Account": *who.Account, "Arn": *who.Arn})
	}
	first, second := c.keys(t), c.keys(t)
	c.lastUsage(t, first, "", "")
	c.ciphertexts(t, first, second)
	c.lists(t, first, second)
	c.state(t, first)
	c.aliases(t, first, second)
	c.refusals(t, first)
	c.once(t)
	c.life(t)
}

// settling has each call of a client of KMS wait as settle says.
func settling(t *testing.T) func(*kms.Options) {
	return func(o *kms.Options) { o.APIOptions = append(o.APIOptions, waiting(t)) }
}

// goClients has a client for each node.
type goClients [nodes]*kms.Client

// got fails the test on an error.
func got[T any](t *testing.T) func(out *T, err error) *T {
	return func(out *T, err error) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// sdkError checks the type, code and text of an error.
func sdkError[E error](t *testing.T, err error, code, message string) {
	t.Helper()
	var typed E
	var api smithy.APIError
	if !errors.As(err, &typed) || !errors.As(err, &api) || api.ErrorCode() != code || api.ErrorMessage() != message {
		t.Fatalf("got %v, want %v: %s: %s", err, reflect.TypeFor[E](), code, message)
	}
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(types.KeyMetadata{}, types.KeyListEntry{}, types.AliasListEntry{})); d != "" {
		t.Fatalf("%s: -want +got\n%s", what, d)
	}
}

// keys makes a key on node 0 and describes it on the others.
func (c goClients) keys(t *testing.T) *types.KeyMetadata {
	made := got[kms.CreateKeyOutput](t)(c[0].CreateKey(t.Context(), &kms.CreateKeyInput{
		Description: aws.String("made by the SDK for Go"), Tags: []types.Tag{{TagKey: aws.String("CostCenter"), TagValue: aws.String("87654")}},
	}))
	m := made.KeyMetadata
	id, created, material := aws.ToString(m.KeyId), aws.ToTime(m.CreationDate), aws.ToString(m.CurrentKeyMaterialId)
	if !uuid.ok(id) || !recent.ok(float64(created.UnixMilli())/1000) || !materialID.ok(material) {
		t.Fatalf("CreateKey: got %+v, want a key id, the present time and a material id", *m)
	}
	same(t, "CreateKey", &types.KeyMetadata{
		AWSAccountId: aws.String(account), KeyId: &id, Arn: aws.String(keyARN(goRegion, id)), CreationDate: &created,
		Enabled: true, KeyState: types.KeyStateEnabled, Description: aws.String("made by the SDK for Go"),
		KeyUsage: types.KeyUsageTypeEncryptDecrypt, Origin: types.OriginTypeAwsKms, KeyManager: types.KeyManagerTypeCustomer,
		KeySpec: types.KeySpecSymmetricDefault,
		//lint:ignore SA1019 AWS still sends the deprecated member.
		CustomerMasterKeySpec: types.CustomerMasterKeySpecSymmetricDefault,
		EncryptionAlgorithms:  []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault},
		MultiRegion:           aws.Bool(false), CurrentKeyMaterialId: &material,
	}, m)
	if request, ok := awsmiddleware.GetRequestIDMetadata(made.ResultMetadata); !ok || !uuid.ok(request) {
		t.Fatalf("CreateKey: got request id %q", request)
	}
	for _, client := range c {
		described := got[kms.DescribeKeyOutput](t)(client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: m.Arn}))
		same(t, "DescribeKey", m, described.KeyMetadata)
	}
	policy := got[kms.GetKeyPolicyOutput](t)(c[1].GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: &id}))
	same(t, "GetKeyPolicy", []string{defaultPolicy, "default"}, []string{aws.ToString(policy.Policy), aws.ToString(policy.PolicyName)})
	return m
}

func (c goClients) ciphertexts(t *testing.T, first, second *types.KeyMetadata) {
	ctx, plaintext := t.Context(), []byte("the main job")
	encContext := map[string]string{"Department": "IT", "": "empty"}
	encrypted := got[kms.EncryptOutput](t)(c[1].Encrypt(ctx, &kms.EncryptInput{KeyId: first.KeyId, Plaintext: plaintext, EncryptionContext: encContext}))
	same(t, "Encrypt", []string{*first.Arn, "SYMMETRIC_DEFAULT"}, []string{aws.ToString(encrypted.KeyId), string(encrypted.EncryptionAlgorithm)})
	decrypted := got[kms.DecryptOutput](t)(c[2].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob, EncryptionContext: encContext}))
	same(t, "Decrypt", []string{string(plaintext), *first.Arn, "SYMMETRIC_DEFAULT", *first.CurrentKeyMaterialId},
		[]string{string(decrypted.Plaintext), aws.ToString(decrypted.KeyId), string(decrypted.EncryptionAlgorithm), aws.ToString(decrypted.KeyMaterialId)})

	moved := got[kms.ReEncryptOutput](t)(c[0].ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: encrypted.CiphertextBlob, SourceEncryptionContext: encContext, DestinationKeyId: second.Arn,
	}))
	same(t, "ReEncrypt", []string{*first.Arn, *second.Arn, *first.CurrentKeyMaterialId, *second.CurrentKeyMaterialId},
		[]string{aws.ToString(moved.SourceKeyId), aws.ToString(moved.KeyId), aws.ToString(moved.SourceKeyMaterialId), aws.ToString(moved.DestinationKeyMaterialId)})

	made := got[kms.GenerateDataKeyOutput](t)(c[2].GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: second.KeyId, KeySpec: types.DataKeySpecAes256}))
	request, _ := awsmiddleware.GetRequestIDMetadata(made.ResultMetadata)
	c.lastUsage(t, second, types.KeyLastUsageTrackingOperationGenerateDataKey, request)
	opened := got[kms.DecryptOutput](t)(c[0].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob, KeyId: second.Arn}))
	if len(made.Plaintext) != 32 || !bytes.Equal(made.Plaintext, opened.Plaintext) {
		t.Fatal("the data key does not decrypt to what was given out")
	}
	hidden := got[kms.GenerateDataKeyWithoutPlaintextOutput](t)(c[1].GenerateDataKeyWithoutPlaintext(ctx,
		&kms.GenerateDataKeyWithoutPlaintextInput{KeyId: second.KeyId, NumberOfBytes: aws.Int32(48)}))
	opened = got[kms.DecryptOutput](t)(c[2].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: hidden.CiphertextBlob}))
	random := got[kms.GenerateRandomOutput](t)(c[0].GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(24)}))
	same(t, "sizes", []int{48, 24}, []int{len(opened.Plaintext), len(random.Plaintext)})

	_, err := c[1].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob})
	sdkError[*types.InvalidCiphertextException](t, err, "InvalidCiphertextException", "")
	_, err = c[2].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: encrypted.CiphertextBlob, EncryptionContext: encContext, KeyId: second.KeyId})
	sdkError[*types.IncorrectKeyException](t, err, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
}

// lastUsage checks on node 2, which served it, what a key's last use was; an empty
// request stands for none.
func (c goClients) lastUsage(t *testing.T, key *types.KeyMetadata, operation types.KeyLastUsageTrackingOperation, request string) {
	t.Helper()
	out := got[kms.GetKeyLastUsageOutput](t)(c[2].GetKeyLastUsage(t.Context(), &kms.GetKeyLastUsageInput{KeyId: key.Arn}))
	created := aws.ToTime(key.CreationDate)
	if aws.ToString(out.KeyId) != *key.KeyId || !aws.ToTime(out.KeyCreationDate).Equal(created) || !aws.ToTime(out.TrackingStartDate).Equal(created) || out.KeyLastUsage == nil {
		t.Fatalf("GetKeyLastUsage: got %+v", out)
	}
	last := out.KeyLastUsage
	same(t, "GetKeyLastUsage", []string{string(operation), request}, []string{string(last.Operation), aws.ToString(last.KmsRequestId)})
	if used := request != ""; used != (last.Timestamp != nil) || used != uuid.ok(aws.ToString(last.CloudTrailEventId)) || used && last.Timestamp.Before(created) {
		t.Fatalf("GetKeyLastUsage: got %+v", last)
	}
}

func (c goClients) lists(t *testing.T, first, second *types.KeyMetadata) {
	a, b := first, second
	if *a.KeyId > *b.KeyId {
		a, b = b, a
	}
	want := []types.KeyListEntry{{KeyId: a.KeyId, KeyArn: a.Arn}, {KeyId: b.KeyId, KeyArn: b.Arn}}
	for _, client := range c {
		var all []types.KeyListEntry
		pages := kms.NewListKeysPaginator(client, &kms.ListKeysInput{Limit: aws.Int32(1)})
		for pages.HasMorePages() {
			all = append(all, got[kms.ListKeysOutput](t)(pages.NextPage(t.Context())).Keys...)
		}
		same(t, "ListKeys", want, all)
	}
	_, err := c[0].ListKeys(t.Context(), &kms.ListKeysInput{Marker: aws.String("nonsense")})
	sdkError[*types.InvalidMarkerException](t, err, "InvalidMarkerException", "Could not deserialize marker 'nonsense'")
}

func (c goClients) state(t *testing.T, key *types.KeyMetadata) {
	got[kms.DisableKeyOutput](t)(c[2].DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: key.KeyId}))
	for _, client := range c {
		_, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")})
		sdkError[*types.DisabledException](t, err, "DisabledException", *key.Arn+" is disabled.")
	}
	got[kms.EnableKeyOutput](t)(c[1].EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: key.Arn}))
	for _, client := range c {
		got[kms.EncryptOutput](t)(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))
	}
}

// aliases fills a key up with aliases, which AWS limits to 50.
func (c goClients) aliases(t *testing.T, first, second *types.KeyMetadata) {
	ctx := t.Context()
	create := func(n int, adapt ...func(*kms.Options)) error {
		_, err := c[n%nodes].CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprintf("alias/n%02d", n)), TargetKeyId: first.KeyId}, adapt...)
		return err
	}
	for n := range 50 {
		if err := create(n); err != nil {
			t.Fatal(err)
		}
	}
	// The SDK takes this refusal for throttling, and would try for a minute.
	var limit *types.LimitExceededException
	for try := 1; !errors.As(create(50, func(o *kms.Options) { o.RetryMaxAttempts = 3 }), &limit); try++ {
		if try == 10 || !dev.faulty(t) {
			t.Fatal("the 51st alias of a key is not refused with LimitExceededException")
		}
	}
	sdkError[*types.AlreadyExistsException](t, create(7), "AlreadyExistsException",
		"An alias with the name "+aliasARN(goRegion, "alias/n07")+" already exists")
	_, err := c[0].UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String("alias/n07"), TargetKeyId: second.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	pages := kms.NewListAliasesPaginator(c[1], &kms.ListAliasesInput{Limit: aws.Int32(20)})
	for pages.HasMorePages() {
		for _, a := range got[kms.ListAliasesOutput](t)(pages.NextPage(ctx)).Aliases {
			names = append(names, strings.TrimPrefix(*a.AliasName, "alias/n"))
			want := map[bool]string{true: *second.KeyId, false: *first.KeyId}[*a.AliasName == "alias/n07"]
			same(t, *a.AliasName, []string{want, aliasARN(goRegion, *a.AliasName)}, []string{*a.TargetKeyId, *a.AliasArn})
		}
	}
	if len(names) != 50 || names[0] != "00" || names[49] != "49" {
		t.Fatalf("ListAliases: got %q, want 50 in order", names)
	}
	got[kms.DeleteAliasOutput](t)(c[2].DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String("alias/n07")}))
	_, err = c[0].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/n07")})
	sdkError[*types.NotFoundException](t, err, "NotFoundException", "Alias "+aliasARN(goRegion, "alias/n07")+" is not found.")
}

func (c goClients) refusals(t *testing.T, key *types.KeyMetadata) {
	ctx := t.Context()
	_, err := c[0].Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"), DryRun: aws.Bool(true)})
	sdkError[*types.DryRunOperationException](t, err, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
	_, err = c[1].GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId})
	sdkError[smithy.APIError](t, err, "ValidationException", "Please specify either number of bytes or key spec.")
	_, err = c[2].CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/aws/x"), TargetKeyId: key.KeyId})
	sdkError[smithy.APIError](t, err, "NotAuthorizedException", "UnknownError") // the SDK's word where the answer has no message
	_, err = c[0].DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("arn:aws:kms:" + goRegion + ":" + account + ":store/x")})
	var arn *types.InvalidArnException
	if !errors.As(err, &arn) {
		t.Fatalf("got %v, want InvalidArnException", err)
	}
}

// once makes a key while replies are lost.
func (c goClients) once(t *testing.T) {
	const description = "made once"
	proxy := newLossy(t)
	lossy := kms.NewFromConfig(goConfig(t, proxy.endpoint()), settling(t))
	proxy.arm(lostReplies)
	made := got[kms.CreateKeyOutput](t)(lossy.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String(description)}))
	same(t, "lost replies", lostReplies, proxy.losses())
	var keys []string
	pages := kms.NewListKeysPaginator(c[2], &kms.ListKeysInput{})
	for pages.HasMorePages() {
		for _, k := range got[kms.ListKeysOutput](t)(pages.NextPage(t.Context())).Keys {
			d := got[kms.DescribeKeyOutput](t)(c[1].DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: k.KeyId}))
			if aws.ToString(d.KeyMetadata.Description) == description {
				keys = append(keys, *k.KeyId)
			}
		}
	}
	same(t, "keys", []string{*made.KeyMetadata.KeyId}, keys)
}
