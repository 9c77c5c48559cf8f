package clients_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// TestGoSDKKeys uses asymmetric and HMAC keys, with Go's cryptography as the other side.
// It is not parallel: see TestGoSDK.
func TestGoSDKKeys(t *testing.T) {
	var c goClients
	for i := range nodes {
		c[i] = kms.NewFromConfig(goConfig(t, dev.endpoints[i]), settling(t))
	}
	c.signatures(t)
	c.macs(t)
	c.rsaCiphertexts(t)
	c.pairs(t)
	c.agreement(t)
	c.encapsulation(t)
}

// keyOf makes a key and returns its id and public key, of which each node shows the same;
// HMAC keys have none.
func (c goClients) keyOf(t *testing.T, spec types.KeySpec, usage types.KeyUsageType) (id *string, public []byte) {
	t.Helper()
	m := got[kms.CreateKeyOutput](t)(c[0].CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})).KeyMetadata
	same(t, "CreateKey", []string{string(spec), string(usage)}, []string{string(m.KeySpec), string(m.KeyUsage)})
	if usage == types.KeyUsageTypeGenerateVerifyMac {
		return m.KeyId, nil
	}
	for i, client := range c {
		out := got[kms.GetPublicKeyOutput](t)(client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: m.KeyId}))
		if i > 0 && !bytes.Equal(public, out.PublicKey) {
			t.Fatalf("nodes show different public keys of a key of %s", spec)
		}
		public = out.PublicKey
	}
	return m.KeyId, public
}

// publicOf is the public key in DER.
func publicOf[K any](t *testing.T, der []byte) K {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	k, ok := key.(K)
	if !ok {
		t.Fatalf("got a public key of type %T", key)
	}
	return k
}

// goSignature is a key's spec, one of its algorithms and messages of one type; check is
// nil where Go has no other side.
type goSignature struct {
	spec      types.KeySpec
	algorithm types.SigningAlgorithmSpec
	kind      types.MessageType
	size      int // of the message, in bytes
	check     func(t *testing.T, public, message, signature []byte) bool
}

var goSignatures = []goSignature{
	{types.KeySpecRsa2048, types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, types.MessageTypeRaw, 100, func(t *testing.T, public, message, signature []byte) bool {
		digest := sha256.Sum256(message)
		return rsa.VerifyPKCS1v15(publicOf[*rsa.PublicKey](t, public), crypto.SHA256, digest[:], signature) == nil
	}},
	{types.KeySpecRsa3072, types.SigningAlgorithmSpecRsassaPssSha512, types.MessageTypeDigest, 64, func(t *testing.T, public, digest, signature []byte) bool {
		return rsa.VerifyPSS(publicOf[*rsa.PublicKey](t, public), crypto.SHA512, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	}},
	{types.KeySpecEccNistP256, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeDigest, 32, verifyECDSA},
	{types.KeySpecEccNistP384, types.SigningAlgorithmSpecEcdsaSha384, types.MessageTypeDigest, 48, verifyECDSA},
	{types.KeySpecEccNistP521, types.SigningAlgorithmSpecEcdsaSha512, types.MessageTypeDigest, 64, verifyECDSA},
	{types.KeySpecEccSecgP256k1, types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeRaw, 100, nil},
	{types.KeySpecEccNistEdwards25519, types.SigningAlgorithmSpecEd25519Sha512, types.MessageTypeRaw, 100, func(t *testing.T, public, message, signature []byte) bool {
		return ed25519.Verify(publicOf[ed25519.PublicKey](t, public), message, signature)
	}},
	// AWS hashes the 64 bytes that it is sent once more.
	{types.KeySpecEccNistEdwards25519, types.SigningAlgorithmSpecEd25519PhSha512, types.MessageTypeDigest, 64, func(t *testing.T, public, message, signature []byte) bool {
		digest := sha512.Sum512(message)
		return ed25519.VerifyWithOptions(publicOf[ed25519.PublicKey](t, public), digest[:], signature, &ed25519.Options{Hash: crypto.SHA512}) == nil
	}},
	{types.KeySpecMlDsa44, types.SigningAlgorithmSpecMlDsaShake256, types.MessageTypeRaw, 100, nil},
	{types.KeySpecMlDsa65, types.SigningAlgorithmSpecMlDsaShake256, types.MessageTypeExternalMu, 64, nil},
	{types.KeySpecMlDsa87, types.SigningAlgorithmSpecMlDsaShake256, types.MessageTypeRaw, 4096, nil},
}

func verifyECDSA(t *testing.T, public, digest, signature []byte) bool {
	return ecdsa.VerifyASN1(publicOf[*ecdsa.PublicKey](t, public), digest, signature)
}

// signatures signs on one node, verifies on the next, and lets Go verify.
func (c goClients) signatures(t *testing.T) {
	ctx := t.Context()
	for i, s := range goSignatures {
		id, public := c.keyOf(t, s.spec, types.KeyUsageTypeSignVerify)
		message := bytes.Repeat([]byte{byte(i + 1)}, s.size)
		signed := got[kms.SignOutput](t)(c[1].Sign(ctx, &kms.SignInput{KeyId: id, Message: message, MessageType: s.kind, SigningAlgorithm: s.algorithm}))
		verify := &kms.VerifyInput{KeyId: id, Message: message, MessageType: s.kind, SigningAlgorithm: s.algorithm, Signature: signed.Signature}
		if out := got[kms.VerifyOutput](t)(c[2].Verify(ctx, verify)); !out.SignatureValid {
			t.Errorf("%s %s: SignatureValid is false", s.spec, s.algorithm)
		}
		if s.check != nil && !s.check(t, public, message, signed.Signature) {
			t.Errorf("%s %s: Go does not verify the signature", s.spec, s.algorithm)
		}
		verify.Message = bytes.Repeat([]byte{0xff}, s.size)
		_, err := c[0].Verify(ctx, verify)
		sdkError[*types.KMSInvalidSignatureException](t, err, "KMSInvalidSignatureException", "")
		_, err = c[1].GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, Message: message[:32], MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
		sdkError[*types.InvalidKeyUsageException](t, err, "InvalidKeyUsageException", keyARN(goRegion, *id)+" key usage is SIGN_VERIFY which is not valid for GenerateMac.")
	}
}

func (c goClients) macs(t *testing.T) {
	ctx, message := t.Context(), []byte("the message")
	for spec, algorithm := range map[types.KeySpec]types.MacAlgorithmSpec{
		types.KeySpecHmac224: types.MacAlgorithmSpecHmacSha224, types.KeySpecHmac256: types.MacAlgorithmSpecHmacSha256,
		types.KeySpecHmac384: types.MacAlgorithmSpecHmacSha384, types.KeySpecHmac512: types.MacAlgorithmSpecHmacSha512,
	} {
		id, _ := c.keyOf(t, spec, types.KeyUsageTypeGenerateVerifyMac)
		made := got[kms.GenerateMacOutput](t)(c[1].GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, Message: message, MacAlgorithm: algorithm}))
		verify := &kms.VerifyMacInput{KeyId: id, Message: message, Mac: made.Mac, MacAlgorithm: algorithm}
		if out := got[kms.VerifyMacOutput](t)(c[2].VerifyMac(ctx, verify)); !out.MacValid {
			t.Errorf("%s: MacValid is false", spec)
		}
		verify.Mac = hmac.New(sha256.New, message).Sum(nil)
		_, err := c[0].VerifyMac(ctx, verify)
		sdkError[*types.KMSInvalidMacException](t, err, "KMSInvalidMacException", "")
		_, err = c[0].GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: id})
		var unsupported *types.UnsupportedOperationException
		if !errors.As(err, &unsupported) {
			t.Errorf("%s: GetPublicKey: got %v, want UnsupportedOperationException", spec, err)
		}
	}
}

// rsaCiphertexts decrypts what Go has encrypted with the public key, and what KMS has.
func (c goClients) rsaCiphertexts(t *testing.T) {
	ctx, plaintext := t.Context(), []byte("the main job")
	id, public := c.keyOf(t, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt)
	outside, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, publicOf[*rsa.PublicKey](t, public), plaintext, nil)
	if err != nil {
		t.Fatal(err)
	}
	const algorithm = types.EncryptionAlgorithmSpecRsaesOaepSha256
	inside := got[kms.EncryptOutput](t)(c[1].Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: plaintext, EncryptionAlgorithm: algorithm})).CiphertextBlob
	for _, blob := range [][]byte{outside, inside} {
		out := got[kms.DecryptOutput](t)(c[2].Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, EncryptionAlgorithm: algorithm}))
		same(t, "Decrypt", string(plaintext), string(out.Plaintext))
	}
	_, err = c[0].Decrypt(ctx, &kms.DecryptInput{KeyId: id, CiphertextBlob: outside, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1})
	sdkError[*types.InvalidCiphertextException](t, err, "InvalidCiphertextException", "")
}

// pairs reads both halves of data key pairs; the sealed half decrypts to the plain one.
func (c goClients) pairs(t *testing.T) {
	ctx := t.Context()
	id := c.keys(t).KeyId
	for _, spec := range []types.DataKeyPairSpec{types.DataKeyPairSpecRsa2048, types.DataKeyPairSpecEccNistP384, types.DataKeyPairSpecEccNistEdwards25519} {
		made := got[kms.GenerateDataKeyPairOutput](t)(c[1].GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: id, KeyPairSpec: spec}))
		opened := got[kms.DecryptOutput](t)(c[2].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.PrivateKeyCiphertextBlob}))
		private, err := x509.ParsePKCS8PrivateKey(opened.Plaintext)
		if err != nil || !bytes.Equal(opened.Plaintext, made.PrivateKeyPlaintext) {
			t.Fatalf("%s: the sealed private key is another, or none: %v", spec, err)
		}
		public, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil || !bytes.Equal(public, made.PublicKey) {
			t.Errorf("%s: the public key is not that of the private key: %v", spec, err)
		}
		got[kms.GenerateDataKeyPairWithoutPlaintextOutput](t)(c[0].GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: spec}))
	}
}

func (c goClients) agreement(t *testing.T) {
	for spec, curve := range map[types.KeySpec]ecdh.Curve{
		types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521(),
	} {
		id, der := c.keyOf(t, spec, types.KeyUsageTypeKeyAgreement)
		own, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := x509.MarshalPKIXPublicKey(own.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := publicOf[*ecdsa.PublicKey](t, der).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		want, err := own.ECDH(theirs)
		if err != nil {
			t.Fatal(err)
		}
		in := &kms.DeriveSharedSecretInput{KeyId: id, PublicKey: public, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh}
		if out := got[kms.DeriveSharedSecretOutput](t)(c[1].DeriveSharedSecret(t.Context(), in)); !bytes.Equal(out.SharedSecret, want) {
			t.Errorf("%s: Go derives another secret", spec)
		}
	}
}

// encapsulation shares secrets in both directions. Behind the head of its DER, of 22
// bytes, a public key is the encapsulation key (RFC 9935, section 4).
func (c goClients) encapsulation(t *testing.T) {
	ctx := t.Context()
	for _, spec := range []types.KeySpec{types.KeySpecMlKem512, types.KeySpecMlKem768, types.KeySpecMlKem1024} {
		id, public := c.keyOf(t, spec, types.KeyUsageTypeEncapsulateDecapsulate)
		made := got[kms.EncapsulateOutput](t)(c[1].Encapsulate(ctx, &kms.EncapsulateInput{KeyId: id, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem}))
		secrets := map[string][]byte{string(made.SharedSecretCiphertextBlob): made.SharedSecret}
		if spec == types.KeySpecMlKem768 {
			key, err := mlkem.NewEncapsulationKey768(public[22:])
			if err != nil {
				t.Fatal(err)
			}
			secret, ciphertext := key.Encapsulate()
			secrets[string(ciphertext)] = secret
		}
		for ciphertext, secret := range secrets {
			out := got[kms.DecapsulateOutput](t)(c[2].Decapsulate(ctx, &kms.DecapsulateInput{
				KeyId: id, SharedSecretCiphertextBlob: []byte(ciphertext), EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem,
			}))
			if !bytes.Equal(out.SharedSecret, secret) {
				t.Errorf("%s: Decapsulate gives another secret", spec)
			}
		}
	}
}
