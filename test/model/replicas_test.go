package model_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

// setGame plays on the nodes and on the model.
type setGame struct {
	*rand.Rand
	t     *testing.T
	c     *nodes
	now   int64
	sets  []*keySet // the last one is played with
	trace []string
	count map[string]int
}

// TestReplicas plays random lives of multi-Region keys on three nodes against the model:
// replicas come and go, the primary moves, keys rotate, and what is encrypted in one
// Region is decrypted in another, through whichever node. KMSD_TEST_SEED repeats the steps
// of a run.
func TestReplicas(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("KMSD_TEST_SEED=%d", seed)
	c := startNodes(t)
	g := &setGame{Rand: rand.New(rand.NewPCG(seed, 3)), t: t, c: c, now: c.clock.Load(), count: map[string]int{}}
	for n := range 3 * usualSteps {
		if g.turn(n); t.Failed() {
			for _, line := range g.trace[max(0, len(g.trace)-30):] {
				t.Log(line)
			}
			return
		}
	}
	g.finish()
	t.Logf("%v", g.count)
	for _, what := range []string{"ReplicateKey", "UpdatePrimaryRegion", "RotateKeyOnDemand", "ScheduleKeyDeletion", "Encrypt", "Decrypt", "restarts", "deletions"} {
		if g.count[what] == 0 {
			t.Errorf("no %s happened", what)
		}
	}
	c.sameDigests()
}

func (g *setGame) turn(n int) {
	switch {
	case len(g.sets) == 0 || len(g.set().keys) == 0:
		g.create()
	case n%60 == 40:
		g.restart()
	case n%8 == 5:
		g.advance()
	default:
		g.step()
	}
	if !g.t.Failed() {
		g.compare()
	}
}

func (g *setGame) set() *keySet { return g.sets[len(g.sets)-1] }

// region draws a Region, most of the time one where the set has a key.
func (g *setGame) region() string {
	if have := slices.Sorted(maps.Keys(g.set().keys)); len(have) > 0 && g.IntN(3) > 0 {
		return have[g.IntN(len(have))]
	}
	return setRegions[g.IntN(len(setRegions))]
}

// regionIn draws a Region where the key is in a state, if there is one, and now and then
// any.
func (g *setGame) regionIn(states ...string) string {
	at := g.region()
	for tries := 0; tries < 6 && (g.set().keys[at] == nil || !slices.Contains(states, g.set().keys[at].state)); tries++ {
		at = g.region()
	}
	return at
}

// rather draws the primary's Region most of the time.
func (g *setGame) rather() string {
	if g.IntN(4) > 0 {
		return g.set().primary
	}
	return g.region()
}

// call makes a call in a Region through any node and wants it answered with the code.
func (g *setGame) call(region, op string, body obj, want string) (answer obj, done bool) {
	g.t.Helper()
	node := g.IntN(3)
	answer, refusal := g.c.DoAs(node, testkit.Root.In(region), op, body)
	got := ok
	if refusal != nil {
		got = refusal.Code
	}
	shown := maps.Clone(body)
	delete(shown, "CiphertextBlob")
	g.trace = append(g.trace, fmt.Sprintf("node %d: %s in %s %v: %s", node, op, region, shown, got))
	g.count[strings.TrimSpace(op+" "+got)]++
	if got != want {
		g.t.Errorf("%s in %s %v: answered %q (%v), want %q", op, region, shown, got, refusal, want)
	}
	return answer, got == ok && want == ok
}

func (g *setGame) create() {
	s := &keySet{primary: setRegions[g.IntN(len(setRegions))], keys: map[string]*regional{}}
	answer, done := g.call(s.primary, "CreateKey", obj{"MultiRegion": true}, ok)
	if !done {
		return
	}
	m := answer["KeyMetadata"].(obj)
	s.id, s.materials = m["KeyId"].(string), []string{m["CurrentKeyMaterialId"].(string)}
	s.keys[s.primary] = &regional{state: enabled}
	g.sets = append(g.sets, s)
}

func (g *setGame) step() {
	switch dice := g.IntN(100); {
	case dice < 16:
		g.replicate()
	case dice < 26:
		g.promote()
	case dice < 42:
		g.change()
	case dice < 46:
		g.schedule()
	case dice < 53:
		g.cancel()
	case dice < 63:
		g.rotate()
	case dice < 67:
		g.setPeriod()
	case dice < 80:
		g.encrypt()
	default:
		g.decrypt()
	}
}

func (g *setGame) replicate() {
	s, at, to := g.set(), g.rather(), setRegions[g.IntN(len(setRegions))]
	if to == at {
		to = setRegions[g.IntN(len(setRegions))]
	}
	want := s.onlyPrimary(at)
	switch {
	case want != ok:
	case at == to:
		want = badRequest
	case s.keys[to] != nil:
		want = exists
	}
	if answer, done := g.call(at, "ReplicateKey", obj{"KeyId": s.id, "ReplicaRegion": to}, want); done {
		if m := answer["ReplicaKeyMetadata"].(obj); m["KeyState"] != "Creating" || m["Arn"] != s.arn(to) {
			g.t.Errorf("the new replica is %v", m)
		}
		s.keys[to] = &regional{state: enabled}
	}
}

func (g *setGame) promote() {
	s, at, to := g.set(), g.rather(), g.region()
	want := s.onlyPrimary(at)
	switch {
	case want != ok:
	case at == to:
		want = unsupported
	default:
		want = s.usable(to)
	}
	if _, done := g.call(at, "UpdatePrimaryRegion", obj{"KeyId": s.arn(at), "PrimaryRegion": to}, want); done {
		s.primary = to
	}
}

// change enables a key, most of the time, or disables it.
func (g *setGame) change() {
	s, at, op, state := g.set(), g.regionIn(disabled), "EnableKey", enabled
	if g.IntN(6) == 0 {
		at, op, state = g.region(), "DisableKey", disabled
	}
	want := ok
	switch {
	case s.keys[at] == nil:
		want = notFound
	case s.waits(at):
		want = invalidState
	}
	if _, done := g.call(at, op, obj{"KeyId": s.id}, want); done {
		s.keys[at].state = state
	}
}

// schedule: a primary with replicas gets its date when the last of them is gone.
func (g *setGame) schedule() {
	s, at, days := g.set(), g.region(), 7+g.IntN(3)
	want := ok
	switch {
	case s.keys[at] == nil:
		want = notFound
	case s.waits(at):
		want = invalidState
	}
	if _, done := g.call(at, "ScheduleKeyDeletion", obj{"KeyId": s.id, "PendingWindowInDays": days}, want); done {
		k := s.keys[at]
		k.state, k.window, k.deletion = pending, days, g.now+int64(days)*day
		if at == s.primary && len(s.keys) > 1 {
			k.state, k.deletion = waitsForReplicas, 0
		}
	}
}

func (g *setGame) cancel() {
	s, at := g.set(), g.regionIn(pending, waitsForReplicas)
	want := ok
	switch {
	case s.keys[at] == nil:
		want = notFound
	case !s.waits(at):
		want = invalidState
	}
	if _, done := g.call(at, "CancelKeyDeletion", obj{"KeyId": s.id}, want); done {
		*s.keys[at] = regional{state: disabled}
	}
}

// rotate asks for a rotation and waits for it: then all nodes show one new material in all
// Regions.
func (g *setGame) rotate() {
	s, at := g.set(), g.rather()
	want := s.onlyPrimary(at)
	if want == ok && s.asked == 25 {
		want = limit
	}
	if _, done := g.call(at, "RotateKeyOnDemand", obj{"KeyId": s.id}, want); !done {
		return
	}
	s.asked++
	var id string
	g.c.Until("the rotation", func() bool {
		m, _ := g.c.DoAs(0, testkit.Root.In(at), "DescribeKey", obj{"KeyId": s.id})
		id, _ = m["KeyMetadata"].(obj)["CurrentKeyMaterialId"].(string)
		return !slices.Contains(s.materials, id)
	})
	s.materials = append(s.materials, id)
}

// setPeriod moves the schedule of automatic rotation, which no run lives to see.
func (g *setGame) setPeriod() {
	s, at := g.set(), g.rather()
	op, body, period := "EnableKeyRotation", obj{"KeyId": s.id, "RotationPeriodInDays": 2560}, 2560
	if g.IntN(2) == 0 {
		op, body, period = "DisableKeyRotation", obj{"KeyId": s.id}, 0
	}
	if _, done := g.call(at, op, body, s.onlyPrimary(at)); done {
		s.period = period
	}
}

func (g *setGame) encrypt() {
	s, at := g.set(), g.region()
	if answer, done := g.call(at, "Encrypt", obj{"KeyId": s.id, "Plaintext": "aGVsbG8="}, s.usable(at)); done {
		s.blobs = append(s.blobs, setBlob{len(s.materials) - 1, answer["CiphertextBlob"].(string)})
	}
}

// decrypt opens a ciphertext of any generation, made in any Region, in any other. That of a
// key that is not there tells nothing.
func (g *setGame) decrypt() {
	s, at := g.set(), g.region()
	if g.IntN(8) == 0 {
		s = g.sets[g.IntN(len(g.sets))]
	}
	if len(s.blobs) == 0 {
		return
	}
	blob, want := s.blobs[g.IntN(len(s.blobs))], s.usable(at)
	if want == notFound {
		want = denied
	}
	answer, done := g.call(at, "Decrypt", obj{"CiphertextBlob": blob.text}, want)
	if done && (answer["KeyId"] != s.arn(at) || answer["KeyMaterialId"] != s.materials[blob.generation] || answer["Plaintext"] != "aGVsbG8=") {
		g.t.Errorf("decrypted in %s: %v, want generation %d", at, answer, blob.generation)
	}
}

// finish ends the set: the replicas, then the primary, and with it what it encrypted.
func (g *setGame) finish() {
	s := g.set()
	for range 2 { // the primary's waiting period begins when the replicas are gone
		for _, region := range slices.Sorted(maps.Keys(s.keys)) {
			if !s.waits(region) {
				g.call(region, "ScheduleKeyDeletion", obj{"KeyId": s.id}, ok)
				s.keys[region].state, s.keys[region].window, s.keys[region].deletion = pending, 30, g.now+30*day
				if region == s.primary && len(s.keys) > 1 {
					s.keys[region].state, s.keys[region].deletion = waitsForReplicas, 0
				}
			}
		}
		g.pass(31 * day)
		g.compare()
	}
	if len(s.keys) != 0 {
		g.t.Errorf("the set lives on: %v", s.facts())
	}
	for range 10 {
		g.decrypt()
	}
}

// advance lets time pass, rather to where something ends.
func (g *setGame) advance() {
	d := 1 + g.Int64N(10*day)
	for _, k := range g.set().keys {
		if k.deletion != 0 && g.IntN(2) == 0 {
			d = max(1, k.deletion+hour-g.now-g.Int64N(2))
		}
	}
	g.pass(d)
}

func (g *setGame) pass(d int64) {
	g.now += d
	g.trace = append(g.trace, fmt.Sprintf("%d days, %d ms pass", d/day, d%day))
	g.ripen()
	g.c.clock.Store(g.now)
}

// ripen ends the keys whose time has come. The primary's waiting period begins when the
// last replica is gone.
func (g *setGame) ripen() {
	s := g.set()
	for _, region := range setRegions {
		k := s.keys[region]
		if k == nil || k.state != pending || g.now < k.deletion+hour {
			continue
		}
		delete(s.keys, region)
		g.count["deletions"]++
		if last := s.keys[s.primary]; len(s.keys) == 1 && last != nil && last.state == waitsForReplicas {
			last.state, last.deletion = pending, g.now+int64(last.window)*day
		}
	}
}

func (g *setGame) restart() {
	i := g.IntN(3)
	g.trace = append(g.trace, fmt.Sprintf("node %d writes a snapshot and starts again", i))
	if err := g.c.Nodes[i].Snapshot(g.t.Context()); err != nil {
		g.t.Errorf("writing a snapshot on node %d: %v", i, err)
	}
	g.c.Stop(i)
	g.c.Start(i)
	g.c.Ready()
	g.count["restarts"]++
}

// look returns what a node shows, in the words of facts.
func (g *setGame) look(node int, region string) string {
	s, who := g.set(), testkit.Root.In(region)
	answer, refusal := g.c.DoAs(node, who, "DescribeKey", obj{"KeyId": s.id})
	if refusal != nil {
		return refusal.Code
	}
	m := answer["KeyMetadata"].(obj)
	config := m["MultiRegionConfiguration"].(obj)
	var replicas []string
	for _, r := range config["ReplicaKeys"].([]any) {
		replicas = append(replicas, r.(obj)["Region"].(string))
	}
	period := 0
	status, _ := g.c.DoAs(node, who, "GetKeyRotationStatus", obj{"KeyId": s.id})
	if days, on := status["RotationPeriodInDays"].(float64); on {
		period = int(days)
	}
	list, _ := g.c.DoAs(node, who, "ListKeyRotations", obj{"KeyId": s.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"})
	materials, _ := list["Rotations"].([]any)
	out := fmt.Sprintf("%v %v %v, primary in %v, replicas in %v, material %v, %d materials, rotates every %d days", m["Arn"], m["KeyState"], config["MultiRegionKeyType"], config["PrimaryKey"].(obj)["Region"], replicas, m["CurrentKeyMaterialId"], len(materials), period)
	if date, dated := m["DeletionDate"]; dated {
		out += fmt.Sprint(", deletion ", millis(date))
	}
	if window, waits := m["PendingDeletionWindowInDays"]; waits {
		out += fmt.Sprint(", window ", window)
	}
	return out
}

// compare holds every node against the model. Only what the leader does by itself may take
// its time.
func (g *setGame) compare() {
	g.t.Helper()
	want, diff := g.set().facts(), ""
	differ := func() bool {
		got := make([]facts, 3)
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				got[i] = facts{}
				for _, region := range setRegions {
					got[i][region] = g.look(i, region)
				}
			})
		}
		all.Wait()
		diff = ""
		for i := range got {
			if d := cmp.Diff(got[i], want); d != "" {
				diff = fmt.Sprintf("node %d: -got+want:\n%s", i, d)
			}
		}
		return diff != ""
	}
	last := g.trace[len(g.trace)-1]
	if differ() && strings.Contains(last, "pass") {
		testkit.Eventually(func() bool { return !differ() })
	}
	if diff != "" {
		g.t.Error(diff)
	}
}
