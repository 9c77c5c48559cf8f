package fsm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	policy1 = `{"Version":"2012-10-17","Statement":[]}`
	// start is a leader's clock, in milliseconds since 1970.
	start = int64(1_900_000_000_000)
)

// keyID returns the i-th key id of the tests.
func keyID(i int) string { return fmt.Sprintf("1234abcd-12ab-34cd-56ef-%012x", i) }

// keyARN is typed out rather than computed by the package under test.
func keyARN(i int) string {
	return "arn:aws:kms:us-east-1:111122223333:key/" + keyID(i)
}

const aliasARN = "arn:aws:kms:us-east-1:111122223333:alias/"

func materialID(keyID string) string {
	h := sha256.Sum256([]byte(keyID))
	return hex.EncodeToString(h[:])
}

func genesis() fsm.Genesis {
	return fsm.Genesis{
		ClusterID: "5d0b6ad2-6d5c-4c57-9b3e-7b8a4f0d0001", ClusterVersion: 1, OperatorAccount: account,
		RecoveryRecipient: "age1recipient",
		Accounts: []fsm.Account{
			{ID: account, Created: start, Status: fsm.StatusActive},
			{ID: "444455556666", Created: start, Status: fsm.StatusActive},
		},
		AccessKeys: []fsm.AccessKey{{ID: "AKIAIOSFODNN7EXAMPLE", Account: account, Type: kms.PrincipalRoot, UniqueID: account,
			Status: fsm.StatusActive, Created: start, SecretTerm: 1, Secret: []byte("sealed secret")}},
		Nodes: []fsm.NodeRecord{
			{ID: "node-b", SPKI: [32]byte{2}, Address: "127.0.0.1:2", Added: start},
			{ID: "node-a", SPKI: [32]byte{1}, NextSPKI: [32]byte{9}, Address: "127.0.0.1:1", Added: start},
		},
		Keyring: []fsm.KeyringTerm{{Term: 1, Wrapped: []byte("wrapped"), Created: start}},
	}
}

// createKey returns the arguments of the i-th key of the tests.
func createKey(i int) fsm.CreateKey {
	id := keyID(i)
	return fsm.CreateKey{
		Key: fsm.Key{Account: account, Region: region, ID: id, Created: start, Description: fmt.Sprintf("key %d", i),
			Spec: kms.SymmetricDefault, Usage: kms.EncryptDecrypt, Origin: kms.OriginKMS, Manager: kms.ManagerCustomer,
			State: kms.Enabled, PolicyHash: sha256.Sum256([]byte(policy1)), CurrentMaterial: materialID(id)},
		Material: &fsm.Material{KeyID: id, ID: materialID(id), Created: start, Sealed: []byte("sealed material")},
		Policy:   policy1,
		Tags:     []fsm.Tag{{Key: "team", Value: "payments"}, {Key: "env", Value: ""}},
	}
}

// createSigningKey returns the arguments of the i-th key as an asymmetric one.
func createSigningKey(i int) fsm.CreateKey {
	c := createKey(i)
	c.Key.Spec, c.Key.Usage = kms.ECCNistP256, kms.SignVerify
	c.Material.Public = []byte("public key")
	return c
}

// rotateToPublic returns a rotation that no key has.
func rotateToPublic() fsm.RotateKey {
	r := rotate(1, 1, kms.RotationAutomatic, start+90*day)
	r.Material.Public = []byte("public key")
	return r
}

func createAlias(name string, key int) fsm.CreateAlias {
	return fsm.CreateAlias{Account: account, Region: region, Name: "alias/" + name, KeyID: keyID(key)}
}

func setState(key int, enabled bool) fsm.SetKeyState {
	return fsm.SetKeyState{Account: account, Region: region, KeyID: keyID(key), Enabled: enabled}
}

// tokenCreate returns a join token of one hour.
func tokenCreate(id string, uses uint32) fsm.TokenCreate {
	return fsm.TokenCreate{Token: fsm.JoinToken{ID: id, PublicKey: [32]byte{8}, Created: start, Expires: start + 3_600_000, Uses: uses,
		CIDRs: []string{"10.0.0.0/8", "fd00::/8"}, CreatedBy: "arn:aws:iam::111122223333:root"}}
}

// nodeAdmit returns the admission of a node whose key is the byte.
func nodeAdmit(token, id string, key byte) fsm.NodeAdmit {
	return fsm.NodeAdmit{TokenID: token, Node: fsm.NodeRecord{ID: id, SPKI: [32]byte{key}, Address: id + ".example:7777",
		APIAddress: id + ".example:8443", Version: 2, CertIssuer: [32]byte{6}}}
}

func nodeRemove(id string) fsm.NodeRemove {
	return fsm.NodeRemove{ID: id, Statement: []byte("statement of " + id)}
}

func authority() fsm.Authority {
	return fsm.Authority{
		Current: fsm.AuthorityKey{Cert: []byte("certificate 1"), SealedKey: []byte("sealed key 1")},
		Trusted: [][]byte{[]byte("certificate 1")},
		API:     fsm.AuthorityKey{Cert: []byte("API certificate"), SealedKey: []byte("sealed API key")},
	}
}

// rotating returns authorities of which the second is about to take over.
func rotating() fsm.Authority {
	a := authority()
	a.Next = &fsm.AuthorityKey{Cert: []byte("certificate 2"), SealedKey: []byte("sealed key 2")}
	a.Trusted = append(a.Trusted, a.Next.Cert)
	return a
}

func gossipKeys() fsm.GossipKeys {
	return fsm.GossipKeys{Keys: [][]byte{[]byte("sealed 1"), []byte("sealed 2")}, Primary: 1}
}

// resetRoot returns a new root credential of the operator account.
func resetRoot(id string) fsm.ResetRootCredential {
	return fsm.ResetRootCredential{Account: account, AccessKey: fsm.AccessKey{ID: id, Account: account, Type: kms.PrincipalRoot,
		UniqueID: account, Status: fsm.StatusActive, Created: start, SecretTerm: 1, Secret: []byte("another sealed secret")}}
}

func command(t testing.TB, key fsm.ReqKey, meta fsm.Meta, args fsm.Args) fsm.Command {
	t.Helper()
	cmd, err := fsm.NewCommand(key, meta, args)
	if err != nil {
		t.Fatalf("NewCommand(%T): %v", args, err)
	}
	return cmd
}

// driver feeds a machine with commands at ascending indexes.
type driver struct {
	*fsm.Machine
	t    testing.TB
	time int64
}

// started returns a machine with a genesis that carries the settings.
func started(t testing.TB, config *fsm.Config) *driver {
	t.Helper()
	d := &driver{Machine: fsm.New(), t: t, time: start}
	g := genesis()
	g.Config = config
	d.ok(g)
	return d
}

// do applies args without request key, audit record or preconditions.
func (d *driver) do(args fsm.Args) fsm.Result {
	d.t.Helper()
	return d.with(fsm.ReqKey{}, fsm.Meta{}, args)
}

// with applies args; the driver fills in the time.
func (d *driver) with(key fsm.ReqKey, meta fsm.Meta, args fsm.Args) fsm.Result {
	d.t.Helper()
	d.time++
	meta.Time = d.time
	r := d.Apply(d.Index()+1, command(d.t, key, meta, args))
	if r.Fatal != nil {
		d.t.Fatalf("%T: %v", args, r.Fatal)
	}
	return r
}

// ok applies args, which must be accepted, and returns the index.
func (d *driver) ok(args fsm.Args) uint64 {
	d.t.Helper()
	r := d.do(args)
	if r.Err != nil || r.Conflict || r.Repeat != nil {
		d.t.Fatalf("%T: got %+v, want success", args, r)
	}
	return r.Index
}

// refused applies args, which must be refused with code and message.
func (d *driver) refused(args fsm.Args, code, message string) {
	d.t.Helper()
	digest := d.Digest()
	r := d.do(args)
	if r.Err == nil {
		d.t.Fatalf("%+v: got %+v, want %s", args, r, code)
	}
	if r.Err.Code != code || r.Err.Message != message {
		d.t.Errorf("%+v: got %s %q, want %s %q", args, r.Err.Code, r.Err.Message, code, message)
	}
	if d.Digest() != digest {
		d.t.Errorf("%+v: a refusal changed the state", args)
	}
}
