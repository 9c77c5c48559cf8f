package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// TestDeterminism feeds random commands to one machine singly, to a second in
// batches, and to a third that is a restored snapshot from somewhere in the
// middle on. KMSD_TEST_SEED repeats one run.
func TestDeterminism(t *testing.T) {
	t.Parallel()
	seeds := []uint64{1, 2, 3, 4, rand.Uint64(), rand.Uint64()}
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			testDeterminism(t, &generator{t: t, rng: rand.New(rand.NewPCG(seed, 0)), time: start})
		})
	}
}

func testDeterminism(t *testing.T, g *generator) {
	single, batched, restored := fsm.New(), fsm.New(), fsm.New()
	var indexes []uint64
	var cmds []fsm.Command
	var want []fsm.Result
	outcomes := map[string]int{}
	const steps = 3000
	for step := range steps {
		index := single.Index() + 1 + g.rng.Uint64N(2)
		cmd := g.command(single, step)
		before, materials := single.TableDigests(), single.TableSizes()["materials"]
		r := single.Apply(index, cmd)
		checkUnchanged(t, single, before, cmd, r)
		if (single.TableSizes()["materials"] < materials) != (len(r.Erased) > 0 && cmd.Type == fsm.TypeDeleteKey) {
			t.Fatalf("step %d, command %d: material is gone, but %v erased", step, cmd.Type, r.Erased)
		}
		outcomes[outcome(r)]++
		if diff := cmp.Diff(restored.Apply(index, cmd), r); diff != "" {
			t.Fatalf("step %d, restored: -got+want:\n%s", step, diff)
		}
		indexes, cmds, want = append(indexes, index), append(cmds, cmd), append(want, r)
		if g.rng.IntN(20) == 0 || step == steps-1 {
			if diff := cmp.Diff(batched.ApplyBatch(indexes, cmds), want); diff != "" {
				t.Fatalf("step %d, batched: -got+want:\n%s", step, diff)
			}
			indexes, cmds, want = nil, nil, nil
			equal(t, batched, single)
		}
		if g.rng.IntN(500) == 0 {
			restored = restore(t, persist(t, restored))
		}
		if t.Failed() {
			t.Fatalf("at step %d", step)
		}
	}
	equal(t, restored, single)
	if diff := cmp.Diff(persist(t, restored), persist(t, single)); diff != "" {
		t.Errorf("snapshots: -got+want:\n%s", diff)
	}
	for name, m := range map[string]*fsm.Machine{"batched": batched, "restored": restored, "rebuilt": restore(t, persist(t, single))} {
		if diff := cmp.Diff(m.DumpIndexes(), single.DumpIndexes()); diff != "" {
			t.Errorf("ordered indexes, %s: -got+want:\n%s", name, diff)
		}
	}
	for _, o := range []string{"applied", "refused", "conflict", "repeat"} {
		if outcomes[o] < steps/50 {
			t.Errorf("only %d commands of %d ended as %s: the test tests little", outcomes[o], steps, o)
		}
	}
}

func outcome(r fsm.Result) string {
	switch {
	case r.Fatal != nil:
		return "fatal"
	case r.Conflict:
		return "conflict"
	case r.Repeat != nil:
		return "repeat"
	case r.Err != nil:
		return "refused"
	}
	return "applied"
}

// checkUnchanged checks that a command that was not applied changed nothing but
// pending audit records.
func checkUnchanged(t *testing.T, m *fsm.Machine, before map[string]string, cmd fsm.Command, r fsm.Result) {
	t.Helper()
	if r.Fatal != nil {
		t.Fatalf("command %d: %v", cmd.Type, r.Fatal)
	}
	if outcome(r) == "applied" {
		return
	}
	meta, _, err := fsm.OpenCommand(cmd)
	if err != nil {
		t.Fatal(err)
	}
	after := m.TableDigests()
	if len(meta.Recorded) > 0 || len(meta.Audit) > 0 && r.Err != nil {
		before["pendingAudit"] = after["pendingAudit"]
	}
	if diff := cmp.Diff(after, before); diff != "" {
		t.Errorf("command %d was not applied (%s): -got+want:\n%s", cmd.Type, outcome(r), diff)
	}
}

// generator draws commands over a few names, so that they meet.
type generator struct {
	t    *testing.T
	rng  *rand.Rand
	time int64
	old  *fsm.View
}

func (g *generator) command(m *fsm.Machine, step int) fsm.Command {
	if step == 0 {
		gen := genesis()
		gen.Config = &fsm.Config{KeysPerRegion: 8, AliasesPerKey: 3}
		return command(g.t, fsm.ReqKey{}, fsm.Meta{Time: g.time}, gen)
	}
	switch g.rng.IntN(40) {
	case 0:
		g.time += 16 * 60 * 1000
	case 1:
		g.time -= 5000
	case 2:
		if g.rng.IntN(10) == 0 {
			g.time += 25 * 60 * 60 * 1000
		}
	default:
		g.time += g.rng.Int64N(2000)
	}
	if g.old == nil || g.rng.IntN(3) == 0 {
		g.old = m.View()
	}
	args := g.args(m)
	meta := fsm.Meta{Time: g.time, RequestID: strconv.Itoa(step), Reads: g.old.Reads()}
	if g.rng.IntN(2) == 0 {
		meta.Audit = []byte("record " + meta.RequestID)
	}
	for range g.rng.IntN(4) {
		meta.Recorded = append(meta.Recorded, g.rng.Uint64N(m.Index()+1))
	}
	var key fsm.ReqKey
	if g.rng.IntN(3) > 0 {
		key[0], key[1] = 1, byte(g.rng.IntN(60))
	}
	return command(g.t, key, meta, args)
}

func (g *generator) args(m *fsm.Machine) fsm.Args {
	i, j := 1+g.rng.IntN(12), 1+g.rng.IntN(12)
	name := strconv.Itoa(g.rng.IntN(15))
	switch g.rng.IntN(8) {
	case 0, 1:
		return g.memberArgs()
	case 6, 7:
		return g.iamArgs()
	case 2, 3:
		return g.lifeArgs()
	}
	if g.rng.IntN(12) == 0 {
		return g.usageArgs()
	}
	if g.rng.IntN(5) == 0 {
		return g.grantArgs()
	}
	switch g.rng.IntN(12) {
	case 0, 1:
		if g.rng.IntN(5) == 0 {
			return managedKey(i, g.serviceName())
		}
		c := createKey(i)
		if g.rng.IntN(4) == 0 {
			c.Key.Manager = kms.ManagerAWS
		}
		if g.rng.IntN(2) == 0 {
			c.Tags = nil
		}
		return c
	case 2, 3:
		g.old.Key(region, keyID(i))
		return setState(i, g.rng.IntN(2) == 0)
	case 4, 5, 6:
		return createAlias(name, i)
	case 7:
		g.old.Alias(account, region, "alias/"+name)
		return fsm.UpdateAlias(createAlias(name, j))
	case 8, 9:
		return fsm.DeleteAlias{Account: account, Region: region, Name: "alias/" + name}
	case 10:
		index, digest := m.Check()
		return fsm.HashCheck{PrevIndex: index, PrevDigest: digest}
	case 11:
		if g.rng.IntN(2) == 0 {
			return g.configArgs()
		}
	}
	return fsm.LeaderOpen{Term: 1 + g.rng.Uint64N(100), NodeID: "node-a"}
}

// iamArgs draws commands over a few identities, policies and access keys.
func (g *generator) iamArgs() fsm.Args {
	i := identity(fsm.IdentityKind(1+g.rng.IntN(3)), g.rng.IntN(6))
	p := managed(g.rng.IntN(5), 1+g.rng.IntN(3))
	switch g.rng.IntN(15) {
	case 14:
		return g.credentialArgs()
	case 0, 1, 2:
		return create(g.links(i))
	case 3, 4, 5:
		if old, ok := g.old.Identity(i.ID); ok {
			i.Name = old.Name
		}
		if g.rng.IntN(8) == 0 {
			i.Name = "Name" + strconv.Itoa(g.rng.IntN(6))
		}
		return set(g.links(i))
	case 6:
		return fsm.DeleteIdentity{ID: i.ID}
	case 7:
		return createPolicy(p)
	case 8:
		return setPolicy(managed(g.rng.IntN(5), 1+g.rng.IntN(3), 5+g.rng.IntN(2)))
	case 9:
		return fsm.DeleteManagedPolicy{ARN: p.ARN()}
	case 10, 11:
		return accessKey("AKIA"+strconv.Itoa(g.rng.IntN(12)), identity(fsm.KindUser, g.rng.IntN(6)).ID)
	case 12:
		if g.rng.IntN(2) == 0 {
			return fsm.SetAccessKeyStatus{Account: account, ID: "AKIA" + strconv.Itoa(g.rng.IntN(12)), Status: fsm.StatusInactive}
		}
		return fsm.DeleteAccessKey{Account: account, ID: "AKIA" + strconv.Itoa(g.rng.IntN(12))}
	}
	return putPolicy(1+g.rng.IntN(12), textOf(g.rng.IntN(4)))
}

// links gives an identity policies and groups.
func (g *generator) links(i fsm.Identity) fsm.Identity {
	for n := range g.rng.IntN(3) {
		i.Inline = append(i.Inline, fsm.InlinePolicy{Name: strconv.Itoa(n), Hash: hashOf(g.rng.IntN(3))})
	}
	if g.rng.IntN(3) == 0 {
		i.Attached = []string{policyARN(g.rng.IntN(5))}
	}
	if g.rng.IntN(4) == 0 {
		i.Boundary = policyARN(g.rng.IntN(5))
	}
	if i.Kind == fsm.KindUser && g.rng.IntN(3) == 0 {
		i.Groups = []string{identity(fsm.KindGroup, g.rng.IntN(6)).ID}
	}
	if g.rng.IntN(3) == 0 {
		i.Tags = []fsm.Tag{{Key: "kmsd:service", Value: g.serviceName()}}
	}
	return i
}

func (g *generator) serviceName() string { return []string{"s3", "dynamodb", "ebs"}[g.rng.IntN(3)] }

// lifeArgs draws commands of a key's life, in which what is due comes about.
func (g *generator) lifeArgs() fsm.Args {
	v, i := g.old, 1+g.rng.IntN(12)
	tag := strconv.Itoa(g.rng.IntN(60))
	switch g.rng.IntN(12) {
	case 0:
		return scheduleDeletion(i, g.time+7*day+g.rng.Int64N(1000))
	case 1:
		return cancelDeletion(i)
	case 2, 3:
		if due := v.DueDeletions(g.time+30*day, 3); len(due) > 0 {
			k := due[g.rng.IntN(len(due))]
			if g.rng.IntN(3) == 0 {
				g.time = max(g.time, k.DeletionDate+hour-500+g.rng.Int64N(1000))
			}
			return fsm.DeleteKey{Account: k.Account, Region: k.Region, KeyID: k.ID, DeletionDate: k.DeletionDate}
		}
		return deleteKey(i, g.time)
	case 4:
		return fsm.SetKeyDescription{Account: account, Region: region, KeyID: keyID(i), Description: tag}
	case 5, 6:
		return tagKey(i, tag, strconv.Itoa(g.rng.IntN(3)), "x"+tag, "")
	case 7:
		return untagKey(i, tag, "x"+strconv.Itoa(g.rng.IntN(60)))
	case 8:
		return rotateEvery(i, []uint16{0, 90, 91, 365}[g.rng.IntN(4)])
	case 9:
		return onDemand(i)
	}
	if due := v.DueRotations(g.time+400*day, 3); len(due) > 0 {
		k := due[g.rng.IntN(len(due))]
		at, kind, _ := k.DueRotation()
		if g.rng.IntN(8) == 0 {
			g.time = max(g.time, at)
		}
		c := rotate(1, g.rng.IntN(1000), kind, at)
		c.KeyID, c.Material.KeyID = k.ID, k.ID
		return c
	}
	return rotate(i, g.rng.IntN(1000), kms.RotationAutomatic, g.time)
}

// configArgs draws settings that keep the quotas small.
func (g *generator) configArgs() fsm.Args {
	var c fsm.SetConfig
	if g.rng.IntN(2) == 0 {
		c.KeysPerRegion = ptr(7 + g.rng.Uint32N(3))
	}
	if g.rng.IntN(2) == 0 {
		c.AliasesPerKey = ptr(2 + g.rng.Uint32N(3))
	}
	switch g.rng.IntN(4) {
	case 0:
		c.Throttle = &fsm.Throttle{AWS: true}
	case 1:
		c.Throttle = throttle()
	default:
		c.Throttle = &fsm.Throttle{}
	}
	return c
}

// usageArgs draws uses of keys, of which some do not exist.
func (g *generator) usageArgs() fsm.Args {
	var c fsm.RecordUsage
	for i := 1; i <= 12; i++ {
		if g.rng.IntN(3) == 0 {
			c.Entries = append(c.Entries, used(i, "Encrypt", g.time-g.rng.Int64N(4000), strconv.Itoa(g.rng.IntN(9))))
		}
	}
	if len(c.Entries) == 0 {
		c = recordUsage(used(1, "Decrypt", g.time, "last"))
	}
	return c
}

// credentialArgs draws uses of access keys and roles, of which some do not exist, and
// of other identities, which none are of.
func (g *generator) credentialArgs() fsm.Args {
	var ids []string
	for i := range 12 {
		ids = append(ids, "AKIA"+strconv.Itoa(i), identity(fsm.IdentityKind(1+i%3), i/2).ID)
	}
	slices.Sort(ids)
	c := recordCredentials(signed("AAAA", "kms", region, g.time))
	for _, id := range slices.Compact(ids) {
		if g.rng.IntN(3) == 0 {
			c.Entries = append(c.Entries, signed(id, []string{"kms", "sts"}[g.rng.IntN(2)], region, g.time-g.rng.Int64N(4)))
		}
	}
	return c
}

// memberArgs draws commands over a few tokens, nodes and keys.
func (g *generator) memberArgs() fsm.Args {
	token, node := "token-"+strconv.Itoa(g.rng.IntN(4)), fmt.Sprintf("node-%c", 'a'+g.rng.IntN(26))
	key := [32]byte{byte(1 + g.rng.IntN(40))}
	switch g.rng.IntN(14) {
	case 0, 1:
		c := tokenCreate(token, 1+g.rng.Uint32N(3))
		c.Token.Created, c.Token.Expires = g.time, g.time+1+g.rng.Int64N(fsm.MaxTokenLife)
		return c
	case 2:
		return fsm.TokenDelete{ID: token}
	case 3, 4, 5, 6:
		g.old.JoinToken(token)
		return nodeAdmit(token, node, key[0])
	case 7:
		return fsm.NodeRenew{ID: node, NextSPKI: key}
	case 8:
		if n, ok := g.old.Node(node); ok {
			key = n.NextSPKI
		}
		return fsm.NodeRenewed{ID: node, SPKI: someKey(key), CertIssuer: [32]byte{1}}
	case 9:
		return fsm.NodeHello{ID: node, Address: token + ":1", Version: g.rng.Uint32N(3)}
	case 10:
		return nodeRemove(node)
	case 11:
		g.old.Authority()
		if g.rng.IntN(2) == 0 {
			return fsm.SetAuthority{Authority: rotating()}
		}
		return fsm.SetAuthority{Authority: authority()}
	case 12:
		g.old.GossipKeys()
		return fsm.SetGossipKeys{GossipKeys: gossipKeys()}
	}
	if g.rng.IntN(2) == 0 {
		return fsm.VersionBump{Version: 1 + g.rng.Uint32N(4)}
	}
	return resetRoot("AKIA" + strconv.Itoa(g.rng.IntN(6)))
}

// someKey keeps a key from being zero, which no command may carry.
func someKey(key [32]byte) [32]byte {
	key[0] = max(key[0], 1)
	return key
}
