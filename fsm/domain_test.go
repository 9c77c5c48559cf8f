package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

func TestGenesisOnce(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	v := d.View()
	if c := v.Meta(); c == nil || c.ClusterID != genesis().ClusterID || c.OperatorAccount != account || c.ClusterVersion != 1 {
		t.Errorf("Meta: got %+v", c)
	}
	if k, ok := v.AccessKey("AKIAIOSFODNN7EXAMPLE"); !ok || k.Account != account || string(k.Secret) != "sealed secret" || k.ModIndex != 1 {
		t.Errorf("AccessKey: got %+v", k)
	}
	if n := v.Nodes(); len(n) != 2 || n[0].ID != "node-a" || n[1].ID != "node-b" {
		t.Errorf("Nodes: got %v, want node-a and node-b", n)
	}
	if k := v.Keyring(); len(k) != 1 || k[0].Term != 1 {
		t.Errorf("Keyring: got %v, want term 1", k)
	}
	d.refused(genesis(), kms.CodeInvalidState, "The cluster already exists.")
}

// TestGenesisAfterOthers applies commands before the genesis, whose records must
// survive the change of seed.
func TestGenesisAfterOthers(t *testing.T) {
	t.Parallel()
	d := &driver{Machine: fsm.New(), t: t, time: start}
	d.with(fsm.ReqKey{7}, fsm.Meta{Audit: []byte("record")}, fsm.LeaderOpen{Term: 1, NodeID: "node-a"})
	d.ok(genesis())
	if r := d.with(fsm.ReqKey{7}, fsm.Meta{}, fsm.LeaderOpen{Term: 1, NodeID: "node-a"}); r.Repeat == nil || r.Index != 1 {
		t.Errorf("repeat after genesis: got %+v, want a repeat of index 1", r)
	}
	if p := d.View().PendingAudit(0, 10); len(p) != 1 || p[0].Index != 1 {
		t.Errorf("pending audit after genesis: got %v, want the record of index 1", p)
	}
	if v := d.View(); len(v.Nodes()) != 2 {
		t.Errorf("nodes: got %v, want two", v.Nodes())
	}
}

func TestCreateKey(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	index := d.ok(createKey(1))
	v := d.View()
	k, ok := v.Key(region, keyID(1))
	if !ok || k.State != kms.Enabled || k.Description != "key 1" || k.ModIndex != index || k.ARN() != keyARN(1) {
		t.Fatalf("Key: got %+v", k)
	}
	for _, id := range []string{k.CurrentMaterial, k.CurrentMaterial[:32]} {
		if m, ok := v.Material(k.ID, id); !ok || string(m.Sealed) != "sealed material" {
			t.Errorf("Material(%q): got %+v", id, m)
		}
	}
	if text, ok := v.PolicyText(k.PolicyHash); !ok || text != policy1 {
		t.Errorf("PolicyText: got %q, want %q", text, policy1)
	}
	if tags := v.Tags(region, k.ID); len(tags) != 2 || tags[0].Key != "team" || tags[0].Value != "payments" {
		t.Errorf("Tags: got %v", tags)
	}
	if _, ok := v.Key("eu-west-1", keyID(1)); ok {
		t.Error("the key is found in another Region")
	}
}

func TestCreateKeyTakenID(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	again := createKey(1)
	again.Key.Account = "444455556666"
	digest := d.Digest()
	if r := d.with(fsm.ReqKey{1}, fsm.Meta{Audit: []byte("record")}, again); !r.Conflict || r.Err != nil {
		t.Errorf("taken id: got %+v, want a conflict", r)
	}
	if d.Digest() != digest {
		t.Error("a conflict changed the state")
	}
}

func TestCreateKeyLimits(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{KeysPerRegion: 2})
	many := createKey(1)
	many.Tags = nil
	for i := range 51 {
		many.Tags = append(many.Tags, fsm.Tag{Key: fmt.Sprint(i)})
	}
	d.refused(many, kms.CodeTag, "Too many tags")
	long := createKey(1)
	long.Policy = strings.Repeat(" ", 32769)
	long.Key.PolicyHash = sha256.Sum256([]byte(long.Policy))
	d.refused(long, kms.CodeLimitExceeded, "The key policy exceeds the maximum size allowed.")
	many.Tags, long.Policy = many.Tags[:50], long.Policy[:32768]
	long.Key = createKey(2).Key
	long.Material = createKey(2).Material
	long.Key.PolicyHash = sha256.Sum256([]byte(long.Policy))
	d.ok(many)
	d.ok(long)

	const quota = "You have exceeded the number of KMS keys allowed for this account and Region."
	d.refused(createKey(3), kms.CodeLimitExceeded, quota)
	managed := createKey(4)
	managed.Key.Manager = kms.ManagerAWS
	d.ok(managed) // AWS managed keys do not count
	elsewhere := createKey(5)
	elsewhere.Key.Region = "eu-west-1"
	d.ok(elsewhere)
	other := createKey(6)
	other.Key.Account = "444455556666"
	d.ok(other)
}

// TestDefaultKeyQuota fills a Region up to AWS's number.
func TestDefaultKeyQuota(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.BulkKeys(createKey(1).Key, 99_999, keyID)
	d.ok(createKey(99_999))
	d.refused(createKey(100_000), kms.CodeLimitExceeded, "You have exceeded the number of KMS keys allowed for this account and Region.")
}

// fill creates keys 1 to n in batches.
func fill(t testing.TB, d *driver, n int) {
	t.Helper()
	const batch = 1000
	for i := 0; i < n; i += batch {
		var indexes []uint64
		var cmds []fsm.Command
		for j := i; j < min(i+batch, n); j++ {
			k := createKey(j + 1)
			k.Tags = nil
			cmds = append(cmds, command(t, fsm.ReqKey{}, fsm.Meta{Time: d.time}, k))
			indexes = append(indexes, d.Index()+uint64(len(cmds)))
		}
		for _, r := range d.ApplyBatch(indexes, cmds) {
			if r.Fatal != nil || r.Err != nil || r.Conflict {
				t.Fatalf("CreateKey: %+v", r)
			}
		}
	}
}

// TestSetKeyState is the row "DisableKey, EnableKey" of the matrix in "Key states
// of AWS KMS keys".
func TestSetKeyState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state kms.KeyState
		text  string // empty: success
	}{
		{kms.Enabled, ""},
		{kms.Disabled, ""},
		{kms.PendingDeletion, keyARN(1) + " is pending deletion."},
		{kms.PendingReplicaDeletion, keyARN(1) + " is pending replica deletion."},
		{kms.PendingImport, keyARN(1) + " is pending import."},
		{kms.Creating, keyARN(1) + " is creating."},
		{kms.Updating, keyARN(1) + " is updating."},
	}
	for _, tt := range tests {
		for _, enable := range []bool{true, false} {
			d := started(t, nil)
			k := createKey(1).Key
			k.State = tt.state
			d.OverwriteKey(k)
			if tt.text != "" {
				d.refused(setState(1, enable), "KMSInvalidStateException", tt.text)
				continue
			}
			d.ok(setState(1, enable))
			want := kms.Disabled
			if enable {
				want = kms.Enabled
			}
			if k, _ := d.View().Key(region, keyID(1)); k.State != want {
				t.Errorf("%s, enable %v: got %s, want %s", tt.state, enable, k.State, want)
			}
		}
	}
}

func TestSetKeyStateRefusals(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{KeysPerRegion: 1})
	d.refused(setState(1, true), "NotFoundException", "Key '"+keyARN(1)+"' does not exist")
	d.ok(createKey(1))
	d.ok(setState(1, false))
	d.ok(setState(1, true)) // at the quota, not past it
	foreign := setState(1, true)
	foreign.Account = "444455556666"
	d.refused(foreign, "NotFoundException", "Key 'arn:aws:kms:us-east-1:444455556666:key/"+keyID(1)+"' does not exist")

	second := createKey(2).Key
	second.State = kms.Disabled
	d.OverwriteKey(second)
	d.refused(setState(2, true), "LimitExceededException", "You have exceeded the number of KMS keys allowed for this account and Region.")
	d.ok(setState(1, true)) // is enabled already
	d.ok(setState(1, false))
}

// TestSetKeyStateSame keeps the record, and with it caches and other requests'
// preconditions, when nothing changes.
func TestSetKeyStateSame(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	index := d.ok(createKey(1))
	d.ok(setState(1, true))
	if k, _ := d.View().Key(region, keyID(1)); k.ModIndex != index {
		t.Errorf("ModIndex after enabling an enabled key: got %d, want %d", k.ModIndex, index)
	}
}

func TestCreateAlias(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{AliasesPerKey: 2})
	d.refused(createAlias("a", 1), "NotFoundException", "Key '"+keyARN(1)+"' does not exist")
	d.ok(createKey(1))
	d.ok(createAlias("a", 1))
	const exists = "An alias with the name " + aliasARN + "a already exists"
	d.refused(createAlias("a", 1), "AlreadyExistsException", exists)
	d.ok(createAlias("b", 1))
	d.refused(createAlias("a", 1), "AlreadyExistsException", exists)
	d.refused(createAlias("c", 1), "LimitExceededException", "You have exceeded the number of aliases allowed for this KMS key.")
	foreign := createAlias("a", 1)
	foreign.Account = "444455556666"
	d.refused(foreign, "NotFoundException", "Key 'arn:aws:kms:us-east-1:444455556666:key/"+keyID(1)+"' does not exist")
	a, ok := d.View().Alias(account, region, "alias/a")
	if !ok || a.KeyID != keyID(1) || a.Created == 0 || a.Created != a.Updated || a.ARN() != aliasARN+"a" {
		t.Errorf("Alias: got %+v", a)
	}
}

// TestAliasKeyStates are the rows of CreateAlias and UpdateAlias in the matrix.
func TestAliasKeyStates(t *testing.T) {
	t.Parallel()
	for state, text := range map[kms.KeyState]string{
		kms.Enabled: "", kms.Disabled: "", kms.PendingImport: "", kms.Creating: "", kms.Updating: "",
		kms.PendingDeletion:        keyARN(2) + " is pending deletion.",
		kms.PendingReplicaDeletion: keyARN(2) + " is pending replica deletion.",
	} {
		d := started(t, nil)
		d.ok(createKey(1))
		d.ok(createAlias("old", 1))
		k := createKey(2).Key
		k.State = state
		d.OverwriteKey(k)
		if text == "" {
			d.ok(createAlias("a", 2))
			d.ok(fsm.UpdateAlias(createAlias("old", 2)))
			continue
		}
		d.refused(createAlias("a", 2), "KMSInvalidStateException", text)
		d.refused(fsm.UpdateAlias(createAlias("old", 2)), "KMSInvalidStateException", text)
	}
}

func TestDefaultAliasQuota(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	d.ok(createKey(1))
	d.ok(createKey(2))
	for i := range 50 {
		d.ok(createAlias(fmt.Sprint(i), 1))
	}
	d.ok(createAlias("moving", 2))
	const text = "You have exceeded the number of aliases allowed for this KMS key."
	d.refused(createAlias("50", 1), "LimitExceededException", text)
	d.refused(fsm.UpdateAlias(createAlias("moving", 1)), "LimitExceededException", text)
	d.ok(fsm.UpdateAlias(createAlias("7", 1))) // the same key: no alias more
	d.ok(fsm.DeleteAlias{Account: account, Region: region, Name: "alias/7"})
	d.ok(fsm.UpdateAlias(createAlias("moving", 1)))
}

func TestUpdateAlias(t *testing.T) {
	t.Parallel()
	d := started(t, nil)
	for i := 1; i <= 2; i++ {
		d.ok(createKey(i))
	}
	d.refused(fsm.UpdateAlias(createAlias("a", 2)), "NotFoundException", "Alias "+aliasARN+"a is not found.")
	d.ok(createAlias("a", 1))
	d.refused(fsm.UpdateAlias(createAlias("a", 3)), "NotFoundException", "Key '"+keyARN(3)+"' does not exist")
	before, _ := d.View().Alias(account, region, "alias/a")
	d.ok(fsm.UpdateAlias(createAlias("a", 2)))
	after, _ := d.View().Alias(account, region, "alias/a")
	if after.KeyID != keyID(2) || after.Created != before.Created || after.Updated <= before.Updated {
		t.Errorf("after the move: got %+v, before %+v", after, before)
	}
	v := d.View()
	if l, _ := v.ListKeyAliases(account, region, keyID(1), "", 10); len(l) != 0 {
		t.Errorf("aliases of the old key: got %v, want none", l)
	}
	if l, _ := v.ListKeyAliases(account, region, keyID(2), "", 10); len(l) != 1 || l[0] != after {
		t.Errorf("aliases of the new key: got %v, want the alias", l)
	}
	d.ok(fsm.UpdateAlias(createAlias("a", 2)))
	if same, _ := d.View().Alias(account, region, "alias/a"); same.Updated <= after.Updated || same.Created != before.Created {
		t.Errorf("the same target: got %+v, want a later update", same)
	}
	if before.KeyID != keyID(1) {
		t.Error("a record that was handed out changed")
	}
}

// TestUpdateAliasClass: the keys must agree in type and usage; specs may differ.
func TestUpdateAliasClass(t *testing.T) {
	t.Parallel()
	type kind struct {
		spec  kms.KeySpec
		usage kms.KeyUsage
	}
	symmetric := kind{kms.SymmetricDefault, kms.EncryptDecrypt}
	hmac256, hmac512 := kind{"HMAC_256", kms.GenerateVerifyMac}, kind{"HMAC_512", kms.GenerateVerifyMac}
	rsaEncrypt, rsaSign := kind{"RSA_2048", kms.EncryptDecrypt}, kind{"RSA_4096", kms.SignVerify}
	eccSign, eccAgree := kind{"ECC_NIST_P256", kms.SignVerify}, kind{"ECC_NIST_P256", kms.KeyAgreement}
	tests := []struct {
		from, to kind
		ok       bool
	}{
		{symmetric, symmetric, true}, {hmac256, hmac512, true}, {rsaSign, eccSign, true},
		{symmetric, rsaEncrypt, false}, {rsaEncrypt, symmetric, false}, {symmetric, hmac256, false},
		{hmac256, symmetric, false}, {rsaEncrypt, rsaSign, false}, {eccSign, eccAgree, false},
	}
	for _, tt := range tests {
		d := started(t, nil)
		for i, kind := range []kind{tt.from, tt.to} {
			k := createKey(i + 1).Key
			k.Spec, k.Usage = kind.spec, kind.usage
			d.OverwriteKey(k)
		}
		d.ok(createAlias("a", 1))
		if tt.ok {
			d.ok(fsm.UpdateAlias(createAlias("a", 2)))
			continue
		}
		d.refused(fsm.UpdateAlias(createAlias("a", 2)), "ValidationException",
			"Alias "+aliasARN+"a cannot be changed from "+keyARN(1)+" to "+keyARN(2)+
				". The current and new key must be the same type and have the same key usage.")
	}
}

// TestDeleteAlias ignores the key's state.
func TestDeleteAlias(t *testing.T) {
	t.Parallel()
	del := fsm.DeleteAlias{Account: account, Region: region, Name: "alias/a"}
	for _, state := range []kms.KeyState{kms.Enabled, kms.Disabled, kms.PendingDeletion, kms.PendingReplicaDeletion,
		kms.PendingImport, kms.Creating, kms.Updating} {
		d := started(t, nil)
		d.refused(del, "NotFoundException", "Alias "+aliasARN+"a is not found.")
		d.ok(createKey(1))
		d.ok(createAlias("a", 1))
		k := createKey(1).Key
		k.State = state
		d.OverwriteKey(k)
		d.ok(del)
		v := d.View()
		if _, ok := v.Alias(account, region, "alias/a"); ok {
			t.Errorf("%s: the alias is still there", state)
		}
		if l, _ := v.ListAliases(account, region, "", 10); len(l) != 0 {
			t.Errorf("%s: the alias is still listed", state)
		}
	}
}
