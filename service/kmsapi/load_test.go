package kmsapi_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// Many callers on few keys, one of which is switched on and off: every answer is
// one of the two that a serial order could give, and what was encrypted decrypts.
func TestSharedKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	steady, switched := s.NewKey(t), s.NewKey(t)
	blobs := map[string]string{steady: s.NewBlob(t, steady), switched: s.NewBlob(t, switched)}
	off := &kms.Error{Code: kms.CodeDisabled}
	busy, full := &kms.Error{Code: kms.CodeThrottling}, &kms.Error{Code: kms.CodeLimitExceeded}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 40 {
				key := []string{steady, switched}[n%2]
				body := obj{"KeyId": key, "Plaintext": b64(fmt.Appendf(nil, "%d %d", i, n))}
				sealed, refusal := s.Do(t, testkit.Root, "Encrypt", body)
				if refusal != nil {
					if key == steady || !errors.Is(refusal, off) {
						t.Errorf("Encrypt: %v", refusal)
					}
					continue
				}
				opened, refusal := s.Do(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": sealed["CiphertextBlob"]})
				if refusal == nil && opened["Plaintext"] != body["Plaintext"] || refusal != nil && (key == steady || !errors.Is(refusal, off)) {
					t.Errorf("Decrypt: %v, %v", opened, refusal)
				}
			}
		})
	}
	for i := range 4 {
		wg.Go(func() {
			for n := range 20 {
				op := []string{"DisableKey", "EnableKey"}[(n+i)%2]
				if _, refusal := s.Do(t, testkit.Root, op, obj{"KeyId": switched}); refusal != nil && !errors.Is(refusal, busy) {
					t.Errorf("%s: %v", op, refusal)
				}
				if _, refusal := s.Do(t, testkit.Root, "CreateAlias", obj{"AliasName": fmt.Sprintf("alias/%d-%d", i, n), "TargetKeyId": steady}); refusal != nil && !errors.Is(refusal, full) {
					t.Errorf("CreateAlias: %v", refusal)
				}
				s.NewKey(t)
			}
		})
	}
	wg.Wait()
	s.Must(t, "EnableKey", obj{"KeyId": switched})
	for key, blob := range blobs {
		if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})["KeyId"]; got != testkit.ARN(key) {
			t.Errorf("got the key %v", got)
		}
	}
	if got := s.Must(t, "ListAliases", obj{"KeyId": steady, "Limit": 100})["Aliases"].([]any); len(got) != 50 {
		t.Errorf("%d aliases, want all 50 that the quota allows", len(got))
	}
}

// benchmark runs one call from its session on, as httpapi does after it has
// checked the signature. body makes the request of a key and a ciphertext.
func benchmark(b *testing.B, op string, body func(key, blob string) string) {
	s := testkit.Start(b)
	key := s.NewKey(b)
	benchmarkCall(b, s, op, body(key, s.NewBlob(b, key)))
}

// benchmarkKind is benchmark with a key of a spec and a usage. Its body has what fill
// replaces: $KEY, and what newMade has made.
func benchmarkKind(b *testing.B, op, kind, body string) {
	s := testkit.Start(b)
	key := newKeyOf(b, s, kind)
	benchmarkCall(b, s, op, fill(body, append(newMade(b, s, op, key), "$KEY", key)...))
}

func benchmarkCall(b *testing.B, s *testkit.Solo, op, text string) {
	call := func() error {
		session, err := s.Service.Open(context.Background())
		if err != nil {
			return err
		}
		_, principal, _ := session.Secret(testkit.AccessKey, "")
		_, err = session.Do(context.Background(), &service.Call{
			Service: "kms", Operation: op, Body: []byte(text), Region: testkit.Region, Principal: principal, Source: testkit.Source,
			RequestID: "11111111-2222-4333-8444-555555555555",
		})
		return err
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := call(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

func BenchmarkEncrypt(b *testing.B) {
	benchmark(b, "Encrypt", func(key, _ string) string {
		return `{"KeyId":"` + key + `","Plaintext":"` + bytesOf(32) + `","EncryptionContext":{"app":"x"}}`
	})
}

func BenchmarkDecrypt(b *testing.B) {
	benchmark(b, "Decrypt", func(_, blob string) string { return `{"CiphertextBlob":"` + blob + `"}` })
}

func BenchmarkDescribeKey(b *testing.B) {
	benchmark(b, "DescribeKey", func(key, _ string) string { return `{"KeyId":"` + key + `"}` })
}

// Signing and verifying allocate what package crypto does for the algorithm, beside what
// every call does.
func BenchmarkSign(b *testing.B) {
	for _, c := range []struct{ kind, algorithm string }{
		{"ECC_NIST_P256 SIGN_VERIFY", "ECDSA_SHA_256"}, {"ECC_NIST_EDWARDS25519 SIGN_VERIFY", "ED25519_SHA_512"},
		{"RSA_2048 SIGN_VERIFY", "RSASSA_PSS_SHA_256"}, {"ML_DSA_44 SIGN_VERIFY", "ML_DSA_SHAKE_256"},
	} {
		b.Run(c.algorithm, func(b *testing.B) {
			benchmarkKind(b, "Sign", c.kind, `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"`+c.algorithm+`"}`)
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	benchmarkKind(b, "Verify", "ECC_NIST_P256 SIGN_VERIFY", `{"KeyId":"$KEY","Message":"aGVsbG8=","SigningAlgorithm":"ECDSA_SHA_256","Signature":"$SIGNATURE"}`)
}

func BenchmarkDeriveSharedSecret(b *testing.B) {
	for _, spec := range agreementSpecs {
		b.Run(spec, func(b *testing.B) {
			s := testkit.Start(b)
			own, peer := newKeyOf(b, s, spec+" KEY_AGREEMENT"), newKeyOf(b, s, spec+" KEY_AGREEMENT")
			benchmarkCall(b, s, "DeriveSharedSecret", `{"KeyId":"`+own+`","KeyAgreementAlgorithm":"ECDH","PublicKey":"`+b64(publicOf(b, s, peer))+`"}`)
		})
	}
}

func BenchmarkEncapsulate(b *testing.B) {
	for _, c := range kemCases {
		b.Run(c.spec, func(b *testing.B) {
			benchmarkKind(b, "Encapsulate", c.spec+" ENCAPSULATE_DECAPSULATE", `{"KeyId":"$KEY","EncapsulationAlgorithm":"ML_KEM"}`)
		})
	}
}

func BenchmarkDecapsulate(b *testing.B) {
	for _, c := range kemCases {
		b.Run(c.spec, func(b *testing.B) {
			benchmarkKind(b, "Decapsulate", c.spec+" ENCAPSULATE_DECAPSULATE", decapsulateID)
		})
	}
}

func BenchmarkGenerateMac(b *testing.B) {
	benchmarkKind(b, "GenerateMac", "HMAC_256 GENERATE_VERIFY_MAC", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256"}`)
}

func BenchmarkVerifyMac(b *testing.B) {
	benchmarkKind(b, "VerifyMac", "HMAC_256 GENERATE_VERIFY_MAC", `{"KeyId":"$KEY","Message":"aGVsbG8=","MacAlgorithm":"HMAC_SHA_256","Mac":"$MAC"}`)
}
