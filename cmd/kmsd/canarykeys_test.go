package main

import (
	"bytes"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsd/kmsd/internal/canary"
)

// plantPairs is plant for data key pairs of every kind of private key.
func (c *testCluster) plantPairs(client *awskms.Client, id *string) (out []canary.Canary) {
	c.t.Helper()
	for _, spec := range []types.DataKeyPairSpec{
		types.DataKeyPairSpecRsa2048, types.DataKeyPairSpecEccNistP256, types.DataKeyPairSpecEccSecgP256k1, types.DataKeyPairSpecEccNistEdwards25519,
	} {
		name, context := "the private key of a pair of "+string(spec), map[string]string{"c": *text(3)}
		pair, err := client.GenerateDataKeyPair(c.t.Context(), &awskms.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: spec, EncryptionContext: context})
		c.must("GenerateDataKeyPair of "+string(spec), err)
		hidden, err := client.GenerateDataKeyPairWithoutPlaintext(c.t.Context(), &awskms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: spec, EncryptionContext: context})
		c.must("GenerateDataKeyPairWithoutPlaintext of "+string(spec), err)
		opened, err := client.Decrypt(c.t.Context(), &awskms.DecryptInput{CiphertextBlob: hidden.PrivateKeyCiphertextBlob, EncryptionContext: context})
		c.must("Decrypt of a private key", err)
		out = append(out, canary.PrivateKey(name, pair.PrivateKeyPlaintext)...)
		out = append(out, canary.PrivateKey(name+" without plaintext", opened.Plaintext)...)
		out = append(out, canary.Canary{Name: name + ", sealed", Secret: pair.PrivateKeyCiphertextBlob},
			canary.Canary{Name: name + " without plaintext, sealed", Secret: hidden.PrivateKeyCiphertextBlob})
	}
	return out
}

// plantShared is plant for shared secrets, and for keys of the specs that only sign.
func (c *testCluster) plantShared(client *awskms.Client) []canary.Canary {
	c.t.Helper()
	ctx := c.t.Context()
	newKey := func(spec types.KeySpec, usage types.KeyUsageType) *string {
		made, err := client.CreateKey(ctx, &awskms.CreateKeyInput{KeySpec: spec, KeyUsage: usage, Policy: canaryPolicy(c.cmd.Account)})
		c.must("CreateKey of "+string(spec), err)
		return made.KeyMetadata.KeyId
	}
	for _, spec := range []types.KeySpec{types.KeySpecEccSecgP256k1, types.KeySpecEccNistEdwards25519, types.KeySpecMlDsa44} {
		newKey(spec, types.KeyUsageTypeSignVerify)
	}
	one, other := newKey(types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement), newKey(types.KeySpecEccNistP256, types.KeyUsageTypeKeyAgreement)
	public, err := client.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: other})
	c.must("GetPublicKey", err)
	agreed, err := client.DeriveSharedSecret(ctx, &awskms.DeriveSharedSecretInput{KeyId: one, PublicKey: public.PublicKey, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh})
	c.must("DeriveSharedSecret", err)
	kem := newKey(types.KeySpecMlKem512, types.KeyUsageTypeEncapsulateDecapsulate)
	made, err := client.Encapsulate(ctx, &awskms.EncapsulateInput{KeyId: kem, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem})
	c.must("Encapsulate", err)
	decapsulate := &awskms.DecapsulateInput{KeyId: kem, SharedSecretCiphertextBlob: made.SharedSecretCiphertextBlob, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}
	opened, err := client.Decapsulate(ctx, decapsulate)
	c.must("Decapsulate", err)
	// What does not fit the key gives a secret, too (FIPS 203, section 6.3).
	decapsulate.SharedSecretCiphertextBlob = bytes.Repeat([]byte{1}, len(made.SharedSecretCiphertextBlob))
	rejected, err := client.Decapsulate(ctx, decapsulate)
	c.must("Decapsulate of another ciphertext", err)
	_, err = client.DeriveSharedSecret(ctx, &awskms.DeriveSharedSecretInput{
		KeyId: one, PublicKey: agreed.SharedSecret, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
	})
	if outcomeOf(err) != denied {
		c.t.Errorf("DeriveSharedSecret with a public key that is none: %v", err)
	}
	return []canary.Canary{
		{Name: "an agreed secret", Secret: agreed.SharedSecret},
		{Name: "an encapsulated secret", Secret: made.SharedSecret},
		{Name: "its ciphertext", Secret: made.SharedSecretCiphertextBlob},
		{Name: "a decapsulated secret", Secret: opened.SharedSecret},
		{Name: "the secret of a rejected ciphertext", Secret: rejected.SharedSecret},
	}
}
