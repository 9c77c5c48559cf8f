package sigv4

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

// Secret is how a Verifier gets at the secret of an active access key.
type Secret struct {
	AccessKeyID string
	// ModIndex identifies this version of the access key's record. A signing key
	// that was derived for another version is not used.
	ModIndex uint64
	// Open returns the secret access key in memory of the caller's own: Verify
	// overwrites it. It is called only when no signing key is cached.
	Open func() ([]byte, error)
	// Temporary tells that the credentials go with a session token, and end at Expires.
	Temporary bool
	Expires   time.Time
}

// Verifier checks signatures. It is safe for concurrent use; checks whose signing
// key is cached share no lock.
type Verifier struct {
	keys  keyCache
	dummy signingKey
}

// NewVerifier returns a Verifier that caches about cacheSize signing keys, one
// per access key, day, Region and service in use.
func NewVerifier(cacheSize int) *Verifier {
	v := &Verifier{keys: newKeyCache(cacheSize)}
	rand.Read(v.dummy[:]) // never fails (crypto/rand)
	return v
}

// Verify tells whether s is the signature of r with the secret, at the time now.
// A refusal is a *kms.Error; any other error comes from secret.Open. Temporary
// credentials need their session token, and long-term ones must come without any, as
// at AWS. s must have passed CheckScope.
func (v *Verifier) Verify(s *Signature, r *Request, secret Secret, now time.Time) error {
	switch {
	case (s.SessionToken != "") != secret.Temporary:
		return v.Dummy(s, r, now)
	case secret.Temporary && !now.Before(secret.Expires):
		return s.ExpiredToken()
	}
	if err := s.checkWindow(now); err != nil {
		return err
	}
	id := keyID{accessKeyID: secret.AccessKeyID, modIndex: secret.ModIndex, date: s.Date, region: s.Region, service: s.Service}
	key, cached := v.keys.get(id)
	if !cached {
		plain, err := secret.Open()
		if err != nil {
			return fmt.Errorf("opening the secret of an access key: %w", err)
		}
		key = deriveKey(plain, s.Date, s.Region, s.Service)
		clear(plain)
	}
	if !s.matches(r, &key) {
		return s.dialect.mismatch()
	}
	if !cached {
		// Only now: whoever lacks the secret cannot push keys out of the cache.
		v.keys.put(id, key, now)
	}
	return nil
}

// Forget drops the signing keys of an access key that is no more. Nobody would be
// let in by them, because no record names them; now they leave memory, too.
func (v *Verifier) Forget(accessKeyID string) {
	v.keys.shard(accessKeyID).drop(func(k keyID) bool { return k.accessKeyID == accessKeyID })
}

// ForgetAll drops all signing keys.
func (v *Verifier) ForgetAll() {
	for i := range v.keys.shards {
		v.keys.shards[i].drop(func(keyID) bool { return true })
	}
}

// Dummy does the work of Verify for an access key that does not exist, so that
// time does not tell it from one that does, and returns s.Unrecognized().
func (v *Verifier) Dummy(s *Signature, r *Request, now time.Time) error {
	if s.checkWindow(now) == nil {
		v.keys.get(keyID{accessKeyID: s.AccessKeyID, date: s.Date, region: s.Region, service: s.Service})
		s.matches(r, &v.dummy)
	}
	return s.Unrecognized()
}

// checkWindow compares the time of signing with now, in whole seconds, as the
// texts show them.
func (s *Signature) checkWindow(now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	window := dialects[s.dialect].window
	life := window
	if s.Presigned {
		life = s.Expires
	}
	if latest := now.Add(window); s.Time.After(latest) {
		return s.dialect.invalid("Signature not yet current: %s is still later than %s (%s + %s)",
			s.Time.Format(basicFormat), latest.Format(basicFormat), now.Format(basicFormat), span(window))
	}
	if earliest := now.Add(-life); s.Time.Before(earliest) {
		return s.dialect.invalid("Signature expired: %s is now earlier than %s (%s - %s)",
			s.Time.Format(basicFormat), earliest.Format(basicFormat), now.Format(basicFormat), span(life))
	}
	return nil
}

// span words a duration as AWS does: "5 min."; seconds where minutes do not fit.
func span(d time.Duration) string {
	if d%time.Minute != 0 {
		return fmt.Sprintf("%d sec.", d/time.Second)
	}
	return fmt.Sprintf("%d min.", d/time.Minute)
}

// signingKey is the key derived from a secret for one day, Region and service.
type signingKey [sha256.Size]byte

// deriveKey derives a signing key (AWS: "Derive a signing key").
func deriveKey(secret []byte, date, region, service string) signingKey {
	start := append([]byte("AWS4"), secret...)
	defer clear(start)
	key := start
	for _, part := range [...]string{date, region, service, terminator} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return signingKey(key)
}

// buffers holds the memory in which canonical requests are built. They hold
// session tokens and are emptied before they go back.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// maxPooled bounds the memory of one pooled buffer, in bytes.
const maxPooled = 64 << 10

// matches computes the signature of r and compares it with the one in s, in
// constant time.
func (s *Signature) matches(r *Request, key *signingKey) bool {
	buf := buffers.Get().(*[]byte)
	b, complete := s.appendCanonicalRequest((*buf)[:0], r)
	used := len(b)
	request := sha256.Sum256(b)
	b = s.appendStringToSign(b[:0], &request)
	mac := hmac.New(sha256.New, key[:])
	mac.Write(b)
	used = max(used, len(b))
	b = mac.Sum(b[:0])
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], b)
	clear(b[:max(used, len(b))])
	if *buf = b; cap(b) <= maxPooled {
		buffers.Put(buf)
	}
	equal := subtle.ConstantTimeCompare(want[:], []byte(s.signature)) == 1
	return complete && equal
}
