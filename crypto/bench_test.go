package crypto_test

import (
	"io"
	"testing"

	"github.com/kmsd/kmsd/crypto"
)

// Encrypt and Decrypt allocate 24 times: 20 in crypto/hkdf, 2 for AES-GCM's key
// schedule, and once each for the associated data and the result. HKDF also takes
// two thirds of the time.
func BenchmarkEncrypt32(b *testing.B) {
	m := openMaterial(b, uuidKey, planted)
	context := canonical(b, map[string]string{"tenant": "1", "purpose": "benchmark"})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Encrypt(nil, context, planted); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecrypt32(b *testing.B) {
	m := openMaterial(b, uuidKey, planted)
	context := canonical(b, map[string]string{"tenant": "1", "purpose": "benchmark"})
	blob, err := crypto.ParseBlob(encrypt(b, m, context, planted))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Decrypt(nil, context, blob); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParseBlob(b *testing.B) {
	raw := encrypt(b, openMaterial(b, uuidKey, planted), nil, planted)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := crypto.ParseBlob(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicalContext(b *testing.B) {
	context := map[string]string{"tenant": "1", "purpose": "benchmark"}
	b.ReportAllocs()
	for b.Loop() {
		canonical(b, context)
	}
}

// BenchmarkCacheHit is the hit of one hot key on all cores, the worst case for the
// shard's lock.
func BenchmarkCacheHit(b *testing.B) {
	c, o := crypto.NewMaterialCache(10_000), &opener{t: b}
	key := crypto.MaterialKey{KeyID: uuidKey, MaterialID: "m", ModIndex: 7}
	open := o.open(uuidKey)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h, err := crypto.Cached(c, key, open)
			if err != nil {
				b.Fatal(err)
			}
			h.Release()
		}
	})
}

func BenchmarkSealEntry1K(b *testing.B) {
	k, body := newKeyring(b, cluster, 1), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		sealEntry(b, k, header, body)
	}
}

func BenchmarkSealStream(b *testing.B) {
	k, chunk := newKeyring(b, cluster, 1), make([]byte, 1<<20)
	w, err := k.SealStream(io.Discard, 1)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}
