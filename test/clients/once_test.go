package clients_test

import (
	"net/http"
	"testing"
)

// lostReplies is how many replies of one call are lost, so that each node is tried.
const lostReplies = nodes - 1

// TestExactlyOnceBotocore loses replies between kmsd and boto3, which sends the
// call again, to another node: what the first attempt did must not be done twice,
// nor refused as done already.
func TestExactlyOnceBotocore(t *testing.T) {
	t.Parallel()
	for name, retries := range map[string]object{
		"legacy":   {"mode": "legacy"},
		"standard": {"mode": "standard"},
	} {
		t.Run("debian/"+name, func(t *testing.T) {
			t.Parallel()
			testOnce(t, startPython(t, dev, debianPython, map[string]string{"legacy": "ca-central-1", "standard": "sa-east-1"}[name], false), retries)
		})
		if path, ok := otherBoto3(); ok {
			t.Run("path/"+name, func(t *testing.T) {
				t.Parallel()
				testOnce(t, startPython(t, dev, path, map[string]string{"legacy": "eu-north-1", "standard": "eu-south-1"}[name], true), retries)
			})
		}
	}
}

func testOnce(t *testing.T, p *python, retries object) {
	proxy := newLossy(t)
	lossy := func(operation string, params object) object {
		t.Helper()
		proxy.arm(lostReplies)
		r := p.do(t, call{Endpoint: proxy.endpoint(), Environment: p.byEnv, Service: "kms", Operation: operation, Params: params, Retries: retries})
		retried := r.Retries == lostReplies || r.Retries > lostReplies && p.at.faulty(t)
		if r.Refusal != nil || r.Status != http.StatusOK || !retried || proxy.losses() != lostReplies {
			t.Fatalf("%s with %d replies lost: got %+v (%+v), want success after as many retries", operation, proxy.losses(), r, r.Refusal)
		}
		return r.Result
	}
	made := lossy("CreateKey", object{"Description": "made by boto3: ü€"})
	key, _ := made["KeyMetadata"].(object)["KeyId"].(string)
	expect(t, "CreateKey", object{"KeyMetadata": botoMetadata(p, key, true)}, made)
	entry := object{"KeyId": key, "KeyArn": keyARN(p.region, key)}
	for node := range nodes {
		expect(t, "ListKeys", object{"Keys": []any{entry}, "Truncated": false}, p.kms(t, node, "ListKeys", nil))
		expect(t, "DescribeKey", made, p.kms(t, node, "DescribeKey", object{"KeyId": key}))
	}

	lossy("CreateAlias", object{"AliasName": "alias/once", "TargetKeyId": key})
	expect(t, "DescribeKey", made, p.kms(t, 2, "DescribeKey", object{"KeyId": "alias/once"}))
	// The same call made anew is not a retry.
	p.refused(t, 0, "AlreadyExistsException", "AlreadyExistsException",
		"An alias with the name "+aliasARN(p.region, "alias/once")+" already exists", "CreateAlias", object{"AliasName": "alias/once", "TargetKeyId": key})

	lossy("DisableKey", object{"KeyId": key})
	expect(t, "DescribeKey", object{"KeyMetadata": botoMetadata(p, key, false)}, p.kms(t, 0, "DescribeKey", object{"KeyId": key}))
	lossy("EnableKey", object{"KeyId": key})
	expect(t, "DescribeKey", made, p.kms(t, 1, "DescribeKey", object{"KeyId": key}))

	lossy("DeleteAlias", object{"AliasName": "alias/once"})
	expect(t, "ListAliases", object{"Aliases": []any{}, "Truncated": false}, p.kms(t, 2, "ListAliases", nil))

	if made := lossy("GenerateDataKey", object{"KeyId": key, "KeySpec": "AES_256"}); size(made["Plaintext"]) != 32 {
		t.Errorf("GenerateDataKey made %d bytes, want 32", size(made["Plaintext"]))
	}
}
