package crypto_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// keyNumber is a valid key id.
func keyNumber(n int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012x", n) }

// opener counts how often each material is opened and remembers what it gave.
type opener struct {
	t      testing.TB
	opened atomic.Int64
	mu     sync.Mutex
	all    []*crypto.Material // guarded by mu
}

func (o *opener) open(keyID string) func() (*crypto.Material, error) {
	return func() (*crypto.Material, error) {
		o.opened.Add(1)
		m := openMaterial(o.t, keyID, planted)
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all = append(o.all, m)
		return m, nil
	}
}

func (o *opener) unwiped() (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.all {
		if !m.Wiped() {
			n++
		}
	}
	return n
}

func get(t testing.TB, c *crypto.MaterialCache, o *opener, key crypto.MaterialKey) *crypto.Handle[*crypto.Material] {
	t.Helper()
	h, err := crypto.Cached(c, key, o.open(key.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCacheOpensOnce(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(10), &opener{t: t}
	key := crypto.MaterialKey{KeyID: uuidKey, MaterialID: "m", ModIndex: 1}
	first := get(t, c, o, key)
	second := get(t, c, o, key)
	if first.Opened() != second.Opened() || o.opened.Load() != 1 {
		t.Errorf("opened %d times", o.opened.Load())
	}
	for _, other := range []crypto.MaterialKey{
		{KeyID: mrkKey, MaterialID: "m", ModIndex: 1}, {KeyID: uuidKey, MaterialID: "n", ModIndex: 1}, {KeyID: uuidKey, MaterialID: "m", ModIndex: 2},
	} {
		if h := get(t, c, o, other); h.Opened() == first.Opened() {
			t.Errorf("%+v gave the material of %+v", other, key)
		}
	}
}

func TestCacheWipesOnlyWhatNobodyHolds(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(1), &opener{t: t}
	a := get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(1)})
	again := get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(1)})
	material := a.Opened()
	b := get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(2)}) // evicts 1
	if c.Len() != 1 || material.Wiped() {
		t.Fatalf("length %d, wiped %v while two handles are out", c.Len(), material.Wiped())
	}
	a.Release()
	a.Release() // must not stand for the other handle
	if material.Wiped() {
		t.Fatal("wiped while a handle is out")
	}
	if _, err := again.Opened().Encrypt(nil, nil, planted); err != nil {
		t.Error(err)
	}
	again.Release()
	if !material.Wiped() {
		t.Error("not wiped after the last release")
	}
	other := b.Opened()
	b.Release()
	if other.Wiped() {
		t.Error("wiped while it is in the cache")
	}
	if !panics(func() { b.Opened() }) {
		t.Error("a released handle gives material")
	}
}

func TestCachePurge(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(100), &opener{t: t}
	var held *crypto.Handle[*crypto.Material]
	for i := range 3 {
		held = get(t, c, o, crypto.MaterialKey{KeyID: uuidKey, ModIndex: uint64(i)})
		if i < 2 {
			held.Release()
		}
	}
	get(t, c, o, crypto.MaterialKey{KeyID: mrkKey}).Release()
	c.Purge(uuidKey)
	if c.Len() != 1 || o.unwiped() != 2 {
		t.Errorf("length %d, %d not wiped; want the other key's, and the one that is held", c.Len(), o.unwiped())
	}
	held.Release()
	if o.unwiped() != 1 {
		t.Error("not wiped after the release")
	}
}

func TestCachePurgeAll(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(1000), &opener{t: t}
	held := get(t, c, o, crypto.MaterialKey{KeyID: uuidKey})
	for i := range 200 {
		get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(i)}).Release()
	}
	c.PurgeAll()
	if c.Len() != 0 || o.unwiped() != 1 {
		t.Errorf("length %d, %d not wiped; want only the one that is held", c.Len(), o.unwiped())
	}
	held.Release()
	if o.unwiped() != 0 {
		t.Error("not wiped after the release")
	}
}

// A purge while the material is being opened must not leave it in the cache.
func TestCachePurgeDuringOpen(t *testing.T) {
	t.Parallel()
	c := crypto.NewMaterialCache(10)
	h, err := crypto.Cached(c, crypto.MaterialKey{KeyID: uuidKey}, func() (*crypto.Material, error) {
		c.Purge(uuidKey)
		return openMaterial(t, uuidKey, planted), nil
	})
	if err != nil || c.Len() != 0 {
		t.Fatalf("length %d, %v", c.Len(), err)
	}
	m := h.Opened()
	if m.Wiped() {
		t.Error("wiped while it is held")
	}
	h.Release()
	if !m.Wiped() {
		t.Error("not wiped")
	}
}

func TestCacheKeepsNoErrors(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(10), &opener{t: t}
	key := crypto.MaterialKey{KeyID: uuidKey}
	want := errors.New("unwrapping failed")
	if _, err := crypto.Cached(c, key, func() (*crypto.Material, error) { return nil, want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if _, err := crypto.Cached(c, key, func() (*crypto.Material, error) { return nil, nil }); err == nil {
		t.Error("no material and no error was taken")
	}
	if !panics(func() { _, _ = crypto.Cached(c, key, func() (*crypto.Material, error) { panic("open") }) }) {
		t.Error("the panic was swallowed")
	}
	if c.Len() != 0 {
		t.Errorf("length %d", c.Len())
	}
	get(t, c, o, key).Release()
}

func TestCacheConcurrentGetsShareOneOpen(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(1000), &opener{t: t}
	started, finish := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		h, err := crypto.Cached(c, crypto.MaterialKey{KeyID: uuidKey}, func() (*crypto.Material, error) {
			close(started)
			<-finish
			return o.open(uuidKey)()
		})
		if err != nil {
			t.Error(err)
			return
		}
		h.Release()
	})
	<-started
	for range 8 {
		wg.Go(func() { get(t, c, o, crypto.MaterialKey{KeyID: uuidKey}).Release() })
	}
	// Another key of any shard must not wait for that open.
	for i := range 9 {
		get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(i)}).Release()
	}
	close(finish)
	wg.Wait()
	if got := o.opened.Load(); got != 10 {
		t.Errorf("opened %d times, want 10", got)
	}
}

func TestCacheBound(t *testing.T) {
	t.Parallel()
	for _, capacity := range []int{1, 2, 63, 64, 65, 200} {
		c, o := crypto.NewMaterialCache(capacity), &opener{t: t}
		for i := range 2000 {
			get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(i)}).Release()
			if i%100 == 99 && c.Len() > capacity {
				t.Fatalf("length %d, capacity %d", c.Len(), capacity)
			}
		}
		if got := o.unwiped(); got != c.Len() {
			t.Errorf("capacity %d: %d are not wiped, but %d are in the cache", capacity, got, c.Len())
		}
	}
	if !panics(func() { crypto.NewMaterialCache(0) }) {
		t.Error("a cache of capacity 0 was made")
	}
}

func TestCacheEvictsTheLeastRecent(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(64*2), &opener{t: t} // two per shard, and one key id is one shard
	key := func(n uint64) crypto.MaterialKey { return crypto.MaterialKey{KeyID: uuidKey, ModIndex: n} }
	for _, n := range []uint64{1, 2, 1, 3} {
		get(t, c, o, key(n)).Release()
	}
	before := o.opened.Load()
	get(t, c, o, key(1)).Release()
	if o.opened.Load() != before {
		t.Error("the most recent was evicted")
	}
	get(t, c, o, key(2)).Release()
	if o.opened.Load() != before+1 {
		t.Error("the least recent was kept")
	}
}

// The material under a handle is never wiped, whatever happens around it: each
// blob made must open with the true material.
func TestCacheUnderContention(t *testing.T) {
	t.Parallel()
	c, o := crypto.NewMaterialCache(4), &opener{t: t}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 300 {
				keyID := keyNumber(rng.IntN(10))
				h, err := crypto.Cached(c, crypto.MaterialKey{KeyID: keyID, ModIndex: uint64(rng.IntN(2))}, o.open(keyID))
				if err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(4) == 0 {
					c.Purge(keyID)
				}
				raw, err := h.Opened().Encrypt(nil, nil, planted)
				h.Release()
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := decrypt(openMaterial(t, keyID, planted), nil, raw); err != nil || !bytes.Equal(got, planted) {
					t.Errorf("a blob made under contention: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := o.unwiped(); got != c.Len() {
		t.Errorf("%d are not wiped, but %d are in the cache", got, c.Len())
	}
}

// One cache holds every kind of opened key, a key's public half beside its private one,
// and wipes what can be wiped.
func TestCacheOfAllKinds(t *testing.T) {
	t.Parallel()
	c := crypto.NewMaterialCache(1000)
	secret, public, err := crypto.GenerateKey(kms.ECCNistEdwards25519)
	if err != nil {
		t.Fatal(err)
	}
	private, err := crypto.Cached(c, crypto.MaterialKey{KeyID: uuidKey, MaterialID: "m"}, func() (*crypto.PrivateKey, error) {
		return crypto.OpenPrivateKey(kms.ECCNistEdwards25519, secret, public)
	})
	if err != nil {
		t.Fatal(err)
	}
	half, err := crypto.Cached(c, crypto.MaterialKey{KeyID: uuidKey, MaterialID: "m", Public: true}, func() (*crypto.PublicKey, error) {
		return crypto.ParsePublicKey(kms.ECCNistEdwards25519, public)
	})
	if err != nil {
		t.Fatal(err)
	}
	mac, err := crypto.Cached(c, crypto.MaterialKey{KeyID: mrkKey}, func() (*crypto.MACKey, error) {
		return crypto.OpenMACKey(kms.HMAC256, crypto.Random(32))
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Len() != 3 {
		t.Errorf("%d are in the cache, want 3", c.Len())
	}
	signer, keyed, verifier := private.Opened(), mac.Opened(), half.Opened()
	signature, err := signer.Sign(kms.Ed25519SHA512, kms.MessageRaw, planted)
	if err != nil || verifier.Verify(kms.Ed25519SHA512, kms.MessageRaw, planted, signature) != nil {
		t.Errorf("the public half does not verify: %v", err)
	}
	c.PurgeAll()
	if _, err := signer.Sign(kms.Ed25519SHA512, kms.MessageRaw, planted); err != nil {
		t.Errorf("wiped while it is held: %v", err)
	}
	private.Release()
	half.Release()
	mac.Release()
	if !panics(func() { _, _ = signer.Sign(kms.Ed25519SHA512, kms.MessageRaw, planted) }) || !panics(func() { _, _ = keyed.MAC(kms.HMACSHA256, planted) }) {
		t.Error("not wiped after the last release")
	}
}

// What takes more memory takes more of the capacity; one alone is kept however large.
func TestCacheWeighs(t *testing.T) {
	t.Parallel()
	secret, public, err := crypto.GenerateKey(kms.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	for capacity, want := range map[int]int{64: 1, 64 * 700: 2, 64 * 1000: 2, 64 * 1050: 3} { // of one shard, as one key id is: 1, 700, 1,000, 1,050
		c, o := crypto.NewMaterialCache(capacity), &opener{t: t}
		get(t, c, o, crypto.MaterialKey{KeyID: mrkKey}).Release()
		get(t, c, o, crypto.MaterialKey{KeyID: uuidKey}).Release()
		for n := range uint64(4) {
			h, err := crypto.Cached(c, crypto.MaterialKey{KeyID: uuidKey, MaterialID: "m", ModIndex: n}, func() (*crypto.PrivateKey, error) {
				return crypto.OpenPrivateKey(kms.MLDSA44, bytes.Clone(secret), public)
			})
			if err != nil {
				t.Fatal(err)
			}
			h.Release()
		}
		c.Purge(mrkKey)
		if got := c.Len(); got != want {
			t.Errorf("capacity %d: %d are in the cache, want %d", capacity, got, want)
		}
		c.Purge(uuidKey)
		for n := range uint64(64 * 3) {
			get(t, c, o, crypto.MaterialKey{KeyID: keyNumber(int(n))}).Release()
		}
		if got := c.Len(); got > capacity || capacity > 64 && got != 64*3 {
			t.Errorf("capacity %d: %d small ones are in the cache", capacity, got)
		}
	}
}

// Every kind of key has a weight, and a public half weighs no more than both.
func TestWeights(t *testing.T) {
	t.Parallel()
	for _, spec := range asymmetricSpecs {
		private, public := crypto.Weights(spec)
		if private < 1 || public < 1 || public > private {
			t.Errorf("%s: %d and %d", spec, private, public)
		}
	}
}
