package service_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// throttledText is AWS's (AWS: "Throttling AWS KMS requests").
const throttledText = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."

// limited starts a Solo whose quotas have the rates, in thousandths of a request per
// second, which alternate with their names.
func limited(t testing.TB, pairs ...any) *testkit.Solo {
	t.Helper()
	return testkit.StartWith(t, &fsm.Config{Throttle: throttle(pairs...)})
}

func throttle(pairs ...any) *fsm.Throttle {
	var rates []fsm.Rate
	for i := 0; i < len(pairs); i += 2 {
		rates = append(rates, fsm.Rate{Quota: pairs[i].(string), Milli: uint32(pairs[i+1].(int))})
	}
	return fsm.NewThrottle(rates)
}

// passes checks that exactly n calls pass now.
func passes(t *testing.T, n int, call func() testkit.Answer) {
	t.Helper()
	for i := range n {
		if a := call(); a.Err != nil || a.Refusal != nil && a.Refusal.Code == "ThrottlingException" {
			t.Fatalf("call %d of %d: got %v, %v", i+1, n, a.Refusal, a.Err)
		}
	}
	wantAnswer(t, call(), "ThrottlingException", throttledText)
}

func list(t *testing.T, s *testkit.Solo, who testkit.Caller) func() testkit.Answer {
	return func() testkit.Answer { return s.Call(t, who, "ListKeys", `{}`) }
}

// A second's requests at once, then one after the other as time passes, and never
// more than a second's.
func TestRate(t *testing.T) {
	t.Parallel()
	s := limited(t, "ListKeys", 2000)
	call := list(t, s, testkit.Root)
	passes(t, 2, call)
	s.Advance(499 * time.Millisecond)
	passes(t, 0, call)
	s.Advance(time.Millisecond)
	passes(t, 1, call)
	s.Advance(time.Hour)
	passes(t, 2, call)
	if status := kms.Info("ThrottlingException").Status; status != 400 {
		t.Errorf("the HTTP status is %d", status)
	}
}

// A rate below one a second is an interval.
func TestInterval(t *testing.T) {
	t.Parallel()
	s := limited(t, "ListKeys", 250)
	call := list(t, s, testkit.Root)
	passes(t, 1, call)
	s.Advance(3999 * time.Millisecond)
	passes(t, 0, call)
	s.Advance(time.Millisecond)
	passes(t, 1, call)
	s.Advance(time.Hour)
	passes(t, 1, call)
}

// A rate that is no whole number lets the next whole number through at once.
func TestBrokenRate(t *testing.T) {
	t.Parallel()
	s := limited(t, "ListKeys", 2500)
	call := list(t, s, testkit.Root)
	passes(t, 3, call)
	s.Advance(400 * time.Millisecond)
	passes(t, 1, call)
	s.Advance(2 * time.Second)
	passes(t, 3, call)
}

// Accounts, Regions and quotas are counted apart, and the caller's account counts,
// whosever the key is.
func TestCountedApart(t *testing.T) {
	t.Parallel()
	s := limited(t, "DescribeKey", 1000, "ListKeys", 1000)
	theirs := testkit.OtherARN(s.NewKeyOf(t, testkit.Other))
	describe := func(who testkit.Caller) func() testkit.Answer {
		return func() testkit.Answer { return s.Call(t, who, "DescribeKey", obj{"KeyId": theirs}) }
	}
	passes(t, 1, describe(testkit.Root))
	passes(t, 1, describe(testkit.Other))
	passes(t, 1, describe(testkit.Root.In("eu-west-1")))
	passes(t, 1, list(t, s, testkit.Root))
	passes(t, 0, describe(testkit.Root))
}

// What is authenticated and well-formed counts, whatever becomes of it.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, op, body, code string
		counts               bool
	}{
		{"success", "Encrypt", `{"KeyId":"$ID","Plaintext":"AA=="}`, "", true},
		{"dry run", "Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","DryRun":true}`, "DryRunOperationException", true},
		{"not found", "Encrypt", `{"KeyId":"alias/nope","Plaintext":"AA=="}`, "NotFoundException", true},
		{"denied", "Encrypt", `{"KeyId":"$THEIRS","Plaintext":"AA=="}`, "AccessDeniedException", true},
		{"disabled", "Encrypt", `{"KeyId":"$OFF","Plaintext":"AA=="}`, "DisabledException", true},
		{"damaged", "Decrypt", `{"CiphertextBlob":"AA=="}`, "InvalidCiphertextException", true},
		{"combination", "GenerateDataKey", `{"KeyId":"$ID"}`, "ValidationException", true},
		{"syntax", "Encrypt", `{`, "SerializationException", false},
		{"constraint", "Encrypt", `{"KeyId":"$ID"}`, "ValidationException", false},
		{"a write's combination", "CreateAlias", `{"AliasName":"app","TargetKeyId":"$ID"}`, "ValidationException", true},
		{"a write's constraint", "CreateAlias", `{"AliasName":""}`, "ValidationException", false},
		{"a write that finds nothing", "DisableKey", `{"KeyId":"$NONE"}`, "NotFoundException", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			names := append(orderNames(t, s), "$NONE", "1234abcd-12ab-34cd-56ef-1234567890ab")
			s.Apply(t, fsm.SetConfig{Throttle: throttle("symmetric", 1000, "CreateAlias", 1000, "DisableKey", 1000)})
			wantCode(t, s.Call(t, testkit.Root, row.op, fill(row.body, names)), row.code)
			next := row.code
			if row.counts {
				next = "ThrottlingException"
			}
			a := s.Call(t, testkit.Root, row.op, fill(row.body, names))
			wantCode(t, a, next)
			if rec := s.Record(t, a); row.counts && (rec["errorCode"] != next || rec["errorMessage"] != throttledText) {
				t.Errorf("recorded %v", rec)
			}
		})
	}
}

// A throttled call does nothing and changes nothing.
func TestThrottledWrite(t *testing.T) {
	t.Parallel()
	s := limited(t, "CreateKey", 1000)
	s.NewKey(t)
	before := s.Machine.Digest()
	wantAnswer(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "ThrottlingException", throttledText)
	if s.Machine.Digest() != before {
		t.Error("the state changed")
	}
}

// A call counts once however often the nodes send it to each other, and however
// often the leader decides it.
func TestForwardsCountOnce(t *testing.T) {
	t.Parallel()
	s := limited(t, "CreateKey", 3000, "DisableKey", 1000)
	key := s.NewKey(t) // the first of three
	fail := func(fsm.Command) error { return kms.ErrUnavailable }
	var refused, changed *int
	s.Fault, refused = times(testkit.Forwards-1, fail)
	wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "")
	s.Lost, _ = times(1, func(fsm.Command) error { return kms.ErrOutcomeUnknown })
	wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "")
	s.Fault, s.Lost = nil, nil
	passes(t, 0, func() testkit.Answer { return s.Call(t, testkit.Root, "CreateKey", `{}`) })

	s.Fault, changed = times(5, func(fsm.Command) error {
		s.Apply(t, fsm.SetKeyDescription{Account: testkit.Account, Region: testkit.Region, KeyID: key, Description: fmt.Sprint(*changed)})
		return nil // with a conflict
	})
	wantCode(t, s.Call(t, testkit.Root, "DisableKey", obj{"KeyId": key}), "")
	s.Fault = nil
	wantCode(t, s.Call(t, testkit.Root, "DisableKey", obj{"KeyId": key}), "ThrottlingException")
	if *refused != testkit.Forwards-1 || *changed != 5 {
		t.Errorf("%d proposals failed and %d met another state", *refused, *changed)
	}
}

// An SDK's retry counts like any other call, unless it is answered as a repetition.
func TestRetriesCount(t *testing.T) {
	t.Parallel()
	s := limited(t, "CreateKey", 1000, "CreateAlias", 1000)
	for range 3 {
		wantCode(t, s.Call(t, testkit.Root.As("id"), "CreateKey", `{}`), "")
	}
	wantCode(t, s.Call(t, testkit.Root.As("other"), "CreateKey", `{}`), "ThrottlingException")
	failing := obj{"AliasName": "alias/x", "TargetKeyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}
	wantCode(t, s.Call(t, testkit.Root.As("id"), "CreateAlias", failing), "NotFoundException")
	wantCode(t, s.Call(t, testkit.Root.As("id"), "CreateAlias", failing), "ThrottlingException")
}

// A change of the settings is in force with the next call.
func TestRatesChange(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	call := list(t, s, testkit.Root)
	for range 3 {
		wantCode(t, call(), "")
	}
	s.Apply(t, fsm.SetConfig{Throttle: throttle("ListKeys", 1000)})
	passes(t, 1, call)
	quota := uint32(7)
	s.Apply(t, fsm.SetConfig{AliasesPerKey: &quota}) // another setting: what was counted stands
	passes(t, 0, call)
	s.Apply(t, fsm.SetConfig{Throttle: throttle("ListKeys", 3000)})
	passes(t, 3, call)
	s.Apply(t, fsm.SetConfig{Throttle: throttle("ListAliases", 1000)}) // what is not named is not bounded
	for range 10 {
		wantCode(t, call(), "")
	}
	s.Apply(t, fsm.SetConfig{Throttle: throttle("ListKeys", 1000)})
	passes(t, 1, call)
	s.Apply(t, fsm.SetConfig{Throttle: &fsm.Throttle{}})
	for range 10 {
		wantCode(t, call(), "")
	}
}

// A call that saw the state before a change does not bring the old rates back.
func TestRatesSeenLate(t *testing.T) {
	t.Parallel()
	s := limited(t, "ListKeys", 1000)
	early, principal := open(t, s)
	late, _ := open(t, s)
	s.Apply(t, fsm.SetConfig{Throttle: throttle("ListKeys", 2000)})
	call := list(t, s, testkit.Root)
	passes(t, 2, call)
	for range 2 {
		wantCode(t, s.In(early, principal, testkit.Root, "kms", "ListKeys", `{}`), "ThrottlingException")
		passes(t, 0, call)
	}
	s.Apply(t, fsm.SetConfig{Throttle: &fsm.Throttle{}})
	for range 3 {
		wantCode(t, call(), "")
	}
	wantCode(t, s.In(late, principal, testkit.Root, "kms", "ListKeys", `{}`), "")
}

// Keys that are not symmetric have quotas of their own, whichever way a call names
// them. A ReEncrypt between two kinds counts for both.
func TestQuotaByKey(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		op, body string
		rsa, sym bool
	}{
		{"Encrypt", `{"KeyId":"$SYM","Plaintext":"AA=="}`, false, true},
		{"Encrypt", `{"KeyId":"$RSA","Plaintext":"AA=="}`, true, false},
		{"Encrypt", `{"KeyId":"arn:aws:kms:us-east-1:111122223333:key/$RSA","Plaintext":"AA=="}`, true, false},
		{"Encrypt", `{"KeyId":"alias/rsa","Plaintext":"AA=="}`, true, false},
		{"Encrypt", `{"KeyId":"alias/nope","Plaintext":"AA=="}`, false, true},
		{"Decrypt", `{"CiphertextBlob":"$RSABLOB"}`, true, false},
		{"Decrypt", `{"CiphertextBlob":"$SYMBLOB"}`, false, true},
		{"Decrypt", `{"CiphertextBlob":"$SYMBLOB","KeyId":"$RSA"}`, true, false},
		{"Decrypt", `{"CiphertextBlob":"AA=="}`, false, true},
		{"ReEncrypt", `{"CiphertextBlob":"$SYMBLOB","DestinationKeyId":"$SYM"}`, false, true},
		{"ReEncrypt", `{"CiphertextBlob":"$RSABLOB","DestinationKeyId":"$RSA"}`, true, false},
		{"ReEncrypt", `{"CiphertextBlob":"$RSABLOB","DestinationKeyId":"$SYM"}`, true, true},
		{"ReEncrypt", `{"CiphertextBlob":"$SYMBLOB","DestinationKeyId":"$RSA"}`, true, true},
		{"GenerateDataKey", `{"KeyId":"$RSA","KeySpec":"AES_256"}`, false, true},
	} {
		t.Run(fmt.Sprint(row.op, row.body), func(t *testing.T) {
			t.Parallel()
			s := testkit.Start(t)
			sym, rsa := s.NewKey(t), s.NewKey(t)
			names := []string{"$SYMBLOB", s.NewBlob(t, sym), "$RSABLOB", s.NewBlob(t, rsa), "$SYM", sym, "$RSA", rsa}
			s.NewAlias(t, "alias/rsa", rsa)
			s.SetType(t, rsa, "RSA_2048", "ENCRYPT_DECRYPT")
			for quota, counts := range map[string]bool{"rsa": row.rsa, "symmetric": row.sym} {
				s.Apply(t, fsm.SetConfig{Throttle: throttle(quota, 1000)})
				var last testkit.Answer
				for range 2 {
					last = s.Call(t, testkit.Root, row.op, fill(row.body, names))
				}
				if throttled := last.Refusal != nil && last.Refusal.Code == "ThrottlingException"; throttled != counts {
					t.Errorf("%s: the second call is answered %v", quota, last.Refusal)
				}
			}
			// One token suffices for a call between keys of one kind.
			s.Apply(t, fsm.SetConfig{Throttle: throttle("rsa", 1000, "symmetric", 1000)})
			passes(t, 1, func() testkit.Answer { return s.Call(t, testkit.Root, row.op, fill(row.body, names)) })
		})
	}
}

// The quotas of the other kinds of keys (AWS: "Request quotas").
func TestQuotaOfKey(t *testing.T) {
	t.Parallel()
	for spec, quota := range map[string]string{
		"SYMMETRIC_DEFAULT": "symmetric", "HMAC_224": "symmetric", "HMAC_512": "symmetric", "": "symmetric",
		"RSA_2048": "rsa", "RSA_3072": "rsa", "RSA_4096": "rsa",
		"ECC_NIST_P256": "ecc", "ECC_NIST_P384": "ecc", "ECC_NIST_P521": "ecc", "ECC_SECG_P256K1": "ecc", "ECC_NIST_EDWARDS25519": "ecc", "SM2": "ecc",
		"ML_DSA_44": "ml-dsa", "ML_DSA_65": "ml-dsa", "ML_DSA_87": "ml-dsa",
	} {
		s := testkit.StartWith(t, &fsm.Config{Throttle: throttle(quota, 1000)})
		key := s.NewKey(t)
		body := obj{"KeyId": key, "Plaintext": "AA=="}
		if spec == "" {
			body["KeyId"] = "alias/nope"
		} else {
			s.SetType(t, key, spec, "ENCRYPT_DECRYPT")
		}
		passes(t, 1, func() testkit.Answer { return s.Call(t, testkit.Root, "Encrypt", body) })
	}
}

// The caller at the admin socket counts nowhere, and needs no state for it.
func TestLocalOperatorIsNotCounted(t *testing.T) {
	t.Parallel()
	s := limited(t, "symmetric", 1000)
	key := s.NewKey(t)
	for range 3 {
		a := s.In(s.Service.OpenLocal(t.Context()), kms.LocalOperator(0), testkit.Root, "kms", "Encrypt", `{"KeyId":"`+key+`","Plaintext":"AA=="}`)
		wantCode(t, a, "MissingAuthenticationTokenException")
	}
	s.Down = kms.ErrUnavailable
	a := s.In(s.Service.OpenLocal(t.Context()), kms.LocalOperator(0), testkit.Root, "kms", "Encrypt", `{"KeyId":"`+key+`","Plaintext":"AA=="}`)
	wantCode(t, a, "MissingAuthenticationTokenException")
}

// Calls at once take no token twice.
func TestRateUnderConcurrency(t *testing.T) {
	t.Parallel()
	const rate = 50
	s := limited(t, "ListKeys", rate*1000, "CreateAlias", rate*1000)
	key := s.NewKey(t)
	var reads, writes atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range rate / 4 {
				if a := s.Call(t, testkit.Root, "ListKeys", `{}`); a.Refusal == nil && a.Err == nil {
					reads.Add(1)
				}
				a := s.Call(t, testkit.Root, "CreateAlias", obj{"AliasName": fmt.Sprintf("alias/%d-%d", i, n), "TargetKeyId": key})
				if a.Refusal == nil || a.Refusal.Message != throttledText {
					writes.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if reads.Load() != rate || writes.Load() > rate {
		t.Errorf("%d reads and %d writes passed, want %d", reads.Load(), writes.Load(), rate)
	}
}
