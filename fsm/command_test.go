package fsm_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

var writeGolden = flag.Bool("write-golden", false, "write golden files that do not exist yet")

// goldens holds one fixed value per command and version. A changed encoding is a
// new version, never a new golden file.
var goldens = append(slices.Concat(iamGoldens, grantGoldens), []fsm.Args{
	genesisWithConfig(),
	fsm.LeaderOpen{Term: 7, NodeID: "node-a"},
	fsm.HashCheck{PrevIndex: 1000, PrevDigest: [32]byte{1, 2, 3}},
	createKey(1),
	setState(1, true),
	createAlias("app/one", 1),
	fsm.UpdateAlias(createAlias("app/one", 2)),
	fsm.DeleteAlias{Account: account, Region: region, Name: "alias/app/one"},
	fsm.PruneAudit{},
	tokenCreate("golden", 3),
	fsm.TokenDelete{ID: "golden"},
	nodeAdmit("golden", "node-c", 3),
	fsm.NodeRenew{ID: "node-a", NextSPKI: [32]byte{4}},
	fsm.NodeRenewed{ID: "node-a", SPKI: [32]byte{4}, CertIssuer: [32]byte{5}},
	fsm.NodeHello{ID: "node-a", Address: "a.example:7777", APIAddress: "a.example:8443", Version: 2},
	fsm.NodeRemove{ID: "node-a", Statement: []byte("statement")},
	fsm.SetAuthority{Authority: rotating()},
	fsm.SetGossipKeys{GossipKeys: gossipKeys()},
	resetRoot("AKIAI44QH8DHBEXAMPLE"),
	fsm.VersionBump{Version: 2},
	scheduleDeletion(1, start+7*day),
	fsm.CancelKeyDeletion{Account: account, Region: region, KeyID: keyID(1)},
	fsm.DeleteKey{Account: account, Region: region, KeyID: keyID(1), DeletionDate: start + 7*day},
	fsm.SetKeyDescription{Account: account, Region: region, KeyID: keyID(1), Description: "another"},
	tagKey(1, "env", "prod"),
	fsm.UntagKey{Account: account, Region: region, KeyID: keyID(1), Keys: []string{"env", "absent"}},
	rotateEvery(1, 90),
	onDemand(1),
	rotate(1, 1, kms.RotationAutomatic, start+90*day),
	recordUsage(used(1, "Encrypt", start+1234, "16bb9d62-9a5d-4a1b-8e1f-0123456789ab"), used(2, "ReEncrypt", start, "event")),
	fsm.SetConfig{KeysPerRegion: ptr[uint32](1000), AliasesPerKey: ptr[uint32](20), Throttle: throttle()},
	recordCredentials(signed("AKIAUSER", "kms", region, start+1234), signed("AROAEXAMPLE0000000001", "sts", "eu-west-1", start)),
	importMaterial(1, 1, true, start+30*day, "described"),
	deleteMaterial(1, 1),
	expireMaterial(1, 1, start+30*day),
	rotateImported(1, 1, start),
	replicate(region, "eu-west-1"),
	promote(region, "eu-west-1"),
	managedKey(1, "s3"),
}...)

// moreGoldens are more values of commands, by the suffixes of their files: fields
// that came later are optional.
var moreGoldens = map[string]fsm.Args{"-members": genesisWithMembers(), "-asymmetric": createSigningKey(1), "-service": createGrant(serviceGrant(1, 1))}

func genesisWithMembers() fsm.Genesis {
	g := genesis()
	g.Nodes[0].APIAddress, g.Nodes[0].Version, g.Nodes[0].CertIssuer = "127.0.0.1:8443", 2, [32]byte{7}
	a, k := authority(), gossipKeys()
	g.Authority, g.GossipKeys = &a, &k
	return g
}

func genesisWithConfig() fsm.Genesis {
	g := genesis()
	g.Config = &fsm.Config{KeysPerRegion: 1000, AliasesPerKey: 20}
	return g
}

var goldenMeta = fsm.Meta{
	Time: start, RequestID: "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
	Reads:    []fsm.Read{{Table: 8, ID: region + "/" + keyID(1), ModIndex: 900}, {Table: 11, ID: "absent"}},
	Audit:    []byte(`{"eventName":"CreateKey"}`),
	Recorded: []uint64{5, 70000},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, args := range goldens {
		covered[checkGolden(t, "", args)] = true
	}
	for suffix, args := range moreGoldens {
		checkGolden(t, suffix, args)
	}
	for _, c := range fsm.Registered() {
		if name := fmt.Sprintf("%02d-v%d.hex", c.Type, c.Version); !covered[name] {
			t.Errorf("command type %d version %d has no golden file", c.Type, c.Version)
		}
	}
}

// checkGolden compares the arguments with the golden file of their type and
// version, both ways, and returns the file's name.
func checkGolden(t *testing.T, suffix string, args fsm.Args) string {
	t.Helper()
	cmd := command(t, fsm.ReqKey{}, goldenMeta, args)
	name := fmt.Sprintf("%02d-v%d%s.hex", cmd.Type, cmd.Version, suffix)
	path := filepath.Join("testdata", "commands", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && *writeGolden {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(cmd.Body)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body := readHex(t, path)
	if !bytes.Equal(cmd.Body, body) {
		t.Errorf("%s: the encoding changed:\n got %x\nwant %x", name, cmd.Body, body)
	}
	cmd.Body = body
	meta, got, err := fsm.OpenCommand(cmd)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(meta, &goldenMeta, cmpopts.IgnoreUnexported(fsm.Read{})); diff != "" {
		t.Errorf("%s: meta -got+want:\n%s", name, diff)
	}
	if diff := cmp.Diff(reflect.ValueOf(got).Elem().Interface(), any(args), cmpopts.IgnoreUnexported(fsm.Tag{}, fsm.Rate{})); diff != "" {
		t.Errorf("%s: arguments -got+want:\n%s", name, diff)
	}
	return name
}

func readHex(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRegisterTwicePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "kmsd: ") {
			t.Errorf("registering twice: got %q, want a panic", p)
		}
	}()
	fsm.RegisterTwice()
}

// TestRegisterUnsupportedPanics: a command of a cluster version that the build does
// not say it supports would stop the build's own nodes.
func TestRegisterUnsupportedPanics(t *testing.T) {
	t.Parallel()
	for version, want := range map[uint32]bool{0: true, 1: false, fsm.NewestVersion + 1: true} {
		func() {
			defer func() {
				if p := recover(); (p != nil) != want {
					t.Errorf("registering for cluster version %d: panic %v, want one: %v", version, p, want)
				}
			}()
			fsm.RegisterSince(version)
		}()
	}
}

// TestSince: the commands of the first release came with cluster version 1. A later
// one raises the numbers here for its own commands alone.
func TestSince(t *testing.T) {
	t.Parallel()
	if fsm.OldestVersion != 1 || fsm.NewestVersion != 1 {
		t.Errorf("the build supports the cluster versions %d to %d, want 1 to 1", fsm.OldestVersion, fsm.NewestVersion)
	}
	for _, c := range fsm.Registered() {
		if got := c.Since(); got != 1 {
			t.Errorf("command type %d version %d came with cluster version %d, want 1", c.Type, c.Version, got)
		}
	}
	for _, unknown := range []fsm.Command{{Type: 60000, Version: 1}, {Type: fsm.TypePruneAudit, Version: 200}} {
		if got := unknown.Since(); got != 1<<32-1 {
			t.Errorf("unknown command %d version %d: cluster version %d, want one that is never reached", unknown.Type, unknown.Version, got)
		}
	}
}

// TestStrictDecoding feeds encodings of {1: …} maps that a lenient decoder would
// take.
func TestStrictDecoding(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, hex string
		ok        bool
	}{
		{"canonical", "a2010702636e2d61", true},
		{"trailing byte", "a2010702636e2d6100", false},
		{"truncated", "a2010702636e2d", false},
		{"duplicate key", "a30107010702636e2d61", false},
		{"unknown integer key", "a3010702636e2d610300", false},
		{"unknown text key", "a3010702636e2d61617800", false},
		{"keys out of order", "a202636e2d610107", false},
		{"number longer than needed", "a201180702636e2d61", false},
		{"indefinite map", "bf010702636e2d61ff", false},
		{"indefinite text", "a20107027f636e2d61ff", false},
		{"tag", "a201c00702636e2d61", false},
		{"float for integer", "a201f9470002636e2d61", false},
		{"negative for unsigned", "a2012602636e2d61", false},
		{"bytes for text", "a2010702436e2d61", false},
		{"not UTF-8", "a20107026381ff61", false},
		{"missing field", "a10107", false},
		{"null field", "a201f602636e2d61", false},
		{"array", "8207636e2d61", false},
		{"null", "f6", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		data, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		var got fsm.LeaderOpen
		err = fsm.Decode(data, &got)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, fsm.ErrUndecodable) {
			t.Errorf("%s: got error %v, want success %v", tt.name, err, tt.ok)
		}
		if tt.ok && got != (fsm.LeaderOpen{Term: 7, NodeID: "n-a"}) {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

// TestFatal: what cannot be interpreted changes nothing, stops the machine, and
// is not quoted.
func TestFatal(t *testing.T) {
	t.Parallel()
	good := command(t, fsm.ReqKey{1}, goldenMeta, fsm.PruneAudit{})
	altered := func(change func(*fsm.Command)) fsm.Command {
		c := good
		c.Body = bytes.Clone(good.Body)
		change(&c)
		return c
	}
	tests := []struct {
		name  string
		index uint64
		cmd   fsm.Command
		want  error
	}{
		{"unknown type", 3, altered(func(c *fsm.Command) { c.Type = 60000 }), fsm.ErrUnknownCommand},
		{"unknown version", 3, altered(func(c *fsm.Command) { c.Version = 2 }), fsm.ErrUnknownCommand},
		{"another command's body", 3, altered(func(c *fsm.Command) { c.Type = fsm.TypeLeaderOpen }), fsm.ErrUndecodable},
		{"truncated", 3, altered(func(c *fsm.Command) { c.Body = c.Body[:20] }), fsm.ErrUndecodable},
		{"trailing", 3, altered(func(c *fsm.Command) { c.Body = append(c.Body, 0) }), fsm.ErrUndecodable},
		{"too long", 3, altered(func(c *fsm.Command) { c.Body = make([]byte, fsm.MaxBody+1) }), fsm.ErrUndecodable},
		{"index repeated", 2, good, fsm.ErrInconsistent},
	}
	for _, tt := range tests {
		d := started(t, nil)
		d.ok(createKey(1))
		digest := d.Digest()
		r := d.Apply(tt.index, tt.cmd)
		if !errors.Is(r.Fatal, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, r.Fatal, tt.want)
		}
		if r.Fatal == nil || strings.Contains(r.Fatal.Error(), "CreateKey") || strings.Contains(r.Fatal.Error(), region) {
			t.Errorf("%s: the error %v quotes the entry", tt.name, r.Fatal)
		}
		if d.Digest() != digest || d.Index() != 2 {
			t.Errorf("%s: the state changed", tt.name)
		}
		if r := d.Apply(9, good); r.Fatal == nil || d.Index() != 2 {
			t.Errorf("%s: the machine went on", tt.name)
		}
		d.Skip(10)
		if d.Index() != 2 {
			t.Errorf("%s: the machine skipped on", tt.name)
		}
	}
}

// TestFatalInBatch publishes what came before.
func TestFatalInBatch(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	bad := command(t, fsm.ReqKey{}, fsm.Meta{}, fsm.PruneAudit{})
	bad.Type = 999
	cmds := []fsm.Command{
		command(t, fsm.ReqKey{}, fsm.Meta{Time: start}, createKey(1)), bad,
		command(t, fsm.ReqKey{}, fsm.Meta{Time: start}, createKey(2)),
	}
	r := d.ApplyBatch([]uint64{2, 3, 4}, cmds)
	if r[0].Fatal != nil || r[1].Fatal == nil || r[2].Fatal == nil {
		t.Fatalf("got %+v", r)
	}
	v := d.View()
	if _, ok := v.Key(region, keyID(1)); !ok || d.Index() != 2 {
		t.Errorf("the command before the fatal one: found %v at index %d, want it at 2", ok, d.Index())
	}
	if _, ok := v.Key(region, keyID(2)); ok {
		t.Error("a command after the fatal one was applied")
	}
}

// TestNewCommandRefuses what would stop every node.
func TestNewCommandRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*fsm.CreateKey)) fsm.Args {
		c := createKey(1)
		f(&c)
		return c
	}
	alter := func(f func(*fsm.Genesis)) fsm.Args {
		g := genesis()
		f(&g)
		return g
	}
	tests := []struct {
		name string
		meta fsm.Meta
		args fsm.Args
	}{
		{"not UTF-8", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.Description = "\xff" })},
		{"precondition not UTF-8", fsm.Meta{Reads: []fsm.Read{{Table: 8, ID: "\xff"}}}, createKey(1)},
		{"unknown table", fsm.Meta{Reads: []fsm.Read{{Table: 200, ID: "x"}}}, createKey(1)},
		{"no table", fsm.Meta{Reads: []fsm.Read{{Table: 0, ID: "x"}}}, createKey(1)},
		{"negative time", fsm.Meta{Time: -1}, createKey(1)},
		{"long request id", fsm.Meta{RequestID: strings.Repeat("x", 65)}, createKey(1)},
		{"too long", fsm.Meta{Audit: make([]byte, fsm.MaxBody)}, createKey(1)},
		{"key id", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.ID = "x" })},
		{"mrk mismatch", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.MultiRegion = true })},
		{"new replica", fsm.Meta{}, change(func(c *fsm.CreateKey) { *c = createMRK(); c.Key.Replica = true })},
		{"replica in the same Region", fsm.Meta{}, replicate(region, region)},
		{"promotion to the same Region", fsm.Meta{}, promote(region, region)},
		{"replica in no Region", fsm.Meta{}, replicate(region, "nowhere!")},
		{"indexed key", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.ModIndex = 3 })},
		{"no spec", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.Spec = "" })},
		{"policy hash", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Policy += " " })},
		{"foreign material", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Material.KeyID = keyID(2) })},
		{"no material", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Material = nil })},
		{"empty material", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Material.Sealed = nil })},
		{"disabled from the start", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.State = kms.Disabled })},
		{"a symmetric key's public key", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Material.Public = []byte("public") })},
		{"an HMAC key's public key", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.Spec, c.Material.Public = kms.HMAC256, []byte("public") })},
		{"no public key, RSA", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.Spec = kms.RSA2048 })},
		{"no public key, ML-KEM", fsm.Meta{}, change(func(c *fsm.CreateKey) { c.Key.Spec, c.Material.Public = kms.MLKEM768, []byte{} })},
		{"rotation to a public key", fsm.Meta{}, rotateToPublic()},
		{"alias name", fsm.Meta{}, createAlias("", 1)},
		{"alias name too long", fsm.Meta{}, createAlias(strings.Repeat("x", 251), 1)},
		{"alias account", fsm.Meta{}, fsm.DeleteAlias{Region: region, Name: "alias/x"}},
		{"state of no key", fsm.Meta{}, fsm.SetKeyState{Account: account, Region: region}},
		{"term 0", fsm.Meta{}, fsm.LeaderOpen{NodeID: "n"}},
		{"digest of nothing", fsm.Meta{}, fsm.HashCheck{PrevDigest: [32]byte{1}}},
		{"no cluster id", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.ClusterID = "" })},
		{"operator without account", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.Accounts = g.Accounts[1:] })},
		{"account id", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.Accounts[1].ID = "1" })},
		{"account twice", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.Accounts[1].ID = account })},
		{"access key of nobody", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.AccessKeys[0].Account = "999999999999" })},
		{"authority without key", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.Authority = &fsm.Authority{} })},
		{"gossip without keys", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.GossipKeys = &fsm.GossipKeys{} })},
		{"indexed account", fsm.Meta{}, alter(func(g *fsm.Genesis) { g.Accounts[0].ModIndex = 1 })},
	}
	for _, tt := range tests {
		if _, err := fsm.NewCommand(fsm.ReqKey{}, tt.meta, tt.args); err == nil {
			t.Errorf("%s: got no error", tt.name)
		}
	}
	waiting := createKey(1)
	waiting.Key.Origin, waiting.Key.State, waiting.Key.CurrentMaterial, waiting.Material = kms.OriginExternal, kms.PendingImport, "", nil
	if _, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, waiting); err != nil {
		t.Errorf("a key that waits for import: %v", err)
	}
}

func FuzzApply(f *testing.F) {
	for _, args := range append([]fsm.Args{genesisWithMembers(), createSigningKey(1)}, goldens...) {
		cmd := command(f, fsm.ReqKey{}, goldenMeta, args)
		f.Add(uint16(cmd.Type), cmd.Version, cmd.Body)
		cmd = command(f, fsm.ReqKey{}, fsm.Meta{Time: start}, args)
		f.Add(uint16(cmd.Type), cmd.Version, cmd.Body)
	}
	f.Fuzz(func(t *testing.T, typ uint16, version uint8, body []byte) {
		d := started(t, nil)
		d.ok(createKey(1))
		d.ok(createAlias("app/one", 1))
		d.ok(tokenCreate("golden", 1))
		digest := d.Digest()
		cmd := fsm.Command{Type: fsm.Type(typ), Version: version, Body: body}
		r := d.Apply(5, cmd)
		if (r.Fatal != nil || r.Conflict) && d.Digest() != digest {
			t.Errorf("%+v changed the state", r)
		}
		if r.Fatal != nil {
			return
		}
		meta, args, err := fsm.OpenCommand(cmd)
		if err != nil {
			t.Fatalf("applied, but does not open: %v", err)
		}
		if again, err := fsm.NewCommand(fsm.ReqKey{}, *meta, args); err != nil || !bytes.Equal(again.Body, body) {
			t.Errorf("encodes again to %x (%v), want %x", again.Body, err, body)
		}
	})
}
