package model_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

// usualSteps fit into half a minute of a slow machine with the race detector. KMSD_TEST_STEPS sets another number.
const usualSteps = 120

// TestLife plays random lives of keys against the model. KMSD_TEST_SEED repeats the
// steps of a run.
func TestLife(t *testing.T) {
	t.Parallel()
	seed, steps := rand.Uint64(), usualSteps
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("KMSD_TEST_STEPS")); err == nil {
		steps = n
	}
	t.Logf("KMSD_TEST_SEED=%d KMSD_TEST_STEPS=%d", seed, steps)
	c := startNodes(t)
	g := &game{t: t, c: c, count: map[string]int{}, stopped: -1}
	g.player = &player{Rand: rand.New(rand.NewPCG(seed, 0)), w: &world{now: c.clock.Load(), aliases: map[string]*key{}}}
	for n := range steps {
		g.turn(n)
		if t.Failed() {
			g.tell()
			return
		}
	}
	g.finish()
	if t.Failed() {
		g.tell()
	}
}

// game plays on the nodes and on the model.
type game struct {
	*player
	t       *testing.T
	c       *nodes
	trace   []string
	count   map[string]int // of what happened
	stopped int            // a node that is stopped, or -1
}

func (g *game) note(format string, args ...any) {
	g.trace = append(g.trace, fmt.Sprintf(format, args...))
}

// tell shows how it came to a failure.
func (g *game) tell() {
	g.t.Logf("%v", g.count)
	for _, line := range g.trace[max(0, len(g.trace)-40):] {
		g.t.Log(line)
	}
}

// turn is a step, and every few turns something around the calls.
func (g *game) turn(n int) {
	switch {
	case n%20 == 4:
		g.hold(true)
	case n%20 == 14:
		g.hold(false)
	case n%4 == 1:
		g.advance(g.pass())
	case n%25 == 12:
		g.snapshot()
	case n%50 == 18:
		g.restartFollower()
	case n%50 == 43:
		g.stopLeaderUnder(g.draw())
	case n%50 == 48 && g.stopped >= 0:
		g.restart(g.stopped)
	case n%20 == 19:
		g.rotateOften(4 + g.IntN(6))
	default:
		g.play(g.draw(), nil)
	}
}

// play makes a call through any node, while something happens to the cluster, and
// compares all nodes with the model.
func (g *game) play(s step, meanwhile func()) {
	through := pick(g.player, g.c.up()...)
	var busy sync.WaitGroup
	if meanwhile != nil {
		up := slices.DeleteFunc(g.c.up(), func(i int) bool { return i == g.stopped })
		through = pick(g.player, up...)
		busy.Go(meanwhile)
	}
	g.note("node %d: %s", through, s.String())
	answer, code, message := g.c.call(through, s.op, s.body)
	busy.Wait()
	if !s.right(code) {
		g.t.Errorf("%s: answered %q, %q", s.String(), code, message)
		return
	}
	g.count[s.op+" "+code]++
	if code == ok {
		for _, wrong := range s.missing(answer) {
			g.t.Errorf("%s: %s", s.String(), wrong)
		}
		if s.apply != nil {
			s.apply(answer)
		}
		for _, k := range s.uses {
			g.wantUse(through, k, s.op)
		}
	}
	g.settle(meanwhile != nil)
}

// wantUse checks that the node that served a use shows it.
func (g *game) wantUse(i int, k *key, op string) {
	answer, code, _ := g.c.call(i, "GetKeyLastUsage", obj{"KeyId": k.id})
	last, _ := answer["KeyLastUsage"].(obj)
	if code != ok || millis(last["Timestamp"]) != g.w.now || last["Operation"] == nil {
		g.t.Errorf("after %s the last use of %v is %v, %q", op, k, last, code)
	}
}

// settle does on the model what is due by itself, and compares. Only what nobody waits
// for may take its time: an answered call is seen by every node at once.
func (g *game) settle(disturbed bool) {
	g.t.Helper()
	late := g.w.ripen() || disturbed
	diff := g.compare()
	if late && diff != "" {
		testkit.Eventually(func() bool {
			diff = g.compare()
			return diff == ""
		})
	}
	if diff != "" {
		g.t.Error(diff)
	}
}

// compare returns how the nodes differ from the model.
func (g *game) compare() string {
	up := g.c.up()
	g.c.learn(up[0], g.w)
	want := g.w.facts()
	diffs := make([]string, len(up))
	var all sync.WaitGroup
	for n, i := range up {
		all.Go(func() {
			if diff := cmp.Diff(g.c.facts(i, g.w), want); diff != "" {
				diffs[n] = fmt.Sprintf("node %d: -got+want:\n%s", i, diff)
			} else {
				diffs[n] = g.c.decryptOldest(i, g.w)
			}
		})
	}
	all.Wait()
	for _, diff := range diffs {
		if diff != "" {
			return diff
		}
	}
	return ""
}

// decryptOldest decrypts the oldest ciphertext of every key that decrypts.
func (c *nodes) decryptOldest(i int, w *world) string {
	done := map[*key]bool{}
	for _, b := range w.blobs {
		if done[b.key] || b.readable() != ok {
			continue
		}
		done[b.key] = true
		s := step{op: "Decrypt", body: obj{"CiphertextBlob": b.text, "EncryptionContext": b.context}, shows: b.shows()}
		answer, code, message := c.call(i, s.op, s.body)
		if wrong := s.missing(answer); code != ok || len(wrong) > 0 {
			return fmt.Sprintf("node %d: the oldest ciphertext of %v: %s %s %v", i, b.key, code, message, wrong)
		}
	}
	return ""
}

// advance lets time pass.
func (g *game) advance(d int64) {
	g.w.now += d
	g.note("%d days, %d ms pass", d/day, d%day)
	before := g.rotations("AUTOMATIC")
	g.c.clock.Store(g.w.now)
	g.settle(false)
	g.count["automatic"] += g.rotations("AUTOMATIC") - before
	g.count["days"] += int(d / day)
}

// rotations counts all of a kind.
func (g *game) rotations(kind string) (n int) {
	for _, k := range g.w.keys {
		for _, m := range k.materials {
			if m.kind == kind {
				n++
			}
		}
	}
	return n
}

// hold keeps the leader from what is due, or lets it go on.
func (g *game) hold(held bool) {
	g.note("what is due waits: %t", held)
	g.w.held = held
	g.c.held.Store(held)
	g.settle(false)
}

// rotateOften rotates a key on demand, again and again.
func (g *game) rotateOften(times int) {
	k := g.mostRotated()
	for range times {
		if g.play(g.rotateKey(k), nil); g.t.Failed() {
			return
		}
	}
}

// mostRotated is the enabled key that was rotated on demand most often, to bring it to
// the end of what is allowed; any key where none is enabled.
func (p *player) mostRotated() *key {
	rank := func(k *key) int {
		if k.state != enabled {
			return k.askedEver - 100
		}
		return k.askedEver
	}
	return slices.MaxFunc(p.w.alive(), func(a, b *key) int { return rank(a) - rank(b) })
}

func (g *game) snapshot() {
	for _, i := range g.c.up() {
		g.note("node %d writes a snapshot", i)
		if err := g.c.Nodes[i].Snapshot(g.t.Context()); err != nil {
			g.t.Errorf("writing a snapshot on node %d: %v", i, err)
		}
	}
	g.count["snapshots"]++
}

// restart starts a node again, which stopped before or stops now.
func (g *game) restart(i int) {
	g.note("node %d starts again", i)
	g.c.Stop(i)
	g.c.Start(i)
	g.c.Ready()
	g.stopped = -1
	g.count["restarts"]++
	g.settle(true)
}

func (g *game) restartFollower() {
	if g.stopped >= 0 {
		g.restart(g.stopped)
		return
	}
	lead := g.c.Leader()
	g.restart((lead + 1 + g.IntN(2)) % 3)
}

// stopLeaderUnder stops the leader while a call is under way through another node. It
// stays away for some turns.
func (g *game) stopLeaderUnder(s step) {
	if g.stopped >= 0 {
		g.restart(g.stopped)
	}
	lead := g.c.Leader()
	g.stopped = lead
	g.note("node %d, which leads, stops", lead)
	g.count["leaders stopped"]++
	g.play(s, func() { g.c.Stop(lead) })
}

// finish starts what is stopped, lets everything happen that is due, and checks that
// the nodes hold the same, that every event was recorded once, and that the run proves
// something.
func (g *game) finish() {
	g.hold(false)
	if g.stopped >= 0 {
		g.restart(g.stopped)
	}
	g.settle(false)
	if g.t.Failed() {
		return
	}
	g.c.sameDigests()
	g.wantEvents()
	g.count["deletions"] = len(g.w.keys) - len(g.w.alive())
	g.count["rotations"] = g.rotations("AUTOMATIC") + g.rotations("ON_DEMAND")
	g.t.Logf("%v", g.count)
	for _, some := range []string{"rotations", "snapshots", "restarts", "leaders stopped"} {
		if g.count[some] == 0 {
			g.t.Errorf("the run proves nothing about %s", some)
		}
	}
}

// wantEvents waits until the audit logs hold one event for each rotation and each
// deletion, and checks that there is no other.
func (g *game) wantEvents() {
	want := map[string]int{}
	for _, k := range g.w.keys {
		for i, m := range k.materials[1:] {
			want[fmt.Sprintf("RotateKey %s %s: %s to %s", k.id, m.kind, k.materials[i].id, m.id)]++
		}
		if k.state == deleted {
			want["DeleteKey "+k.id]++
		}
	}
	var diff string
	if !testkit.Eventually(func() bool {
		got := map[string]int{}
		for _, rec := range g.c.events() {
			d := rec["serviceEventDetails"].(obj)
			what := fmt.Sprint(rec["eventName"], " ", d["keyId"])
			if rec["eventName"] == "RotateKey" {
				what += fmt.Sprintf(" %v: %v to %v", d["rotationType"], d["previousKeyMaterialId"], d["currentKeyMaterialId"])
			}
			got[what]++
		}
		diff = cmp.Diff(got, want)
		return diff == ""
	}) {
		g.t.Errorf("the events of the audit logs: -got+want:\n%s", diff)
	}
}
