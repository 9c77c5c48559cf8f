package sigv4_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
)

// counted is a secret that counts how often it is opened.
type counted struct {
	opened int
	last   []byte
}

func (c *counted) secret(modIndex uint64, secret string) sigv4.Secret {
	return sigv4.Secret{AccessKeyID: testKeyID, ModIndex: modIndex, Open: func() ([]byte, error) {
		c.opened++
		c.last = []byte(secret)
		return c.last, nil
	}}
}

func parsed(t testing.TB, r *sigv4.Request) *sigv4.Signature {
	t.Helper()
	s, err := sigv4.Parse(r, sigv4.JSON)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSigningKeysAreCached(t *testing.T) {
	t.Parallel()
	v, c := sigv4.NewVerifier(1024), &counted{}
	r := signed()
	for range 3 {
		if err := v.Verify(parsed(t, r), r, c.secret(7, testSecret), testTime); err != nil {
			t.Fatal(err)
		}
	}
	if c.opened != 1 {
		t.Errorf("the secret was opened %d times, want once", c.opened)
	}
	if !bytes.Equal(c.last, make([]byte, len(testSecret))) {
		t.Error("the opened secret was not overwritten")
	}
	for i, g := range []signer{
		{testKeyID, testSecret, "eu-west-1", "kms", testTime},
		{testKeyID, testSecret, "us-east-1", "sts", testTime},
		{testKeyID, testSecret, "us-east-1", "kms", testTime.AddDate(0, 0, 1)},
	} {
		r := g.sign(request(), botocore()...)
		if err := v.Verify(parsed(t, r), r, c.secret(7, testSecret), g.time); err != nil {
			t.Fatal(err)
		}
		if c.opened != i+2 {
			t.Errorf("%s: the secret was opened %d times, want %d", g.scope(), c.opened, i+2)
		}
	}
	if got := sigv4.CachedKeys(v); got != 4 {
		t.Errorf("%d keys are cached, want 4", got)
	}
}

func TestReplacedSecretIsNotUsed(t *testing.T) {
	t.Parallel()
	v, c := sigv4.NewVerifier(1024), &counted{}
	r := signed()
	if err := v.Verify(parsed(t, r), r, c.secret(7, testSecret), testTime); err != nil {
		t.Fatal(err)
	}
	wantMismatch(t, v.Verify(parsed(t, r), r, c.secret(8, "another"), testTime))
	g := newSigner()
	g.secret = "another"
	r = g.sign(request(), botocore()...)
	if err := v.Verify(parsed(t, r), r, c.secret(8, "another"), testTime); err != nil {
		t.Fatal(err)
	}
	if got := sigv4.CachedKeys(v); got != 1 {
		t.Errorf("%d keys are cached, want 1: the older record's is dropped", got)
	}
}

func TestForgottenSigningKeys(t *testing.T) {
	t.Parallel()
	v := sigv4.NewVerifier(1024)
	verify := func(accessKeyID string) (opened bool) {
		t.Helper()
		g := newSigner()
		g.keyID = accessKeyID
		r := g.sign(request(), botocore()...)
		secret := sigv4.Secret{AccessKeyID: accessKeyID, ModIndex: 7, Open: func() ([]byte, error) {
			opened = true
			return []byte(testSecret), nil
		}}
		if err := v.Verify(parsed(t, r), r, secret, testTime); err != nil {
			t.Fatal(err)
		}
		return opened
	}
	v.Forget("AKIANOBODY")
	v.ForgetAll()
	ids := []string{"AKIAFIRST", "AKIASECOND", "AKIATHIRD"}
	for _, id := range ids {
		verify(id)
	}
	v.Forget("AKIASECOND")
	if got := sigv4.CachedKeys(v); got != 2 {
		t.Errorf("%d keys are cached, want 2", got)
	}
	for _, id := range ids {
		if got, want := verify(id), id == "AKIASECOND"; got != want {
			t.Errorf("%s: opened %v, want %v", id, got, want)
		}
	}
	v.ForgetAll()
	if got := sigv4.CachedKeys(v); got != 0 {
		t.Errorf("%d keys are cached, want none", got)
	}
}

func TestWrongSignaturesAreNotCached(t *testing.T) {
	t.Parallel()
	v, c := sigv4.NewVerifier(1024), &counted{}
	r := signed()
	r.Body = nil
	for range 2 {
		wantMismatch(t, v.Verify(parsed(t, r), r, c.secret(7, testSecret), testTime))
	}
	if got := v.Dummy(parsed(t, r), r, testTime); got == nil {
		t.Error("Dummy accepted a request")
	}
	if got := sigv4.CachedKeys(v); got != 0 || c.opened != 2 {
		t.Errorf("%d keys are cached and the secret was opened %d times, want 0 and 2", got, c.opened)
	}
}

func TestSecretIsNotOpenedInVain(t *testing.T) {
	t.Parallel()
	v, c := sigv4.NewVerifier(1024), &counted{}
	r := signed()
	if v.Verify(parsed(t, r), r, c.secret(7, testSecret), testTime.Add(time.Hour)) == nil {
		t.Error("an expired signature was accepted")
	}
	if c.opened != 0 {
		t.Errorf("the secret was opened %d times for an expired signature", c.opened)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("sealed under an unknown term")
	secret := sigv4.Secret{AccessKeyID: testKeyID, Open: func() ([]byte, error) { return nil, broken }}
	r := signed()
	err := sigv4.NewVerifier(1).Verify(parsed(t, r), r, secret, testTime)
	var e *kms.Error
	if !errors.Is(err, broken) || errors.As(err, &e) {
		t.Errorf("got %v, want %v and no answer for the client", err, broken)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{-1, 0, 1, 100, 1000} {
		v, c := sigv4.NewVerifier(size), &counted{}
		for i := range 1500 {
			g := newSigner()
			g.keyID = fmt.Sprintf("AKIA%016d", i)
			r := g.sign(request(), botocore()...)
			secret := c.secret(7, testSecret)
			secret.AccessKeyID = g.keyID
			if err := v.Verify(parsed(t, r), r, secret, testTime); err != nil {
				t.Fatal(err)
			}
		}
		limit := max(size, 0) + sigv4.CacheShards
		if got := sigv4.CachedKeys(v); got > limit || got < min(size, 1) {
			t.Errorf("size %d: %d keys are cached, want at most %d", size, got, limit)
		}
	}
}

func TestOldDaysLeaveTheCache(t *testing.T) {
	t.Parallel()
	v, c := sigv4.NewVerifier(1<<20), &counted{}
	for day := range 10 {
		g := newSigner()
		g.time = testTime.AddDate(0, 0, day)
		r := g.sign(request(), botocore()...)
		if err := v.Verify(parsed(t, r), r, c.secret(7, testSecret), g.time); err != nil {
			t.Fatal(err)
		}
	}
	if got := sigv4.CachedKeys(v); got != 2 {
		t.Errorf("%d keys are cached, want those of today and yesterday", got)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	t.Parallel()
	v := sigv4.NewVerifier(8)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 100 {
				g := newSigner()
				g.keyID = fmt.Sprintf("AKIA%016d", (worker+i)%20)
				g.secret += g.keyID
				r := g.sign(request(), botocore()...)
				s := parsed(t, r)
				secret := secretOf(g.secret)
				secret.AccessKeyID = g.keyID
				if err := v.Verify(s, r, secret, testTime); err != nil {
					t.Error(err)
				}
				r.Body = []byte("{ }")
				if v.Verify(s, r, secret, testTime) == nil {
					t.Error("a changed body was accepted")
				}
			}
		})
	}
	wg.Wait()
}

func TestSignatureRedactsItself(t *testing.T) {
	t.Parallel()
	r := request()
	r.Header.Set("X-Amz-Security-Token", "CANARYTOKEN")
	s := parsed(t, newSigner().sign(r, append(botocore(), "x-amz-security-token")...))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", *s, "pointer", s, "inside", struct{ S *sigv4.Signature }{s})
	encoded, err := json.Marshal(map[string]any{"value": *s, "pointer": s})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(encoded), s.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, *s), fmt.Sprintf(verb, []sigv4.Signature{*s}))
	}
	for _, text := range texts {
		if strings.Contains(text, "CANARYTOKEN") || strings.Contains(text, sigv4.SignatureHex(s)) {
			t.Errorf("the token or the signature shows in %s", text)
		}
		if !strings.Contains(text, testKeyID+"/20230501/us-east-1/kms") {
			t.Errorf("the scope is not in %s", text)
		}
	}
}

// TestErrorsHoldNoSecrets plants markers in everything that must not come back
// and breaks the request in many ways.
func TestErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	base := func() *sigv4.Request {
		r := request()
		r.Header.Set("X-Amz-Security-Token", "CANARYTOKEN")
		r.Header.Set("X-Other", "CANARYHEADER")
		r.Body = []byte("CANARYBODY")
		return newSigner().sign(r, append(botocore(), "x-amz-security-token", "x-other")...)
	}
	signature := sigv4.SignatureHex(parsed(t, base()))
	auth := base().Header.Get("Authorization")
	for i := range len(auth) {
		for _, text := range []string{auth[:i], auth[:i] + auth[i+1:], auth[:i] + "," + auth[i:], auth[:i] + "%" + auth[i+1:]} {
			r := base()
			r.Header.Set("Authorization", text)
			err := check(r, sigv4.JSON)
			if err == nil {
				continue
			}
			for _, canary := range []string{"CANARY", testSecret, signature} {
				if strings.Contains(err.Error(), canary) {
					t.Fatalf("%s shows in %v", canary, err)
				}
			}
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	v := sigv4.NewVerifier(1024)
	r := signed()
	r.Body = bytes.Repeat([]byte("x"), 1024)
	r = newSigner().sign(r, botocore()...)
	secret := secretOf(testSecret)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := sigv4.Parse(r, sigv4.JSON)
			if err == nil {
				err = v.Verify(s, r, secret, testTime)
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkVerifyUncached(b *testing.B) {
	v := sigv4.NewVerifier(1024)
	r := signed()
	secret := secretOf(testSecret)
	b.ReportAllocs()
	for b.Loop() {
		secret.ModIndex++
		if err := v.Verify(parsed(b, r), r, secret, testTime); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDummy(b *testing.B) {
	v := sigv4.NewVerifier(1024)
	r := signed()
	b.ReportAllocs()
	for b.Loop() {
		_ = v.Dummy(parsed(b, r), r, testTime)
	}
}
