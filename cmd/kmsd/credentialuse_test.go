package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// query makes one signed call of the query protocol through a member and returns the
// answer's status and text; 0 when the connection failed.
func (c *testCluster) query(m *member, who aws.Credentials, service, region string, params ...string) (int, string) {
	c.t.Helper()
	form := url.Values{"Version": {map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"}[service]}, "Action": {params[0]}}
	for i := 1; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+m.cfg.api[0].Addr().String()+"/", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(c.t.Context(), who, r, hex.EncodeToString(sum[:]), service, region, time.Now()); err != nil {
		c.t.Fatal(err)
	}
	r.Close = true
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, ""
	}
	return answer.StatusCode, string(text)
}

// mustQuery is query for a call that has to end with the status, again while the member
// cannot serve.
func (c *testCluster) mustQuery(m *member, status int, who aws.Credentials, service, region string, params ...string) string {
	c.t.Helper()
	var text string
	until(c.t, params[0], func() bool {
		got, answer := c.query(m, who, service, region, params...)
		text = answer
		if got != status && got != 0 && got < 500 {
			c.t.Fatalf("%s: got %d %s", params[0], got, answer)
		}
		return got == status
	})
	return text
}

// element returns the text of an answer's first element of the name, "" for none.
func element(answer, name string) string {
	_, rest, _ := strings.Cut(answer, "<"+name+">")
	text, _, closed := strings.Cut(rest, "</"+name+">")
	if !closed {
		return ""
	}
	return text
}

// signs is a user with an access key, and a role that trusts it.
func (c *testCluster) signs(root aws.Credentials) (alice aws.Credentials) {
	c.t.Helper()
	m := c.members[0]
	c.mustQuery(m, 200, root, "iam", "us-east-1", "CreateUser", "UserName", "alice")
	made := c.mustQuery(m, 200, root, "iam", "us-east-1", "CreateAccessKey", "UserName", "alice")
	c.mustQuery(m, 200, root, "iam", "us-east-1", "CreateRole", "RoleName", "App", "AssumeRolePolicyDocument",
		`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/alice"},"Action":"sts:AssumeRole"}}`)
	return aws.Credentials{AccessKeyID: element(made, "AccessKeyId"), SecretAccessKey: element(made, "SecretAccessKey")}
}

// What an access key and a role's session sign on any node is seen on that node at once
// and on all nodes after a round. What does not verify is no use.
func TestLastSignedReachesEveryNode(t *testing.T) {
	t.Parallel()
	c := startWith(t, 100*time.Millisecond)
	root := aws.Credentials{AccessKeyID: c.root.id, SecretAccessKey: c.root.secret}
	alice := c.signs(root)
	forged := alice
	forged.SecretAccessKey = strings.Repeat("x", 40)
	began := time.Now().UTC().Truncate(time.Second)

	shown := func(m *member, action string, params ...string) string {
		_, answer := c.query(m, root, "iam", "us-east-1", append([]string{action}, params...)...)
		date, err := time.Parse(time.RFC3339, element(answer, "LastUsedDate"))
		if err == nil && (date.Before(began) || date.After(time.Now())) {
			t.Errorf("%s on %v is not of this test", action, date)
		}
		return element(answer, "ServiceName") + " " + element(answer, "Region")
	}
	const unused = "N/A N/A"
	key := func(m *member) string { return shown(m, "GetAccessKeyLastUsed", "AccessKeyId", alice.AccessKeyID) }
	role := func(m *member) string { return shown(m, "GetRole", "RoleName", "App") }
	everywhere := func(of func(*member) string, want string) {
		t.Helper()
		for _, m := range c.members {
			until(t, want+" on every node", func() bool { return of(m) == want })
		}
	}

	everywhere(key, unused)
	everywhere(role, " ")
	for _, m := range c.members {
		c.mustQuery(m, 403, forged, "sts", "eu-west-1", "GetCallerIdentity")
		until(t, "still no use", func() bool { return key(m) == unused })
	}
	for i, region := range []string{"eu-west-1", "eu-west-2", "eu-west-3"} {
		m := c.members[i]
		c.mustQuery(m, 200, alice, "sts", region, "GetCallerIdentity")
		everywhere(key, "sts "+region)
		c.mustQuery(m, 403, forged, "sts", "us-west-1", "GetCallerIdentity")
		until(t, "the use that was one", func() bool { return key(m) == "sts "+region })
		c.mustQuery(m, 403, alice, "iam", "us-east-1", "GetUser", "UserName", "alice")
		everywhere(key, "iam us-east-1")
	}

	made := c.mustQuery(c.members[1], 200, alice, "sts", "eu-west-1", "AssumeRole", "RoleArn", "arn:aws:iam::123456789012:role/App", "RoleSessionName", "ci")
	session := aws.Credentials{AccessKeyID: element(made, "AccessKeyId"), SecretAccessKey: element(made, "SecretAccessKey"), SessionToken: element(made, "SessionToken")}
	everywhere(key, "sts eu-west-1")
	everywhere(role, " ")
	c.mustQuery(c.members[2], 200, session, "sts", "ap-south-1", "GetCallerIdentity")
	everywhere(role, " ap-south-1")
	c.mustQuery(c.members[0], 403, session, "iam", "us-east-1", "ListRoles")
	everywhere(role, " us-east-1")
	everywhere(key, "sts eu-west-1")
}
