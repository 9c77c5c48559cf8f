package clients_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// object is a JSON object, as decoded or as wanted. A wanted value may be a
// *check.
type object = map[string]any

// check is a wanted value that is not known in advance.
type check struct {
	name string
	ok   func(got any) bool
}

func pattern(name, expression string) *check {
	re := regexp.MustCompile("^(?:" + expression + ")$")
	return &check{name, func(got any) bool {
		text, ok := got.(string)
		return ok && re.MatchString(text)
	}}
}

var (
	uuid       = pattern("UUID version 4", `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	materialID = pattern("64 hex digits", `[0-9a-f]{64}`)
	base64Text = pattern("base64", `(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?`)
	// recent is a point in time of this run: seconds since 1970 or ISO 8601, as
	// the client shows it.
	recent = &check{"time of this run", func(got any) bool {
		var at time.Time
		switch got := got.(type) {
		case float64:
			at = time.UnixMilli(int64(got * 1000))
		case string:
			var err error
			if at, err = time.Parse(time.RFC3339Nano, got); err != nil {
				return false
			}
		}
		age := time.Since(at)
		return -time.Second < age && age < 30*time.Minute
	}}
)

// diff compares what a client showed with what is wanted: "" when it is that.
func diff(want, got any) string {
	want, got = resolve(want, got)
	return cmp.Diff(want, got)
}

// resolve replaces every check by its name, and what it holds for as well.
func resolve(want, got any) (any, any) {
	switch want := want.(type) {
	case *check:
		if want.ok(got) {
			got = want.name
		}
		return want.name, got
	case object:
		if got, ok := got.(object); ok {
			return resolveObject(want, got)
		}
	case []any:
		if got, ok := got.([]any); ok && len(got) == len(want) {
			w, g := slices.Clone(want), slices.Clone(got)
			for i := range w {
				w[i], g[i] = resolve(want[i], got[i])
			}
			return w, g
		}
	}
	return want, got
}

func resolveObject(want, got object) (any, any) {
	w, g := object{}, object{}
	for name, value := range got {
		g[name] = value
	}
	for name, value := range want {
		w[name] = value
		if of, there := got[name]; there {
			w[name], g[name] = resolve(value, of)
		} else if c, ok := value.(*check); ok {
			w[name] = c.name
		}
	}
	return w, g
}

// expect fails the test when a client showed something else than wanted.
func expect(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := diff(want, got); d != "" {
		t.Fatalf("%s: -want +got\n%s", what, d)
	}
}

func keyARN(region, id string) string { return "arn:aws:kms:" + region + ":" + account + ":key/" + id }
func aliasARN(region, name string) string {
	return "arn:aws:kms:" + region + ":" + account + ":" + name
}

// metadata is the KeyMetadata of a symmetric key that was made in this run
// (developer guide, "DescribeKey" and the KeyMetadata data type). Clients whose
// model is older than key material ids show none.
func metadata(region, id, description string, enabled, materials bool) object {
	m := object{
		"AWSAccountId": account, "KeyId": id, "Arn": keyARN(region, id), "CreationDate": recent,
		"Enabled": enabled, "KeyState": "Enabled", "Description": description, "KeyUsage": "ENCRYPT_DECRYPT",
		"Origin": "AWS_KMS", "KeyManager": "CUSTOMER", "MultiRegion": false,
		"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
		"EncryptionAlgorithms": []any{"SYMMETRIC_DEFAULT"}, "CurrentKeyMaterialId": materialID,
	}
	if !enabled {
		m["KeyState"] = "Disabled"
	}
	if !materials {
		delete(m, "CurrentKeyMaterialId")
	}
	return m
}

// withMaterials leaves the names of key materials out for clients that do not
// know them.
func withMaterials(known bool, o object) object {
	for name := range o {
		if !known && strings.HasSuffix(name, "KeyMaterialId") {
			delete(o, name)
		}
	}
	return o
}

// rootIdentity is the answer of GetCallerIdentity to the account's root user.
var rootIdentity = object{"UserId": account, "Account": account, "Arn": "arn:aws:iam::" + account + ":root"}

// defaultPolicy is the key policy of a key that was made with none (developer
// guide, "Default key policy").
const defaultPolicy = `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::` + account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`

// wrongSignature is AWS's text for a signature that does not match.
const wrongSignature = "The request signature we calculated does not match the signature you provided. " +
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// unknownCredential is AWS's text for an access key that does not exist.
const unknownCredential = "The security token included in the request is invalid."
