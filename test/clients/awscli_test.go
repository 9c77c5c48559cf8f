package clients_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// awsCLI is an installed AWS CLI, working in a Region of its own.
type awsCLI struct {
	path      string
	region    string
	byFlag    bool // told its endpoint by --endpoint-url: it does not know AWS_ENDPOINT_URL
	materials bool // knows the ids of key materials
	refusal   int  // exit code when the service refused
}

// newAWSCLI asks a CLI what it is.
func newAWSCLI(t *testing.T, path, region string, byFlag bool) awsCLI {
	t.Helper()
	c := awsCLI{path: path, region: region, byFlag: byFlag, refusal: 254}
	version, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --version: %v: %s", path, err, version)
	}
	t.Logf("%s: %s", path, firstLine(string(version)))
	if strings.HasPrefix(string(version), "aws-cli/1.") {
		c.refusal = 255
	}
	// The skeleton of an answer names its members, also where the CLI finds fault
	// with its own example.
	out, _ := c.command(t, 0, "kms", "describe-key", "--key-id", "example", "--generate-cli-skeleton", "output").CombinedOutput()
	c.materials = bytes.Contains(out, []byte("CurrentKeyMaterialId"))
	return c
}

// command is a call through a node.
func (c awsCLI) command(t *testing.T, node int, args ...string) *exec.Cmd {
	t.Helper()
	dev.settle(t)
	if c.byFlag {
		args = append(args, "--endpoint-url", dev.endpoints[node])
	}
	cmd := exec.Command(c.path, args...)
	cmd.Env = dev.environment(c.region, "AWS_PAGER=")
	if !c.byFlag {
		cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL="+dev.endpoints[node])
	}
	return cmd
}

// text runs a command that must succeed and returns what it prints.
func (c awsCLI) text(t *testing.T, node int, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := c.command(t, node, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", cmd, err, stderr.String())
	}
	return string(out)
}

// call runs a command that must succeed and returns its JSON output.
func (c awsCLI) call(t *testing.T, node int, args ...string) object {
	t.Helper()
	out := c.text(t, node, args...)
	var got object
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("aws %s: %v: %q", strings.Join(args, " "), err, out)
	}
	return got
}

// silent runs a command that must succeed and print nothing.
func (c awsCLI) silent(t *testing.T, node int, args ...string) {
	t.Helper()
	if out := c.text(t, node, args...); out != "" {
		t.Fatalf("aws %s printed %q, want nothing", strings.Join(args, " "), out)
	}
}

// refused runs a command that the service must refuse in these words.
func (c awsCLI) refused(t *testing.T, node int, code, operation, message string, args ...string) {
	t.Helper()
	c.refusedAs(t, c.command(t, node, args...), code, operation, message)
}

func (c awsCLI) refusedAs(t *testing.T, cmd *exec.Cmd, code, operation, message string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != c.refusal || len(out) > 0 {
		t.Fatalf("%s: got %v, %q, want exit code %d and no output\n%s", cmd, err, out, c.refusal, stderr.String())
	}
	want := strings.TrimSpace("An error occurred (" + code + ") when calling the " + operation + " operation: " + message)
	if got := strings.TrimSpace(stderr.String()); !strings.HasSuffix(got, want) {
		t.Fatalf("%s:\ngot  %s\nwant %s", cmd, got, want)
	}
}

// file writes what a command reads by fileb://.
func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "fileb://" + path
}

// decoded is the bytes of a blob in a command's output.
func decoded(t *testing.T, out object, name string) []byte {
	t.Helper()
	text, _ := out[name].(string)
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(blob) == 0 {
		t.Fatalf("%s is %v, want base64", name, out[name])
	}
	return blob
}

func TestAWSCLI(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testAWSCLI(t, newAWSCLI(t, debianCLI, "us-east-1", true))
	})
	if path, other := onPath("aws", debianCLI); other {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			testAWSCLI(t, newAWSCLI(t, path, "eu-central-1", false))
		})
	}
}

func testAWSCLI(t *testing.T, c awsCLI) {
	for node := range nodes {
		expect(t, "get-caller-identity", rootIdentity, c.call(t, node, "sts", "get-caller-identity"))
	}
	first, second := cliKeys(t, c)
	cliCiphertexts(t, c, first, second)
	cliDataKeys(t, c, first)
	cliLists(t, c, first, second)
	cliState(t, c, first)
	cliAliases(t, c, first, second)
	cliRefusals(t, c)
	cliLife(t, c)
}

// cliKeys makes a key and describes it elsewhere, names it, and makes another.
func cliKeys(t *testing.T, c awsCLI) (first, second string) {
	made := c.call(t, 0, "kms", "create-key", "--description", "Key for the orders of example.com",
		"--tags", "TagKey=Department,TagValue=Marketing", "TagKey=Purpose,TagValue=Test")
	keyMetadata, _ := made["KeyMetadata"].(object)
	first, _ = keyMetadata["KeyId"].(string)
	expect(t, "key id", uuid, first)
	expect(t, "create-key", object{"KeyMetadata": metadata(c.region, first, "Key for the orders of example.com", true, c.materials)}, made)
	for node := range nodes {
		expect(t, "describe-key", made, c.call(t, node, "kms", "describe-key", "--key-id", first))
	}
	c.silent(t, 0, "kms", "create-alias", "--alias-name", "alias/orders", "--target-key-id", first)
	expect(t, "describe-key by alias", made, c.call(t, 1, "kms", "describe-key", "--key-id", "alias/orders"))
	expect(t, "get-key-policy", defaultPolicy+"\n",
		c.text(t, 2, "kms", "get-key-policy", "--key-id", first, "--policy-name", "default", "--query", "Policy", "--output", "text"))

	second = strings.TrimSpace(c.text(t, 2, "kms", "create-key", "--query", "KeyMetadata.KeyId", "--output", "text"))
	expect(t, "describe-key", object{"KeyMetadata": metadata(c.region, second, "", true, c.materials)},
		c.call(t, 0, "kms", "describe-key", "--key-id", keyARN(c.region, second)))
	return first, second
}

// cliCiphertexts encrypts on one node and decrypts on another, in the forms that
// the CLI's manual shows.
func cliCiphertexts(t *testing.T, c awsCLI, first, second string) {
	plaintext := []byte("the main job\x00\xff")
	context := []string{"--encryption-context", "Department=Finance,Purpose=Test"}
	encrypted := c.call(t, 1, append([]string{"kms", "encrypt", "--key-id", "alias/orders", "--plaintext", file(t, plaintext)}, context...)...)
	expect(t, "encrypt", object{"CiphertextBlob": base64Text, "KeyId": keyARN(c.region, first), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, encrypted)
	ciphertext := file(t, decoded(t, encrypted, "CiphertextBlob"))

	decrypt := append([]string{"kms", "decrypt", "--ciphertext-blob", ciphertext}, context...)
	want := withMaterials(c.materials, object{
		"Plaintext": base64.StdEncoding.EncodeToString(plaintext), "KeyId": keyARN(c.region, first),
		"EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "KeyMaterialId": materialID,
	})
	expect(t, "decrypt", want, c.call(t, 2, decrypt...))
	expect(t, "decrypt as text", base64.StdEncoding.EncodeToString(plaintext)+"\n",
		c.text(t, 0, append(decrypt, "--key-id", first, "--output", "text", "--query", "Plaintext")...))
	c.refused(t, 1, "InvalidCiphertextException", "Decrypt", "", "kms", "decrypt", "--ciphertext-blob", ciphertext)
	c.refused(t, 2, "IncorrectKeyException", "Decrypt", "The key ID in the request does not identify a CMK that can perform this operation.",
		append(decrypt, "--key-id", second)...)

	moved := c.call(t, 0, "kms", "re-encrypt", "--ciphertext-blob", ciphertext, "--source-encryption-context", "Department=Finance,Purpose=Test",
		"--destination-key-id", second, "--destination-encryption-context", "Department=Legal")
	expect(t, "re-encrypt", withMaterials(c.materials, object{
		"CiphertextBlob": base64Text, "SourceKeyId": keyARN(c.region, first), "KeyId": keyARN(c.region, second),
		"SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		"SourceKeyMaterialId": materialID, "DestinationKeyMaterialId": materialID,
	}), moved)
	want["KeyId"] = keyARN(c.region, second)
	expect(t, "decrypt what was re-encrypted", want, c.call(t, 1, "kms", "decrypt",
		"--ciphertext-blob", file(t, decoded(t, moved, "CiphertextBlob")), "--encryption-context", "Department=Legal"))
}

// cliDataKeys makes data keys, which decrypt to what was given out, and random
// bytes.
func cliDataKeys(t *testing.T, c awsCLI, key string) {
	shape := object{"CiphertextBlob": base64Text, "Plaintext": base64Text, "KeyId": keyARN(c.region, key), "KeyMaterialId": materialID}
	for _, size := range []struct {
		flag, value string
		bytes       int
	}{{"--key-spec", "AES_256", 32}, {"--number-of-bytes", "64", 64}} {
		made := c.call(t, 2, "kms", "generate-data-key", "--key-id", key, size.flag, size.value)
		expect(t, "generate-data-key", withMaterials(c.materials, shape), made)
		if got := len(decoded(t, made, "Plaintext")); got != size.bytes {
			t.Fatalf("generate-data-key %s %s made %d bytes, want %d", size.flag, size.value, got, size.bytes)
		}
		opened := c.call(t, 0, "kms", "decrypt", "--ciphertext-blob", file(t, decoded(t, made, "CiphertextBlob")))
		expect(t, "the data key decrypted", made["Plaintext"], opened["Plaintext"])
	}
	delete(shape, "Plaintext")
	hidden := c.call(t, 1, "kms", "generate-data-key-without-plaintext", "--key-id", "alias/orders", "--key-spec", "AES_128")
	expect(t, "generate-data-key-without-plaintext", withMaterials(c.materials, shape), hidden)
	opened := c.call(t, 2, "kms", "decrypt", "--ciphertext-blob", file(t, decoded(t, hidden, "CiphertextBlob")))
	if got := len(decoded(t, opened, "Plaintext")); got != 16 {
		t.Fatalf("an AES_128 data key has %d bytes, want 16", got)
	}

	random := c.call(t, 0, "kms", "generate-random", "--number-of-bytes", "1024")
	expect(t, "generate-random", object{"Plaintext": base64Text}, random)
	if got := len(decoded(t, random, "Plaintext")); got != 1024 {
		t.Fatalf("generate-random made %d bytes, want 1024", got)
	}
}

// cliLists reads the lists whole, in pages that the CLI joins, and in pieces.
func cliLists(t *testing.T, c awsCLI, first, second string) {
	entry := func(id string) object { return object{"KeyId": id, "KeyArn": keyARN(c.region, id)} }
	all := object{"Keys": []any{entry(min(first, second)), entry(max(first, second))}}
	expect(t, "list-keys", all, c.call(t, 0, "kms", "list-keys"))
	expect(t, "list-keys in pages of 1", all, c.call(t, 1, "kms", "list-keys", "--page-size", "1"))

	piece := c.call(t, 2, "kms", "list-keys", "--max-items", "1", "--page-size", "1")
	next, _ := piece["NextToken"].(string)
	if next == "" {
		t.Fatalf("list-keys of 1 of 2 keys gave no token: %v", piece)
	}
	expect(t, "list-keys, first item", object{"Keys": []any{all["Keys"].([]any)[0]}, "NextToken": next}, piece)
	rest := c.call(t, 0, "kms", "list-keys", "--starting-token", next)
	expect(t, "list-keys, the rest", object{"Keys": []any{all["Keys"].([]any)[1]}}, rest)
}

// cliState disables a key through one node: every node refuses it at once.
func cliState(t *testing.T, c awsCLI, key string) {
	c.silent(t, 2, "kms", "disable-key", "--key-id", key)
	for node := range nodes {
		c.refused(t, node, "DisabledException", "Encrypt", keyARN(c.region, key)+" is disabled.",
			"kms", "encrypt", "--key-id", key, "--plaintext", file(t, []byte("x")))
	}
	got := c.call(t, 1, "kms", "describe-key", "--key-id", key)["KeyMetadata"]
	expect(t, "describe-key of a disabled key", metadata(c.region, key, "Key for the orders of example.com", false, c.materials), got)
	c.silent(t, 1, "kms", "enable-key", "--key-id", keyARN(c.region, key))
	c.text(t, 0, "kms", "encrypt", "--key-id", key, "--plaintext", file(t, []byte("x")))
}

// cliAliases lists, moves and deletes aliases.
func cliAliases(t *testing.T, c awsCLI, first, second string) {
	entry := object{
		"AliasName": "alias/orders", "AliasArn": aliasARN(c.region, "alias/orders"), "TargetKeyId": first,
		"CreationDate": recent, "LastUpdatedDate": recent,
	}
	list := object{"Aliases": []any{entry}}
	expect(t, "list-aliases", list, c.call(t, 1, "kms", "list-aliases"))
	c.refused(t, 2, "AlreadyExistsException", "CreateAlias", "An alias with the name "+aliasARN(c.region, "alias/orders")+" already exists",
		"kms", "create-alias", "--alias-name", "alias/orders", "--target-key-id", first)

	c.silent(t, 1, "kms", "update-alias", "--alias-name", "alias/orders", "--target-key-id", second)
	entry["TargetKeyId"] = second
	expect(t, "list-aliases of the new key", list, c.call(t, 2, "kms", "list-aliases", "--key-id", second))
	expect(t, "list-aliases of the old key", object{"Aliases": []any{}}, c.call(t, 0, "kms", "list-aliases", "--key-id", first))

	c.silent(t, 0, "kms", "delete-alias", "--alias-name", "alias/orders")
	absent := "Alias " + aliasARN(c.region, "alias/orders") + " is not found."
	c.refused(t, 1, "NotFoundException", "DescribeKey", absent, "kms", "describe-key", "--key-id", "alias/orders")
	c.refused(t, 2, "NotFoundException", "Encrypt", absent, "kms", "encrypt", "--key-id", "alias/orders", "--plaintext", file(t, []byte("x")))
}

// cliRefusals are the answers to what users get wrong.
func cliRefusals(t *testing.T, c awsCLI) {
	absent := "1234abcd-12ab-34cd-56ef-1234567890ab"
	c.refused(t, 0, "NotFoundException", "DescribeKey", "Key '"+keyARN(c.region, absent)+"' does not exist",
		"kms", "describe-key", "--key-id", absent)
	c.refused(t, 1, "NotFoundException", "DescribeKey", "Invalid arn sa-east-1",
		"kms", "describe-key", "--key-id", keyARN("sa-east-1", absent))
	c.refused(t, 2, "ValidationException", "CreateAlias", `Alias must start with the prefix "alias/". `+
		"Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
		"kms", "create-alias", "--alias-name", "orders", "--target-key-id", absent)
	c.refused(t, 0, "NotAuthorizedException", "CreateAlias", "",
		"kms", "create-alias", "--alias-name", "alias/aws/orders", "--target-key-id", absent)

	list := c.command(t, 1, "kms", "list-keys")
	list.Env = append(list.Env, "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	c.refusedAs(t, list, "InvalidSignatureException", "ListKeys", wrongSignature)
	list = c.command(t, 2, "kms", "list-keys")
	list.Env = append(list.Env, "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE")
	c.refusedAs(t, list, "UnrecognizedClientException", "ListKeys", unknownCredential)
	identity := c.command(t, 0, "sts", "get-caller-identity")
	identity.Env = append(identity.Env, "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE")
	c.refusedAs(t, identity, "InvalidClientTokenId", "GetCallerIdentity", unknownCredential)
}
