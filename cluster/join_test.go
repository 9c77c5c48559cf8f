package cluster_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/crypto/seal"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/kms"
)

// quick makes a node's slow habits quick.
func quick(_ int, cfg *cluster.Config) {
	cfg.SetPromoteAfter(100 * time.Millisecond)
	cfg.SetLonely(100 * time.Millisecond)
}

// token makes a join token through the leader.
func (c *testCluster) token(adapt func(*fsm.JoinToken)) string {
	c.t.Helper()
	now := time.Now().UnixMilli()
	spec := fsm.JoinToken{Created: now, Expires: now + time.Hour.Milliseconds(), Uses: 1}
	if adapt != nil {
		adapt(&spec)
	}
	var text string
	err := insist(c.t, "making a token", func() error {
		n := c.nodes[c.leader()]
		v, err := n.View(c.t.Context())
		if err != nil {
			return err
		}
		var create fsm.TokenCreate
		if text, create, err = cluster.NewJoinToken(v, spec); err != nil {
			return err
		}
		_, err = n.Decide(c.t.Context(), &create)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// joinConfig is for one more node, in a directory of its own.
func (c *testCluster) joinConfig(token string, through int) cluster.JoinConfig {
	return cluster.JoinConfig{
		DataDir: filepath.Join(c.t.TempDir(), "joining"), Seal: seal.NewMemory(), Token: token,
		Addrs: []string{c.nodes[through].Addr().String()}, Advertise: "joining.example:7777", APIAddress: "joining.example:8443",
		Logger: testLog(c.t, len(c.nodes)),
	}
}

// adopt starts the node that has joined.
func (c *testCluster) adopt(cfg cluster.JoinConfig) int {
	c.t.Helper()
	i := len(c.nodes)
	c.dirs, c.seals, c.nodes = append(c.dirs, cfg.DataDir), append(c.seals, cfg.Seal), append(c.nodes, nil)
	c.mu.Lock()
	c.founded.NodeIDs = append(c.founded.NodeIDs, "")
	c.mu.Unlock()
	id := c.start(i).ID()
	c.mu.Lock()
	c.founded.NodeIDs[i] = id
	c.mu.Unlock()
	return i
}

// join makes one more node a member and starts it.
func (c *testCluster) join(through int) int {
	c.t.Helper()
	cfg := c.joinConfig(c.token(nil), through)
	if err := cluster.JoinCluster(c.t.Context(), cfg); err != nil {
		c.t.Fatal(err)
	}
	return c.adopt(cfg)
}

// role waits until the leader says that node i has a role and is well.
func (c *testCluster) role(i int, want string) {
	c.t.Helper()
	id := c.nodes[i].ID()
	until(c.t, "node "+id+" as "+want, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		members, err := c.nodes[i].Members(ctx)
		if err != nil {
			return false
		}
		for _, m := range members {
			if m.ID == id {
				return m.Role == want && m.Healthy
			}
		}
		return false
	})
}

func TestSecondAndThirdNodeJoinUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, quick)
	c.ready()
	l := c.startLoad(0)
	l.more(20)
	second := c.join(0)
	c.role(second, cluster.RoleNonvoter) // two voters would be worse than one
	l.more(20)
	third := c.join(second) // through a member that does not lead
	c.role(second, cluster.RoleVoter)
	c.role(third, cluster.RoleVoter)
	l.more(20)
	acked := l.end()
	c.ready()
	c.wantKeys(acked)
	c.wantEqual()
	c.seenAtOnce(third)
	// The founder is one of three now.
	c.stop(0)
	c.forward(second)
	c.start(0)
	c.ready()
	c.wantEqual()
	for i := range c.dirs {
		c.stop(i)
	}
	for i := range c.dirs {
		c.start(i)
	}
	c.ready()
	c.wantKeys(acked)
}

func TestJoiningAgainIsIdempotent(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, quick)
	c.ready()
	cfg := c.joinConfig(c.token(nil), 0)
	for range 2 {
		if err := cluster.JoinCluster(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	// The reply of the first attempt was lost: all that is left of it is join.json.
	lost := c.joinConfig(c.token(nil), 0)
	lost.Seal = brokenSeal{lost.Seal}
	if err := cluster.JoinCluster(t.Context(), lost); !errors.Is(err, errBroken) {
		t.Fatalf("joining with a seal that cannot seal the root key: %v", err)
	}
	lost.Seal = lost.Seal.(brokenSeal).Sealer
	if err := cluster.JoinCluster(t.Context(), lost); err != nil {
		t.Fatalf("taking the attempt up again: %v", err)
	}
	if nodes := c.nodes[0].Machine().View().Nodes(); len(nodes) != 3 {
		t.Errorf("%d members, want 3: each joined once", len(nodes))
	}
	i, j := c.adopt(cfg), c.adopt(lost)
	c.role(i, cluster.RoleVoter)
	c.role(j, cluster.RoleVoter)
	if err := cluster.JoinCluster(t.Context(), cfg); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("joining while the node runs: %v, want ErrLocked", err)
	}
	other := newCluster(t, 1, quick)
	other.ready()
	foreign := other.joinConfig(other.token(nil), 0)
	foreign.DataDir = cfg.DataDir
	c.stop(i)
	if err := cluster.JoinCluster(t.Context(), foreign); !errors.Is(err, cluster.ErrOtherCluster) {
		t.Errorf("joining another cluster with a member's directory: %v, want ErrOtherCluster", err)
	}
}

var errBroken = errors.New("the seal is broken")

// A brokenSeal seals the node's own key and fails for the root key.
type brokenSeal struct{ seal.Sealer }

func (s brokenSeal) Seal(ctx context.Context, key, aad []byte) ([]byte, error) {
	if strings.HasPrefix(string(aad), "kmsd/root/") {
		return nil, errBroken
	}
	return s.Sealer.Seal(ctx, key, aad)
}

func TestRefusedJoins(t *testing.T) {
	t.Parallel()
	c, other := newCluster(t, 1, quick), newCluster(t, 1, quick)
	c.ready()
	other.ready()
	good := c.token(nil)
	parts := strings.Split(good, ".")
	used := c.token(nil)
	if err := cluster.JoinCluster(t.Context(), c.joinConfig(used, 0)); err != nil {
		t.Fatal(err)
	}
	another := strings.Split(c.token(nil), ".")
	yesterday := time.Now().Add(-2 * time.Hour).UnixMilli()
	expired := c.token(func(j *fsm.JoinToken) { j.Created, j.Expires = yesterday, yesterday+1000 })
	elsewhere := c.token(func(j *fsm.JoinToken) { j.CIDRs = []string{"192.0.2.0/24", "2001:db8::/32"} })
	for _, tt := range []struct {
		name, token string
		target      error
		code        string
	}{
		{"truncated", good[:len(good)-1], trust.ErrToken, ""},
		{"wrong pin", strings.Join([]string{parts[0], strings.Repeat("a", 52), parts[2], parts[3]}, "."), trust.ErrRefused, ""},
		{"another cluster's token", other.token(nil), trust.ErrRefused, ""},
		{"unknown", trust.NewToken(pinOf(t, good)).Text(), nil, kms.CodeTokenInvalid},
		{"forged secret", strings.Join([]string{parts[0], parts[1], parts[2], another[3]}, "."), nil, kms.CodeTokenInvalid},
		{"expired", expired, nil, kms.CodeTokenInvalid},
		{"used up", used, nil, kms.CodeTokenInvalid},
		{"from another network", elsewhere, nil, kms.CodeTokenInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := c.joinConfig(tt.token, 0)
			err := cluster.JoinCluster(t.Context(), cfg)
			var known *kms.Error
			switch {
			case tt.target != nil && !errors.Is(err, tt.target):
				t.Errorf("%v, want %v", err, tt.target)
			case tt.code != "" && (!errors.As(err, &known) || known.Code != tt.code):
				t.Errorf("%v, want %s", err, tt.code)
			}
			if _, err := cluster.Open(t.Context(), cluster.Config{
				DataDir: cfg.DataDir, Seal: cfg.Seal, ListenAddr: "127.0.0.1:0", Advertise: cfg.Advertise, Logger: cfg.Logger,
			}); err == nil {
				t.Error("the directory opens as a node's")
			}
		})
	}
	if nodes := c.nodes[0].Machine().View().Nodes(); len(nodes) != 2 {
		t.Errorf("%d members, want 2", len(nodes))
	}
	if err := cluster.JoinCluster(t.Context(), c.joinConfig(good, 0)); err != nil {
		t.Errorf("the good token after all that: %v", err)
	}
}

func pinOf(t *testing.T, text string) [32]byte {
	t.Helper()
	token, err := trust.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return token.Pin
}
