package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// grantID returns the i-th grant id of the tests.
func grantID(i int) string { return fmt.Sprintf("%064x", i) }

const grantee = "AIDAEXAMPLE0000000001"

// grant returns the i-th grant of the tests, on a key.
func grant(i, key int) fsm.Grant {
	return fsm.Grant{Account: account, Region: region, KeyID: keyID(key), ID: grantID(i), Created: start, Grantee: grantee, Issuer: account,
		Operations: kms.GrantDecrypt | kms.GrantDescribeKey}
}

// fullGrant has every field of a grant to a principal.
func fullGrant(i, key int) fsm.Grant {
	g := grant(i, key)
	g.Name, g.Retiring, g.SourceARN = "name", "AROAEXAMPLE0000000001:session", "arn:aws:s3:::bucket"
	g.Constraint, g.Context = fsm.ContextEquals, pairs("a", "1", "b", "")
	return g
}

// serviceGrant has those of a grant to a service.
func serviceGrant(i, key int) fsm.Grant {
	g := grant(i, key)
	g.Grantee, g.GranteeService, g.RetiringService, g.SourceARN = "", "dynamodb.amazonaws.com", "dynamodb.amazonaws.com", "arn:aws:dynamodb:us-east-1:111122223333:table/t"
	g.Constraint, g.Context = fsm.ContextSubset, pairs("a", "1")
	return g
}

func pairs(text ...string) (out []fsm.ContextPair) {
	for p := range slices.Chunk(text, 2) {
		out = append(out, fsm.ContextPair{Name: p[0], Value: p[1]})
	}
	return out
}

func createGrant(g fsm.Grant) fsm.CreateGrant { return fsm.CreateGrant{Grant: g} }

func deleteGrant(i, key int) fsm.DeleteGrant {
	return fsm.DeleteGrant{Account: account, Region: region, KeyID: keyID(key), GrantID: grantID(i)}
}

var grantGoldens = []fsm.Args{createGrant(fullGrant(1, 1)), deleteGrant(1, 1)}

// populatedGrants adds grants.
func populatedGrants(t testing.TB) *driver {
	t.Helper()
	d := populatedCredentials(t)
	d.ok(createGrant(grant(1, 1)))
	d.ok(createGrant(fullGrant(2, 1)))
	d.ok(createGrant(serviceGrant(3, 5)))
	d.ok(deleteGrant(1, 1))
	return d
}

func ids(list []*fsm.Grant, more bool) string {
	var out []string
	for _, g := range list {
		out = append(out, strings.TrimLeft(g.ID, "0"))
	}
	return fmt.Sprint(strings.Join(out, " "), " ", more)
}

func TestCreateGrant(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.refused(createGrant(grant(1, 1)), "NotFoundException", "Key '"+keyARN(1)+"' does not exist")
	d.ok(createKey(1))
	foreign := grant(1, 1)
	foreign.Account = "444455556666"
	d.refused(createGrant(foreign), "NotFoundException", "Key 'arn:aws:kms:us-east-1:444455556666:key/"+keyID(1)+"' does not exist")
	want := fullGrant(1, 1)
	want.ModIndex = d.ok(createGrant(want))
	got, ok := d.View().Grant(region, keyID(1), grantID(1))
	if !ok {
		t.Fatal("there is no grant")
	}
	if diff := cmp.Diff(*got, want, cmpopts.IgnoreUnexported(fsm.ContextPair{})); diff != "" {
		t.Errorf("-got+want:\n%s", diff)
	}
	taken := grant(1, 1)
	digest := d.Digest()
	if r := d.do(createGrant(taken)); !r.Conflict || d.Digest() != digest {
		t.Errorf("a taken id: got %+v, want a conflict that changes nothing", r)
	}
	for _, id := range []string{"", grantID(2), "x/" + grantID(1)} {
		if _, ok := d.View().Grant(region, keyID(1), id); ok {
			t.Errorf("there is a grant %q", id)
		}
	}
}

// The states of the row CreateGrant in "Key states of AWS KMS keys".
func TestCreateGrantStates(t *testing.T) {
	t.Parallel()
	for state, want := range map[kms.KeyState]string{
		kms.Enabled: "", kms.Updating: "",
		kms.Disabled:               "DisabledException " + keyARN(1) + " is disabled.",
		kms.PendingDeletion:        "KMSInvalidStateException " + keyARN(1) + " is pending deletion.",
		kms.PendingReplicaDeletion: "KMSInvalidStateException " + keyARN(1) + " is pending replica deletion.",
		kms.PendingImport:          "KMSInvalidStateException " + keyARN(1) + " is pending import.",
		kms.Creating:               "KMSInvalidStateException " + keyARN(1) + " is creating.",
	} {
		d := started(t, nil)
		d.ok(createKey(1))
		d.ok(createGrant(grant(1, 1)))
		k := d.key(1)
		k.State = state
		d.OverwriteKey(k)
		if code, text, refused := strings.Cut(want, " "); refused {
			d.refused(createGrant(grant(2, 1)), code, text)
		} else {
			d.ok(createGrant(grant(2, 1)))
		}
		d.ok(deleteGrant(1, 1))
	}
}

// A grant with a name is made once (AWS KMS: CreateGrant, Name).
func TestNamedGrants(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	index := d.ok(createGrant(fullGrant(1, 1)))
	later := fullGrant(1, 1)
	later.Created++
	if r := d.with(fsm.ReqKey{1}, fsm.Meta{}, createGrant(later)); r.Err != nil || r.Conflict {
		t.Fatalf("the same again: got %+v", r)
	}
	if once, ok := d.View().Once(fsm.ReqKey{1}); !ok || !slices.Equal(once.IDs, []string{keyID(1), grantID(1)}) {
		t.Errorf("remembered %+v", once)
	}
	if g, _ := d.View().Grant(region, keyID(1), grantID(1)); g.ModIndex != index || g.Created != start {
		t.Errorf("the same again changed the grant: %+v", g)
	}
	other := fullGrant(2, 1)
	if r := d.do(createGrant(other)); !r.Conflict {
		t.Errorf("the same under another id: got %+v, want a conflict", r)
	}
	if g, ok := d.View().NamedGrant(&other); !ok || g.ID != grantID(1) {
		t.Errorf("NamedGrant: got %+v", g)
	}
	for i, change := range []func(*fsm.Grant){
		func(g *fsm.Grant) { g.Name = "another" }, func(g *fsm.Grant) { g.Grantee = account }, func(g *fsm.Grant) { g.Retiring = "" },
		func(g *fsm.Grant) { g.Operations = kms.GrantDecrypt }, func(g *fsm.Grant) { g.Context = pairs("a", "2", "b", "") },
		func(g *fsm.Grant) { g.Constraint = fsm.ContextSubset }, func(g *fsm.Grant) { g.SourceARN = "" }, func(g *fsm.Grant) { g.Issuer = "444455556666" },
		func(g *fsm.Grant) { g.KeyID = keyID(2) },
		func(g *fsm.Grant) { g.Grantee, g.GranteeService = "", "s3.amazonaws.com" }, func(g *fsm.Grant) { g.Retiring, g.RetiringService = "", "s3.amazonaws.com" },
	} {
		g := fullGrant(10+i, 1)
		change(&g)
		if _, ok := d.View().NamedGrant(&g); ok {
			t.Errorf("%d: found before it was made", i)
		}
		d.ok(createGrant(g))
	}
	d.ok(deleteGrant(1, 1))
	if _, ok := d.View().NamedGrant(&other); ok {
		t.Error("a deleted grant is found by its name")
	}
	d.ok(createGrant(other))
	unnamed := grant(30, 1)
	d.ok(createGrant(unnamed))
	unnamed.ID = grantID(31)
	d.ok(createGrant(unnamed)) // without a name every grant is another
}

func TestDeleteGrant(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	empty := d.DumpIndexes()
	const missing = "Grant ID 0000000000000000000000000000000000000000000000000000000000000001 not found"
	d.refused(deleteGrant(1, 2), "NotFoundException", "Key '"+keyARN(2)+"' does not exist")
	d.refused(deleteGrant(1, 1), "NotFoundException", missing)
	d.ok(createGrant(fullGrant(1, 1)))
	foreign := deleteGrant(1, 1)
	foreign.Account = "444455556666"
	d.refused(foreign, "NotFoundException", "Key 'arn:aws:kms:us-east-1:444455556666:key/"+keyID(1)+"' does not exist")
	d.ok(deleteGrant(1, 1))
	d.refused(deleteGrant(1, 1), "NotFoundException", missing)
	if diff := cmp.Diff(d.DumpIndexes(), empty); diff != "" {
		t.Errorf("a deleted grant left something: -got+want:\n%s", diff)
	}
}

// Grants end with their key, and with no other.
func TestDeletedKeysLoseTheirGrants(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	for i := range 20 {
		g := fullGrant(i, 1)
		g.Name = fmt.Sprint(i)
		d.ok(createGrant(g))
	}
	d.ok(createGrant(grant(1, 2)))
	date := d.time + 1 + 7*day
	d.ok(scheduleDeletion(1, date))
	d.till(date + hour).ok(deleteKey(1, date))
	if n := d.TableSizes()["grants"]; n != 1 {
		t.Errorf("%d grants are left, want that of the other key", n)
	}
	if strings.Contains(d.DumpIndexes(), keyID(1)) {
		t.Error("an index still has the key")
	}
}

func TestListGrants(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	for i := 1; i <= 7; i++ {
		g := grant(i, 1+i%2)
		g.Grantee = []string{"A", "B", "C"}[i%3]
		g.Retiring = "R"
		d.ok(createGrant(g))
	}
	v := d.View()
	for _, row := range []struct{ got, want string }{
		{ids(v.ListGrants(region, keyID(1), "", 10)), "2 4 6 false"},
		{ids(v.ListGrants(region, keyID(1), "", 2)), "2 4 true"},
		{ids(v.ListGrants(region, keyID(1), grantID(4), 2)), "6 false"},
		{ids(v.ListGrants(region, keyID(1), grantID(3), 1)), "4 true"},
		{ids(v.ListGrants("eu-west-1", keyID(1), "", 10)), " false"},
		{ids(v.ListGranteeGrants(region, keyID(2), "B", "", 10)), "1 7 false"},
		{ids(v.ListGranteeGrants(region, keyID(1), "B", "", 10)), "4 false"},
		{ids(v.ListGranteeGrants(region, keyID(1), "D", "", 10)), " false"},
		{ids(v.ListRetirableGrants(region, "R", "", 10)), "2 4 6 1 3 5 7 false"},
		{ids(v.ListRetirableGrants(region, "A", "", 10)), " false"},
	} {
		if row.got != row.want {
			t.Errorf("got %s, want %s", row.got, row.want)
		}
	}
	first, more := v.ListRetirableGrants(region, "R", "", 4)
	if rest := ids(v.ListRetirableGrants(region, "R", first[3].RetiringKey(), 10)); !more || rest != "3 5 7 false" {
		t.Errorf("after the fourth: %s", rest)
	}
	one, more := v.ListGranteeGrants(region, keyID(2), "B", "", 1)
	if rest := ids(v.ListGranteeGrants(region, keyID(2), "B", one[0].GranteeKey(), 1)); !more || rest != "7 false" {
		t.Errorf("after the first: %s", rest)
	}
}

// A miss depends on the last change of whatever could have been found.
func TestGrantsRaiseMaxIndex(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	other := grant(1, 1)
	other.Grantee = "another"
	before := d.ok(createGrant(other))
	d.ok(createGrant(grant(2, 1)))
	gone := d.ok(deleteGrant(2, 1))
	q := &fsm.GrantQuery{Operations: kms.GrantDecrypt}
	v := d.View()
	if _, ok := v.FindGrant(region, keyID(1), grantee, q); ok || v.MaxIndex() != gone {
		t.Errorf("a deleted grant: found %t, depends on %d, want %d", ok, v.MaxIndex(), gone)
	}
	v = d.View()
	if g, ok := v.FindGrant(region, keyID(1), "another", q); !ok || v.MaxIndex() != before || !slices.Contains(v.Reads(), fsm.Read{Table: 23, ID: region + "/" + keyID(1) + "/" + grantID(1), ModIndex: g.ModIndex}) {
		t.Errorf("another's grant: depends on %d, want %d; reads %v", v.MaxIndex(), before, v.Reads())
	}
}

func TestGrantQuota(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	d.BulkGrants(49_999, func(i int) fsm.Grant { return grant(i, 1) })
	if d.View().FullOfGrants(region, keyID(1)) {
		t.Error("full one grant too early")
	}
	d.ok(createGrant(grant(49_999, 1)))
	d.refused(createGrant(grant(50_000, 1)), "LimitExceededException", "You have exceeded the number of grants allowed for this KMS key.")
	if v := d.View(); !v.FullOfGrants(region, keyID(1)) || v.FullOfGrants(region, keyID(2)) {
		t.Error("the wrong key is full")
	}
	d.ok(createGrant(grant(50_000, 2)))
	d.ok(deleteGrant(7, 1))
	d.ok(createGrant(grant(50_000, 1)))
}

func TestGrantsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fsm.Grant){
		"id":                  func(g *fsm.Grant) { g.ID = strings.ToUpper(strings.Repeat("a", 64)) },
		"short id":            func(g *fsm.Grant) { g.ID = g.ID[1:] },
		"issuer":              func(g *fsm.Grant) { g.Issuer = "" },
		"index":               func(g *fsm.Grant) { g.ModIndex = 1 },
		"no operation":        func(g *fsm.Grant) { g.Operations = 0 },
		"unknown operation":   func(g *fsm.Grant) { g.Operations = 1 << 19 },
		"no grantee":          func(g *fsm.Grant) { g.Grantee = "" },
		"two grantees":        func(g *fsm.Grant) { g.GranteeService = "s3.amazonaws.com" },
		"two to retire":       func(g *fsm.Grant) { g.Retiring, g.RetiringService = "a", "b" },
		"unknown constraint":  func(g *fsm.Grant) { g.Constraint = 3 },
		"pairs of nothing":    func(g *fsm.Grant) { g.Context = pairs("a", "1") },
		"subset of nothing":   func(g *fsm.Grant) { g.Constraint = fsm.ContextSubset },
		"order of pairs":      func(g *fsm.Grant) { g.Constraint, g.Context = fsm.ContextEquals, pairs("b", "1", "a", "1") },
		"a name of two pairs": func(g *fsm.Grant) { g.Constraint, g.Context = fsm.ContextEquals, pairs("a", "1", "a", "2") },
		"account":             func(g *fsm.Grant) { g.Account = "" },
		"key":                 func(g *fsm.Grant) { g.KeyID = "alias/app" },
	} {
		g := grant(1, 1)
		change(&g)
		if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, createGrant(g)); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	bad := deleteGrant(1, 1)
	bad.GrantID = "1"
	if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, bad); err == nil {
		t.Error("deleting a grant without a valid id: got no error")
	}
	empty := grant(1, 1)
	empty.Constraint = fsm.ContextEquals // no pairs at all: the context must be empty
	if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, createGrant(empty)); err != nil {
		t.Error(err)
	}
}

// meets is a second reading of what a query asks for.
func meets(g fsm.Grant, q *fsm.GrantQuery) bool {
	if q.Operations&^g.Operations != 0 || g.SourceARN != "" && g.SourceARN != q.Source {
		return false
	}
	asked := map[string]string{}
	for _, p := range q.Context {
		asked[p.Name] = p.Value
	}
	for _, p := range g.Context {
		if v, ok := asked[p.Name]; !q.AnyContext && (!ok || v != p.Value) {
			return false
		}
	}
	return q.AnyContext || g.Constraint != fsm.ContextEquals || q.Whole && len(q.Context) == len(g.Context)
}

// randomPairs are up to three pairs over few names and values.
func randomPairs(rng *rand.Rand) (out []fsm.ContextPair) {
	for _, name := range []string{"A", "a", "b"} {
		if rng.IntN(2) == 0 {
			out = append(out, pairs(name, fmt.Sprint(rng.IntN(2)))...)
		}
	}
	return out
}

// A search finds a grant exactly if one meets the query.
func TestFindGrant(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	sources := []string{"", "arn:aws:s3:::one", "arn:aws:s3:::two"}
	found := 0
	for range 150 {
		d := started(t, nil)
		d.ok(createKey(1))
		var all []fsm.Grant
		for i := range rng.IntN(12) {
			g := grant(i, 1)
			g.Operations, g.SourceARN = kms.GrantOperations(1+rng.IntN(7)), sources[rng.IntN(3)]
			g.Constraint = fsm.GrantConstraint(rng.IntN(3))
			if g.Constraint != fsm.ContextUnconstrained {
				g.Context = randomPairs(rng)
			}
			if g.Constraint == fsm.ContextSubset && len(g.Context) == 0 {
				g.Constraint = fsm.ContextUnconstrained
			}
			d.ok(createGrant(g))
			all = append(all, g)
		}
		for range 60 {
			q := &fsm.GrantQuery{Operations: kms.GrantOperations(1 + rng.IntN(7)), Source: sources[rng.IntN(3)], Context: randomPairs(rng), Whole: rng.IntN(2) == 0, AnyContext: rng.IntN(4) == 0}
			got, ok := d.View().FindGrant(region, keyID(1), grantee, q)
			if want := slices.ContainsFunc(all, func(g fsm.Grant) bool { return meets(g, q) }); ok != want || ok && !meets(*got, q) {
				t.Fatalf("%+v: found %+v, want one %t of\n%+v", q, got, want, all)
			}
			if ok {
				found++
			}
		}
	}
	if found < 1000 || found > 8000 {
		t.Errorf("%d of 9000 queries found a grant: the test tests little", found)
	}
}

// grantArgs draws commands over a few grants.
func (g *generator) grantArgs() fsm.Args {
	i, key := g.rng.IntN(12), 1+g.rng.IntN(12)
	if g.rng.IntN(3) == 0 {
		return deleteGrant(i, key)
	}
	made := []func(i, key int) fsm.Grant{grant, fullGrant, serviceGrant}[g.rng.IntN(3)](i, key)
	if g.rng.IntN(2) == 0 {
		made.Operations = kms.GrantCreateGrant
	}
	g.old.Grant(region, keyID(key), grantID(i))
	return createGrant(made)
}

// BenchmarkFindGrant is what a grant costs a decision, with few and with many on the key
// and in the same hands.
func BenchmarkFindGrant(b *testing.B) {
	for _, n := range []int{1, 50_000} {
		for _, row := range []struct {
			name string
			make func(i int) fsm.Grant
			q    fsm.GrantQuery
			want bool
		}{
			{"unlike contexts", func(i int) fsm.Grant {
				g := grant(i, 1)
				g.Constraint, g.Context = fsm.ContextEquals, pairs("volume", fmt.Sprint(i))
				return g
			}, fsm.GrantQuery{Operations: kms.GrantDecrypt, Context: pairs("volume", fmt.Sprint(n-1)), Whole: true}, true},
			{"other grantees", func(i int) fsm.Grant {
				g := grant(i, 1)
				g.Grantee = fmt.Sprintf("AIDAEXAMPLE%010d", i+1)
				return g
			}, fsm.GrantQuery{Operations: kms.GrantDecrypt}, true},
			{"other operations", func(i int) fsm.Grant { return grant(i, 1) }, fsm.GrantQuery{Operations: kms.GrantEncrypt, Whole: true}, false},
		} {
			b.Run(fmt.Sprintf("%s/%d", row.name, n), func(b *testing.B) {
				d := started(b, nil)
				d.ok(createKey(1))
				d.BulkGrants(n, row.make)
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := d.View().FindGrant(region, keyID(1), grantee, &row.q); ok != row.want {
						b.Fatalf("found %t", ok)
					}
				}
			})
		}
	}
}

// BenchmarkDeleteKeyWithGrants is the end of a key that has all the grants that it may
// have: the longest command that there is.
func BenchmarkDeleteKeyWithGrants(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		d := started(b, nil)
		d.ok(createKey(1))
		d.BulkGrants(50_000, func(i int) fsm.Grant {
			g := fullGrant(i, 1)
			g.Name = fmt.Sprint(i)
			return g
		})
		date := d.time + 1 + 7*day
		d.ok(scheduleDeletion(1, date))
		d.till(date + hour)
		b.StartTimer()
		d.ok(deleteKey(1, date))
	}
}
