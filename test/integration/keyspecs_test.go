package integration_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsd/kmsd/internal/canary"
)

// A keyUse is a kind of key and one of its algorithms, and how a client uses it: make
// makes something with the key, and check, of any client, must agree to that.
type keyUse struct {
	spec      types.KeySpec
	usage     types.KeyUsageType
	algorithm string
	make      func(u *used, client *kms.Client)
	check     func(u *used, client *kms.Client)
}

var keyUses = slices.Concat(
	[]keyUse{{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt, "SYMMETRIC_DEFAULT", (*used).encrypt, (*used).decrypt}},
	encryptionUses(types.KeySpecRsa2048), encryptionUses(types.KeySpecRsa3072), encryptionUses(types.KeySpecRsa4096),
	signingUses(types.KeySpecRsa2048, rsaSigning...), signingUses(types.KeySpecRsa3072, rsaSigning...), signingUses(types.KeySpecRsa4096, rsaSigning...),
	signingUses(types.KeySpecEccNistP256, types.SigningAlgorithmSpecEcdsaSha256), signingUses(types.KeySpecEccNistP384, types.SigningAlgorithmSpecEcdsaSha384),
	signingUses(types.KeySpecEccNistP521, types.SigningAlgorithmSpecEcdsaSha512), signingUses(types.KeySpecEccSecgP256k1, types.SigningAlgorithmSpecEcdsaSha256),
	signingUses(types.KeySpecEccNistEdwards25519, types.SigningAlgorithmSpecEd25519Sha512),
	signingUses(types.KeySpecMlDsa44, types.SigningAlgorithmSpecMlDsaShake256), signingUses(types.KeySpecMlDsa65, types.SigningAlgorithmSpecMlDsaShake256),
	signingUses(types.KeySpecMlDsa87, types.SigningAlgorithmSpecMlDsaShake256),
	otherUses(types.KeyUsageTypeGenerateVerifyMac, (*used).mac, (*used).verifyMac, map[types.KeySpec]string{
		types.KeySpecHmac224: "HMAC_SHA_224", types.KeySpecHmac256: "HMAC_SHA_256", types.KeySpecHmac384: "HMAC_SHA_384", types.KeySpecHmac512: "HMAC_SHA_512",
	}),
	otherUses(types.KeyUsageTypeKeyAgreement, (*used).agree, (*used).agreeAgain, map[types.KeySpec]string{
		types.KeySpecEccNistP256: "ECDH", types.KeySpecEccNistP384: "ECDH", types.KeySpecEccNistP521: "ECDH",
	}),
	otherUses(types.KeyUsageTypeEncapsulateDecapsulate, (*used).encapsulate, (*used).decapsulate, map[types.KeySpec]string{
		types.KeySpecMlKem512: "ML_KEM", types.KeySpecMlKem768: "ML_KEM", types.KeySpecMlKem1024: "ML_KEM",
	}),
)

var rsaSigning = []types.SigningAlgorithmSpec{
	types.SigningAlgorithmSpecRsassaPkcs1V15Sha256, types.SigningAlgorithmSpecRsassaPkcs1V15Sha384, types.SigningAlgorithmSpecRsassaPkcs1V15Sha512,
	types.SigningAlgorithmSpecRsassaPssSha256, types.SigningAlgorithmSpecRsassaPssSha384, types.SigningAlgorithmSpecRsassaPssSha512,
}

func encryptionUses(spec types.KeySpec) (out []keyUse) {
	for _, a := range []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecRsaesOaepSha1, types.EncryptionAlgorithmSpecRsaesOaepSha256} {
		out = append(out, keyUse{spec, types.KeyUsageTypeEncryptDecrypt, string(a), (*used).encrypt, (*used).decrypt})
	}
	return out
}

func signingUses(spec types.KeySpec, algorithms ...types.SigningAlgorithmSpec) (out []keyUse) {
	for _, a := range algorithms {
		out = append(out, keyUse{spec, types.KeyUsageTypeSignVerify, string(a), (*used).sign, (*used).verify})
	}
	return out
}

func otherUses(usage types.KeyUsageType, make, check func(*used, *kms.Client), algorithms map[types.KeySpec]string) (out []keyUse) {
	for spec, a := range algorithms {
		out = append(out, keyUse{spec, usage, a, make, check})
	}
	return out
}

// A used key is one of a cluster with what was made with it.
type used struct {
	*keyUse
	t       *testing.T
	id      string
	message []byte // what the test gave
	made    []byte // what the client answered: a signature, a MAC, a ciphertext
	secret  []byte // what it shared
	peer    *ecdh.PrivateKey
}

// useKeys creates a key of each spec and usage through one client, and makes something
// with each of its algorithms through the next.
func useKeys(t *testing.T, clients ...*kms.Client) (all []*used) {
	t.Helper()
	ids := map[string]string{}
	for i := range keyUses {
		u := &used{keyUse: &keyUses[i], t: t, message: fmt.Appendf(nil, "canary message %d", i)}
		kind := string(u.spec) + string(u.usage)
		if ids[kind] == "" {
			made, err := clients[i%len(clients)].CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: u.spec, KeyUsage: u.usage})
			must(t, "CreateKey of "+kind, made, err)
			ids[kind] = *made.KeyMetadata.KeyId
		}
		u.id = ids[kind]
		u.make(u, clients[(i+1)%len(clients)])
		all = append(all, u)
	}
	return all
}

// checkKeys lets every client check everything, and use every key again.
func checkKeys(t *testing.T, when string, all []*used, clients ...*kms.Client) {
	t.Helper()
	for i, client := range clients {
		for _, u := range all {
			u.check(u, client)
			again := *u
			again.make(&again, client)
			again.check(&again, clients[(i+1)%len(clients)])
		}
		if t.Failed() {
			t.Fatalf("%s, client %d", when, i)
		}
	}
}

// canaries are what must not be in any file.
func canaries(all []*used) (out []canary.Canary) {
	for _, u := range all {
		for name, secret := range map[string][]byte{"message": u.message, "answer": u.made, "secret": u.secret} {
			if len(secret) > 0 {
				out = append(out, canary.Canary{Name: fmt.Sprintf("the %s of %s %s", name, u.spec, u.algorithm), Secret: secret})
			}
		}
	}
	return out
}

// must fails the test on an error of a call.
func (u *used) must(what string, err error) {
	u.t.Helper()
	must(u.t, fmt.Sprintf("%s with %s %s", what, u.spec, u.algorithm), 0, err)
}

func (u *used) equal(what string, got, want []byte) {
	u.t.Helper()
	if !bytes.Equal(got, want) {
		u.t.Errorf("%s with %s %s gives another secret", what, u.spec, u.algorithm)
	}
}

func (u *used) encrypt(client *kms.Client) {
	out, err := client.Encrypt(u.t.Context(), &kms.EncryptInput{KeyId: &u.id, Plaintext: u.message, EncryptionAlgorithm: types.EncryptionAlgorithmSpec(u.algorithm)})
	u.must("Encrypt", err)
	u.made = out.CiphertextBlob
}

func (u *used) decrypt(client *kms.Client) {
	out, err := client.Decrypt(u.t.Context(), &kms.DecryptInput{KeyId: &u.id, CiphertextBlob: u.made, EncryptionAlgorithm: types.EncryptionAlgorithmSpec(u.algorithm)})
	u.must("Decrypt", err)
	u.equal("Decrypt", out.Plaintext, u.message)
}

func (u *used) sign(client *kms.Client) {
	out, err := client.Sign(u.t.Context(), &kms.SignInput{KeyId: &u.id, Message: u.message, SigningAlgorithm: types.SigningAlgorithmSpec(u.algorithm)})
	u.must("Sign", err)
	u.made = out.Signature
}

func (u *used) verify(client *kms.Client) {
	_, err := client.Verify(u.t.Context(), &kms.VerifyInput{KeyId: &u.id, Message: u.message, Signature: u.made, SigningAlgorithm: types.SigningAlgorithmSpec(u.algorithm)})
	u.must("Verify", err)
	_, err = client.Verify(u.t.Context(), &kms.VerifyInput{KeyId: &u.id, Message: append(u.message, '.'), Signature: u.made, SigningAlgorithm: types.SigningAlgorithmSpec(u.algorithm)})
	if code(err) != "KMSInvalidSignatureException" {
		u.t.Errorf("Verify with %s %s of another message: %v", u.spec, u.algorithm, err)
	}
}

func (u *used) mac(client *kms.Client) {
	out, err := client.GenerateMac(u.t.Context(), &kms.GenerateMacInput{KeyId: &u.id, Message: u.message, MacAlgorithm: types.MacAlgorithmSpec(u.algorithm)})
	u.must("GenerateMac", err)
	u.made = out.Mac
}

func (u *used) verifyMac(client *kms.Client) {
	_, err := client.VerifyMac(u.t.Context(), &kms.VerifyMacInput{KeyId: &u.id, Message: u.message, Mac: u.made, MacAlgorithm: types.MacAlgorithmSpec(u.algorithm)})
	u.must("VerifyMac", err)
}

// agree shares a secret with a new key of the test's.
func (u *used) agree(client *kms.Client) {
	curve := map[types.KeySpec]ecdh.Curve{types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521()}[u.spec]
	var err error
	u.peer, err = curve.GenerateKey(rand.Reader)
	u.must("a new key", err)
	u.secret = u.derive(client)
}

func (u *used) derive(client *kms.Client) []byte {
	der, err := x509.MarshalPKIXPublicKey(u.peer.PublicKey())
	u.must("encoding a public key", err)
	out, err := client.DeriveSharedSecret(u.t.Context(), &kms.DeriveSharedSecretInput{KeyId: &u.id, PublicKey: der, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpec(u.algorithm)})
	u.must("DeriveSharedSecret", err)
	return out.SharedSecret
}

// agreeAgain compares the secret with the client's, and with what the test's own key
// shares with the public key that the client shows.
func (u *used) agreeAgain(client *kms.Client) {
	u.equal("DeriveSharedSecret", u.derive(client), u.secret)
	shown, err := client.GetPublicKey(u.t.Context(), &kms.GetPublicKeyInput{KeyId: &u.id})
	u.must("GetPublicKey", err)
	key, err := x509.ParsePKIXPublicKey(shown.PublicKey)
	u.must("reading the public key", err)
	public, err := key.(interface {
		ECDH() (*ecdh.PublicKey, error)
	}).ECDH()
	u.must("reading the point", err)
	secret, err := u.peer.ECDH(public)
	u.must("ECDH", err)
	u.equal("ECDH", secret, u.secret)
}

func (u *used) encapsulate(client *kms.Client) {
	out, err := client.Encapsulate(u.t.Context(), &kms.EncapsulateInput{KeyId: &u.id, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpec(u.algorithm)})
	u.must("Encapsulate", err)
	u.made, u.secret = out.SharedSecretCiphertextBlob, out.SharedSecret
}

func (u *used) decapsulate(client *kms.Client) {
	out, err := client.Decapsulate(u.t.Context(), &kms.DecapsulateInput{KeyId: &u.id, SharedSecretCiphertextBlob: u.made, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpec(u.algorithm)})
	u.must("Decapsulate", err)
	u.equal("Decapsulate", out.SharedSecret, u.secret)
}

// TestEveryKeySpec uses keys of every spec, usage and algorithm: made through one node,
// used through another, checked through all, also after all have started anew and through
// one that has joined since. No file may hold what went over the wire.
func TestEveryKeySpec(t *testing.T) {
	t.Parallel()
	f := foundThree(t, true)
	all := useKeys(t, f.everyKMS(f.members)...)
	f.settle()
	checkKeys(t, "at once", all, f.everyKMS(f.members)...)
	f.end()
	for _, m := range f.members {
		m.launch()
	}
	for _, m := range f.members {
		m.awaitReady()
	}
	checkKeys(t, "after a restart", all, f.everyKMS(f.members)...)
	f.join(f.token())
	checkKeys(t, "with a node that joined", all, f.everyKMS(f.members)...)
	f.checkDigests()
	f.end()
	f.checkFiles(canaries(all))
}
