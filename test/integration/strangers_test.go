package integration_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/internal/testport"
)

// TestJoinRefused tries to join with tokens that are no good: nothing of the
// cluster is told, no member is made, and a good token still works.
func TestJoinRefused(t *testing.T) {
	t.Parallel()
	f, other := found(t), found(t)
	first := f.members[0]
	good, foreign := strings.Split(f.token(), "."), strings.Split(other.token(), ".")
	if len(good) != 4 || len(foreign) != 4 {
		t.Fatal("a token has not four parts")
	}
	second := strings.Split(f.token(), ".")
	used := f.token()
	f.join(used)
	with := func(pin, id, secret string) string { return strings.Join([]string{"kmsd1", pin, id, secret}, ".") }

	for name, try := range map[string]struct{ token, addr, text string }{
		"wrong pin":          {with(foreign[1], good[2], good[3]), first.cluster, ""},
		"wrong address":      {with(good[1], good[2], good[3]), other.members[0].cluster, ""},
		"wrong secret":       {with(good[1], good[2], second[3]), first.cluster, "has not proved"},
		"unknown id":         {with(good[1], foreign[2], good[3]), first.cluster, "unknown"},
		"of another cluster": {with(good[1], foreign[2], foreign[3]), first.cluster, "unknown"},
		"used up":            {used, first.cluster, "used"},
		"expired":            {f.expiredToken(), first.cluster, "expired"},
		"no token":           {"kmsd1.x", first.cluster, ""},
	} {
		f.refuses(t, name, try.token, try.addr, try.text)
	}
	if n := len(f.list()); n != 2 {
		t.Errorf("the cluster has %d members, want 2", n)
	}
	f.join(with(good[1], good[2], good[3]))
}

// expiredToken makes a token and waits until it is none.
func (f *fleet) expiredToken() string {
	f.t.Helper()
	var made struct {
		Token   string
		Expires time.Time
	}
	f.json(f.alive()[0].admin("token", "create", "--json", "--ttl", "1s"), &made)
	<-time.After(time.Until(made.Expires.Add(time.Second)))
	return made.Token
}

// refuses joins in vain.
func (f *fleet) refuses(t *testing.T, name, token, addr, text string) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"--data", filepath.Join(dir, "data"), "--seal", "file:" + filepath.Join(dir, "seal.key"), "--seal-on-same-disk",
		"--cluster-listen", testport.Addr(t), "--api-listen", testport.Addr(t)}
	r := runCommand(t, nil, append(append([]string{"join", "--token", token}, args...), addr)...)
	if r.code == 0 || !strings.Contains(r.stderr, text) {
		t.Errorf("%s: code %d, %q, want a refusal with %q", name, r.code, r.stderr, text)
	}
	if secret := token[strings.LastIndex(token, ".")+1:]; len(secret) > 12 && strings.Contains(r.stderr+r.stdout, secret) {
		t.Errorf("%s: the token's secret is shown: %s", name, r.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "node.json")); !os.IsNotExist(err) {
		t.Errorf("%s: the directory holds a node: %v", name, err)
	}
}

// TestTwoClusters starts a node of one cluster where a member of another one should
// be. Neither takes the other for its own.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	f, other := found(t), found(t)
	second := f.join(f.token())
	first, stranger := f.members[0], other.members[0]
	id, _ := create(t, f.kms(first))
	must(t, "stopping a member", 0, second.terminate())
	must(t, "stopping the stranger", 0, stranger.terminate())
	stranger.cluster, second.cluster = second.cluster, stranger.cluster
	stranger.configure()
	stranger.launch()
	stranger.awaitReady()
	poll(t, unhurried, "the two to meet", func() bool {
		return strings.Contains(stranger.stderr.String(), "connection to the cluster port refused")
	})
	first.refuses("a node of the second cluster", other.rob(stranger).Papers())
	stranger.refuses("a node of the first cluster", f.rob(second).Papers())
	if r := stranger.run("join", "--token", f.token(), first.cluster); r.code == 0 {
		t.Error("a node of another cluster joins")
	}
	f.checkApart(first, id, 2)
	other.checkApart(stranger, "", 1)

	second.configure()
	second.launch() // at the stranger's old place
	second.awaitReady()
	f.checkApart(second, id, 2)
	f.checkDigests()
}

// checkApart checks that a node serves its own cluster and knows no other.
func (f *fleet) checkApart(m *member, key string, members int) {
	f.t.Helper()
	m.awaitReady()
	if s := m.status(); s.ClusterID != f.root.ClusterID || s.NodeID != m.id {
		f.t.Errorf("%s says that it is node %s of cluster %s", m.name, s.NodeID, s.ClusterID)
	}
	if n := len(f.list()); n != members {
		f.t.Errorf("there are %d members, want %d", n, members)
	}
	if ids := listKeys(f.t, f.kms(m)); key != "" && (len(ids) != 1 || ids[0] != key) || key == "" && len(ids) > 0 {
		f.t.Errorf("%s has the keys %q, want %q", m.name, ids, key)
	}
}

// crowd is how many connections announce the same at a time: fewer strangers than are
// heard at once.
const crowd = 8

// TestFramesAreBounded announces messages that are too long, as a stranger and as a
// member: their length is enough to be refused.
func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	f := found(t)
	only := f.members[0]
	must(t, "stopping the node", 0, only.terminate())
	own := f.rob(only).Papers()
	only.launch()
	only.awaitReady()
	only.cutsOff("a stranger", 64<<10, `msg="a node that is no member sent no request".* err="malformed frame"`, func() (*testkit.Guest, error) {
		return testkit.Approach(t.Context(), only.cluster)
	})
	only.cutsOff("a member", 1<<20, `msg="closing a member's connection".* err="malformed frame: length \d+"`, func() (*testkit.Guest, error) {
		guest, err := own.Visit(t.Context(), testkit.ProtocolRPC, only.cluster, f.root.ClusterID, only.id)
		if err == nil {
			err = guest.FinishReply()
		}
		return guest, err
	})
	only.awaitReady()
	only.admits("a member", own)
}

// cutsOff announces messages longer than a limit, and checks that the node hangs up on
// all who do so, answers nobody, and says why.
func (m *member) cutsOff(name string, limit uint32, line string, connect func() (*testkit.Guest, error)) {
	t := m.f.t
	t.Helper()
	var all sync.WaitGroup
	for _, length := range []uint32{limit + 1, math.MaxUint32} {
		for range crowd {
			all.Go(func() {
				guest, err := connect()
				if err != nil {
					t.Errorf("connecting as %s: %v", name, err)
					return
				}
				defer guest.Close()
				if err := guest.Ask(testkit.Length(length)); !errors.Is(err, testkit.ErrTurnedAway) {
					t.Errorf("%s announces %d bytes: %v, want to be turned away", name, length, err)
				}
			})
		}
	}
	all.Wait()
	said := regexp.MustCompile(line)
	poll(t, unhurried, "the node to say why it hung up on "+name, func() bool {
		return len(said.FindAllString(m.stderr.String(), -1)) == 2*crowd
	})
}
