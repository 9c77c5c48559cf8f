package fsm

// maxPolicy bounds a key policy, in bytes; no setting changes it (AWS: "Resource
// quotas", key policy document size).
const maxPolicy = 32768

// policy is a policy's text under its hash. Many keys share one.
type policy struct {
	Versioned
	Hash [32]byte `cbor:"1,keyasint"`
	Text string   `cbor:"2,keyasint"`
	// Keys counts the keys that have this policy; the text goes with the last.
	Keys uint64 `cbor:"3,keyasint"`
}

func (p *policy) appendID(dst []byte) []byte { return append(dst, p.Hash[:]...) }

// putPolicy gives one key more the policy.
func (t *txn) putPolicy(hash [32]byte, text string) {
	p := policy{Hash: hash, Text: text}
	if had, ok := t.state.get(tablePolicies, string(hash[:])).(*policy); ok {
		p = *had
	}
	p.Keys++
	t.put(tablePolicies, &p)
}

// dropPolicy takes the policy from one key.
func (t *txn) dropPolicy(hash [32]byte) {
	had, ok := t.state.get(tablePolicies, string(hash[:])).(*policy)
	switch {
	case !ok:
	case had.Keys > 1:
		p := *had
		p.Keys--
		t.put(tablePolicies, &p)
	default:
		t.drop(tablePolicies, had)
	}
}
