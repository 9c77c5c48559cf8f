package fsm

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
