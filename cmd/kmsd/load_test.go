package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
)

// An outcome is what a client knows about a call.
type outcome int

const (
	acknowledged outcome = iota
	refused              // nothing was done, and the client may try again
	unknown
	denied // an answer that decides
)

func outcomeOf(err error) outcome {
	var api smithy.APIError
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case !errors.As(err, &api):
		return unknown // the connection ended, or time
	case api.ErrorCode() == "ServiceUnavailableException":
		return refused
	case api.ErrorCode() == "KMSInternalException":
		return unknown
	}
	return denied
}

// A phase of a load, with the calls acknowledged in it.
type phase struct{ writes, reads atomic.Int64 }

// A load is workers that create and change keys and aliases through all nodes,
// each of them its own, one call after the other.
type load struct {
	t       *testing.T
	cluster *testCluster
	clients []*awskms.Client
	stop    context.CancelFunc
	wg      sync.WaitGroup
	phase   atomic.Pointer[phase]
	workers []*worker
}

// workersPerLoad is how many calls are under way at a time.
const workersPerLoad = 6

func (c *testCluster) startLoad() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: c.t, cluster: c, stop: cancel}
	l.phase.Store(&phase{})
	for _, m := range c.members {
		l.clients = append(l.clients, c.client(m))
	}
	for i := range workersPerLoad {
		w := &worker{load: l, number: i, rand: rand.New(rand.NewPCG(7, uint64(i))), aliases: map[string]string{}}
		l.workers = append(l.workers, w)
		l.wg.Go(func() { w.run(ctx) })
	}
	return l
}

// next begins another phase and returns it.
func (l *load) next() *phase {
	p := &phase{}
	l.phase.Store(p)
	return p
}

// await waits until p has so many acknowledged calls of both kinds.
func (l *load) await(p *phase, n int64) {
	l.t.Helper()
	until(l.t, "acknowledged calls", func() bool { return p.writes.Load() >= n && p.reads.Load() >= n })
}

// end stops the workers and waits for them.
func (l *load) end() {
	l.stop()
	l.wg.Wait()
}

// A record is what a worker knows of one of its keys.
type record struct {
	id      string
	enabled bool
	// open: the outcome of a write to the key is unknown, and the key is left alone
	// since. Either state is right.
	open bool
}

// A worker belongs to one goroutine until the load has ended.
type worker struct {
	load    *load
	number  int
	rand    *rand.Rand
	keys    []*record
	aliases map[string]string // acknowledged: name → key
	named   int               // aliases that were tried
	lost    int               // CreateKeys of unknown outcome
}

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil && !w.load.t.Failed() {
		client := w.load.clients[w.rand.IntN(len(w.load.clients))]
		call, cancel := context.WithTimeout(context.Background(), patience) // a call that was begun ends
		switch dice := w.rand.IntN(10); {
		case len(w.keys) == 0 || dice < 2:
			w.create(call, client)
		case dice < 4:
			w.name(call, client, w.any())
		case dice < 7:
			w.toggle(call, client, w.any())
		default:
			w.encrypt(call, client, w.any())
		}
		cancel()
	}
}

func (w *worker) any() *record { return w.keys[w.rand.IntN(len(w.keys))] }

// wrote counts a write and returns its outcome. No decided refusal is right: all
// that the worker does is possible.
func (w *worker) wrote(what string, err error) outcome {
	o := outcomeOf(err)
	switch o {
	case acknowledged:
		w.load.phase.Load().writes.Add(1)
	case denied:
		w.load.t.Errorf("%s: %v", what, err)
	}
	return o
}

func (w *worker) create(ctx context.Context, client *awskms.Client) {
	out, err := client.CreateKey(ctx, &awskms.CreateKeyInput{})
	switch w.wrote("CreateKey", err) {
	case acknowledged:
		w.keys = append(w.keys, &record{id: *out.KeyMetadata.KeyId, enabled: true})
	case unknown:
		w.lost++
	}
}

func (w *worker) name(ctx context.Context, client *awskms.Client, key *record) {
	w.named++
	name := fmt.Sprintf("alias/load/%d/%d", w.number, w.named)
	_, err := client.CreateAlias(ctx, &awskms.CreateAliasInput{AliasName: &name, TargetKeyId: &key.id})
	var full *types.LimitExceededException
	if errors.As(err, &full) { // of aliases per key, and there are others
		return
	}
	if w.wrote("CreateAlias", err) == acknowledged {
		w.aliases[name] = key.id
	}
}

func (w *worker) toggle(ctx context.Context, client *awskms.Client, key *record) {
	if key.open {
		return
	}
	var err error
	if key.enabled {
		_, err = client.DisableKey(ctx, &awskms.DisableKeyInput{KeyId: &key.id})
	} else {
		_, err = client.EnableKey(ctx, &awskms.EnableKeyInput{KeyId: &key.id})
	}
	switch w.wrote("Enable or DisableKey", err) {
	case acknowledged:
		key.enabled = !key.enabled
	case unknown:
		key.open = true
	}
}

// encrypt uses the key, which must go exactly if it is enabled.
func (w *worker) encrypt(ctx context.Context, client *awskms.Client, key *record) {
	_, err := client.Encrypt(ctx, &awskms.EncryptInput{KeyId: &key.id, Plaintext: []byte("x")})
	var disabled *types.DisabledException
	switch o := outcomeOf(err); {
	case o == refused || o == unknown:
	case o == denied && !errors.As(err, &disabled):
		w.load.t.Errorf("Encrypt: %v", err)
	case !key.open && (o == acknowledged) != key.enabled && !w.load.cluster.skipped():
		w.load.t.Errorf("Encrypt under a key that was acknowledged as enabled: %t: %v", key.enabled, err)
	default:
		w.load.phase.Load().reads.Add(1)
	}
}

// check compares what the workers were told with what a node answers.
func (l *load) check(client *awskms.Client) {
	l.t.Helper()
	acked, lost := 0, 0
	for _, w := range l.workers {
		acked, lost = acked+len(w.keys), lost+w.lost
		for _, key := range w.keys {
			want := map[bool]types.KeyState{true: types.KeyStateEnabled, false: types.KeyStateDisabled}[key.enabled]
			if got, err := describe(client, key.id); err != nil || got.KeyState != want && !key.open {
				l.t.Errorf("the acknowledged key %s: %v, %v, want %s", key.id, got, err, want)
			}
		}
		for name, id := range w.aliases {
			if got, err := describe(client, name); err != nil || *got.KeyId != id {
				l.t.Errorf("the acknowledged %s: %v, want key %s", name, err, id)
			}
		}
	}
	listed := 0
	for pages := awskms.NewListKeysPaginator(client, &awskms.ListKeysInput{Limit: aws.Int32(1000)}); pages.HasMorePages(); {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			l.t.Fatal(err)
		}
		listed += len(page.Keys)
	}
	if listed < acked || listed > acked+lost {
		l.t.Errorf("%d keys exist; %d were acknowledged and of %d nobody knew", listed, acked, lost)
	}
}

func describe(client *awskms.Client, id string) (*types.KeyMetadata, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

// The calls of each kind that must be acknowledged around the stop of a leader.
const callsBefore, callsAfter = 40, 40

// TestLeaderStopsUnderLoad stops the leader while all nodes are written to and read
// from: with its API, as "kmsd dev" ends, and its node alone, under an API that
// goes on.
func TestLeaderStopsUnderLoad(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(context.Context, *member) error{
		"cleanly":    func(ctx context.Context, m *member) error { return m.stop(ctx) },
		"node alone": func(ctx context.Context, m *member) error { return m.node.Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startTest(t)
			l := c.startLoad()
			defer l.end()
			l.await(l.phase.Load(), callsBefore)
			lead := c.leader()
			during := l.next()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := stop(ctx, c.members[lead]); err != nil {
				t.Errorf("stopping the leader: %v", err)
			}
			after := l.next()
			l.await(after, callsAfter)
			l.end()
			t.Logf("acknowledged during the stop: %d writes and %d reads", during.writes.Load(), during.reads.Load())
			if during.writes.Load()+during.reads.Load() == 0 {
				t.Error("the run proves nothing: no call was acknowledged during the stop")
			}
			c.checkSurvivors(l, lead)
		})
	}
}

// checkSurvivors checks the nodes other than the one that was stopped.
func (c *testCluster) checkSurvivors(l *load, stopped int) {
	c.t.Helper()
	var survivors []*member
	for i, m := range c.members {
		if i == stopped {
			continue
		}
		survivors = append(survivors, m)
		l.check(c.patientClient(m))
	}
	var digests [2][32]byte
	until(c.t, "equal indexes", func() bool {
		var indexes [2]uint64
		for i, m := range survivors {
			indexes[i], digests[i] = m.node.Digest()
		}
		return indexes[0] == indexes[1]
	})
	if digests[0] != digests[1] {
		c.t.Error("the remaining nodes have different states at the same index")
	}
}
