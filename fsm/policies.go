package fsm

import (
	"crypto/sha256"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// maxPolicy bounds a key policy, in bytes; no setting changes it (AWS: "Resource
// quotas", key policy document size).
const maxPolicy = 32768

// policy is a policy's text under its hash. Many share one.
type policy struct {
	Versioned
	Hash [32]byte `cbor:"1,keyasint"`
	Text string   `cbor:"2,keyasint"`
	// Uses counts the keys, inline policies, trust policies and versions of managed
	// policies that have this text; it goes with the last.
	Uses uint64 `cbor:"3,keyasint"`
}

func (p *policy) appendID(dst []byte) []byte { return append(dst, p.Hash[:]...) }

// recount moves uses from some texts to others. A text that is new to the state is
// found among texts; if it is not, the leader is asked to decide again.
func (t *txn) recount(gone, come [][32]byte, texts []string) {
	hashes := slices.Concat(gone, come)
	for i, hash := range hashes {
		if slices.Contains(hashes[:i], hash) {
			continue
		}
		had, _ := t.state.get(tablePolicies, string(hash[:])).(*policy)
		p := policy{Hash: hash}
		if had != nil {
			p = *had
		} else if at := slices.IndexFunc(texts, func(s string) bool { return sha256.Sum256([]byte(s)) == hash }); at >= 0 {
			p.Text = texts[at]
		} else {
			t.conflict = true
			return
		}
		before := p.Uses
		p.Uses += count(come, hash)
		p.Uses -= min(p.Uses, count(gone, hash))
		switch {
		case p.Uses == before:
		case p.Uses == 0:
			t.drop(tablePolicies, had)
		default:
			t.put(tablePolicies, &p)
		}
	}
}

func count(hashes [][32]byte, hash [32]byte) (n uint64) {
	for _, h := range hashes {
		if h == hash {
			n++
		}
	}
	return n
}

// PutKeyPolicy gives a key another policy.
type PutKeyPolicy struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	Policy  string `cbor:"4,keyasint"`
}

func (PutKeyPolicy) command() (Type, uint8) { return TypePutKeyPolicy, 1 }

func (c PutKeyPolicy) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func putKeyPolicy(t *txn, c *PutKeyPolicy) (*kms.Error, error) {
	k, refusal := t.key(c.Account, c.Region, c.KeyID)
	switch {
	case refusal != nil:
		return refusal, nil
	case len(c.Policy) > maxPolicy:
		return limitExceeded("The key policy exceeds the maximum size allowed."), nil
	}
	changed := *k
	changed.PolicyHash = sha256.Sum256([]byte(c.Policy))
	if changed.PolicyHash == k.PolicyHash {
		return nil, nil
	}
	t.put(tableKeys, &changed)
	t.recount([][32]byte{k.PolicyHash}, [][32]byte{changed.PolicyHash}, []string{c.Policy})
	return nil, nil
}
