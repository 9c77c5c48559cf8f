package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	hour = int64(3_600_000) // milliseconds
	day  = 24 * hour

	createAnother = ". Create another one with: kmsd token create"
	unknownToken  = "The join token token is unknown to this cluster: it was deleted, or it expired more than a day ago" + createAnother
	expiredToken  = "The join token token has expired" + createAnother
	usedUpToken   = "The join token token is used up: it has admitted as many nodes as it may" + createAnother
)

func TestTokenCreate(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	r := d.with(fsm.ReqKey{1}, fsm.Meta{}, tokenCreate("token", 3))
	v := d.View()
	want := tokenCreate("token", 3).Token
	want.ModIndex = r.Index
	if got, ok := v.JoinToken("token"); !ok || !cmp.Equal(*got, want) {
		t.Errorf("JoinToken: got %+v, want %+v", got, want)
	}
	if once, ok := v.Once(fsm.ReqKey{1}); !ok || !cmp.Equal(once.IDs, []string{"token"}) {
		t.Errorf("Once: got %+v, want the token's id", once)
	}
	if r := d.do(tokenCreate("token", 9)); !r.Conflict {
		t.Errorf("a taken id: got %+v, want a conflict", r)
	}
	d.ok(fsm.TokenDelete{ID: "token"})
	if _, ok := d.View().JoinToken("token"); ok {
		t.Error("a deleted token is still there")
	}
	d.refused(fsm.TokenDelete{ID: "token"}, "NotFoundException", "The join token token does not exist.")
}

func TestTokensInOrderOfExpiry(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for id, life := range map[string]int64{"c": 1, "b": 2, "a": 2, "d": day} {
		c := tokenCreate(id, 1)
		c.Token.Expires = start + life
		d.ok(c)
	}
	var got []string
	for _, j := range d.View().JoinTokens() {
		got = append(got, j.ID)
	}
	if want := []string{"c", "a", "b", "d"}; !cmp.Equal(got, want) {
		t.Errorf("JoinTokens: got %v, want %v", got, want)
	}
}

func TestTokenLimit(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for i := range 1000 {
		d.ok(tokenCreate(fmt.Sprintf("token-%d", i), 1))
	}
	d.refused(tokenCreate("more", 1), "LimitExceededException", "There are too many join tokens. Wait for some to expire, or delete them.")
	d.ok(fsm.TokenDelete{ID: "token-7"})
	d.ok(tokenCreate("more", 1))
}

// TestTokenRefusals: what no state could accept.
func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.JoinToken)) fsm.Args {
		c := tokenCreate("token", 1)
		f(&c.Token)
		return c
	}
	refuseArgs(t, map[string]fsm.Args{
		"no id":           change(func(j *fsm.JoinToken) { j.ID = "" }),
		"id with a dot":   change(func(j *fsm.JoinToken) { j.ID = "a.b" }),
		"long id":         change(func(j *fsm.JoinToken) { j.ID = strings.Repeat("x", 65) }),
		"no key":          change(func(j *fsm.JoinToken) { j.PublicKey = [32]byte{} }),
		"no uses":         change(func(j *fsm.JoinToken) { j.Uses = 0 }),
		"never valid":     change(func(j *fsm.JoinToken) { j.Expires = j.Created }),
		"before 1970":     change(func(j *fsm.JoinToken) { j.Created, j.Expires = -1, 1 }),
		"more than a day": change(func(j *fsm.JoinToken) { j.Expires = j.Created + day + 1 }),
		"empty network":   change(func(j *fsm.JoinToken) { j.CIDRs = []string{""} }),
		"long network":    change(func(j *fsm.JoinToken) { j.CIDRs = []string{strings.Repeat("1", 65)} }),
		"many networks":   change(func(j *fsm.JoinToken) { j.CIDRs = strings.Split(strings.Repeat("::/0 ", 65), " ") }),
		"long creator":    change(func(j *fsm.JoinToken) { j.CreatedBy = strings.Repeat("x", 2049) }),
		"indexed":         change(func(j *fsm.JoinToken) { j.ModIndex = 1 }),
		"delete nothing":  fsm.TokenDelete{},
	})
	whole := change(func(j *fsm.JoinToken) { j.Expires, j.CIDRs = j.Created+day, nil })
	if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, whole); err != nil {
		t.Errorf("a token of a whole day: %v", err)
	}
}

// refuseArgs checks that no command can be made of any of args.
func refuseArgs(t *testing.T, args map[string]fsm.Args) {
	t.Helper()
	for name, a := range args {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, a); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// at applies args at a leader's clock.
func (d *driver) at(time int64, args fsm.Args) fsm.Result {
	d.t.Helper()
	d.time = time - 1
	return d.do(args)
}

func TestTokenUses(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.refused(nodeAdmit("token", "node-c", 3), kms.CodeTokenInvalid, unknownToken)
	d.ok(tokenCreate("token", 2))
	d.ok(nodeAdmit("token", "node-c", 3))
	d.refused(nodeAdmit("token", "node-c", 4), "ConflictException", "The node node-c is a member with another key.")
	if j, _ := d.View().JoinToken("token"); j.Uses != 1 {
		t.Errorf("after one admission and one refusal: %d uses left, want 1", j.Uses)
	}
	d.ok(nodeAdmit("token", "node-d", 4))
	d.refused(nodeAdmit("token", "node-e", 5), "InvalidJoinTokenException", usedUpToken)
	if j, ok := d.View().JoinToken("token"); !ok || j.Uses != 0 {
		t.Errorf("a used-up token: got %+v, want it with no uses left", j)
	}
	d.ok(fsm.TokenDelete{ID: "token"})
	d.refused(nodeAdmit("token", "node-e", 5), "InvalidJoinTokenException", unknownToken)
}

// TestTokenExpiry goes by the admitting leader's clock, also when an earlier
// leader's was ahead of it.
func TestTokenExpiry(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(tokenCreate("token", 9))
	tests := []struct {
		time  int64
		admit bool
	}{{start + hour - 1, true}, {start + hour, false}, {start + 2*hour, false}, {start + hour - 1, true}}
	for i, tt := range tests {
		r := d.at(tt.time, nodeAdmit("token", fmt.Sprintf("node-%d", i), byte(10+i)))
		if tt.admit && r.Err != nil || !tt.admit && (r.Err == nil || r.Err.Code != kms.CodeTokenInvalid || r.Err.Message != expiredToken) {
			t.Errorf("%d ms after its making: got %+v, want success %v", tt.time-start, r.Err, tt.admit)
		}
	}
	if got := d.View().Time(); got != start+hour-1 { // a refusal does not move the machine's time
		t.Errorf("machine time: got %d, want %d", got, start+hour-1)
	}
}

// TestTokensAreForgotten a day after their expiry, 16 for each command.
func TestTokensAreForgotten(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for i := range 40 {
		d.ok(tokenCreate(fmt.Sprintf("token-%d", i), 1))
	}
	later := tokenCreate("later", 1)
	later.Token.Expires += hour
	d.ok(later)
	for _, step := range []struct {
		time int64
		left int
	}{{start + hour + day - 1, 41}, {start + hour + day, 25}, {start, 25}, {start + hour + day, 9}, {start + hour + day, 1},
		{start + hour + day, 1}, {start + 2*hour + day, 0}} {
		if r := d.at(step.time, fsm.PruneAudit{}); r.Err != nil {
			t.Fatal(r.Err)
		}
		if n := d.TableSizes()["joinTokens"]; n != step.left || n != len(d.View().JoinTokens()) {
			t.Errorf("%d ms after their making: %d tokens left, want %d", step.time-start, n, step.left)
		}
	}
	d.time = start
	d.refused(nodeAdmit("token", "node-c", 3), kms.CodeTokenInvalid, unknownToken)
}
