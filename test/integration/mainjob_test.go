package integration_test

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// TestMainJob creates on one node, encrypts on the second and decrypts on the
// third, for every assignment of the nodes.
func TestMainJob(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	nodes := c.everyKMS(newRegion())
	for i := range nodes {
		creator, encrypter, decrypter := nodes[i], nodes[(i+1)%3], nodes[(i+2)%3]
		id, arn := create(t, creator)
		alias := "alias/main/" + id
		_, err := creator.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &id})
		must(t, "CreateAlias", 0, err)
		c.settle(t)
		secret := []byte("a secret of node " + string(rune('0'+i)))
		encContext := map[string]string{"purpose": "test", "é": "ü"}
		sealed, err := encrypter.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &alias, Plaintext: secret, EncryptionContext: encContext})
		if err != nil {
			t.Fatalf("Encrypt on another node: %v", err)
		}
		if *sealed.KeyId != arn {
			t.Errorf("Encrypt by alias answers key %s, want %s", *sealed.KeyId, arn)
		}
		opened, err := decrypter.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: encContext})
		if err != nil {
			t.Fatalf("Decrypt on a third node: %v", err)
		}
		if !bytes.Equal(opened.Plaintext, secret) || *opened.KeyId != arn {
			t.Errorf("Decrypt = %q under %s, want %q under %s", opened.Plaintext, *opened.KeyId, secret, arn)
		}
		if _, err := decrypter.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}); code(err) != "InvalidCiphertextException" {
			t.Errorf("Decrypt without the context: %v, want InvalidCiphertextException", err)
		}
	}
}

// TestDataKeys makes data keys on each node and opens them on the next.
func TestDataKeys(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	nodes := c.everyKMS(newRegion())
	id, _ := create(t, nodes[0])
	other, otherARN := create(t, nodes[1])
	c.settle(t)
	for i, node := range nodes {
		next := nodes[(i+1)%len(nodes)]
		made, err := node.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256})
		must(t, "GenerateDataKey", made, err)
		moved, err := next.ReEncrypt(t.Context(), &kms.ReEncryptInput{CiphertextBlob: made.CiphertextBlob, DestinationKeyId: &other})
		must(t, "ReEncrypt", moved, err)
		opened, err := node.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob})
		must(t, "Decrypt", opened, err)
		if len(made.Plaintext) != 32 || !bytes.Equal(opened.Plaintext, made.Plaintext) || *opened.KeyId != otherARN {
			t.Errorf("node %d: the data key does not come back under the other key", i)
		}
		hidden, err := node.GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, NumberOfBytes: aws.Int32(17)})
		must(t, "GenerateDataKeyWithoutPlaintext", hidden, err)
		opened, err = next.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: hidden.CiphertextBlob})
		must(t, "Decrypt", opened, err)
		if len(opened.Plaintext) != 17 {
			t.Errorf("node %d: a data key of %d bytes, want 17", i, len(opened.Plaintext))
		}
		random, err := node.GenerateRandom(t.Context(), &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(33)})
		must(t, "GenerateRandom", random, err)
		if len(random.Plaintext) != 33 {
			t.Errorf("node %d: %d random bytes, want 33", i, len(random.Plaintext))
		}
	}
}

// TestDescribeAndList looks at the same keys and aliases through every node.
func TestDescribeAndList(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	nodes := c.everyKMS(newRegion())
	made, err := nodes[1].CreateKey(t.Context(), &kms.CreateKeyInput{
		Description: aws.String("described"), Tags: []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("red")}},
	})
	must(t, "CreateKey", made, err)
	ids := []string{*made.KeyMetadata.KeyId}
	for i := range 4 {
		id, _ := create(t, nodes[i%len(nodes)])
		ids = append(ids, id)
	}
	slices.Sort(ids)
	alias := aws.String("alias/listed")
	_, err = nodes[2].CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: made.KeyMetadata.KeyId})
	must(t, "CreateAlias", 0, err)
	c.settle(t)
	for i, node := range nodes {
		got, err := node.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: alias})
		must(t, "DescribeKey", got, err)
		if m := got.KeyMetadata; *m.Arn != *made.KeyMetadata.Arn || *m.Description != "described" ||
			!m.CreationDate.Equal(*made.KeyMetadata.CreationDate) || m.KeyState != types.KeyStateEnabled {
			t.Errorf("node %d describes %+v, want %+v", i, m, made.KeyMetadata)
		}
		if listed := listKeys(t, node); !slices.Equal(slices.Sorted(slices.Values(listed)), ids) {
			t.Errorf("node %d lists %q, want %q", i, listed, ids)
		}
		aliases, err := node.ListAliases(t.Context(), &kms.ListAliasesInput{KeyId: made.KeyMetadata.KeyId})
		must(t, "ListAliases", aliases, err)
		if len(aliases.Aliases) != 1 || *aliases.Aliases[0].AliasName != *alias {
			t.Errorf("node %d lists aliases %+v", i, aliases.Aliases)
		}
		policy, err := node.GetKeyPolicy(t.Context(), &kms.GetKeyPolicyInput{KeyId: made.KeyMetadata.KeyId})
		must(t, "GetKeyPolicy", policy, err)
		if !bytes.Contains([]byte(*policy.Policy), []byte("arn:aws:iam::123456789012:root")) {
			t.Errorf("node %d: the default policy is %s", i, *policy.Policy)
		}
	}
	if got := listKeys(t, c.kms(0, newRegion())); len(got) != 0 {
		t.Errorf("another Region lists %q", got)
	}
}

func TestCallerIdentity(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	const arn = "arn:aws:iam::123456789012:root"
	for i := range c.nodes {
		client := c.sts(i, newRegion())
		who, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		if *who.Account != "123456789012" || *who.Arn != arn || *who.UserId != "123456789012" {
			t.Errorf("node %d: the caller is %s %s %s", i, *who.Account, *who.Arn, *who.UserId)
		}
		signed, err := sts.NewPresignClient(client).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		must(t, "presigning", signed, err)
		status, body := getAnswer(t, signed.URL)
		var answer struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
			Arn     string   `xml:"GetCallerIdentityResult>Arn"`
			Account string   `xml:"GetCallerIdentityResult>Account"`
		}
		if err := xml.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || answer.Arn != arn || answer.Account != "123456789012" {
			t.Errorf("node %d, presigned: %d %s (%v)", i, status, body, err)
		}
		if status, body := getAnswer(t, signed.URL+"0"); status != http.StatusForbidden || !bytes.Contains([]byte(body), []byte("<Code>SignatureDoesNotMatch</Code>")) {
			t.Errorf("node %d, another signature: %d %s", i, status, body)
		}
	}
}
