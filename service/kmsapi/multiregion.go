package kmsapi

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// The types of multi-Region keys (AWS: MultiRegionConfiguration).
const (
	typePrimary = "PRIMARY"
	typeReplica = "REPLICA"
)

// newMultiRegionID draws the id of a set of related keys (AWS: "How multi-Region keys
// work").
func newMultiRegionID() string {
	var b [16]byte
	rand.Read(b[:])
	return "mrk-" + hex.EncodeToString(b[:])
}

// multiRegion renders the set of a multi-Region key, replicas in the order of their
// Regions; nil for a key of a single Region. A key that is about to be made is in it.
func multiRegion(v *fsm.View, k *fsm.Key) *wire.MultiRegionConfiguration {
	if !k.MultiRegion {
		return nil
	}
	out := &wire.MultiRegionConfiguration{MultiRegionKeyType: typePrimary, ReplicaKeys: []wire.MultiRegionKey{}}
	if k.Replica {
		out.MultiRegionKeyType = typeReplica
	}
	related := v.Related(k)
	if !slices.ContainsFunc(related, func(other *fsm.Key) bool { return other.Region == k.Region }) {
		related = append(related, k)
		slices.SortFunc(related, func(a, b *fsm.Key) int { return strings.Compare(a.Region, b.Region) })
	}
	for _, other := range related {
		if other.Replica {
			out.ReplicaKeys = append(out.ReplicaKeys, *regionKey(other))
		} else {
			out.PrimaryKey = regionKey(other)
		}
	}
	return out
}

func regionKey(k *fsm.Key) *wire.MultiRegionKey {
	return &wire.MultiRegionKey{Arn: new(k.ARN()), Region: new(k.Region)}
}

// recordMultiRegion adds a set as CloudTrail shows it.
func recordMultiRegion(p *audit.Params, m *wire.MultiRegionConfiguration) {
	if m == nil {
		return
	}
	show := func(k *wire.MultiRegionKey) func(*audit.Params) {
		return func(p *audit.Params) {
			p.String("arn", *k.Arn)
			p.String("region", *k.Region)
		}
	}
	p.Object("multiRegionConfiguration", func(p *audit.Params) {
		p.String("multiRegionKeyType", m.MultiRegionKeyType)
		p.Object("primaryKey", show(m.PrimaryKey))
		p.Objects("replicaKeys", len(m.ReplicaKeys), func(i int, p *audit.Params) { show(&m.ReplicaKeys[i])(p) })
	})
}

// refuseReplica refuses what only the primary of a set may have done to it.
func refuseReplica(k *fsm.Key) error {
	if !k.Replica {
		return nil
	}
	return &kms.Error{Code: kms.CodeUnsupportedOperation, Message: k.ARN() + " is a multi-region replica key."}
}
