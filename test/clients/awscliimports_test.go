package clients_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// external makes a key of origin EXTERNAL on node 0, and returns its id.
func (c awsCLI) external(t *testing.T, spec, usage string) string {
	t.Helper()
	return strings.TrimSpace(c.text(t, 0, "kms", "create-key", "--origin", "EXTERNAL", "--key-spec", spec, "--key-usage", usage,
		"--query", "KeyMetadata.KeyId", "--output", "text"))
}

// parameters gets what material is wrapped with through a node: the path of the public
// key in DER, and of the token.
func (c awsCLI) parameters(t *testing.T, node int, id, algorithm string) (public, token string) {
	t.Helper()
	p := c.call(t, node, "kms", "get-parameters-for-import", "--key-id", id, "--wrapping-algorithm", algorithm, "--wrapping-key-spec", "RSA_3072")
	expect(t, "get-parameters-for-import", keyARN(c.region, id), p["KeyId"])
	return saved(t, decoded(t, p, "PublicKey")), file(t, decoded(t, p, "ImportToken"))
}

// oaep wraps with OpenSSL.
func oaep(t *testing.T, public string, material []byte) []byte {
	t.Helper()
	return openssl(t, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", public, "-in", saved(t, material),
		"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256")
}

// state is the state of a key that a node shows.
func (c awsCLI) state(t *testing.T, node int, id string) string {
	t.Helper()
	return strings.TrimSpace(c.text(t, node, "kms", "describe-key", "--key-id", id, "--query", "KeyMetadata.KeyState", "--output", "text"))
}

// cliImports imports what OpenSSL has wrapped: a symmetric key, deleted and imported
// again, and a private key that OpenSSL has made.
func cliImports(t *testing.T, c awsCLI) {
	id, material := c.external(t, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), bytes.Repeat([]byte{0x5a}, 32)
	expect(t, "the state", "PendingImport", c.state(t, 1, id))
	public, token := c.parameters(t, 1, id, "RSAES_OAEP_SHA_256")
	bring := func(material []byte) []string {
		return []string{"kms", "import-key-material", "--key-id", id, "--import-token", token, "--expiration-model", "KEY_MATERIAL_DOES_NOT_EXPIRE",
			"--encrypted-key-material", file(t, oaep(t, public, material))}
	}
	c.text(t, 2, bring(material)...)
	expect(t, "the state", "Enabled", c.state(t, 0, id))
	blob := decoded(t, c.call(t, 0, "kms", "encrypt", "--key-id", id, "--plaintext", file(t, []byte("a secret"))), "CiphertextBlob")
	c.text(t, 0, "kms", "delete-imported-key-material", "--key-id", id)
	decrypt := []string{"kms", "decrypt", "--ciphertext-blob", file(t, blob), "--query", "Plaintext", "--output", "text"}
	c.refused(t, 1, "KMSInvalidStateException", "Decrypt", keyARN(c.region, id)+" is pending import.", decrypt...)
	c.refused(t, 1, "IncorrectKeyMaterialException", "ImportKeyMaterial", "", bring(bytes.Repeat([]byte{1}, 32))...)
	c.text(t, 1, bring(material)...)
	expect(t, "decrypted", "YSBzZWNyZXQ=", strings.TrimSpace(c.text(t, 2, decrypt...)))
	cliImportsPrivateKey(t, c)
}

// cliImportsPrivateKey brings a private key as CKM_RSA_AES_KEY_WRAP (PKCS #11).
func cliImportsPrivateKey(t *testing.T, c awsCLI) {
	id := c.external(t, "ECC_NIST_P256", "SIGN_VERIFY")
	public, token := c.parameters(t, 0, id, "RSA_AES_KEY_WRAP_SHA_256")
	private := openssl(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-outform", "DER")
	pkcs8 := openssl(t, "pkcs8", "-topk8", "-nocrypt", "-inform", "DER", "-outform", "DER", "-in", saved(t, private))
	aes := bytes.Repeat([]byte{0x33}, 32)
	wrapped := append(oaep(t, public, aes), openssl(t, "enc", "-id-aes256-wrap-pad", "-K", hex.EncodeToString(aes), "-iv", "a65959a6", "-in", saved(t, pkcs8))...)
	c.text(t, 1, "kms", "import-key-material", "--key-id", id, "--import-token", token, "--expiration-model", "KEY_MATERIAL_DOES_NOT_EXPIRE",
		"--encrypted-key-material", file(t, wrapped))
	own := openssl(t, "pkey", "-inform", "DER", "-in", saved(t, pkcs8), "-pubout", "-outform", "DER")
	if shown := decoded(t, c.call(t, 2, "kms", "get-public-key", "--key-id", id), "PublicKey"); !bytes.Equal(shown, own) {
		t.Errorf("the public key is %x, want %x", shown, own)
	}
	message := saved(t, []byte("the message"))
	signature := decoded(t, c.call(t, 2, "kms", "sign", "--key-id", id, "--signing-algorithm", "ECDSA_SHA_256", "--message", "fileb://"+message), "Signature")
	openssl(t, "dgst", "-sha256", "-keyform", "DER", "-verify", saved(t, own), "-signature", saved(t, signature), message)
}

// cliGrants makes a grant on one node, uses its token on another at once, and ends
// grants both ways.
func cliGrants(t *testing.T, c awsCLI) {
	id := strings.TrimSpace(c.text(t, 0, "kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"))
	grantee := strings.TrimSpace(c.text(t, 0, "sts", "get-caller-identity", "--query", "Arn", "--output", "text"))
	create := []string{"kms", "create-grant", "--key-id", id, "--grantee-principal", grantee, "--operations", "Encrypt", "Decrypt",
		"--constraints", "EncryptionContextSubset={app=orders}", "--name", "orders"}
	made, again := c.call(t, 1, create...), c.call(t, 2, create...)
	if made["GrantId"] != again["GrantId"] || made["GrantToken"] == again["GrantToken"] {
		t.Errorf("create-grant: %v, and then %v", made, again)
	}
	grant := made["GrantId"].(string)
	c.call(t, 2, "kms", "encrypt", "--key-id", id, "--plaintext", file(t, []byte("x")), "--encryption-context", "app=orders", "--grant-tokens", made["GrantToken"].(string))
	listed := c.call(t, 0, "kms", "list-grants", "--key-id", id)["Grants"].([]any)
	if len(listed) != 1 {
		t.Fatalf("list-grants: %v", listed)
	}
	entry := listed[0].(object)
	delete(entry, "CreationDate")
	expect(t, "list-grants", object{"KeyId": keyARN(c.region, id), "GrantId": grant, "Name": "orders", "GranteePrincipal": grantee, "IssuingAccount": grantee,
		"Operations": []any{"Decrypt", "Encrypt"}, "Constraints": object{"EncryptionContextSubset": object{"app": "orders"}}}, entry)
	c.silent(t, 2, "kms", "retire-grant", "--grant-token", made["GrantToken"].(string))
	c.refused(t, 0, "NotFoundException", "RevokeGrant", "Grant ID "+grant+" not found", "kms", "revoke-grant", "--key-id", id, "--grant-id", grant)
	other := c.call(t, 1, "kms", "create-grant", "--key-id", id, "--grantee-principal", grantee, "--operations", "DescribeKey")["GrantId"].(string)
	c.silent(t, 2, "kms", "revoke-grant", "--key-id", id, "--grant-id", other)
	expect(t, "list-grants", []any{}, c.call(t, 0, "kms", "list-grants", "--key-id", id)["Grants"])
}
