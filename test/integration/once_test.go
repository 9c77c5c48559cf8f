package integration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"
)

// TestLostReply has the SDK, with its retries, make calls whose first reply gets
// lost: each must succeed and count once.
func TestLostReply(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	for i := range c.nodes {
		t.Run(fmt.Sprint("node ", i), func(t *testing.T) {
			t.Parallel()
			region := newRegion()
			p := newProxy(t, c.nodes[i].endpoint[len("http://"):])
			l := &loser{t: t, proxy: p, client: c.kmsAt(p.endpoint(), region), direct: c.kms(i, region)}
			l.run()
		})
	}
}

// A loser calls through a proxy that loses replies.
type loser struct {
	t              *testing.T
	proxy          *proxy
	client, direct *kms.Client // through the proxy, and past it
}

// losing arms the proxy for one call and checks that it bit: the SDK tried again.
func (l *loser) losing(what string, call func() (middleware.Metadata, error)) {
	l.t.Helper()
	before := l.proxy.lost.Load()
	l.proxy.lose.Store(true)
	meta, err := call()
	if err != nil {
		l.t.Fatalf("%s whose first reply was lost: %v", what, err)
	}
	attempts, _ := retry.GetAttemptResults(meta)
	if lost := l.proxy.lost.Load() - before; lost != 1 || len(attempts.Results) < 2 {
		l.t.Fatalf("%s: %d replies were lost and %d attempts made, want 1 and 2", what, lost, len(attempts.Results))
	}
}

func (l *loser) run() {
	ctx, alias := l.t.Context(), aws.String("alias/lost")
	before := listKeys(l.t, l.direct)
	var id string
	l.losing("CreateKey", func() (middleware.Metadata, error) {
		out, err := l.client.CreateKey(ctx, &kms.CreateKeyInput{Description: aws.String("once")})
		if err != nil {
			return middleware.Metadata{}, err
		}
		id = *out.KeyMetadata.KeyId
		return out.ResultMetadata, nil
	})
	if after := listKeys(l.t, l.direct); len(before) != 0 || !slices.Equal(after, []string{id}) {
		l.t.Errorf("CreateKey made %s, and the keys went from %q to %q", id, before, after)
	}
	l.losing("CreateAlias", func() (middleware.Metadata, error) {
		out, err := l.client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: alias, TargetKeyId: &id})
		return metadata(out, err)
	})
	l.wantAliases(id, 1)
	l.losing("DisableKey", func() (middleware.Metadata, error) {
		out, err := l.client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &id})
		return metadata(out, err)
	})
	got, err := l.direct.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	must(l.t, "DescribeKey", got, err)
	if got.KeyMetadata.KeyState != types.KeyStateDisabled {
		l.t.Errorf("after DisableKey the key is %s", got.KeyMetadata.KeyState)
	}
	l.losing("DeleteAlias", func() (middleware.Metadata, error) {
		out, err := l.client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: alias})
		return metadata(out, err)
	})
	l.wantAliases(id, 0)
	// A second call is another call.
	if _, err := l.client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: alias}); !typed[*types.NotFoundException](err) {
		l.t.Errorf("DeleteAlias of the deleted alias: %v, want NotFoundException", err)
	}
}

// metadata returns the field ResultMetadata of an output.
func metadata(out any, err error) (middleware.Metadata, error) {
	if err != nil {
		return middleware.Metadata{}, err
	}
	return reflect.ValueOf(out).Elem().FieldByName("ResultMetadata").Interface().(middleware.Metadata), nil
}

func (l *loser) wantAliases(id string, want int) {
	l.t.Helper()
	out, err := l.direct.ListAliases(l.t.Context(), &kms.ListAliasesInput{KeyId: &id})
	must(l.t, "ListAliases", out, err)
	if len(out.Aliases) != want {
		l.t.Errorf("the key has %d aliases, want %d", len(out.Aliases), want)
	}
}

// attempts is how often TestNineAttempts makes one call.
const attempts = 9

// TestNineAttempts makes one call, known by its invocation id, nine times over all
// nodes: one after the other, all at once, and half of each.
func TestNineAttempts(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	for name, serial := range map[string]int{"serial": attempts, "concurrent": 0, "mixed": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			region := newRegion()
			in := call{"CreateKey", region, `{"Description":"nine"}`, "6d1f4a52-8c7e-4a1b-9a53-" + name}
			made := make([]map[string]any, attempts)
			var wg sync.WaitGroup
			for i := range attempts {
				attempt := func() { made[i] = c.attempt(t, i, in) }
				if i < serial {
					attempt()
					continue
				}
				wg.Go(attempt)
			}
			wg.Wait()
			for i, m := range made {
				if m == nil || !reflect.DeepEqual(m, made[0]) {
					t.Errorf("attempt %d answered %v, the first one %v", i, m, made[0])
				}
			}
			c.settle(t)
			if keys := listKeys(t, c.kms(0, region)); len(keys) != 1 {
				t.Errorf("%d attempts made %d keys", attempts, len(keys))
			}
		})
	}
}

// attempt makes a call on node i, counted around, and returns the KeyMetadata.
func (c *cluster) attempt(t *testing.T, i int, in call) map[string]any {
	t.Helper()
	status, body := c.insist(t, c.nodes[i%len(c.nodes)].endpoint, in)
	var answer struct{ KeyMetadata map[string]any }
	err := json.Unmarshal([]byte(body), &answer)
	if err != nil || status != http.StatusOK {
		t.Errorf("%s: %d %s %v", in.operation, status, body, err)
	}
	return answer.KeyMetadata
}

// TestPinnedInvocation repeats an invocation id where the calls differ, or where
// they set a value: each must be done.
func TestPinnedInvocation(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	region := newRegion()
	const pinned = "0b0e5c1e-2f3d-4a69-8d57-5a0c5e3f9d11"
	first := c.attempt(t, 0, call{"CreateKey", region, `{"Description":"a"}`, pinned})
	second := c.attempt(t, 1, call{"CreateKey", region, `{"Description":"b"}`, pinned})
	elsewhere := newRegion()
	third := c.attempt(t, 2, call{"CreateKey", elsewhere, `{"Description":"a"}`, pinned})
	if first["KeyId"] == second["KeyId"] || second["Description"] != "b" {
		t.Errorf("another body made %v, the first one %v", second, first)
	}
	if first["KeyId"] == third["KeyId"] {
		t.Error("another Region answered the same key")
	}
	c.settle(t)
	if got := listKeys(t, c.kms(0, region)); len(got) != 2 {
		t.Errorf("two bodies made %d keys", len(got))
	}
	id, _ := first["KeyId"].(string)
	body := fmt.Sprintf(`{"KeyId":%q}`, id)
	for i, step := range []struct {
		operation string
		want      types.KeyState
	}{{"DisableKey", types.KeyStateDisabled}, {"EnableKey", types.KeyStateEnabled}, {"DisableKey", types.KeyStateDisabled}} {
		status, answer := c.insist(t, c.nodes[i%len(c.nodes)].endpoint, call{step.operation, region, body, pinned})
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", step.operation, status, answer)
		}
		c.settle(t)
		for j, n := range c.everyKMS(region) {
			got, err := n.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
			must(t, "DescribeKey", got, err)
			if got.KeyMetadata.KeyState != step.want {
				t.Errorf("after %s number %d node %d describes %s, want %s", step.operation, i, j, got.KeyMetadata.KeyState, step.want)
			}
		}
	}
}
