package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// An outcome is what a client that does not retry knows about a call.
type outcome int

const (
	acknowledged outcome = iota
	retryable            // nothing was done, and the client may try again
	unknown              // the client may try again, and finds out so
	denied               // an answer that decides
)

func outcomeOf(err error) outcome {
	var api smithy.APIError
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, syscall.ECONNREFUSED):
		return retryable
	case !errors.As(err, &api):
		return unknown // the connection ended, or time
	case api.ErrorCode() == "ServiceUnavailableException":
		return retryable
	case api.ErrorCode() == "KMSInternalException":
		return unknown
	}
	return denied
}

// traffic is callers that create, change and use keys and aliases through all
// members, each of them its own, one call after the other, without retries. It
// records what was acknowledged.
type traffic struct {
	t       *testing.T
	f       *fleet
	stop    context.CancelFunc
	wg      sync.WaitGroup
	clients atomic.Pointer[[]*kms.Client]
	writes  atomic.Int64 // acknowledged
	uses    atomic.Int64 // right answers to reads
	again   atomic.Int64 // retryable refusals and lost answers
	callers []*caller
}

// callersPerTraffic is how many calls are under way at a time. callTime bounds one:
// a process that is stopped answers nobody. breath follows one without an answer.
const (
	callersPerTraffic = 4
	callTime          = 12 * time.Second
	breath            = 20 * time.Millisecond
)

// startTraffic begins at the living members.
func (f *fleet) startTraffic() *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{t: f.t, f: f, stop: cancel}
	tr.use(f.alive()...)
	for i := range callersPerTraffic {
		c := &caller{traffic: tr, number: i, rand: rand.New(rand.NewPCG(11, uint64(i))), aliases: map[string]string{}}
		tr.callers = append(tr.callers, c)
		tr.wg.Go(func() { c.run(ctx) })
	}
	f.t.Cleanup(tr.end)
	tr.awaitMore(20)
	return tr
}

// use makes the callers call these members from now on.
func (tr *traffic) use(members ...*member) {
	clients := tr.f.everyKMS(members, once)
	tr.clients.Store(&clients)
}

// awaitMore waits until n more writes and uses are acknowledged.
func (tr *traffic) awaitMore(n int64) {
	tr.t.Helper()
	writes, uses := tr.writes.Load()+n, tr.uses.Load()+n
	until(tr.t, "acknowledged calls", func() bool {
		return tr.writes.Load() >= writes && tr.uses.Load() >= uses || tr.t.Failed()
	})
	if tr.t.Failed() {
		tr.t.FailNow()
	}
}

// end stops the callers and waits for them. It may be called again.
func (tr *traffic) end() {
	tr.stop()
	tr.wg.Wait()
}

// A keyRecord is what a caller knows of one of its keys.
type keyRecord struct {
	id      string
	enabled bool
	// open: the outcome of a write to the key is unknown, and the key is left alone
	// since. Either state is right.
	open   bool
	sealed []byte // a ciphertext; the plaintext is the id
}

// A caller belongs to one goroutine until the traffic has ended.
type caller struct {
	traffic  *traffic
	number   int
	rand     *rand.Rand
	keys     []*keyRecord
	aliases  map[string]string // acknowledged: name → key
	requests []string          // ids of acknowledged writes
	named    int               // aliases that were tried
	lost     int               // CreateKeys of unknown outcome
	told     int64             // how many calls of all callers had no answer
}

func (c *caller) run(ctx context.Context) {
	for ctx.Err() == nil && !c.traffic.t.Failed() {
		if again := c.traffic.again.Load(); again > c.told {
			c.told = again
			select {
			case <-time.After(breath):
			case <-ctx.Done():
			}
		}
		clients := *c.traffic.clients.Load()
		client := clients[c.rand.IntN(len(clients))]
		call, cancel := context.WithTimeout(context.Background(), callTime) // a call that was begun ends
		switch dice := c.rand.IntN(20); {
		case len(c.keys) == 0 || dice < 3:
			c.create(call, client)
		case dice < 6:
			c.name(call, client, c.any())
		case dice < 11:
			c.toggle(call, client, c.any())
		default:
			c.useKey(call, client, c.any())
		}
		cancel()
	}
}

func (c *caller) any() *keyRecord { return c.keys[c.rand.IntN(len(c.keys))] }

// wrote counts a write and returns its outcome. No decided refusal is right: all
// that the caller does is possible.
func (c *caller) wrote(what string, md middleware.Metadata, err error) outcome {
	o := outcomeOf(err)
	switch o {
	case acknowledged:
		id, _ := awsmiddleware.GetRequestIDMetadata(md)
		c.requests = append(c.requests, id)
		c.traffic.writes.Add(1)
	case denied:
		c.traffic.t.Errorf("%s: %v", what, err)
	default:
		c.traffic.again.Add(1)
	}
	return o
}

func (c *caller) create(ctx context.Context, client *kms.Client) {
	out, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
	if out == nil {
		out = &kms.CreateKeyOutput{}
	}
	switch c.wrote("CreateKey", out.ResultMetadata, err) {
	case acknowledged:
		c.keys = append(c.keys, &keyRecord{id: *out.KeyMetadata.KeyId, enabled: true})
	case unknown:
		c.lost++
	}
}

func (c *caller) name(ctx context.Context, client *kms.Client, key *keyRecord) {
	c.named++
	name := fmt.Sprintf("alias/traffic/%d/%d", c.number, c.named)
	out, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &key.id})
	if typed[*types.LimitExceededException](err) { // of aliases per key, and there are others
		return
	}
	if out == nil {
		out = &kms.CreateAliasOutput{}
	}
	if c.wrote("CreateAlias", out.ResultMetadata, err) == acknowledged {
		c.aliases[name] = key.id
	}
}

func (c *caller) toggle(ctx context.Context, client *kms.Client, key *keyRecord) {
	if key.open {
		return
	}
	var md middleware.Metadata
	var err error
	if key.enabled {
		var out *kms.DisableKeyOutput
		if out, err = client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key.id}); out != nil {
			md = out.ResultMetadata
		}
	} else {
		var out *kms.EnableKeyOutput
		if out, err = client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &key.id}); out != nil {
			md = out.ResultMetadata
		}
	}
	switch c.wrote("EnableKey or DisableKey", md, err) {
	case acknowledged:
		key.enabled = !key.enabled
	case unknown:
		key.open = true
	}
}

// useKey encrypts under the key, or decrypts what was encrypted before. It must go
// exactly if the key is enabled.
func (c *caller) useKey(ctx context.Context, client *kms.Client, key *keyRecord) {
	var err error
	if key.sealed == nil {
		var out *kms.EncryptOutput
		if out, err = client.Encrypt(ctx, &kms.EncryptInput{KeyId: &key.id, Plaintext: []byte(key.id)}); err == nil {
			key.sealed = out.CiphertextBlob
		}
	} else {
		var out *kms.DecryptOutput
		if out, err = client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: key.sealed}); err == nil && string(out.Plaintext) != key.id {
			c.traffic.t.Errorf("Decrypt gives %q, want %q", out.Plaintext, key.id)
		}
	}
	switch o := outcomeOf(err); {
	case o == retryable || o == unknown:
		c.traffic.again.Add(1)
	case o == denied && !typed[*types.DisabledException](err):
		c.traffic.t.Errorf("Encrypt or Decrypt: %v", err)
	case !key.open && (o == acknowledged) != key.enabled && !c.traffic.f.passedOver():
		c.traffic.t.Errorf("Encrypt or Decrypt under a key that was acknowledged as enabled: %t: %v", key.enabled, err)
	default:
		c.traffic.uses.Add(1)
	}
}

// check ends the traffic and looks for everything acknowledged through every living
// member, whose states must be the same; and for a record of each acknowledged
// write in the audit log of a member, dead or alive.
func (tr *traffic) check() {
	tr.t.Helper()
	tr.end()
	tr.f.settle()
	tr.t.Logf("acknowledged: %d writes and %d reads; to be repeated: %d", tr.writes.Load(), tr.uses.Load(), tr.again.Load())
	for _, m := range tr.f.alive() {
		tr.checkMember(m)
	}
	tr.f.checkDigests()
	recorded := map[string]bool{}
	for _, m := range tr.f.members {
		checkTrail(tr.t, filepath.Join(m.data, "audit"), recorded)
	}
	for _, c := range tr.callers {
		for _, id := range c.requests {
			if !recorded[id] {
				tr.t.Errorf("the acknowledged call %q is not recorded", id)
			}
		}
	}
}

// checkMember compares what the callers were told with what a member answers.
func (tr *traffic) checkMember(m *member) {
	tr.t.Helper()
	client := tr.f.kms(m)
	keys, aliases := tr.everything(client)
	acked, lost := 0, 0
	for _, c := range tr.callers {
		acked, lost = acked+len(c.keys), lost+c.lost
		for _, key := range c.keys {
			if !slices.Contains(keys, key.id) {
				tr.t.Errorf("%s lacks the acknowledged key %s", m.name, key.id)
				continue
			}
			tr.checkKey(m, client, key)
		}
		for name, id := range c.aliases {
			if aliases[name] != id {
				tr.t.Errorf("%s: the acknowledged %s stands for %q, want key %s", m.name, name, aliases[name], id)
			}
		}
	}
	if len(keys) < acked || len(keys) > acked+lost {
		tr.t.Errorf("%s has %d keys; %d were acknowledged and of %d nobody knew", m.name, len(keys), acked, lost)
	}
}

// checkKey checks that a key has its state and opens what it has sealed.
func (tr *traffic) checkKey(m *member, client *kms.Client, key *keyRecord) {
	tr.t.Helper()
	want := map[bool]types.KeyState{true: types.KeyStateEnabled, false: types.KeyStateDisabled}[key.enabled]
	got, err := client.DescribeKey(tr.t.Context(), &kms.DescribeKeyInput{KeyId: &key.id})
	if err != nil || got.KeyMetadata.KeyState != want && !key.open {
		tr.t.Errorf("%s: the acknowledged key %s: %v, %v, want %s", m.name, key.id, got, err, want)
		return
	}
	if key.sealed == nil || got.KeyMetadata.KeyState != types.KeyStateEnabled {
		return
	}
	out, err := client.Decrypt(tr.t.Context(), &kms.DecryptInput{CiphertextBlob: key.sealed})
	if err != nil || string(out.Plaintext) != key.id {
		tr.t.Errorf("%s: Decrypt under the acknowledged key %s: %v", m.name, key.id, err)
	}
}

// everything lists the keys and the aliases that a member knows.
func (tr *traffic) everything(client *kms.Client) (keys []string, aliases map[string]string) {
	tr.t.Helper()
	keys, aliases = listKeys(tr.t, client), map[string]string{}
	pages := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{Limit: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(tr.t.Context())
		must(tr.t, "ListAliases", page, err)
		for _, a := range page.Aliases {
			if a.TargetKeyId != nil {
				aliases[*a.AliasName] = *a.TargetKeyId
			}
		}
	}
	return keys, aliases
}

// checkDigests waits until all living members have applied the same entries, and
// compares the digests of their states.
func (f *fleet) checkDigests() {
	f.t.Helper()
	var all []status
	poll(f.t, unhurried, "equal indexes", func() bool {
		all = nil
		for _, m := range f.alive() {
			s, ok := m.tryStatus()
			if !ok || len(all) > 0 && s.DigestIndex != all[0].DigestIndex {
				return false
			}
			all = append(all, s)
		}
		return true
	})
	for _, s := range all {
		if s.StateDigest == "" || s.StateDigest != all[0].StateDigest {
			f.t.Errorf("states at index %d: %s has the digest %q, %s has %q", s.DigestIndex, s.NodeID, s.StateDigest, all[0].NodeID, all[0].StateDigest)
		}
	}
}
