package model_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

const (
	badToken  = "InvalidGrantTokenException"
	isDryRun  = "DryRunOperationException"
	foreigner = testkit.OtherAccount
)

// grant is the model of one (AWS KMS: "Grants in AWS KMS").
type grant struct {
	id, token         string
	key               *grantKey
	grantee, retiring string // ARNs
	operations        []string
	kind              string // "", "EncryptionContextEquals" or "EncryptionContextSubset"
	context           map[string]string
	name, issuer      string
	over              bool
}

type grantKey struct {
	id       string
	disabled bool
}

// same tells whether two grants differ in id and token alone.
func (g *grant) same(h *grant) bool {
	return g.key == h.key && g.grantee == h.grantee && g.retiring == h.retiring && slices.Equal(g.operations, h.operations) && g.kind == h.kind &&
		maps.Equal(g.context, h.context) && g.name == h.name && g.issuer == h.issuer
}

func (g *grant) permits(op string) bool { return slices.Contains(g.operations, op) }

// lets tells whether a call with the context is within the grant's constraint.
func (g *grant) lets(context map[string]string) bool {
	switch g.kind {
	case "EncryptionContextEquals":
		return maps.Equal(g.context, context)
	case "EncryptionContextSubset":
		return includes(context, g.context)
	}
	return true
}

func includes(all, some map[string]string) bool {
	for k, v := range some {
		if has, ok := all[k]; !ok || has != v {
			return false
		}
	}
	return true
}

// covers tells whether the grant lets its grantee make another: no operation more, no
// call more within its constraint.
func (g *grant) covers(child *grant) bool {
	for _, op := range append([]string{"CreateGrant"}, child.operations...) {
		if !g.permits(op) {
			return false
		}
	}
	switch g.kind {
	case "EncryptionContextEquals":
		return child.kind == g.kind && maps.Equal(child.context, g.context)
	case "EncryptionContextSubset":
		return child.kind != "" && includes(child.context, g.context)
	}
	return true
}

// mayRetire tells who may end the grant.
func (g *grant) mayRetire(p *person) bool {
	return p.root && (p.account == testkit.Account || p.account == g.issuer) || p.mayHave(g.retiring) || g.permits("RetireGrant") && p.mayHave(g.grantee)
}

func (g *grant) String() string {
	return fmt.Sprintf("%.6s on %.8s to %s, %s, %v %s %v %q", g.id, g.key.id, g.grantee, g.retiring, g.operations, g.kind, g.context, g.name)
}

// grantGame plays on a place and on the model.
type grantGame struct {
	*rand.Rand
	t      *testing.T
	place  *place
	people []*person
	keys   []*grantKey
	grants []*grant
	trace  []string
	count  map[string]int
}

// TestGrantsOfOneNode plays many random steps on one state machine. KMSD_TEST_SEED
// repeats the steps of a run.
func TestGrantsOfOneNode(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	playGrants(t, 3000, &place{
		nodes: 1, apply: func(args fsm.Args) { s.Apply(t, args) }, seal: s.Keyring.Seal, now: s.Now,
		do: func(_ int, who testkit.Caller, op string, body obj) (obj, *kms.Error) { return s.Do(t, who, op, body) },
	})
}

// TestGrantsOfNodes plays on three nodes: what a call has changed holds on each of them
// when it returns.
func TestGrantsOfNodes(t *testing.T) {
	t.Parallel()
	c := startNodes(t)
	c.Until("the keyring is there", func() bool { return c.Nodes[0].Keyring().Current() != 0 })
	secret, err := c.Nodes[0].Keyring().Seal(service.SecretPurpose, testkit.OtherKey, []byte("a secret of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(fsm.CreateAccount{Account: fsm.Account{ID: foreigner, Created: 1, Status: fsm.StatusActive},
		AccessKey: fsm.AccessKey{ID: testkit.OtherKey, Account: foreigner, Type: kms.PrincipalRoot, UniqueID: foreigner, Status: fsm.StatusActive, Created: 1, SecretTerm: 1, Secret: secret}})
	playGrants(t, usualSteps, &place{nodes: 3, apply: c.Apply, seal: c.Nodes[0].Keyring().Seal, now: c.now, do: c.DoAs})
	c.sameDigests()
}

func playGrants(t *testing.T, steps int, pl *place) {
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("KMSD_TEST_SEED=%d", seed)
	g := &grantGame{Rand: rand.New(rand.NewPCG(seed, 0)), t: t, place: pl, people: pl.people(t), count: map[string]int{}}
	for range 2 {
		made, _ := pl.do(0, testkit.Root, "CreateKey", obj{})
		g.keys = append(g.keys, &grantKey{id: made["KeyMetadata"].(obj)["KeyId"].(string)})
	}
	for range steps {
		if g.step(); t.Failed() {
			for _, line := range g.trace[max(0, len(g.trace)-30):] {
				t.Log(line)
			}
			return
		}
	}
	g.compare()
	for _, what := range []string{"CreateGrant by root", "CreateGrant by another", "CreateGrant again", "RetireGrant", "RevokeGrant", "use", "CreateGrant AccessDeniedException", "use AccessDeniedException", "use InvalidGrantTokenException", "RetireGrant AccessDeniedException"} {
		if g.count[what] == 0 && steps > 1000 {
			t.Errorf("no %s happened: %v", what, g.count)
		}
	}
}

func (g *grantGame) step() {
	switch dice := g.IntN(100); {
	case dice < 30:
		g.create()
	case dice < 42:
		g.retire()
	case dice < 48:
		g.revoke()
	case dice < 51:
		g.switchKey()
	case dice < 56:
		g.compare()
	default:
		g.use()
	}
}

func choose[T any](g *grantGame, of ...T) T { return of[g.IntN(len(of))] }

// alive are the grants that have not ended.
func (g *grantGame) alive() []*grant {
	return slices.DeleteFunc(slices.Clone(g.grants), func(h *grant) bool { return h.over })
}

// anyGrant draws a grant, mostly one that is alive; nil without any.
func (g *grantGame) anyGrant() *grant {
	if alive := g.alive(); len(alive) > 0 && g.IntN(6) > 0 {
		return choose(g, alive...)
	}
	if len(g.grants) == 0 {
		return nil
	}
	return choose(g, g.grants...)
}

// call makes a call through a node and wants it answered with the code.
func (g *grantGame) call(p *person, op string, body obj, want string) obj {
	g.t.Helper()
	node := g.IntN(g.place.nodes)
	answer, refusal := g.place.do(node, p.caller, op, body)
	got := ok
	if refusal != nil {
		got = refusal.Code
	}
	g.trace = append(g.trace, fmt.Sprintf("node %d: %s %s %v: %s", node, p.name, op, body, got))
	if got != want {
		g.t.Errorf("%s %s %v: answered %q (%v), want %q", p.name, op, body, got, refusal, want)
	}
	return answer
}

func (g *grantGame) context() map[string]string {
	out := map[string]string{}
	for _, name := range []string{"a", "A", "b"} {
		if g.IntN(2) == 0 {
			out[name] = choose(g, "1", "1", "2")
		}
	}
	return out
}

// draw makes up a grant.
func (g *grantGame) draw() *grant {
	h := &grant{key: choose(g, g.keys...), grantee: choose(g, g.arns()...), name: choose(g, "", "", "n", "m")}
	for _, op := range []string{"Encrypt", "GenerateDataKeyWithoutPlaintext", "CreateGrant", "RetireGrant", "DescribeKey"} {
		if g.IntN(5) < 2 {
			h.operations = append(h.operations, op)
		}
	}
	if len(h.operations) == 0 {
		h.operations = []string{"Encrypt"}
	}
	if g.IntN(3) == 0 {
		h.retiring = choose(g, g.arns()...)
	}
	if h.kind = choose(g, "", "", "EncryptionContextEquals", "EncryptionContextSubset"); h.kind != "" {
		h.context = g.context()
		if h.kind == "EncryptionContextSubset" && len(h.context) == 0 {
			h.kind, h.context = "", nil
		}
	}
	// Often it is like another, or narrower, so that names meet and chains come about.
	if like := g.anyGrant(); like != nil && g.IntN(2) == 0 {
		h.key, h.operations, h.kind, h.context = like.key, like.operations, like.kind, like.context
		if g.IntN(2) == 0 {
			h.grantee, h.retiring, h.name = like.grantee, like.retiring, like.name
		}
	}
	return h
}

// arns are who grants name.
func (g *grantGame) arns() []string {
	out := []string{rootOf(testkit.Account), rootOf(foreigner)}
	for _, p := range g.people {
		out = append(out, p.names...)
	}
	return out
}

// create makes a grant: the root user may by the key's policy, everybody else by a
// grant alone. No policy delegates to anybody here.
func (g *grantGame) create() {
	h, p := g.draw(), choose(g, g.people...)
	if dice := g.IntN(3); dice == 0 {
		p = g.people[0]
	} else if dice == 1 {
		p = g.chained(h, p)
	}
	h.issuer = p.account
	may := p == g.people[0]
	for _, parent := range g.alive() {
		may = may || parent.key == h.key && p.mayHave(parent.grantee) && parent.covers(h)
	}
	want := ok
	switch {
	case !may:
		want = denied
	case h.key.disabled:
		want = isDisabled
	}
	body := obj{"KeyId": testkit.ARN(h.key.id), "GranteePrincipal": h.grantee, "Operations": h.operations}
	if h.retiring != "" {
		body["RetiringPrincipal"] = h.retiring
	}
	if h.kind != "" {
		body["Constraints"] = obj{h.kind: h.context}
	}
	if h.name != "" {
		body["Name"] = h.name
	}
	answer := g.call(p, "CreateGrant", body, want)
	if want != ok || g.t.Failed() {
		g.count["CreateGrant "+want]++
		return
	}
	h.id, h.token = answer["GrantId"].(string), answer["GrantToken"].(string)
	g.made(h, p)
}

// chained makes the grant much like one that its caller can pass on, if there is one.
func (g *grantGame) chained(h *grant, p *person) *person {
	parents := slices.DeleteFunc(g.alive(), func(h *grant) bool { return !h.permits("CreateGrant") })
	if len(parents) == 0 {
		return p
	}
	parent := choose(g, parents...)
	h.key, h.operations, h.kind, h.context = parent.key, parent.operations, parent.kind, parent.context
	if len(h.context) > 0 && g.IntN(2) == 0 {
		h.kind = choose(g, "EncryptionContextEquals", "EncryptionContextSubset")
	}
	if h.kind != "" && g.IntN(2) == 0 {
		if h.context = g.context(); len(h.context) == 0 {
			h.kind = "EncryptionContextEquals"
		}
	}
	for _, holder := range g.people {
		if holder.mayHave(parent.grantee) {
			p = holder
		}
	}
	return p
}

// made enters a grant that a call has made, or found by its name.
func (g *grantGame) made(h *grant, p *person) {
	slices.Sort(h.operations)
	for _, old := range g.grants {
		again := !old.over && h.name != "" && old.same(h)
		if again != (old.id == h.id) {
			g.t.Errorf("%v is answered, while there was %v", h, old)
		}
		if again {
			g.count["CreateGrant again"]++
			old.token = h.token
			return
		}
	}
	by := "another"
	if p == g.people[0] {
		by = "root"
	}
	g.count["CreateGrant by "+by]++
	g.grants = append(g.grants, h)
	g.everywhere(h)
}

// everywhere checks on every node that the grant is in force, or is over: by a call of
// whom it names, which no other grant lets do the same.
func (g *grantGame) everywhere(h *grant) {
	op, body := "Encrypt", obj{"KeyId": testkit.ARN(h.key.id), "Plaintext": "AA==", "EncryptionContext": h.context, "DryRun": true}
	if !h.permits(op) || h.key.disabled {
		return
	}
	for _, p := range g.people[2:] {
		if !p.mayHave(h.grantee) {
			continue
		}
		want := isDryRun
		if !g.allowed(p, h.key, op, h.context) {
			want = denied
		}
		for node := range g.place.nodes {
			if _, refusal := g.place.do(node, p.caller, op, body); refusal.Code != want {
				g.t.Errorf("node %d, %s with %v: answered %v, want %s", node, p.name, h, refusal, want)
			}
		}
	}
}

// allowed tells whether a call is: the key's policy lets its account's root user.
func (g *grantGame) allowed(p *person, key *grantKey, op string, context map[string]string) bool {
	return p == g.people[0] || slices.ContainsFunc(g.alive(), func(h *grant) bool {
		return h.key == key && p.mayHave(h.grantee) && h.permits(op) && (op == "DescribeKey" || h.lets(context))
	})
}

// use calls what grants can let, now and then with the token of a grant.
func (g *grantGame) use() {
	p, key, context := choose(g, g.people...), choose(g, g.keys...), g.context()
	if h := g.anyGrant(); h != nil && g.IntN(2) == 0 {
		if key = h.key; h.kind != "" {
			context = maps.Clone(h.context)
		}
	}
	op := choose(g, "Encrypt", "GenerateDataKeyWithoutPlaintext", "DescribeKey")
	body := obj{"KeyId": testkit.ARN(key.id)}
	switch op {
	case "Encrypt":
		body["Plaintext"], body["EncryptionContext"] = "AA==", context
	case "GenerateDataKeyWithoutPlaintext":
		body["NumberOfBytes"], body["EncryptionContext"] = 16, context
	}
	want := ok
	switch {
	case !g.allowed(p, key, op, context):
		want = denied
	case key.disabled && op != "DescribeKey":
		want = isDisabled
	}
	if h := g.anyGrant(); h != nil && g.IntN(3) == 0 {
		body["GrantTokens"] = []string{h.token}
		if h.over {
			want = badToken
		}
	}
	g.call(p, op, body, want)
	g.count[strings.TrimSpace("use "+want)]++
}

// retire ends a grant by its token or by its id.
func (g *grantGame) retire() {
	h, p := g.anyGrant(), choose(g, g.people...)
	if h == nil {
		return
	}
	body, byToken := obj{"KeyId": testkit.ARN(h.key.id), "GrantId": h.id}, g.IntN(2) == 0
	if byToken {
		body = obj{"GrantToken": h.token}
	}
	want := ok
	switch {
	case h.over && byToken:
		want = badToken
	case h.over && p.account == testkit.Account:
		want = notFound
	case h.over || !h.mayRetire(p):
		want = denied
	}
	g.call(p, "RetireGrant", body, want)
	g.end(h, "RetireGrant", want)
}

// revoke ends a grant: the key's policy decides who may, and no grant does.
func (g *grantGame) revoke() {
	h, p := g.anyGrant(), g.people[0]
	if h == nil {
		return
	}
	if g.IntN(4) == 0 {
		p = choose(g, g.people...)
	}
	want := ok
	switch {
	case p != g.people[0]:
		want = denied
	case h.over:
		want = notFound
	}
	g.call(p, "RevokeGrant", obj{"KeyId": testkit.ARN(h.key.id), "GrantId": h.id}, want)
	g.end(h, "RevokeGrant", want)
}

func (g *grantGame) end(h *grant, op, code string) {
	g.count[strings.TrimSpace(op+" "+code)]++
	if code == ok {
		h.over = true
		g.everywhere(h)
	}
}

func (g *grantGame) switchKey() {
	key := choose(g, g.keys...)
	op := map[bool]string{true: "EnableKey", false: "DisableKey"}[key.disabled]
	g.call(g.people[0], op, obj{"KeyId": key.id}, ok)
	key.disabled = !key.disabled
}

// compare lists all grants on a node, by key and by who may retire them.
func (g *grantGame) compare() {
	node := g.IntN(g.place.nodes)
	want, retirable := map[string]string{}, map[string]string{}
	for _, h := range g.alive() {
		want[h.id] = h.String()
		if h.retiring == g.people[2].names[0] {
			retirable[h.id] = h.String()
		}
	}
	got := map[string]string{}
	for _, key := range g.keys {
		maps.Copy(got, g.list(node, "ListGrants", obj{"KeyId": key.id}))
	}
	found := g.list(node, "ListRetirableGrants", obj{"RetiringPrincipal": g.people[2].names[0]})
	if !maps.Equal(got, want) || !maps.Equal(found, retirable) {
		g.t.Errorf("node %d lists\n%v\nand to retire\n%v\nwant\n%v\nand\n%v", node, got, found, want, retirable)
	}
}

func (g *grantGame) list(node int, op string, body obj) map[string]string {
	out := map[string]string{}
	for body["Limit"] = 1 + g.IntN(20); ; {
		page, refusal := g.place.do(node, testkit.Root, op, body)
		if refusal != nil {
			g.t.Errorf("%s: %v", op, refusal)
			return nil
		}
		for _, e := range page["Grants"].([]any) {
			h := g.listed(e.(obj))
			if _, twice := out[h.id]; twice {
				g.t.Errorf("%s shows %v twice", op, h)
			}
			out[h.id] = h.String()
		}
		if page["Truncated"] != true {
			return out
		}
		body["Marker"] = page["NextMarker"]
	}
}

// listed is what a list's entry says, in the words of the model.
func (g *grantGame) listed(e obj) *grant {
	text := func(name string) string { s, _ := e[name].(string); return s }
	h := &grant{id: text("GrantId"), grantee: text("GranteePrincipal"), retiring: text("RetiringPrincipal"), name: text("Name")}
	for _, key := range g.keys {
		if testkit.ARN(key.id) == text("KeyId") {
			h.key = key
		}
	}
	for _, op := range e["Operations"].([]any) {
		h.operations = append(h.operations, op.(string))
	}
	slices.Sort(h.operations)
	constraints, _ := e["Constraints"].(obj)
	for kind, pairs := range constraints {
		h.kind, h.context = kind, map[string]string{}
		for k, v := range pairs.(obj) {
			h.context[k] = v.(string)
		}
	}
	return h
}
