package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

// What a full pool refuses, and what goes on beside it.
func TestPoolsStarveNobody(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	sym, rsa := s.NewKey(t), s.NewKey(t)
	names := []string{"$SYMBLOB", s.NewBlob(t, sym), "$RSABLOB", s.NewBlob(t, rsa), "$SYM", sym, "$RSA", rsa}
	s.SetType(t, rsa, "RSA_2048", "ENCRYPT_DECRYPT")
	newKey := func(spec, usage string) string {
		return keyID(s.Call(t, testkit.Root, "CreateKey", obj{"KeySpec": spec, "KeyUsage": usage}))
	}
	names = append(names, "$SIGNRSA", newKey("RSA_2048", "SIGN_VERIFY"), "$SIGNECC", newKey("ECC_NIST_P256", "SIGN_VERIFY"), "$SIGNMLDSA", newKey("ML_DSA_44", "SIGN_VERIFY"),
		"$SIGN384", newKey("ECC_NIST_P384", "SIGN_VERIFY"), "$AGREE521", newKey("ECC_NIST_P521", "KEY_AGREEMENT"), "$AGREE256", newKey("ECC_NIST_P256", "KEY_AGREEMENT"),
		"$HMAC", newKey("HMAC_256", "GENERATE_VERIFY_MAC"))
	call := func(op, body string) func() testkit.Answer {
		return func() testkit.Answer { return s.Call(t, testkit.Root, op, fill(body, names)) }
	}
	calls := []struct {
		name, pool, code string
		call             func() testkit.Answer
	}{
		{"symmetric", "read", "", call("Encrypt", `{"KeyId":"$SYM","Plaintext":"AA=="}`)},
		{"symmetric, by its ciphertext", "read", "", call("Decrypt", `{"CiphertextBlob":"$SYMBLOB"}`)},
		{"a data key", "read", "", call("GenerateDataKey", `{"KeyId":"$SYM","KeySpec":"AES_256"}`)},
		{"random bytes", "read", "", call("GenerateRandom", `{"NumberOfBytes":1}`)},
		{"random bytes for an enclave", "rsa", "ValidationException", call("GenerateRandom", `{"NumberOfBytes":1,"Recipient":{"AttestationDocument":"AA=="}}`)},
		{"a list", "read", "", call("ListKeys", `{}`)},
		{"RSA", "rsa", "InvalidKeyUsageException", call("Encrypt", `{"KeyId":"$RSA","Plaintext":"AA=="}`)},
		{"RSA, by its ciphertext", "rsa", "", call("Decrypt", `{"CiphertextBlob":"$RSABLOB"}`)},
		{"from RSA to symmetric", "rsa", "", call("ReEncrypt", `{"CiphertextBlob":"$RSABLOB","DestinationKeyId":"$SYM"}`)},
		{"an RSA signature", "rsa", "", call("Sign", `{"KeyId":"$SIGNRSA","Message":"AA==","SigningAlgorithm":"RSASSA_PSS_SHA_256"}`)},
		{"an ML-DSA signature", "rsa", "", call("Sign", `{"KeyId":"$SIGNMLDSA","Message":"AA==","SigningAlgorithm":"ML_DSA_SHAKE_256"}`)},
		{"an EC signature", "read", "", call("Sign", `{"KeyId":"$SIGNECC","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_256"}`)},
		{"an EC signature on a longer curve", "rsa", "", call("Sign", `{"KeyId":"$SIGN384","Message":"AA==","SigningAlgorithm":"ECDSA_SHA_384"}`)},
		{"a shared secret", "read", "ValidationException", call("DeriveSharedSecret", `{"KeyId":"$AGREE256","KeyAgreementAlgorithm":"ECDH","PublicKey":"AA=="}`)},
		{"a shared secret on a longer curve", "rsa", "ValidationException", call("DeriveSharedSecret", `{"KeyId":"$AGREE521","KeyAgreementAlgorithm":"ECDH","PublicKey":"AA=="}`)},
		{"a MAC", "read", "", call("GenerateMac", `{"KeyId":"$HMAC","Message":"AA==","MacAlgorithm":"HMAC_SHA_256"}`)},
		{"a public key of RSA", "read", "", call("GetPublicKey", `{"KeyId":"$SIGNRSA"}`)},
		{"a new key", "write", "", call("CreateKey", `{}`)},
		{"a setting of a key", "write", "", call("EnableKey", `{"KeyId":"$SYM"}`)},
		{"the operator's question", "operator", "", func() testkit.Answer { return s.Admin(t, testkit.Root, "GetStatus", ``) }},
		{"the local operator's", "operator", "", func() testkit.Answer { return s.Local(t, 0, "GetStatus", ``) }},
		{"the operator's change", "operator", "", func() testkit.Answer { return s.Admin(t, testkit.Root, "CreateJoinToken", ``) }},
		{"a stranger's question", "read", "AccessDeniedException", func() testkit.Answer { return s.Admin(t, testkit.Other, "GetStatus", ``) }},
		{"a stranger's change", "write", "AccessDeniedException", func() testkit.Answer { return s.Admin(t, testkit.Other, "CreateJoinToken", ``) }},
		{"anybody's question", "read", "NotFoundException", func() testkit.Answer { return s.Anybody(t, "GetAuthority", ``) }},
	}
	before := map[string]string{}
	for _, c := range calls { // what they are answered when there is room
		a := c.call()
		if a.Refusal != nil {
			before[c.name] = a.Refusal.Code
		}
	}
	s.SetType(t, rsa, "RSA_2048", "ENCRYPT_DECRYPT")
	for _, full := range []string{"read", "rsa", "write", "operator"} {
		empty := s.Service.FillPool(full)
		for _, c := range calls {
			want := before[c.name]
			if c.pool == full {
				want = "ThrottlingException"
			}
			a := c.call()
			if wantCode(t, a, want); t.Failed() {
				t.Fatalf("%s is full: %s", full, c.name)
			}
			if want == "ThrottlingException" && a.Refusal.Message != throttledText {
				t.Errorf("%s: got %q", c.name, a.Refusal.Message)
			}
		}
		empty()
	}
}

// A write keeps its place until it is acknowledged: others wait, are refused after a
// second, and nothing of a read waits with them.
func TestWritesInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		key := s.NewKey(t)
		s.Service.Limit("write", 1)
		acknowledge := make(chan bool)
		s.Fault = func(fsm.Command) error {
			select {
			case <-acknowledge:
			case <-time.After(5 * time.Second):
			}
			return nil
		}
		first, second := make(chan testkit.Answer, 1), make(chan testkit.Answer, 1)
		go func() { first <- s.Call(t, testkit.Root, "DisableKey", obj{"KeyId": key}) }()
		synctest.Wait()
		began := time.Now()
		go func() { second <- s.Call(t, testkit.Root, "CreateKey", `{}`) }()
		synctest.Wait()
		wantCode(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": key}), "")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a read waited %v", waited)
		}
		wantAnswer(t, <-second, "ThrottlingException", throttledText)
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("refused after %v", waited)
		}
		close(acknowledge)
		wantCode(t, <-first, "")
		wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "")
	})
}

// Every way out of the pipeline gives the place back.
func TestPlacesComeBack(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, pool := range []string{"read", "rsa", "heavy", "write", "operator"} {
		s.Service.Limit(pool, 1)
	}
	names := append(orderNames(t, s), "$NONE", "1234abcd-12ab-34cd-56ef-1234567890ab")
	id := fill("$ID", names)
	for range 3 {
		for _, row := range []struct{ op, body, code string }{
			{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA=="}`, ""},
			{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA==","DryRun":true}`, "DryRunOperationException"},
			{"Encrypt", `{"KeyId":"$OFF","Plaintext":"AA=="}`, "DisabledException"},
			{"CreateKey", `{}`, ""},
			{"DisableKey", `{"KeyId":"$NONE"}`, "NotFoundException"},
			{"CreateAlias", `{"AliasName":"alias/app","TargetKeyId":"$ID"}`, "AlreadyExistsException"},
		} {
			wantCode(t, s.Call(t, testkit.Root, row.op, fill(row.body, names)), row.code)
		}
		s.Fault = func(fsm.Command) error { return errBroken }
		wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "KMSInternalException")
		s.Fault = func(fsm.Command) error {
			s.Apply(t, fsm.SetKeyDescription{Account: testkit.Account, Region: testkit.Region, KeyID: id, Description: service.NewUUID()})
			return nil
		}
		wantCode(t, s.Call(t, testkit.Root, "EnableKey", obj{"KeyId": id}), "ThrottlingException")
		s.Fault = nil
		wantCode(t, s.Admin(t, testkit.Root, "LeaveCluster", `{}`), "")
		wantCode(t, s.Admin(t, testkit.Root, "RemoveMember", `{"memberId":"0b9c1f0e-3333-4a4a-8b8b-000000000003"}`), "NotFoundException")
		wantCode(t, s.Anybody(t, "GetAuthority", ``), "NotFoundException")
	}
}

// The metrics tell what waits, what runs and what was refused, by pool and quota.
func TestPoolMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := limited(t, "ListKeys", 1000, "ListAliases", 1000)
		wantCode(t, s.Call(t, testkit.Root, "ListKeys", `{}`), "")
		wantCode(t, s.Call(t, testkit.Root, "ListKeys", `{}`), "ThrottlingException")
		wantCode(t, s.Call(t, testkit.Root.In("eu-west-1"), "ListKeys", `{}`), "")
		want := map[string]float64{"kmsd_throttle_buckets": 2, "kmsd_throttled_total ListKeys": 1}
		for _, pool := range []string{"read", "rsa", "heavy", "write", "operator"} {
			want["kmsd_admission_running "+pool], want["kmsd_admission_waiting "+pool], want["kmsd_admission_refused_total "+pool] = 0, 0, 0
		}
		wantSame(t, measured(t, s.Registry), want)

		leave := s.Service.OccupyWrites()
		answered := make(chan testkit.Answer, 1)
		go func() { answered <- s.Call(t, testkit.Root, "CreateKey", `{}`) }()
		synctest.Wait()
		want["kmsd_admission_running write"], want["kmsd_admission_waiting write"] = 2048, 1
		wantSame(t, measured(t, s.Registry), want)
		wantCode(t, <-answered, "ThrottlingException")
		want["kmsd_admission_waiting write"], want["kmsd_admission_refused_total write"] = 0, 1
		wantSame(t, measured(t, s.Registry), want)
		leave()
		wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "")
		want["kmsd_admission_running write"] = 0
		wantSame(t, measured(t, s.Registry), want)
	})
}

// measured returns the values of kmsd's metrics by name and label.
func measured(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}
