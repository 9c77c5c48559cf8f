package fsm

import (
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// maxTags bounds the tags of one key; no setting changes it (AWS: "Resource
// quotas", tags per key).
const maxTags = 50

// Tag is a tag of a key.
type Tag struct {
	_     struct{} `cbor:",toarray"`
	Key   string
	Value string
}

// tagSet are all tags of one key, in the order in which they were given.
type tagSet struct {
	Versioned
	Region string `cbor:"1,keyasint"`
	KeyID  string `cbor:"2,keyasint"`
	Tags   []Tag  `cbor:"3,keyasint"`
}

func (s *tagSet) appendID(dst []byte) []byte { return appendJoined(dst, s.Region, s.KeyID) }

// TagKey gives a key tags, and others values to those that it has.
type TagKey struct {
	Account string `cbor:"1,keyasint"`
	Region  string `cbor:"2,keyasint"`
	KeyID   string `cbor:"3,keyasint"`
	Tags    []Tag  `cbor:"4,keyasint"`
}

func (TagKey) command() (Type, uint8) { return TypeTagKey, 1 }

func (c TagKey) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func tagKey(t *txn, c *TagKey) (*kms.Error, error) {
	if _, refusal := t.livingKey(c.Account, c.Region, c.KeyID); refusal != nil {
		return refusal, nil
	}
	had := t.tags(c.Region, c.KeyID)
	tags := slices.Clone(had)
	for _, tag := range c.Tags {
		if i := slices.IndexFunc(tags, func(has Tag) bool { return has.Key == tag.Key }); i >= 0 {
			tags[i] = tag
		} else {
			tags = append(tags, tag)
		}
	}
	if len(tags) > maxTags {
		return &kms.Error{Code: kms.CodeTag, Message: "Too many tags"}, nil
	}
	t.putTags(c.Region, c.KeyID, had, tags)
	return nil, nil
}

// UntagKey takes tags from a key. Keys of tags that it does not have are ignored.
type UntagKey struct {
	Account string   `cbor:"1,keyasint"`
	Region  string   `cbor:"2,keyasint"`
	KeyID   string   `cbor:"3,keyasint"`
	Keys    []string `cbor:"4,keyasint"`
}

func (UntagKey) command() (Type, uint8) { return TypeUntagKey, 1 }

func (c UntagKey) check() error { return checkKeyRef(c.Account, c.Region, c.KeyID) }

func untagKey(t *txn, c *UntagKey) (*kms.Error, error) {
	if _, refusal := t.livingKey(c.Account, c.Region, c.KeyID); refusal != nil {
		return refusal, nil
	}
	had := t.tags(c.Region, c.KeyID)
	tags := slices.DeleteFunc(slices.Clone(had), func(tag Tag) bool { return slices.Contains(c.Keys, tag.Key) })
	t.putTags(c.Region, c.KeyID, had, tags)
	return nil, nil
}

func (t *txn) tags(region, keyID string) []Tag {
	if s, ok := t.state.get(tableTags, region, keyID).(*tagSet); ok {
		return s.Tags
	}
	return nil
}

// putTags replaces a key's tags; a key without tags has no record of them.
func (t *txn) putTags(region, keyID string, had, tags []Tag) {
	switch {
	case slices.Equal(had, tags):
	case len(tags) == 0:
		t.drop(tableTags, t.state.get(tableTags, region, keyID))
	default:
		t.put(tableTags, &tagSet{Region: region, KeyID: keyID, Tags: tags})
	}
}
