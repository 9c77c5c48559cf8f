package integration_test

import (
	"os"
	"path/filepath"
	"strings"
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
	for name, try := range map[string]struct{ from, to *member }{
		"of the second to the first": {stranger, first}, "of the first to the second": {second, stranger},
	} {
		if err := testkit.Handshake(t.Context(), try.from.data, try.from.seal, try.to.cluster, try.to.id); err == nil {
			t.Errorf("a handshake %s succeeds", name)
		}
	}
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
