package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// JSON is a decoded object.
type JSON = map[string]any

// Caller signs calls: a root user in a Region. Invocation is the SDK's name for a
// call and its retries.
type Caller struct {
	AccessKey, Region, Invocation string
	// Token is that of temporary credentials.
	Token kms.SessionToken
	// Source is where the calls come from: the variable Source if it is the zero value.
	Source kms.Source
}

// Root is the root user of Account, Other that of OtherAccount.
var (
	Root  = Caller{AccessKey: AccessKey, Region: Region}
	Other = Caller{AccessKey: OtherKey, Region: Region}
)

// As returns the caller with the name of an SDK's call.
func (c Caller) As(invocation string) Caller {
	c.Invocation = invocation
	return c
}

// In returns the caller in another Region.
func (c Caller) In(region string) Caller {
	c.Region = region
	return c
}

// Answer is what a call was answered.
type Answer struct {
	RequestID string
	Raw       []byte // the body of a success, as it came
	Body      JSON   // nil for an empty body
	Refusal   *kms.Error
	// Err is an error that is no answer: one of package kms's conditions.
	Err error
}

// Source is where the calls of a Solo come from.
var Source = kms.Source{
	IP: "192.0.2.7", UserAgent: "test/1", Host: "kms.us-east-1.amazonaws.com",
	TLSVersion: "TLSv1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
}

// Call runs one KMS call. The body is text, or a value whose JSON is the body.
func (s *Solo) Call(t testing.TB, who Caller, op string, body any) Answer {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		b, err := json.Marshal(body)
		check(t, err)
		text = string(b)
	}
	a := s.Raw(t, who, "kms", op, text)
	if a.Err == nil && a.Refusal == nil && len(a.Raw) > 0 {
		if err := json.Unmarshal(a.Raw, &a.Body); err != nil {
			t.Fatalf("%s answered %q: %v", op, a.Raw, err)
		}
	}
	return a
}

// Admin runs one call of the admin API.
func (s *Solo) Admin(t testing.TB, who Caller, op, body string) Answer {
	t.Helper()
	a := s.Raw(t, who, "kmsd", op, body)
	a.decode(t)
	return a
}

// Local runs one call of the admin API as the admin socket's caller does.
func (s *Solo) Local(t testing.TB, uid uint32, op, body string) Answer {
	t.Helper()
	return s.LocalIn(context.Background(), t, uid, op, body)
}

// LocalIn is Local with a context.
func (s *Solo) LocalIn(ctx context.Context, t testing.TB, uid uint32, op, body string) Answer {
	t.Helper()
	a := s.with(ctx, s.Service.OpenLocal(ctx), kms.LocalOperator(uid), Root, "kmsd", op, body)
	a.decode(t)
	return a
}

// Anybody runs one call of the admin API without a caller.
func (s *Solo) Anybody(t testing.TB, op, body string) Answer {
	t.Helper()
	a := s.In(s.Service.OpenLocal(context.Background()), kms.Principal{}, Root, "kmsd", op, body)
	a.decode(t)
	return a
}

func (a *Answer) decode(t testing.TB) {
	t.Helper()
	if a.Err == nil && a.Refusal == nil {
		check(t, json.Unmarshal(a.Raw, &a.Body))
	}
}

// Raw runs one call of any service with any body.
func (s *Solo) Raw(t testing.TB, who Caller, serviceName, op, body string) Answer {
	t.Helper()
	session, err := s.Service.Open(context.Background())
	if err != nil {
		return Answer{Err: err}
	}
	_, principal, ok := session.Secret(who.AccessKey, who.Token)
	if !ok {
		t.Fatalf("access key %s is not active", who.AccessKey)
	}
	return s.In(session, principal, who, serviceName, op, body)
}

// In runs one call in a session that was opened before.
func (s *Solo) In(session *service.Session, principal kms.Principal, who Caller, serviceName, op, body string) Answer {
	return s.with(context.Background(), session, principal, who, serviceName, op, body)
}

func (s *Solo) with(ctx context.Context, session *service.Session, principal kms.Principal, who Caller, serviceName, op, body string) Answer {
	a, source := Answer{RequestID: service.NewUUID()}, who.Source
	if source == (kms.Source{}) {
		source = Source
	}
	raw, err := session.Do(ctx, &service.Call{
		Service: serviceName, Operation: op, Body: []byte(body), Region: who.Region, Principal: principal, SessionToken: who.Token,
		Source: source, RequestID: a.RequestID, InvocationID: who.Invocation,
	})
	if err == nil {
		a.Raw = raw
		return a
	}
	if refusal, ok := kms.AsError(err); ok {
		a.Refusal = refusal
	} else {
		a.Err = err
	}
	note(op, &a)
	return a
}

// Do runs one KMS call and returns the answer's object, nil for an empty body, or
// the refusal. An error that is no answer fails the test.
func (s *Solo) Do(t testing.TB, who Caller, op string, body any) (JSON, *kms.Error) {
	t.Helper()
	a := s.Call(t, who, op, body)
	if a.Err != nil {
		t.Fatalf("%s: %v", op, a.Err)
	}
	return a.Body, a.Refusal
}

// Must is Do by Account's root user for a call that has to succeed.
func (s *Solo) Must(t testing.TB, op string, body any) JSON {
	t.Helper()
	return s.MustAs(t, Root, op, body)
}

// MustAs is Do for a call that has to succeed.
func (s *Solo) MustAs(t testing.TB, who Caller, op string, body any) JSON {
	t.Helper()
	out, refusal := s.Do(t, who, op, body)
	if refusal != nil {
		t.Fatalf("%s %v: %v", op, body, refusal)
	}
	return out
}

// NewKey creates a key of Account and returns its id.
func (s *Solo) NewKey(t testing.TB) string {
	t.Helper()
	return s.NewKeyOf(t, Root)
}

// NewKeyOf creates a key of the caller's and returns its id.
func (s *Solo) NewKeyOf(t testing.TB, who Caller) string {
	t.Helper()
	return s.MustAs(t, who, "CreateKey", JSON{})["KeyMetadata"].(JSON)["KeyId"].(string)
}

// NewAlias gives a key of Account a name and returns it.
func (s *Solo) NewAlias(t testing.TB, name, keyID string) string {
	t.Helper()
	s.Must(t, "CreateAlias", JSON{"AliasName": name, "TargetKeyId": keyID})
	return name
}

// NewBlob encrypts a short text and returns the ciphertext in base64.
func (s *Solo) NewBlob(t testing.TB, keyID string) string {
	t.Helper()
	return s.Must(t, "Encrypt", JSON{"KeyId": keyID, "Plaintext": "aGVsbG8="})["CiphertextBlob"].(string)
}

// ARN is the ARN of a key of Account in Region.
func ARN(keyID string) string { return "arn:aws:kms:" + Region + ":" + Account + ":key/" + keyID }

// OtherARN is the ARN of a key of OtherAccount in Region.
func OtherARN(keyID string) string {
	return "arn:aws:kms:" + Region + ":" + OtherAccount + ":key/" + keyID
}

// AliasARN is the ARN of an alias of Account in Region.
func AliasARN(name string) string { return "arn:aws:kms:" + Region + ":" + Account + ":" + name }

// trailIn returns the text of the audit log in a directory, as far as its lines are
// whole: it may be being written.
func trailIn(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	check(t, err)
	var out strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		out.Write(b[:bytes.LastIndexByte(b, '\n')+1])
	}
	return out.String()
}

// CountInTrail counts how often the audit log holds a text.
func (s *Solo) CountInTrail(t testing.TB, text string) int {
	t.Helper()
	return strings.Count(trailIn(t, s.AuditDir), text)
}

// Records returns the audit records written so far.
func (s *Solo) Records(t testing.TB) []JSON {
	t.Helper()
	return recordsIn(t, s.AuditDir)
}

func recordsIn(t testing.TB, dir string) (out []JSON) {
	t.Helper()
	for line := range strings.Lines(trailIn(t, dir)) {
		var rec JSON
		check(t, json.Unmarshal([]byte(line), &rec))
		out = append(out, rec)
	}
	return out
}

// Events returns the records of a kind of event without a request.
func (s *Solo) Events(t testing.TB, name string) []JSON {
	t.Helper()
	return eventsIn(t, s.AuditDir, name)
}

func eventsIn(t testing.TB, dir, name string) (out []JSON) {
	t.Helper()
	for _, rec := range recordsIn(t, dir) {
		if rec["eventName"] == name && rec["eventType"] == "AwsServiceEvent" {
			out = append(out, rec)
		}
	}
	return out
}

// RecordsOf returns the records of one request.
func (s *Solo) RecordsOf(t testing.TB, requestID string) []JSON {
	t.Helper()
	var out []JSON
	for _, rec := range s.Records(t) {
		if rec["requestID"] == requestID {
			out = append(out, rec)
		}
	}
	return out
}

// Record returns the one record of a call.
func (s *Solo) Record(t testing.TB, a Answer) JSON {
	t.Helper()
	recs := s.RecordsOf(t, a.RequestID)
	if len(recs) != 1 {
		t.Fatalf("request %s has %d records", a.RequestID, len(recs))
	}
	return recs[0]
}

// Prune drops every pending audit record from the state and returns the state's
// digest: what a call has changed apart from its audit.
func (s *Solo) Prune(t testing.TB) [32]byte {
	t.Helper()
	var indexes []uint64
	for _, p := range s.Machine.View().PendingAudit(0, 1_000_000) {
		indexes = append(indexes, p.Index)
	}
	s.ApplyMeta(t, fsm.Meta{Time: s.now.Load(), Recorded: indexes}, fsm.PruneAudit{})
	return s.Machine.Digest()
}

// Rotate gives a key new material, as the leader's due work does, and returns the
// material's id.
func Rotate(t testing.TB, s *Solo, k *fsm.Key, due int64, kind kms.RotationType) string {
	t.Helper()
	secret := crypto.NewMaterial()
	id := crypto.MaterialID(k.ID, secret)
	sealed, err := s.Keyring.Seal(kmsapi.MaterialPurpose, k.ID+"/"+id, secret)
	check(t, err)
	s.Apply(t, fsm.RotateKey{Account: k.Account, Region: k.Region, KeyID: k.ID, Type: kind, Due: due,
		Material: fsm.Material{KeyID: k.ID, ID: id, Created: s.Now().UnixMilli(), Sealed: sealed}})
	return id
}
