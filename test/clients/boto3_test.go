package clients_test

import (
	"bytes"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
)

// python is a Python program that runs boto3.
type python struct {
	*program
	byEnv     bool // told its endpoint by AWS_ENDPOINT_URL
	materials bool // knows the ids of key materials
}

// startPython starts an interpreter, which ends with the test.
func startPython(t *testing.T, at *cluster, interpreter, region string, byEnv bool) *python {
	t.Helper()
	cmd := exec.Command(interpreter, filepath.Join("testdata", "calls.py"))
	cmd.Env = at.environment(region, "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore")
	var hello struct {
		Boto3, Botocore string
		Materials       bool
	}
	p := startProgram(t, at, region, cmd, &hello)
	t.Logf("%s: boto3 %s, botocore %s", interpreter, hello.Boto3, hello.Botocore)
	return &python{p, byEnv, hello.Materials}
}

// call is a call of KMS through a node.
func (p *python) call(node int, operation string, params object) call {
	return call{Endpoint: p.at.endpoints[node], Environment: p.byEnv, Service: "kms", Operation: operation, Params: params}
}

// kms runs a call of KMS through a node, which must succeed the first time.
func (p *python) kms(t *testing.T, node int, operation string, params object) object {
	t.Helper()
	return p.succeed(t, p.call(node, operation, params))
}

// refused runs a call of KMS that must be refused in these words, typed where the
// API model has the error.
func (p *python) refused(t *testing.T, node int, class, code, message, operation string, params object) {
	t.Helper()
	text := "An error occurred (" + code + ") when calling the " + operation + " operation: " + message
	p.refuse(t, p.call(node, operation, params), refusal{class, code, message, text})
}

func TestBoto3(t *testing.T) {
	t.Parallel()
	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		testBoto3(t, startPython(t, dev, debianPython, "eu-west-1", false))
	})
	if path, ok := otherBoto3(); ok {
		t.Run("path", func(t *testing.T) {
			t.Parallel()
			testBoto3(t, startPython(t, dev, path, "ap-southeast-2", true))
		})
	}
}

// otherBoto3 finds a Python of the PATH that has a boto3 which knows
// AWS_ENDPOINT_URL (1.28 and newer).
func otherBoto3() (string, bool) {
	path, other := onPath("python3", debianPython)
	if !other {
		return "", false
	}
	const newer = "import boto3; assert tuple(map(int, boto3.__version__.split('.')[:2])) >= (1, 28)"
	return path, exec.Command(path, "-c", newer).Run() == nil
}

func testBoto3(t *testing.T, p *python) {
	botoIdentity(t, p)
	key := botoKey(t, p)
	botoCiphertexts(t, p, key)
	botoDataKeys(t, p, key)
	botoLists(t, p, key)
	botoState(t, p, key)
	botoRefusals(t, p, key)
}

// botoIdentity asks who the caller is, also with a URL that boto3 signs and
// anybody may send, as EKS and Vault do.
func botoIdentity(t *testing.T, p *python) {
	for node := range nodes {
		who := call{Endpoint: p.at.endpoints[node], Environment: p.byEnv, Service: "sts", Operation: "GetCallerIdentity"}
		expect(t, "GetCallerIdentity", rootIdentity, p.do(t, who).Result)
		who.Presign = true
		url, _ := p.do(t, who).Result["URL"].(string)
		resp, err := p.at.http(t).Get(url)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		want := "<Arn>arn:aws:iam::" + account + ":root</Arn>"
		if resp.StatusCode != http.StatusOK || !bytes.Contains(body.Bytes(), []byte(want)) {
			t.Fatalf("GET %s: %s: %s, want 200 and %s", url, resp.Status, body.String(), want)
		}
	}
}

// botoMetadata is metadata with boto3's times.
func botoMetadata(p *python, id string, enabled bool) object {
	m := metadata(p.region, id, "made by boto3: ü€", enabled, p.materials)
	m["CreationDate"] = packedTime
	return m
}

func botoKey(t *testing.T, p *python) string {
	made := p.kms(t, 0, "CreateKey", object{
		"Description": "made by boto3: ü€", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS", "MultiRegion": false,
		"Tags": []any{object{"TagKey": "CreatedBy", "TagValue": "ExampleUser"}, object{"TagKey": "empty", "TagValue": ""}},
	})
	id, _ := made["KeyMetadata"].(object)["KeyId"].(string)
	expect(t, "CreateKey", object{"KeyMetadata": botoMetadata(p, id, true)}, made)
	expect(t, "CreateAlias", object{}, p.kms(t, 0, "CreateAlias", object{"AliasName": "alias/ExampleAlias", "TargetKeyId": keyARN(p.region, id)}))
	for node := range nodes {
		for _, name := range []string{id, keyARN(p.region, id), "alias/ExampleAlias", aliasARN(p.region, "alias/ExampleAlias")} {
			expect(t, "DescribeKey of "+name, made, p.kms(t, node, "DescribeKey", object{"KeyId": name}))
		}
	}
	expect(t, "GetKeyPolicy", defaultPolicy, p.kms(t, 2, "GetKeyPolicy", object{"KeyId": id, "PolicyName": "default"})["Policy"])
	return id
}

func botoCiphertexts(t *testing.T, p *python, key string) {
	context := object{"purpose": "test", "größe": "5 €"}
	longest := bytes.Repeat([]byte{0, 0xff, 'a', '\n'}, 1024)
	encrypted := p.kms(t, 1, "Encrypt", object{"KeyId": "alias/ExampleAlias", "Plaintext": packed(longest), "EncryptionContext": context})
	expect(t, "Encrypt", object{"CiphertextBlob": packedBytes, "KeyId": keyARN(p.region, key), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, encrypted)
	want := withMaterials(p.materials, object{
		"Plaintext": packed(longest), "KeyId": keyARN(p.region, key), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "KeyMaterialId": materialID,
	})
	expect(t, "Decrypt", want, p.kms(t, 2, "Decrypt", object{"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": context}))

	other, _ := p.kms(t, 2, "CreateKey", nil)["KeyMetadata"].(object)["KeyId"].(string)
	moved := p.kms(t, 0, "ReEncrypt", object{
		"CiphertextBlob": encrypted["CiphertextBlob"], "SourceEncryptionContext": context, "SourceKeyId": key, "DestinationKeyId": keyARN(p.region, other),
	})
	expect(t, "ReEncrypt", withMaterials(p.materials, object{
		"CiphertextBlob": packedBytes, "SourceKeyId": keyARN(p.region, key), "KeyId": keyARN(p.region, other),
		"SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
		"SourceKeyMaterialId": materialID, "DestinationKeyMaterialId": materialID,
	}), moved)
	want["KeyId"] = keyARN(p.region, other)
	expect(t, "Decrypt of what was re-encrypted", want, p.kms(t, 1, "Decrypt", object{"CiphertextBlob": moved["CiphertextBlob"], "KeyId": other}))

	const foreign = "The key ID in the request does not identify a CMK that can perform this operation."
	p.refused(t, 1, "IncorrectKeyException", "IncorrectKeyException", foreign, "Decrypt",
		object{"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": context, "KeyId": other})
	p.refused(t, 0, "InvalidCiphertextException", "InvalidCiphertextException", "", "Decrypt",
		object{"CiphertextBlob": encrypted["CiphertextBlob"], "EncryptionContext": object{"purpose": "Test", "größe": "5 €"}})
}

func botoDataKeys(t *testing.T, p *python, key string) {
	shape := object{"CiphertextBlob": packedBytes, "Plaintext": packedBytes, "KeyId": keyARN(p.region, key), "KeyMaterialId": materialID}
	made := p.kms(t, 2, "GenerateDataKey", object{"KeyId": key, "NumberOfBytes": 1024})
	expect(t, "GenerateDataKey", withMaterials(p.materials, shape), made)
	if got := size(made["Plaintext"]); got != 1024 {
		t.Fatalf("GenerateDataKey made %d bytes, want 1024", got)
	}
	opened := p.kms(t, 0, "Decrypt", object{"CiphertextBlob": made["CiphertextBlob"]})
	expect(t, "the data key decrypted", made["Plaintext"], opened["Plaintext"])

	delete(shape, "Plaintext")
	hidden := p.kms(t, 1, "GenerateDataKeyWithoutPlaintext", object{"KeyId": "alias/ExampleAlias", "KeySpec": "AES_256"})
	expect(t, "GenerateDataKeyWithoutPlaintext", withMaterials(p.materials, shape), hidden)
	if got := size(p.kms(t, 2, "Decrypt", object{"CiphertextBlob": hidden["CiphertextBlob"]})["Plaintext"]); got != 32 {
		t.Fatalf("an AES_256 data key has %d bytes, want 32", got)
	}
	if got := size(p.kms(t, 0, "GenerateRandom", object{"NumberOfBytes": 1})["Plaintext"]); got != 1 {
		t.Fatalf("GenerateRandom made %d bytes, want 1", got)
	}
}

// botoLists reads the lists by boto3's paginators and by hand.
func botoLists(t *testing.T, p *python, key string) {
	list := p.call(1, "ListKeys", nil)
	list.Paginate = 1
	pages := p.do(t, list).Pages
	if len(pages) != 2 {
		t.Fatalf("ListKeys in pages of 1 gave %d pages, want 2: %v", len(pages), pages)
	}
	entry := object{"KeyId": uuid, "KeyArn": pattern("key ARN", "arn:aws:kms:"+p.region+":"+account+":key/.*")}
	marker, _ := pages[0].(object)["NextMarker"].(string)
	expect(t, "ListKeys", []any{
		object{"Keys": []any{entry}, "Truncated": true, "NextMarker": marker}, object{"Keys": []any{entry}, "Truncated": false},
	}, pages)
	last := p.kms(t, 2, "ListKeys", object{"Marker": marker, "Limit": 1000})
	expect(t, "ListKeys from the marker", pages[1], last)

	aliases := p.kms(t, 0, "ListAliases", object{"KeyId": key})
	expect(t, "ListAliases", object{"Truncated": false, "Aliases": []any{object{
		"AliasName": "alias/ExampleAlias", "AliasArn": aliasARN(p.region, "alias/ExampleAlias"), "TargetKeyId": key,
		"CreationDate": packedTime, "LastUpdatedDate": packedTime,
	}}}, aliases)
	p.refused(t, 1, "InvalidMarkerException", "InvalidMarkerException", "Could not deserialize marker 'nonsense'", "ListAliases", object{"Marker": "nonsense"})
}

// botoState switches a key through one node; every node follows at once.
func botoState(t *testing.T, p *python, key string) {
	expect(t, "DisableKey", object{}, p.kms(t, 1, "DisableKey", object{"KeyId": key}))
	for node := range nodes {
		p.refused(t, node, "DisabledException", "DisabledException", keyARN(p.region, key)+" is disabled.",
			"GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_128"})
		expect(t, "DescribeKey", object{"KeyMetadata": botoMetadata(p, key, false)}, p.kms(t, node, "DescribeKey", object{"KeyId": key}))
	}
	expect(t, "EnableKey", object{}, p.kms(t, 2, "EnableKey", object{"KeyId": key}))
	for node := range nodes {
		p.kms(t, node, "GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_128"})
	}
	expect(t, "DeleteAlias", object{}, p.kms(t, 0, "DeleteAlias", object{"AliasName": "alias/ExampleAlias"}))
	expect(t, "ListAliases", object{"Aliases": []any{}, "Truncated": false}, p.kms(t, 2, "ListAliases", nil))
}

func botoRefusals(t *testing.T, p *python, key string) {
	p.refused(t, 0, "NotFoundException", "NotFoundException", "Alias "+aliasARN(p.region, "alias/ExampleAlias")+" is not found.",
		"Encrypt", object{"KeyId": "alias/ExampleAlias", "Plaintext": packed([]byte("x"))})
	p.refused(t, 1, "NotFoundException", "NotFoundException", "Invalid keyId 'ExampleAlias'", "DescribeKey", object{"KeyId": "ExampleAlias"})
	p.refused(t, 2, "InvalidArnException", "InvalidArnException", "Invalid arn arn:aws:s3:::bucket", "DescribeKey", object{"KeyId": "arn:aws:s3:::bucket"})
	p.refused(t, 0, "TagException", "TagException", "Duplicate tag keys", "CreateKey",
		object{"Tags": []any{object{"TagKey": "a", "TagValue": "1"}, object{"TagKey": "a", "TagValue": "2"}}})
	// What the API model does not have, boto3 raises as its general error.
	p.refused(t, 1, "ClientError", "ValidationException", "Please specify either number of bytes or key spec.", "GenerateDataKey", object{"KeyId": key})
	p.refused(t, 2, "ClientError", "ValidationException",
		"1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy constraint: "+
			"Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
		"CreateAlias", object{"AliasName": "alias/a b", "TargetKeyId": key})
	p.refused(t, 0, "ClientError", "ValidationException",
		"1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
		"Encrypt", object{"KeyId": key, "Plaintext": packed(make([]byte, 4097))})
	if p.materials { // models older than that have no DryRun
		p.refused(t, 1, "DryRunOperationException", "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.",
			"Encrypt", object{"KeyId": key, "Plaintext": packed([]byte("x")), "DryRun": true})
	}
}
