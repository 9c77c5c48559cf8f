package clients_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAWSCLIKeys uses asymmetric and HMAC keys with the AWS CLI, and OpenSSL as the other
// side, which has nothing of them but the public keys.
func TestAWSCLIKeys(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testAWSCLIKeys(t, newAWSCLI(t, debianCLI, "ap-south-1", true))
	})
	if path, other := onPath("aws", debianCLI); other {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			testAWSCLIKeys(t, newAWSCLI(t, path, "ap-south-2", false))
		})
	}
}

func testAWSCLIKeys(t *testing.T, c awsCLI) {
	cliSignatures(t, c)
	cliMACs(t, c)
	cliRSA(t, c)
	cliPairs(t, c)
	cliImports(t, c)
	cliGrants(t, c)
	// CLIs of before 2024 have no such command.
	if c.command(t, 0, "kms", "derive-shared-secret", "--generate-cli-skeleton", "input").Run() == nil {
		cliAgreement(t, c)
	}
}

// openssl runs it, which must succeed, and returns what it prints.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
	return out
}

// saved writes a file, and returns its path.
func saved(t *testing.T, content []byte) string {
	t.Helper()
	return strings.TrimPrefix(file(t, content), "fileb://")
}

// newKey makes a key on node 0, and returns its id and the path of its public key, in
// DER, of which node 1 is asked; HMAC keys have none.
func (c awsCLI) newKey(t *testing.T, spec, usage string) (id, public string) {
	t.Helper()
	id = strings.TrimSpace(c.text(t, 0, "kms", "create-key", "--key-spec", spec, "--key-usage", usage, "--query", "KeyMetadata.KeyId", "--output", "text"))
	if usage == "GENERATE_VERIFY_MAC" {
		return id, ""
	}
	shown := c.call(t, 1, "kms", "get-public-key", "--key-id", id)
	expect(t, "get-public-key of "+spec, []any{keyARN(c.region, id), spec, usage}, []any{shown["KeyId"], shown["KeySpec"], shown["KeyUsage"]})
	return id, saved(t, decoded(t, shown, "PublicKey"))
}

// cliSignatures signs the message and its digest, and verifies by KMS and by OpenSSL.
func cliSignatures(t *testing.T, c awsCLI) {
	message := []byte("the message")
	digest := sha256.Sum256(message)
	for _, s := range []struct {
		spec, algorithm string
		options         []string // of openssl pkeyutl; none: openssl is not asked
	}{
		{"RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", []string{"-pkeyopt", "digest:sha256"}},
		{"RSA_3072", "RSASSA_PSS_SHA_256", []string{"-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:32"}},
		{"ECC_NIST_P256", "ECDSA_SHA_256", []string{"-pkeyopt", "digest:sha256"}},
		{"ECC_SECG_P256K1", "ECDSA_SHA_256", []string{"-pkeyopt", "digest:sha256"}},
	} {
		id, public := c.newKey(t, s.spec, "SIGN_VERIFY")
		for kind, sent := range map[string][]byte{"RAW": message, "DIGEST": digest[:]} {
			args := []string{"--key-id", id, "--signing-algorithm", s.algorithm, "--message", file(t, sent), "--message-type", kind}
			signed := c.call(t, 2, append([]string{"kms", "sign"}, args...)...)
			expect(t, "sign", object{"KeyId": keyARN(c.region, id), "Signature": base64Text, "SigningAlgorithm": s.algorithm}, signed)
			signature := decoded(t, signed, "Signature")
			verified := c.call(t, 0, append([]string{"kms", "verify", "--signature", file(t, signature)}, args...)...)
			expect(t, "verify", object{"KeyId": keyARN(c.region, id), "SignatureValid": true, "SigningAlgorithm": s.algorithm}, verified)
			openssl(t, append([]string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", public,
				"-in", saved(t, digest[:]), "-sigfile", saved(t, signature)}, s.options...)...)
			c.refused(t, 1, "KMSInvalidSignatureException", "Verify", "", append([]string{"kms", "verify", "--signature", file(t, signature[1:])}, args...)...)
		}
		c.refused(t, 2, "InvalidKeyUsageException", "Encrypt", keyARN(c.region, id)+" key usage is SIGN_VERIFY which is not valid for Encrypt.",
			"kms", "encrypt", "--key-id", id, "--plaintext", file(t, message))
	}
}

func cliMACs(t *testing.T, c awsCLI) {
	id, _ := c.newKey(t, "HMAC_256", "GENERATE_VERIFY_MAC")
	args := []string{"--key-id", id, "--mac-algorithm", "HMAC_SHA_256", "--message", file(t, []byte("the message"))}
	made := c.call(t, 1, append([]string{"kms", "generate-mac"}, args...)...)
	expect(t, "generate-mac", object{"KeyId": keyARN(c.region, id), "Mac": base64Text, "MacAlgorithm": "HMAC_SHA_256"}, made)
	mac := decoded(t, made, "Mac")
	verified := c.call(t, 2, append([]string{"kms", "verify-mac", "--mac", file(t, mac)}, args...)...)
	expect(t, "verify-mac", object{"KeyId": keyARN(c.region, id), "MacValid": true, "MacAlgorithm": "HMAC_SHA_256"}, verified)
	mac[0] ^= 1
	c.refused(t, 0, "KMSInvalidMacException", "VerifyMac", "", append([]string{"kms", "verify-mac", "--mac", file(t, mac)}, args...)...)
}

// cliRSA decrypts what KMS and OpenSSL have encrypted.
func cliRSA(t *testing.T, c awsCLI) {
	plaintext, algorithm := []byte("the main job"), "RSAES_OAEP_SHA_256"
	id, public := c.newKey(t, "RSA_2048", "ENCRYPT_DECRYPT")
	encrypted := c.call(t, 2, "kms", "encrypt", "--key-id", id, "--encryption-algorithm", algorithm, "--plaintext", file(t, plaintext))
	outside := openssl(t, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public, "-in", saved(t, plaintext),
		"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256")
	for _, blob := range [][]byte{decoded(t, encrypted, "CiphertextBlob"), outside} {
		expect(t, "decrypt", object{"KeyId": keyARN(c.region, id), "Plaintext": base64.StdEncoding.EncodeToString(plaintext), "EncryptionAlgorithm": algorithm},
			c.call(t, 0, "kms", "decrypt", "--key-id", id, "--encryption-algorithm", algorithm, "--ciphertext-blob", file(t, blob)))
	}
}

// cliPairs compares the public half of a data key pair with what OpenSSL makes of the
// private one.
func cliPairs(t *testing.T, c awsCLI) {
	id := strings.TrimSpace(c.text(t, 0, "kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"))
	for _, spec := range []string{"RSA_2048", "ECC_NIST_P384"} {
		made := c.call(t, 1, "kms", "generate-data-key-pair", "--key-id", id, "--key-pair-spec", spec)
		opened := c.call(t, 2, "kms", "decrypt", "--ciphertext-blob", file(t, decoded(t, made, "PrivateKeyCiphertextBlob")))
		expect(t, "the private key decrypted", made["PrivateKeyPlaintext"], opened["Plaintext"])
		public := openssl(t, "pkey", "-inform", "DER", "-in", saved(t, decoded(t, opened, "Plaintext")), "-pubout", "-outform", "DER")
		expect(t, "the public key", made["PublicKey"], base64.StdEncoding.EncodeToString(public))
	}
}

// cliAgreement derives a secret on both sides.
func cliAgreement(t *testing.T, c awsCLI) {
	id, public := c.newKey(t, "ECC_NIST_P256", "KEY_AGREEMENT")
	own := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(own, openssl(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), 0o600); err != nil {
		t.Fatal(err)
	}
	derived := c.call(t, 2, "kms", "derive-shared-secret", "--key-id", id, "--key-agreement-algorithm", "ECDH",
		"--public-key", file(t, openssl(t, "pkey", "-in", own, "-pubout", "-outform", "DER")))
	secret := openssl(t, "pkeyutl", "-derive", "-inkey", own, "-peerkey", public, "-peerform", "DER")
	expect(t, "derive-shared-secret", object{
		"KeyId": keyARN(c.region, id), "SharedSecret": base64.StdEncoding.EncodeToString(secret), "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS",
	}, derived)
}
