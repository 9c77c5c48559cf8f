package model_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// place is where a game of grants is played: nodes that serve one state.
type place struct {
	nodes int
	apply func(fsm.Args)
	seal  func(purpose, id string, secret []byte) ([]byte, error)
	now   func() time.Time
	do    func(node int, who testkit.Caller, op string, body obj) (obj, *kms.Error)
}

// person is a caller. Policies allow the root users of both accounts everything that
// key policies let them, and nobody else anything.
type person struct {
	name, account string
	names         []string // the ARNs of grants that are for it by name
	root          bool
	caller        testkit.Caller
}

// mayHave tells whether what an ARN names in a grant is for the person.
func (p *person) mayHave(arn string) bool {
	return slices.Contains(p.names, arn) || p.root && arn == rootOf(p.account)
}

func rootOf(account string) string { return "arn:aws:iam::" + account + ":root" }

// people makes the callers.
func (pl *place) people(t *testing.T) []*person {
	t.Helper()
	must := func(b []byte, err error) []byte {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := func(id, account string, owner kms.PrincipalType, unique string) fsm.AccessKey {
		return fsm.AccessKey{ID: id, Account: account, Type: owner, UniqueID: unique, Status: fsm.StatusActive, Created: pl.now().UnixMilli(), SecretTerm: 1,
			Secret: must(pl.seal(service.SecretPurpose, id, []byte("a secret of the tests")))}
	}
	all := []*person{
		{name: "root", account: testkit.Account, root: true, caller: testkit.Root},
		{name: "their root", account: foreigner, root: true, caller: testkit.Caller{AccessKey: "AKIATHEIRROOTTHEIRRO", Region: testkit.Region}},
	}
	pl.apply(fsm.CreateAccessKey{AccessKey: key(all[1].caller.AccessKey, foreigner, kms.PrincipalRoot, foreigner)})
	for i, name := range []string{"alice", "bob", "xaver"} {
		account := testkit.Account
		if name == "xaver" {
			account = foreigner
		}
		unique, id := fmt.Sprintf("AIDA%017d", i), fmt.Sprintf("AKIA%016d", i)
		pl.apply(fsm.CreateIdentity{Identity: fsm.Identity{ID: unique, Kind: fsm.KindUser, Account: account, Name: name, Path: "/", Created: pl.now().UnixMilli()}})
		pl.apply(fsm.CreateAccessKey{AccessKey: key(id, account, kms.PrincipalUser, unique)})
		arn := "arn:aws:iam::" + account + ":user/" + name
		all = append(all, &person{name: name, account: account, names: []string{arn}, caller: testkit.Caller{AccessKey: id, Region: testkit.Region}})
	}
	const trust = `{"Version":"2012-10-17","Statement":[]}`
	role := fsm.Identity{ID: "AROA00000000000000007", Kind: fsm.KindRole, Account: testkit.Account, Name: "App", Path: "/", Created: pl.now().UnixMilli(), Trust: sha256.Sum256([]byte(trust)), MaxSession: 3600}
	pl.apply(fsm.CreateIdentity{Identity: role, Texts: []string{trust}})
	for _, session := range []string{"one", "two"} {
		token := service.Token{AccessKeyID: "ASIA" + strings.ToUpper(session), Secret: "secret", Type: kms.PrincipalAssumedRole, Account: testkit.Account, Subject: role.ID, Name: session,
			Issued: pl.now().UnixMilli(), Expires: pl.now().Add(time.Hour).UnixMilli()}
		sealed, err := token.Seal(sealer(pl.seal))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &person{name: "session " + session, account: testkit.Account,
			names:  []string{"arn:aws:iam::111122223333:role/App", "arn:aws:sts::111122223333:assumed-role/App/" + session},
			caller: testkit.Caller{AccessKey: token.AccessKeyID, Region: testkit.Region, Token: sealed}})
	}
	return all
}

type sealer func(purpose, id string, secret []byte) ([]byte, error)

func (s sealer) Seal(purpose, id string, secret []byte) ([]byte, error) {
	return s(purpose, id, secret)
}
