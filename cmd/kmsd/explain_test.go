package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/wire/admin"
)

const (
	operationsFile = "../../docs/operations.md"
	explainSection = "\n## Why a call is refused\n"
	// The example's account, key and user.
	docAccount = "123456789012"
	docKey     = "6f1d2c3b-5a49-4e87-9b0a-1c2d3e4f5a6b"
	docUser    = "AIDAQ3EXAMPLE7EXAMPLE"
	carol      = `{"Version":"2012-10-17","Statement":[{"Sid":"Orders","Effect":"Allow","Action":["kms:Decrypt","kms:DescribeKey"],"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:app":"orders"}}}]}`
)

// iam makes a call of IAM with the root credential, and returns the answer.
func (n *testNode) iam(op string, params ...string) string {
	n.t.Helper()
	form := url.Values{"Action": {op}, "Version": {"2010-05-08"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, "https://"+n.api+"/", strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	key := aws.Credentials{AccessKeyID: n.founded.AccessKeyID, SecretAccessKey: n.founded.SecretAccessKey}
	if err := v4.NewSigner().SignHTTP(n.t.Context(), key, r, hex.EncodeToString(sum[:]), "iam", "us-east-1", time.Now()); err != nil {
		n.t.Fatal(err)
	}
	res, err := n.https(n.founded.CAFile).Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		n.t.Fatalf("%s: %s %s %v", op, res.Status, text, err)
	}
	return string(text)
}

// examples are the commands of the section's blocks, each with what it prints.
func examples(t *testing.T) (all [][2]string) {
	t.Helper()
	text, err := os.ReadFile(operationsFile)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), explainSection)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```console\n\\$ kmsd (.*?)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		all = append(all, [2]string{block[1], block[2]})
	}
	return all
}

// TestExplainDocument does what docs/operations.md shows: the same commands print the
// same, but for the ids.
func TestExplainDocument(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	n.serve()
	n.asRoot()
	made, err := n.kms().CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`AIDA[A-Z2-7]{17}`).FindString(n.iam("CreateUser", "UserName", "carol"))
	n.iam("PutUserPolicy", "UserName", "carol", "PolicyName", "orders", "PolicyDocument", carol)
	ids := []string{docAccount, n.founded.Account, docKey, *made.KeyMetadata.KeyId, docUser, id, "eu-central-1", testRegion}
	actual := strings.NewReplacer(ids...)
	all := examples(t)
	for _, e := range all {
		got := n.ask(strings.Fields(actual.Replace(e[0]))...)
		if want := actual.Replace(e[1]); got.code != exitOK || got.err != "" || spaced(got.out) != spaced(want) {
			t.Errorf("%s: got %+v\n%s\nwant\n%s", e[0], got, got.out, want)
		}
	}
	if len(all) != 2 {
		t.Errorf("the section has %d examples", len(all))
	}
	n.explains(*made.KeyMetadata.Arn)
}

// spaced leaves one of the spaces that stand together: columns are as wide as ids.
func spaced(text string) string { return regexp.MustCompile(` +`).ReplaceAllString(text, " ") }

// explains holds what else the command does: JSON, several values, and its exit codes.
func (n *testNode) explains(key string) {
	n.t.Helper()
	user := "arn:aws:iam::" + n.founded.Account + ":user/carol"
	got := n.ask("explain", user, "kms:Decrypt", key, "--context", "kms:EncryptionContext:app=a", "--context", "KMS:encryptioncontext:APP=orders", "--json")
	var out admin.ExplainResponse
	dec := json.NewDecoder(bytes.NewReader([]byte(got.out)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil || got.code != exitOK || !out.Allowed || out.Statement == nil || out.Statement.Sid != "Orders" || len(out.Policies) != 2 {
		n.t.Errorf("--json: got %+v, %v", got, err)
	}
	n.want(exitOK, `(?s)Decision +allowed, implicitly, as an account's root user\n.*Resource +\*\n`, "", "explain", n.founded.Account, "kms:ListKeys")
	n.want(exitOK, `(?s)Decision +allowed, without any permission\n.*`, "", "explain", user, "sts:GetCallerIdentity")
	n.want(exitRefused, "", "kmsd: NotFoundException: The principal "+user+"2 does not exist\\.\n", "explain", user+"2", "kms:Decrypt", key)
	n.want(exitRefused, "", "kmsd: ValidationException: .*\n", "explain", user, "Decrypt", key)
	n.want(exitUsage, "", "kmsd: --context must look like aws:SourceIp=10\\.0\\.0\\.1\n", "explain", user, "kms:Decrypt", key, "--context", "aws:SourceIp")
	n.want(exitUsage, "", `kmsd: expected "<action>"\n`, "explain", user)
	n.t.Setenv("AWS_ACCESS_KEY_ID", "")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "explain", user, "kms:Decrypt", key)
}

func TestParseContext(t *testing.T) {
	t.Parallel()
	got, err := parseContext([]string{"aws:TagKeys=a", "aws:tagkeys=b,c", "kms:EncryptionContext:k=x=y", "kms:ViaService="})
	if err != nil || len(got) != 3 || strings.Join(got["aws:TagKeys"], "|") != "a|b,c" || got["kms:EncryptionContext:k"][0] != "x=y" || got["kms:ViaService"][0] != "" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := parseContext(nil); got != nil || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"aws:SourceIp", "=x", ""} {
		if _, err := parseContext([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
