package fsm_test

import (
	"bytes"
	"testing"

	"github.com/kmsd/kmsd/fsm"
)

func TestSmoke(t *testing.T) {
	m := fsm.New()
	g := fsm.Genesis{ClusterID: "c", OperatorAccount: "111122223333",
		Accounts: []fsm.Account{{ID: "111122223333", Status: "Active"}},
		Keyring:  []fsm.KeyringTerm{{Term: 1, Wrapped: []byte("xyz")}}}
	cmd, err := fsm.NewCommand(fsm.ReqKey{1}, fsm.Meta{Time: 5, Audit: []byte("a")}, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%x", cmd.Body)
	r := m.Apply(1, cmd)
	if r.Fatal != nil || r.Err != nil || r.Conflict || r.Repeat != nil {
		t.Fatalf("%+v", r)
	}
	v := m.View()
	if _, ok := v.Account("111122223333"); !ok {
		t.Fatal("no account")
	}
	t.Logf("%+v %d %v %v", v.Reads(), v.MaxIndex(), v.Keyring()[0], v.PendingAudit(0, 10))
	if r := m.Apply(2, cmd); r.Repeat == nil {
		t.Fatalf("%+v", r)
	}
	var b bytes.Buffer
	if err := m.Snapshot().Persist(&b); err != nil {
		t.Fatal(err)
	}
	n := fsm.New()
	if err := n.Restore(&b); err != nil {
		t.Fatal(err)
	}
	if n.Digest() != m.Digest() {
		t.Fatal("digest")
	}
}
