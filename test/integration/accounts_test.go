package integration_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kmsd/kmsd/internal/canary"
)

// A credential is an access key as commands print it and as IAM answers it.
type credential struct {
	AccessKeyID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
	SecretAccessKey string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
}

// as makes a client sign with a credential.
func as(c credential) func(*kms.Options) {
	return func(o *kms.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")
	}
}

// makeAccount makes an account through a member and returns its root user's credential.
func (m *member) makeAccount(id string) (root credential) {
	m.f.t.Helper()
	m.f.json(m.admin("account", "create", "--account-id", id, "--json"), &root)
	return root
}

// iam runs an operation of IAM on a member, again while the machine is so busy that the
// node cannot serve, and returns the answer.
func (m *member) iam(who credential, operation string, params ...string) (answer []byte) {
	t := m.f.t
	t.Helper()
	form := url.Values{"Action": {operation}, "Version": {"2010-05-08"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: m.f.tls()}}
	defer client.CloseIdleConnections()
	poll(t, unhurried, operation, func() bool {
		body := form.Encode()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+m.api+"/", strings.NewReader(body))
		must(t, operation, req, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		req.Header.Set("Amz-Sdk-Invocation-Id", m.name) // with the body: once for each call of a test
		must(t, "signing", 0, sign(t.Context(), req, body, who, "iam", "us-east-1"))
		resp, err := client.Do(req)
		must(t, operation, resp, err)
		defer resp.Body.Close()
		answer, err = io.ReadAll(resp.Body)
		must(t, operation, answer, err)
		if resp.StatusCode != http.StatusOK && resp.StatusCode < http.StatusInternalServerError {
			t.Fatalf("%s: %s: %s", operation, resp.Status, answer)
		}
		return resp.StatusCode == http.StatusOK
	})
	return answer
}

// user makes a user with a policy through a member and returns its access key.
func (m *member) user(root credential, name, policy string) (made credential) {
	m.f.t.Helper()
	m.iam(root, "CreateUser", "UserName", name)
	m.iam(root, "PutUserPolicy", "UserName", name, "PolicyName", "uses", "PolicyDocument", policy)
	if err := xml.Unmarshal(m.iam(root, "CreateAccessKey", "UserName", name), &made); err != nil || made.SecretAccessKey == "" {
		m.f.t.Fatalf("CreateAccessKey: %v", err)
	}
	return made
}

// recipients returns the accounts in whose trails a member has recorded an operation.
func (m *member) recipients(operation string) (accounts []string) {
	t := m.f.t
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.data, "audit", "*.jsonl"))
	must(t, "listing the log", files, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, "reading the log", text, err)
		for line := range bytes.Lines(text) {
			var r struct{ EventName, RecipientAccountID string }
			must(t, "reading a record", 0, json.Unmarshal(line, &r))
			if r.EventName == operation && !slices.Contains(accounts, r.RecipientAccountID) {
				accounts = append(accounts, r.RecipientAccountID)
			}
		}
	}
	slices.Sort(accounts)
	return accounts
}

// sharing is a key of one account and a user of another who may decrypt with it.
type sharing struct {
	f                     *fleet
	ownerRoot, tenantRoot credential
	user                  credential
	blob                  []byte
}

const (
	owner  = "444455556666"
	tenant = "777788889999"
)

// share makes two accounts through one member, and through another one the key and the
// user.
func (f *fleet) share(accounts, things *member) *sharing {
	t := f.t
	t.Helper()
	s := &sharing{f: f, ownerRoot: accounts.makeAccount(owner), tenantRoot: accounts.makeAccount(tenant)}
	f.settle()
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:Decrypt","Resource":"*"}]}`, owner, tenant)
	key, err := f.kms(things, as(s.ownerRoot)).CreateKey(t.Context(), &kms.CreateKeyInput{Policy: &policy})
	must(t, "CreateKey", key, err)
	arn := key.KeyMetadata.Arn
	sealed, err := f.kms(things, as(s.ownerRoot)).Encrypt(t.Context(), &kms.EncryptInput{KeyId: arn, Plaintext: []byte("across accounts")})
	must(t, "Encrypt", sealed, err)
	s.blob = sealed.CiphertextBlob
	s.user = things.user(s.tenantRoot, "reader", fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:Decrypt","Resource":%q}}`, *arn))
	f.settle()
	return s
}

// decrypt is the user's call on a member.
func (s *sharing) decrypt(m *member) error {
	s.f.t.Helper()
	out, err := s.f.kms(m, as(s.user)).Decrypt(s.f.t.Context(), &kms.DecryptInput{CiphertextBlob: s.blob})
	if err == nil && string(out.Plaintext) != "across accounts" {
		s.f.t.Errorf("%s decrypts %q", m.name, out.Plaintext)
	}
	return err
}

// wantAnswers checks what every member answers to both root users and to the user: codes
// of errors, empty for success.
func (s *sharing) wantAnswers(when, ownerRoot, tenantRoot, user string) {
	s.f.t.Helper()
	list := func(m *member, who credential) string {
		_, err := s.f.kms(m, as(who)).ListKeys(s.f.t.Context(), &kms.ListKeysInput{})
		return answered(err)
	}
	for _, m := range s.f.members {
		got := []string{list(m, s.ownerRoot), list(m, s.tenantRoot), answered(s.decrypt(m))}
		if want := []string{ownerRoot, tenantRoot, user}; !slices.Equal(got, want) {
			s.f.t.Errorf("%s: %s answers %q, want %q", when, m.name, got, want)
		}
	}
}

// answered is the code of an error, or the whole one that has none.
func answered(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(code(err), err.Error())
}

// TestAccounts makes two accounts through one node, a key of the one and a user of the
// other through the second, and lets the user use the key on the third. What closing an
// account ends, ends on all of them at once.
func TestAccounts(t *testing.T) {
	t.Parallel()
	f := foundThree(t, false)
	one, two, three := f.members[0], f.members[1], f.members[2]
	s := f.share(one, two)
	must(t, "Decrypt by the other account's user", 0, s.decrypt(three))
	if got := three.recipients("Decrypt"); !slices.Equal(got, []string{owner, tenant}) {
		t.Errorf("Decrypt is recorded for %v", got)
	}
	s.wantAnswers("before", "", "", "")
	refused := runCommand(t, []string{
		"KMSD_CONFIG=" + two.config, "AWS_ACCESS_KEY_ID=" + s.ownerRoot.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.ownerRoot.SecretAccessKey,
	}, "account", "list")
	if refused.code != 3 || !strings.HasPrefix(refused.stderr, "kmsd: AccessDeniedException: ") {
		t.Errorf("another account's root user lists the accounts: %+v", refused)
	}

	f.ok(one.admin("account", "close", owner, "--yes"))
	f.settle()
	s.wantAnswers("with the owner closed", "UnrecognizedClientException", "", "AccessDeniedException")
	f.ok(three.admin("account", "close", tenant, "--yes"))
	f.settle()
	s.wantAnswers("with both closed", "UnrecognizedClientException", "UnrecognizedClientException", "UnrecognizedClientException")
	f.checkDigests()
	f.end()
	f.checkFiles([]canary.Canary{
		{Name: "a root user's secret key", Secret: []byte(s.ownerRoot.SecretAccessKey)}, {Name: "a user's secret key", Secret: []byte(s.user.SecretAccessKey)},
	})
}
