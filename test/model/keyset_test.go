package model_test

import (
	"fmt"

	"github.com/kmsd/kmsd/internal/testkit"
)

const (
	waitsForReplicas = "PendingReplicaDeletion"
	unsupported      = "UnsupportedOperationException"
)

// setRegions are where the keys of a set can be, in their order.
var setRegions = []string{"ap-south-1", "eu-west-1", "us-east-1"}

// keySet is the model of a multi-Region key and its replicas (AWS: "Multi-Region keys in
// AWS KMS").
type keySet struct {
	id      string
	primary string
	keys    map[string]*regional // by Region
	period  int                  // days; 0: automatic rotation is off
	asked   int                  // rotations on demand
	// materials are the ids of all generations, the oldest first.
	materials []string
	blobs     []setBlob
}

// regional is what each key of a set has for itself.
type regional struct {
	state    string
	window   int   // days
	deletion int64 // 0 without a date
}

type setBlob struct {
	generation int
	text       string
}

func (s *keySet) arn(region string) string {
	return "arn:aws:kms:" + region + ":" + testkit.Account + ":key/" + s.id
}

// usable is what an operation answers that needs an enabled key.
func (s *keySet) usable(region string) string {
	k := s.keys[region]
	switch {
	case k == nil:
		return notFound
	case k.state == disabled:
		return isDisabled
	case k.state != enabled:
		return invalidState
	}
	return ok
}

// onlyPrimary is for operations that need an enabled primary.
func (s *keySet) onlyPrimary(region string) string {
	if code := s.usable(region); code != ok || region == s.primary {
		return code
	}
	return unsupported
}

func (s *keySet) waits(region string) bool {
	k := s.keys[region]
	return k != nil && k.state != enabled && k.state != disabled
}

// facts are what every node has to show of the set that is played with, by Region.
func (s *keySet) facts() facts {
	f := facts{}
	var replicas []string
	for _, region := range setRegions {
		if s.keys[region] != nil && region != s.primary {
			replicas = append(replicas, region)
		}
	}
	for _, region := range setRegions {
		k := s.keys[region]
		if k == nil {
			f[region] = notFound
			continue
		}
		kind, rotation := "REPLICA", s.period
		if region == s.primary {
			kind = "PRIMARY"
		}
		if s.waits(region) {
			rotation = 0
		}
		f[region] = fmt.Sprintf("%s %s %s, primary in %s, replicas in %v, material %s, %d materials, rotates every %d days", s.arn(region), k.state, kind, s.primary, replicas, s.materials[len(s.materials)-1], len(s.materials), rotation)
		switch k.state {
		case pending:
			f[region] += fmt.Sprint(", deletion ", k.deletion)
		case waitsForReplicas:
			f[region] += fmt.Sprint(", window ", k.window)
		}
	}
	return f
}
