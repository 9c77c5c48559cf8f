package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// populated returns a machine with records in every table.
func populated(t testing.TB) *driver {
	t.Helper()
	d := populatedGrants(t)
	for name, n := range d.TableSizes() {
		if n == 0 {
			t.Errorf("table %s is not covered", name)
		}
	}
	return d
}

// populatedCredentials adds the last uses of credentials.
func populatedCredentials(t testing.TB) *driver {
	t.Helper()
	d := populatedIAM(t)
	d.ok(recordCredentials(signed("AKIAUSER", "kms", region, start), signed(identity(fsm.KindRole, 1).ID, "sts", "eu-west-1", start+1)))
	return d
}

// populatedIAM adds identities and what hangs on them.
func populatedIAM(t testing.TB) *driver {
	t.Helper()
	d := populatedUsage(t)
	populateIAM(d)
	return d
}

// populatedUsage adds the last uses of keys.
func populatedUsage(t testing.TB) *driver {
	t.Helper()
	d := populatedLife(t)
	d.ok(recordUsage(used(1, "Encrypt", start, "e1"), used(4, "Decrypt", start+1, "e2")))
	return d
}

// populatedLife adds keys that rotate and that wait for their deletion.
func populatedLife(t testing.TB) *driver {
	t.Helper()
	d := populatedMembers(t)
	d.ok(rotateEvery(1, 90))
	d.ok(onDemand(1))
	d.ok(rotate(1, 1, kms.RotationOnDemand, d.time))
	d.ok(scheduleDeletion(4, d.time+1+7*day))
	return d
}

// populatedMembers adds members, tokens and authorities.
func populatedMembers(t testing.TB) *driver {
	t.Helper()
	d := populatedFirst(t)
	d.ok(tokenCreate("spent", 1))
	d.ok(tokenCreate("token", 5))
	d.ok(nodeAdmit("spent", "node-c", 3))
	d.ok(nodeAdmit("token", "node-d", 4))
	d.ok(fsm.NodeRenew{ID: "node-d", NextSPKI: [32]byte{5}})
	d.ok(nodeRemove("node-b"))
	d.ok(fsm.SetAuthority{Authority: rotating()})
	d.ok(fsm.SetGossipKeys{GossipKeys: gossipKeys()})
	d.ok(resetRoot("AKIAI44QH8DHBEXAMPLE"))
	d.ok(fsm.VersionBump{Version: 2})
	return d
}

// populatedFirst returns a machine with records in every table of the first
// command set.
func populatedFirst(t testing.TB) *driver {
	t.Helper()
	d := started(t, nil)
	for i := 1; i <= 5; i++ {
		d.with(fsm.ReqKey{byte(i)}, fsm.Meta{RequestID: "request", Audit: []byte("record")}, createKey(i))
		d.with(fsm.ReqKey{}, fsm.Meta{}, createAlias(string(rune('a'+i)), i))
	}
	d.with(fsm.ReqKey{99}, fsm.Meta{Audit: []byte("refused")}, setState(77, true))
	d.ok(fsm.HashCheck{})
	d.ok(setState(2, false))
	d.ok(fsm.DeleteAlias{Account: account, Region: region, Name: "alias/c"})
	return d
}

func persist(t testing.TB, m *fsm.Machine) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := m.Snapshot().Persist(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func restore(t testing.TB, data []byte) *fsm.Machine {
	t.Helper()
	m := fsm.New()
	if err := m.Restore(iotest.HalfReader(bytes.NewReader(data))); err != nil {
		t.Fatal(err)
	}
	return m
}

// equal compares two machines in everything that can be seen.
func equal(t testing.TB, got, want *fsm.Machine) {
	t.Helper()
	if diff := cmp.Diff(got.TableDigests(), want.TableDigests()); diff != "" {
		t.Errorf("tables: -got+want:\n%s", diff)
	}
	if got.Digest() != want.Digest() || got.Index() != want.Index() {
		t.Errorf("digest %x at %d, want %x at %d", got.Digest(), got.Index(), want.Digest(), want.Index())
	}
	gi, gd := got.Check()
	wi, wd := want.Check()
	if gi != wi || gd != wd {
		t.Errorf("check %x at %d, want %x at %d", gd, gi, wd, wi)
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	d := populated(t)
	data := persist(t, d.Machine)
	m := restore(t, data)
	equal(t, m, d.Machine)
	if diff := cmp.Diff(persist(t, m), data); diff != "" {
		t.Errorf("persisted again: -got+want:\n%s", diff)
	}
	if diff := cmp.Diff(m.View().PendingAudit(0, 100), d.View().PendingAudit(0, 100)); diff != "" {
		t.Errorf("pending audit: -got+want:\n%s", diff)
	}
	empty := restore(t, persist(t, fsm.New()))
	equal(t, empty, fsm.New())
}

// TestSnapshotGolden reads snapshots of format 1 as earlier builds wrote them. A
// state that uses nothing newer is still written as it was then.
func TestSnapshotGolden(t *testing.T) {
	t.Parallel()
	checkSnapshot(t, "snapshot-1.hex", populatedFirst(t))
	checkSnapshot(t, "snapshot-1-members.hex", populatedMembers(t))
	checkSnapshot(t, "snapshot-1-life.hex", populatedLife(t))
	checkSnapshot(t, "snapshot-1-usage.hex", populatedUsage(t))
	checkSnapshot(t, "snapshot-1-iam.hex", populatedIAM(t))
	checkSnapshot(t, "snapshot-1-credentials.hex", populatedCredentials(t))
	checkSnapshot(t, "snapshot-1-grants.hex", populated(t))
	asymmetric := started(t, nil)
	asymmetric.ok(createSigningKey(1))
	checkSnapshot(t, "snapshot-1-asymmetric.hex", asymmetric)
	related := started(t, nil)
	related.ok(createMRK())
	related.ok(replicate(region, "eu-west-1"))
	checkSnapshot(t, "snapshot-1-multiregion.hex", related)
	managed := started(t, nil)
	managed.ok(managedKey(1, "s3"))
	checkSnapshot(t, "snapshot-1-managed.hex", managed)
	imported := started(t, nil)
	imported.ok(createImported(1))
	imported.ok(importMaterial(1, 1, true, 0, "the first"))
	imported.ok(importMaterial(1, 2, true, start+30*day, ""))
	imported.ok(deleteMaterial(1, 1))
	checkSnapshot(t, "snapshot-1-import.hex", imported)
	checkSnapshot(t, "snapshot-1-multiimport.hex", populatedImports(t))
	settings := started(t, nil)
	settings.ok(fsm.SetConfig{AliasesPerKey: ptr[uint32](20), Throttle: throttle()})
	checkSnapshot(t, "snapshot-1-settings.hex", settings)
}

func checkSnapshot(t *testing.T, name string, d *driver) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && *writeGolden {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(persist(t, d.Machine))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := readHex(t, path)
	equal(t, restore(t, data), d.Machine)
	if !bytes.Equal(persist(t, d.Machine), data) {
		t.Errorf("%s: the encoding of snapshots changed", name)
	}
}

// TestRestoreRefuses damaged snapshots, and keeps the old state. The steps are
// coprime to the usual sizes, so that every kind of field is hit.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	data := persist(t, populated(t).Machine)
	old := started(t, nil)
	digest := old.Digest()
	check := func(what string, at int, damaged []byte) {
		err := old.Restore(bytes.NewReader(damaged))
		if !errors.Is(err, fsm.ErrUndecodable) && !errors.Is(err, fsm.ErrInconsistent) {
			t.Errorf("%s at byte %d: got %v", what, at, err)
		}
	}
	for i := 0; i < len(data); i += 7 {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1 << (i % 8)
		check("flipped bit", i, damaged)
	}
	for i := 0; i < len(data); i += 11 {
		check("cut", i, data[:i])
	}
	check("trailing byte", len(data), append(bytes.Clone(data), 0))
	broken := errors.New("broken disk")
	if err := old.Restore(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("read error: got %v, want it wrapped", err)
	}
	late := iotest.DataErrReader(&failingReader{bytes.NewReader(data), broken})
	if err := old.Restore(late); !errors.Is(err, broken) {
		t.Errorf("error instead of the end: got %v, want it wrapped", err)
	}
	if old.Digest() != digest || old.Index() != 1 {
		t.Error("a refused snapshot changed the state")
	}
	old.ok(createKey(1))
}

// failingReader returns err where its reader ends, as a stream does whose last
// chunk does not verify.
type failingReader struct {
	r   *bytes.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(p)
}

func TestPersistReportsErrors(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	err := populated(t).Snapshot().Persist(writerFunc(func([]byte) (int, error) { return 0, full }))
	if !errors.Is(err, full) {
		t.Errorf("got %v, want it wrapped", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRestoreGoesOn: a restored machine takes the entries that follow, and only
// those.
func TestRestoreGoesOn(t *testing.T) {
	t.Parallel()
	d := populated(t)
	m := restore(t, persist(t, d.Machine))
	cmd := command(t, fsm.ReqKey{50}, fsm.Meta{Time: d.time}, createKey(20))
	for _, machine := range []*fsm.Machine{m, d.Machine} {
		if r := machine.Apply(d.Index()+1, cmd); r.Fatal != nil || r.Err != nil {
			t.Fatalf("got %+v", r)
		}
		if machine == d.Machine {
			break
		}
		if r := machine.Apply(3, cmd); !errors.Is(r.Fatal, fsm.ErrInconsistent) {
			t.Errorf("an old index: got %v", r.Fatal)
		}
	}
	equal(t, m, d.Machine)
	if err := m.Restore(bytes.NewReader(persist(t, d.Machine))); err != nil {
		t.Fatal(err)
	}
	if r := m.Apply(d.Index()+1, command(t, fsm.ReqKey{}, fsm.Meta{}, createKey(21))); r.Fatal != nil {
		t.Errorf("a stopped machine after Restore: %v", r.Fatal)
	}
}

func TestHashCheck(t *testing.T) {
	t.Parallel()
	a, b := started(t, nil), started(t, nil)
	both := func(args fsm.Args) (fsm.Result, fsm.Result) {
		t.Helper()
		cmd := command(t, fsm.ReqKey{}, fsm.Meta{Time: start}, args)
		index := a.Index() + 1
		return a.Apply(index, cmd), b.Apply(index, cmd)
	}
	if i, d := a.Check(); i != 0 || d != [32]byte{} {
		t.Errorf("Check before the first: got %d %x", i, d)
	}
	both(createKey(1))
	both(fsm.HashCheck{})
	digest := a.Digest()
	both(setState(1, false))
	both(fsm.PruneAudit{})
	index, sum := a.Check()
	if index != 3 || sum != digest {
		t.Errorf("Check: got %x at %d, want %x at 3", sum, index, digest)
	}
	if ra, rb := both(fsm.HashCheck{PrevIndex: index, PrevDigest: sum}); ra.Fatal != nil || rb.Fatal != nil {
		t.Fatalf("equal states: %v, %v", ra.Fatal, rb.Fatal)
	}
	// Checks of two leaders cross: nothing to compare with.
	if ra, rb := both(fsm.HashCheck{PrevIndex: index, PrevDigest: [32]byte{1}}); ra.Fatal != nil || rb.Fatal != nil {
		t.Fatalf("crossed checks: %v, %v", ra.Fatal, rb.Fatal)
	}
	k := createKey(1).Key
	b.OverwriteKey(k)
	a.Skip(b.Index())
	both(fsm.HashCheck{})
	m := restore(t, persist(t, b.Machine)) // the memory of the check survives a snapshot
	index, sum = a.Check()
	ra, rb := both(fsm.HashCheck{PrevIndex: index, PrevDigest: sum})
	if ra.Fatal != nil || !errors.Is(rb.Fatal, fsm.ErrDiverged) {
		t.Errorf("different states: got %v, %v, want the second to have diverged", ra.Fatal, rb.Fatal)
	}
	cmd := command(t, fsm.ReqKey{}, fsm.Meta{Time: start}, fsm.HashCheck{PrevIndex: index, PrevDigest: sum})
	if r := m.Apply(a.Index(), cmd); !errors.Is(r.Fatal, fsm.ErrDiverged) {
		t.Errorf("different states, restored: got %v", r.Fatal)
	}
}

// FuzzRestore completes what it is fed with the right checksum, so that the
// parser is reached. Tables may be missing, as in a snapshot of an older build;
// therefore what was restored need not persist to the same bytes.
func FuzzRestore(f *testing.F) {
	for _, m := range []*fsm.Machine{populated(f).Machine, fsm.New()} {
		data := persist(f, m)
		f.Add(data[:len(data)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sum := sha256.Sum256(data)
		m := fsm.New()
		if err := m.Restore(bytes.NewReader(append(bytes.Clone(data), sum[:]...))); err != nil {
			if m.Index() != 0 || m.Digest() != fsm.New().Digest() {
				t.Error("a refused snapshot changed the state")
			}
			return
		}
		equal(t, restore(t, persist(t, m)), m)
	})
}
