package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// GrantQuery is what a call needs of a grant.
type GrantQuery struct {
	// Operations must all be permitted.
	Operations kms.GrantOperations
	// Source is the call's aws:SourceArn; empty without one.
	Source string
	// Context are pairs that the encryption context has, sorted by SortContext. Whole
	// tells that it has no others.
	Context []ContextPair
	Whole   bool
	// AnyContext tells that constraints on the encryption context do not apply.
	AnyContext bool
}

// holds tells whether a grant meets the query.
func (g *Grant) holds(q *GrantQuery) bool {
	switch {
	case !g.Operations.Has(q.Operations) || g.SourceARN != "" && g.SourceARN != q.Source:
		return false
	case q.AnyContext || g.Constraint == ContextUnconstrained:
		return true
	case g.Constraint == ContextEquals:
		return q.Whole && slices.Equal(g.Context, q.Context)
	}
	for _, p := range g.Context {
		if _, has := slices.BinarySearchFunc(q.Context, p, ContextPair.compare); !has {
			return false
		}
	}
	return true
}

// The grants of one grantee on a key are ordered by what they permit, then by the
// source that they demand, then by what they demand of the encryption context. A search
// passes over all that have the same operations at once, and looks where grants stand
// that can meet it: it costs about as much with 50,000 grants as with one. Only those
// look alike from there that have one pair in common and differ in others.
//
// A GranteeKey is operations (4 bytes, big-endian) ‖ mark of the source ‖ mark of the
// context ‖ id.

// mark stands for a demand: 8 bytes of a hash, and zero for none. Grants are compared
// in full, so that a collision costs time and nothing else.
type mark [8]byte

func markOf(kind string, parts ...string) (m mark) {
	h := sha256.New()
	h.Write([]byte("kmsd/grant/" + kind))
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	copy(m[:], h.Sum(nil))
	return m
}

func markOfSource(arn string) mark {
	if arn == "" {
		return mark{}
	}
	return markOf("source", arn)
}

func markOfPair(p ContextPair) mark { return markOf("pair", p.Name, p.Value) }

func markOfWhole(pairs []ContextPair) mark {
	parts := make([]string, 0, 2*len(pairs))
	for _, p := range pairs {
		parts = append(parts, p.Name, p.Value)
	}
	return markOf("whole", parts...)
}

// markOfContext is a grant's: of a subset it is one pair's, which a call that the grant
// is for must have.
func (g *Grant) markOfContext() (m mark) {
	switch g.Constraint {
	case ContextEquals:
		return markOfWhole(g.Context)
	case ContextSubset:
		for i, p := range g.Context {
			if of := markOfPair(p); i == 0 || string(of[:]) < string(m[:]) {
				m = of
			}
		}
	}
	return m
}

// GranteeKey is where the grant stands among its grantee's on the key.
func (g *Grant) GranteeKey() string {
	source, context := markOfSource(g.SourceARN), g.markOfContext()
	return granteePrefix(g.Operations, source[:], context[:]) + g.ID
}

func granteePrefix(ops kms.GrantOperations, marks ...[]byte) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+2*len(mark{})), uint32(ops))
	for _, m := range marks {
		b = append(b, m...)
	}
	return string(b)
}

// marks are where grants stand that can meet the query.
func (q *GrantQuery) marks() []mark {
	marks := append(make([]mark, 0, 2+len(q.Context)), mark{})
	if q.Whole {
		marks = append(marks, markOfWhole(q.Context))
	}
	for _, p := range q.Context {
		marks = append(marks, markOfPair(p))
	}
	return marks
}

// FindGrant returns a grant of the grantee on the key that meets the query; which, where
// several do, is the same on every node. What it finds enters the read set.
func (v *View) FindGrant(region, keyID, grantee string, q *GrantQuery) (*Grant, bool) {
	o, mod := v.root.owned(grantsByGrantee, region, keyID, grantee)
	v.raise(mod)
	if o == nil {
		return nil, false
	}
	g := o.findGrant(q)
	if g == nil {
		return nil, false
	}
	return v.Grant(g.Region, g.KeyID, g.ID)
}

// findGrant goes through the sets of operations that the grantee's grants have.
func (o *ordered) findGrant(q *GrantQuery) *Grant {
	var marks []mark
	if !q.AnyContext {
		marks = q.marks()
	}
	sources := []mark{{}, markOfSource(q.Source)}
	if q.Source == "" {
		sources = sources[:1]
	}
	for from := kms.GrantOperations(0); ; {
		ops, ok := o.nextOperations(from)
		if !ok {
			return nil
		}
		if ops.Has(q.Operations) {
			if g := o.findWith(ops, sources, marks, q); g != nil {
				return g
			}
		}
		from = ops + 1
	}
}

// nextOperations returns the least set of operations from the given one on that a grant
// of the index has.
func (o *ordered) nextOperations(from kms.GrantOperations) (ops kms.GrantOperations, ok bool) {
	o.tree.Ascend(granteePrefix(from), func(_ string, rec record) bool {
		ops, ok = rec.(*Grant).Operations, true
		return false
	})
	return ops, ok
}

// findWith looks at grants of these operations.
func (o *ordered) findWith(ops kms.GrantOperations, sources, marks []mark, q *GrantQuery) *Grant {
	for _, source := range sources {
		if q.AnyContext {
			if g := o.findAt(granteePrefix(ops, source[:]), q); g != nil {
				return g
			}
			continue
		}
		for _, m := range marks {
			if g := o.findAt(granteePrefix(ops, source[:], m[:]), q); g != nil {
				return g
			}
		}
	}
	return nil
}

func (o *ordered) findAt(prefix string, q *GrantQuery) (found *Grant) {
	o.tree.Ascend(prefix, func(key string, rec record) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if g := rec.(*Grant); g.holds(q) {
			found = g
		}
		return found == nil
	})
	return found
}
