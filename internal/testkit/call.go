package testkit

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// JSON is a decoded object.
type JSON = map[string]any

// Caller signs calls: a root user in a Region.
type Caller struct {
	AccessKey, Region, Invocation string
}

// Root is the root user of Account.
var Root = Caller{AccessKey: AccessKey, Region: Region}

// Do runs one KMS call with the body and returns the answer's object, nil for an
// empty body, or the refusal. An error that is no answer fails the test.
func (s *Solo) Do(t testing.TB, who Caller, op string, body JSON) (JSON, *kms.Error) {
	t.Helper()
	text, err := json.Marshal(body)
	check(t, err)
	reply, err := s.Raw(t, who, "kms", op, string(text))
	if err != nil {
		e, ok := kms.AsError(err)
		if !ok {
			t.Fatalf("%s: %v", op, err)
		}
		return nil, e
	}
	if len(reply) == 0 {
		return nil, nil
	}
	var out JSON
	if err := json.Unmarshal(reply, &out); err != nil {
		t.Fatalf("%s answered %q: %v", op, reply, err)
	}
	return out, nil
}

// Must is Do for a call that has to succeed.
func (s *Solo) Must(t testing.TB, op string, body JSON) JSON {
	t.Helper()
	out, refusal := s.Do(t, Root, op, body)
	if refusal != nil {
		t.Fatalf("%s %v: %v", op, body, refusal)
	}
	return out
}

// Raw runs one call of any service with any body.
func (s *Solo) Raw(t testing.TB, who Caller, serviceName, op, body string) ([]byte, error) {
	t.Helper()
	session, err := s.Service.Open(context.Background())
	if err != nil {
		return nil, err
	}
	_, principal, ok := session.Secret(who.AccessKey)
	if !ok {
		t.Fatalf("access key %s is not active", who.AccessKey)
	}
	return session.Do(context.Background(), &service.Call{
		Service: serviceName, Operation: op, Body: []byte(body), Region: who.Region, Principal: principal,
		Source:    kms.Source{IP: "192.0.2.7", UserAgent: "test/1", Host: "kms.us-east-1.amazonaws.com"},
		RequestID: service.NewUUID(), InvocationID: who.Invocation,
	})
}

// NewKey creates a key and returns its id.
func (s *Solo) NewKey(t testing.TB) string {
	t.Helper()
	return s.Must(t, "CreateKey", JSON{})["KeyMetadata"].(JSON)["KeyId"].(string)
}

// ARN is the ARN of a key of Account in Region.
func ARN(keyID string) string { return "arn:aws:kms:" + Region + ":" + Account + ":key/" + keyID }

// Records returns the audit records written so far.
func (s *Solo) Records(t testing.TB) []JSON {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.AuditDir, "*.jsonl"))
	check(t, err)
	var out []JSON
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		for line := range strings.Lines(string(b)) {
			var rec JSON
			check(t, json.Unmarshal([]byte(line), &rec))
			out = append(out, rec)
		}
	}
	if len(out) == 0 {
		check(t, errors.New("no audit records in "+s.AuditDir))
	}
	return out
}
