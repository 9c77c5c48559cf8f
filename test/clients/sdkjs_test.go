package clients_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// jsDir holds the Node.js program and, after "npm ci", the SDK.
var jsDir = filepath.Join("testdata", "js")

// installedJS reports what is missing to run the AWS SDK for JavaScript.
func installedJS() error {
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("Node.js 20 or newer must be installed")
	}
	if _, err := os.Stat(filepath.Join(jsDir, "node_modules", "@aws-sdk", "client-kms")); err != nil {
		return errors.New("the AWS SDK for JavaScript must be installed (make clients, or npm ci in test/clients/" + jsDir + "): " + err.Error())
	}
	return nil
}

// javascript is a Node.js program that runs the AWS SDK for JavaScript.
type javascript struct{ *program }

func startJavaScript(t *testing.T, at *cluster, region string) *javascript {
	t.Helper()
	cmd := exec.Command("node", filepath.Join(jsDir, "calls.mjs"))
	cmd.Env = at.environment(region)
	var hello struct{ Node, SDK string }
	p := startProgram(t, at, region, cmd, &hello)
	t.Logf("Node.js %s, client-kms %s", hello.Node, hello.SDK)
	return &javascript{p}
}

func (p *javascript) call(node int, operation string, params object) call {
	return call{Endpoint: p.at.endpoints[node], Operation: operation, Params: params}
}

func (p *javascript) kms(t *testing.T, node int, operation string, params object) object {
	t.Helper()
	return p.succeed(t, p.call(node, operation, params))
}

// refused runs a call that must be refused in these words. What the API model does
// not have, the SDK raises as its general error.
func (p *javascript) refused(t *testing.T, node int, class, code, message, operation string, params object) {
	t.Helper()
	p.refuse(t, p.call(node, operation, params), refusal{class, code, message, code + ": " + message})
}

func TestJavaScriptSDK(t *testing.T) {
	t.Parallel()
	testJavaScript(t, startJavaScript(t, dev, "ap-northeast-1"))
}

func testJavaScript(t *testing.T, p *javascript) {
	key := jsKey(t, p)
	jsCiphertexts(t, p, key)
	jsDataKeys(t, p, key)
	jsLists(t, p, key)
	jsState(t, p, key)
	jsRefusals(t, p, key)
}

// jsMetadata is metadata with the program's times.
func jsMetadata(p *javascript, id string, enabled bool) object {
	m := metadata(p.region, id, "made by JavaScript: ü€", enabled, true)
	m["CreationDate"] = packedTime
	return m
}

func jsKey(t *testing.T, p *javascript) string {
	made := p.kms(t, 0, "CreateKey", object{
		"Description": "made by JavaScript: ü€", "KeySpec": "SYMMETRIC_DEFAULT", "Tags": []any{object{"TagKey": "CreatedBy", "TagValue": "ExampleUser"}},
	})
	id, _ := made["KeyMetadata"].(object)["KeyId"].(string)
	expect(t, "CreateKey", object{"KeyMetadata": jsMetadata(p, id, true)}, made)
	expect(t, "CreateAlias", object{}, p.kms(t, 1, "CreateAlias", object{"AliasName": "alias/ExampleAlias", "TargetKeyId": id}))
	for node := range nodes {
		for _, name := range []string{id, keyARN(p.region, id), "alias/ExampleAlias", aliasARN(p.region, "alias/ExampleAlias")} {
			expect(t, "DescribeKey of "+name, made, p.kms(t, node, "DescribeKey", object{"KeyId": name}))
		}
	}
	expect(t, "GetKeyPolicy", object{"Policy": defaultPolicy, "PolicyName": "default"}, p.kms(t, 2, "GetKeyPolicy", object{"KeyId": id}))
	expect(t, "GetKeyLastUsage", jsLastUsage(id, object{}), p.kms(t, 2, "GetKeyLastUsage", object{"KeyId": id}))
	return id
}

// jsLastUsage is what GetKeyLastUsage answers.
func jsLastUsage(id string, last object) object {
	return object{"KeyId": id, "KeyCreationDate": packedTime, "TrackingStartDate": packedTime, "KeyLastUsage": last}
}

func jsCiphertexts(t *testing.T, p *javascript, key string) {
	context := object{"purpose": "test", "größe": "5 €"}
	longest := bytes.Repeat([]byte{0, 0xff, 'a', '\n'}, 1024)
	encrypted := p.kms(t, 1, "Encrypt", object{"KeyId": "alias/ExampleAlias", "Plaintext": packed(longest), "EncryptionContext": context})
	expect(t, "Encrypt", object{"CiphertextBlob": packedBytes, "KeyId": keyARN(p.region, key), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, encrypted)
	want := object{"Plaintext": packed(longest), "KeyId": keyARN(p.region, key), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "KeyMaterialId": materialID}
	expect(t, "Decrypt", want, p.kms(t, 2, "Decrypt", object{"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": context}))

	other, _ := p.kms(t, 2, "CreateKey", nil)["KeyMetadata"].(object)["KeyId"].(string)
	moved := p.kms(t, 0, "ReEncrypt", object{
		"CiphertextBlob": encrypted["CiphertextBlob"], "SourceEncryptionContext": context, "DestinationKeyId": keyARN(p.region, other),
	})
	expect(t, "ReEncrypt", object{
		"CiphertextBlob": packedBytes, "SourceKeyId": keyARN(p.region, key), "KeyId": keyARN(p.region, other),
		"SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		"SourceKeyMaterialId": materialID, "DestinationKeyMaterialId": materialID,
	}, moved)
	want["KeyId"] = keyARN(p.region, other)
	expect(t, "Decrypt of what was re-encrypted", want, p.kms(t, 1, "Decrypt", object{"CiphertextBlob": moved["CiphertextBlob"]}))
	// The SDK's name for no message at all, which is what AWS KMS sends here.
	const none = "UnknownError"
	p.refused(t, 0, "InvalidCiphertextException", "InvalidCiphertextException", none, "Decrypt",
		object{"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": object{"purpose": "Test"}})
}

func jsDataKeys(t *testing.T, p *javascript, key string) {
	shape := object{"CiphertextBlob": packedBytes, "Plaintext": packedBytes, "KeyId": keyARN(p.region, key), "KeyMaterialId": materialID}
	made := p.kms(t, 2, "GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_256"})
	expect(t, "GenerateDataKey", shape, made)
	if last := p.kms(t, 2, "GetKeyLastUsage", object{"KeyId": keyARN(p.region, key)}); p.at.endpoints[1] != p.at.endpoints[2] {
		// Only the node that served a call knows of it at once; behind one address
		// another one may answer.
		want := object{"Operation": "GenerateDataKey", "Timestamp": packedTime, "CloudTrailEventId": uuid, "KmsRequestId": uuid}
		expect(t, "GetKeyLastUsage", jsLastUsage(key, want), last)
	}
	if got := size(made["Plaintext"]); got != 32 {
		t.Fatalf("GenerateDataKey made %d bytes, want 32", got)
	}
	opened := p.kms(t, 0, "Decrypt", object{"CiphertextBlob": made["CiphertextBlob"], "KeyId": key})
	expect(t, "the data key decrypted", made["Plaintext"], opened["Plaintext"])
	delete(shape, "Plaintext")
	expect(t, "GenerateDataKeyWithoutPlaintext", shape, p.kms(t, 1, "GenerateDataKeyWithoutPlaintext", object{"KeyId": key, "NumberOfBytes": 7}))
	if got := size(p.kms(t, 0, "GenerateRandom", object{"NumberOfBytes": 1024})["Plaintext"]); got != 1024 {
		t.Fatalf("GenerateRandom made %d bytes, want 1024", got)
	}
}

// jsLists reads lists by the SDK's paginators.
func jsLists(t *testing.T, p *javascript, key string) {
	list := p.call(1, "ListKeys", nil)
	list.Paginate = 1
	pages := p.do(t, list).Pages
	if len(pages) != 2 {
		t.Fatalf("ListKeys in pages of 1 gave %d pages, want 2: %v", len(pages), pages)
	}
	entry := object{"KeyId": uuid, "KeyArn": pattern("key ARN", "arn:aws:kms:"+p.region+":"+account+":key/.*")}
	expect(t, "ListKeys", object{"Keys": []any{entry}, "Truncated": false}, pages[1])
	expect(t, "ListAliases", object{"Truncated": false, "Aliases": []any{object{
		"AliasName": "alias/ExampleAlias", "AliasArn": aliasARN(p.region, "alias/ExampleAlias"), "TargetKeyId": key,
		"CreationDate": packedTime, "LastUpdatedDate": packedTime,
	}}}, p.kms(t, 0, "ListAliases", object{"KeyId": key}))
}

// jsState switches a key through one node; every node follows at once.
func jsState(t *testing.T, p *javascript, key string) {
	expect(t, "DisableKey", object{}, p.kms(t, 1, "DisableKey", object{"KeyId": key}))
	for node := range nodes {
		p.refused(t, node, "DisabledException", "DisabledException", keyARN(p.region, key)+" is disabled.",
			"GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_128"})
	}
	expect(t, "EnableKey", object{}, p.kms(t, 2, "EnableKey", object{"KeyId": key}))
	for node := range nodes {
		p.kms(t, node, "GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_128"})
	}
	expect(t, "DeleteAlias", object{}, p.kms(t, 0, "DeleteAlias", object{"AliasName": "alias/ExampleAlias"}))
}

func jsRefusals(t *testing.T, p *javascript, key string) {
	p.refused(t, 0, "NotFoundException", "NotFoundException", "Alias "+aliasARN(p.region, "alias/ExampleAlias")+" is not found.",
		"Encrypt", object{"KeyId": "alias/ExampleAlias", "Plaintext": packed([]byte("x"))})
	p.refused(t, 2, "InvalidArnException", "InvalidArnException", "Invalid arn arn:aws:s3:::bucket", "DescribeKey", object{"KeyId": "arn:aws:s3:::bucket"})
	p.refused(t, 1, "KMSServiceException", "ValidationException", "Please specify either number of bytes or key spec.", "GenerateDataKey", object{"KeyId": key})
	p.refused(t, 0, "KMSServiceException", "ValidationException",
		"1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
		"Encrypt", object{"KeyId": key, "Plaintext": packed(make([]byte, 4097))})
	p.refused(t, 1, "DryRunOperationException", "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.",
		"Encrypt", object{"KeyId": key, "Plaintext": packed([]byte("x")), "DryRun": true})
}
