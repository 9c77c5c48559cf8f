package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kmsd/kmsd/internal/canary"
)

// TestThreeNodes makes a cluster of three nodes, as the manual says, writes through
// each of them and reads at once through all, without retries; and searches all
// files and logs for what may not be in them.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	f := found(t)
	first := f.members[0]
	token := f.token("--uses", "2", "--ttl", "10m", "--cidr", "127.0.0.0/8")
	secrets := []canary.Canary{
		{Name: "the root user's secret key", Secret: []byte(f.root.SecretAccessKey)},
		{Name: "the recovery identity", Secret: []byte(f.root.RecoveryIdentity)},
		{Name: "a join token's secret", Secret: []byte(token[strings.LastIndex(token, ".")+1:])},
	}
	for range 2 {
		m := f.join(token)
		secrets = append(secrets, f.everywhere(fmt.Sprint("with ", m.name))...)
		// Again, as an operator does who does not know whether it went well.
		must(t, "stopping a node", 0, m.terminate())
		f.ok(m.run("join", "--token", token, first.cluster))
		m.launch()
		m.awaitReady()
		if s, _ := m.tryStatus(); s.NodeID != m.id {
			t.Errorf("joining again made node %s of %s", s.NodeID, m.id)
		}
	}
	f.checkMembers()
	f.checkCA()
	for _, m := range f.members {
		secrets = append(secrets, f.everywhere("through "+m.name)...)
	}
	f.checkDigests()
	f.end()
	f.checkFiles(secrets)
}

// checkMembers checks what the commands say about the members.
func (f *fleet) checkMembers() {
	f.t.Helper()
	for _, m := range f.members {
		var out struct{ Members []listed }
		f.json(m.local("members", "--json"), &out)
		if len(out.Members) != len(f.members) {
			f.t.Errorf("%s lists %+v", m.name, out.Members)
		}
		for _, other := range f.members {
			i := slices.IndexFunc(out.Members, func(l listed) bool { return l.MemberID == other.id })
			if i < 0 || out.Members[i].Address != other.cluster || out.Members[i].APIAddress != other.api {
				f.t.Errorf("%s lists %+v; %s is %s at %s and %s", m.name, out.Members, other.name, other.id, other.cluster, other.api)
			}
		}
	}
	last := f.members[len(f.members)-1]
	table, status := last.local("members"), last.local("status")
	f.ok(table)
	f.ok(status)
	for _, m := range f.members {
		if !strings.Contains(table.stdout, m.id) || !strings.Contains(table.stdout, m.cluster) {
			f.t.Errorf("the table of %s lacks %s: %s", last.name, m.id, table.stdout)
		}
	}
	if !strings.Contains(status.stdout, last.id) || !strings.Contains(status.stdout, f.root.ClusterID) {
		f.t.Errorf("the status of %s: %s", last.name, status.stdout)
	}
}

// checkCA checks that a node that has joined shows the authority of the API's certificates.
func (f *fleet) checkCA() {
	f.t.Helper()
	want, err := os.ReadFile(f.root.APICAFile)
	must(f.t, "reading the API CA", 0, err)
	last := f.members[len(f.members)-1]
	r := last.local("ca")
	f.ok(r)
	if strings.TrimSpace(r.stdout) != strings.TrimSpace(string(want)) {
		f.t.Errorf("%s shows the CA %q, want %q", last.name, r.stdout, want)
	}
}

// everywhere creates a key through each living member and uses it at once through
// all of them. It returns the secrets that went over the wire.
func (f *fleet) everywhere(when string) []canary.Canary {
	f.t.Helper()
	var secrets []canary.Canary
	clients := f.everyKMS(f.alive())
	for i, maker := range clients {
		id, _ := create(f.t, maker)
		f.settle()
		plain := []byte("canary plaintext under " + id)
		for j := range clients {
			user := clients[(i+1+j)%len(clients)] // another one than the maker first
			out, err := user.Encrypt(f.t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: plain})
			must(f.t, when+": Encrypt", out, err)
			opened, err := maker.Decrypt(f.t.Context(), &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob})
			must(f.t, when+": Decrypt", opened, err)
			if string(opened.Plaintext) != string(plain) {
				f.t.Errorf("%s: Decrypt gives %q", when, opened.Plaintext)
			}
			data, err := user.GenerateDataKey(f.t.Context(), &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256})
			must(f.t, when+": GenerateDataKey", data, err)
			secrets = append(secrets, canary.Canary{Name: "a data key", Secret: data.Plaintext},
				canary.Canary{Name: "a ciphertext", Secret: out.CiphertextBlob})
		}
		secrets = append(secrets, canary.Canary{Name: "a plaintext", Secret: plain})
	}
	return secrets
}

// checkFiles searches everything that the nodes have written.
func (f *fleet) checkFiles(secrets []canary.Canary) {
	f.t.Helper()
	for _, m := range f.members {
		key, err := os.ReadFile(m.seal)
		must(f.t, "reading the seal's key", 0, err)
		secrets = append(secrets, canary.Canary{Name: "the seal's key of " + m.name, Secret: key})
	}
	for _, m := range f.members {
		found, files, err := canary.SearchFiles(m.data, func(string) bool { return true }, secrets...)
		if err != nil || files < 8 {
			f.t.Errorf("searched %d files of %s: %v", files, m.name, err)
		}
		found = append(found, canary.Search("the log of "+m.name, []byte(m.stderr.String()+m.stdout.String()), secrets...)...)
		for _, one := range found {
			f.t.Errorf("found: %v", one)
		}
		if n := checkTrail(f.t, filepath.Join(m.data, "audit"), map[string]bool{}); n == 0 {
			f.t.Errorf("%s has recorded nothing", m.name)
		}
	}
}

// TestOtherAddresses restarts a follower and then the leader with other addresses,
// and at last all of them at once: then their operator tells them of one.
func TestOtherAddresses(t *testing.T) {
	t.Parallel()
	f := foundThree(t, false)
	f.everywhere("before")
	leader := f.leader()
	for _, m := range append(f.followers(leader)[:1], leader) {
		must(t, "stopping "+m.name, 0, m.terminate())
		m.move()
		m.launch()
		m.awaitReady()
		poll(t, unhurried, "all to be ready again", func() bool { return f.healthy() == len(f.members) })
		for _, other := range f.members {
			other.awaitReady()
		}
		f.everywhere(m.name + " has moved")
	}
	f.end()
	for i, m := range f.members {
		if m.move(); i > 0 {
			m.peers = strconv.Quote(f.members[0].cluster)
			m.configure()
		}
	}
	for _, m := range f.members {
		m.launch()
	}
	for _, m := range f.members {
		m.awaitReady()
	}
	poll(t, unhurried, "all to be known at their addresses", func() bool {
		known := 0
		for _, l := range f.list() {
			if slices.ContainsFunc(f.members, func(m *member) bool { return m.id == l.MemberID && m.cluster == l.Address && l.Healthy }) {
				known++
			}
		}
		return known == len(f.members)
	})
	f.everywhere("all have moved")
	f.checkMembers()
	f.checkDigests()
}

func (f *fleet) healthy() int {
	n := 0
	for _, m := range f.list() {
		if m.Healthy {
			n++
		}
	}
	return n
}

// TestRootCredentialReset gives the root user another credential through a node's
// socket: the old one is worth nothing at once, on every node.
func TestRootCredentialReset(t *testing.T) {
	t.Parallel()
	f := found(t)
	f.join(f.token())
	id, _ := create(t, f.kms(f.members[0]))
	old := f.root
	before := f.everyKMS(f.members)
	var made struct{ AccountID, AccessKeyID, SecretAccessKey string }
	f.json(f.members[1].local("root-credential", "reset", "--yes", "--json"), &made)
	f.settle()
	if made.AccountID != old.AccountID || made.AccessKeyID == old.AccessKeyID || made.SecretAccessKey == old.SecretAccessKey {
		t.Errorf("the reset gave %s of account %s", made.AccessKeyID, made.AccountID)
	}
	for i, client := range before {
		_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		if code(err) != "UnrecognizedClientException" {
			t.Errorf("node %d with the old credential: %v", i, err)
		}
	}
	f.root.AccessKeyID, f.root.SecretAccessKey = made.AccessKeyID, made.SecretAccessKey
	for i, client := range f.everyKMS(f.members) {
		_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		must(t, fmt.Sprint("node ", i, " with the new credential"), 0, err)
	}
	f.token() // which needs it, too
	f.end()
	f.checkFiles([]canary.Canary{
		{Name: "the old secret key", Secret: []byte(old.SecretAccessKey)}, {Name: "the new secret key", Secret: []byte(made.SecretAccessKey)},
	})
}
