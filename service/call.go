package service

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// Call is an authenticated call, as the protocol layer hands it over.
type Call struct {
	Service   string // AWS name of the service: "kms", "sts"
	Operation string
	// Body is the JSON text as received (it may be empty, or no JSON at all), or
	// the query protocol's parameters, form-encoded, without those that
	// authenticate. The callee owns it.
	Body      []byte
	Region    string // of the credential scope
	Principal kms.Principal
	// SessionToken came with temporary credentials; empty for long-term ones.
	SessionToken kms.SessionToken
	Source       kms.Source
	RequestID    string
	// InvocationID is the SDK's name for this call and its retries. It is empty
	// when the client sent none, several, or one of more than 128 bytes.
	InvocationID string

	// reqKey is set for writes: the command is applied once under it.
	reqKey fsm.ReqKey
	// firstUse tells that a read is forwarded for the AWS managed key that it brings into
	// being, and for nothing else.
	firstUse bool
}

// Request is a call on its way through the pipeline. One goroutine uses it.
type Request struct {
	*Call
	// View is the state that decides the call.
	View *fsm.View
	// Now is the time of the decision, in milliseconds since 1970.
	Now int64
	// Keys are the resolved keys in the order of the row's rules. An optional key
	// that the call does not name is the zero Key.
	Keys []Key
	// Record is the audit record; handlers add response elements and additional
	// event data.
	Record audit.Record
	// Target is the user or role that a call of IAM is on, where there is one: its
	// tags and its boundary are condition keys.
	Target Target

	row     *Row
	usage   *usageLog
	service *Service
	// pool is where the call has a place; nil while it has none.
	pool *pool
	// What authorisation works with: it lies here so that a decision takes no memory
	// of its own.
	subject    iam.Subject
	tags       []fsm.Tag // of the caller
	conditions conditions
	asked      iam.Request
	granted    granted
	attested   attested
	hypothesis *hypothesis // nil for a call that somebody makes
	own        bool        // a service asks for what is its own matter
	// What the first rules of the row resolved to in the View.
	keys     [maxKeys]Key
	keyErrs  [maxKeys]error
	resolved int
	// Room for Record.Resources and charges without an allocation.
	resources [maxKeys]audit.Resource
	counted   [maxCharges]charge
	slow      bool // found by charges
}

// Target is what conditions know of the identity that a call of IAM is on (AWS IAM:
// "Actions, resources, and condition keys for AWS IAM").
type Target struct {
	Tags []fsm.Tag
	// Boundary is the ARN of its permissions boundary, empty where it has none or the
	// action does not know the condition key.
	Boundary string
}

// SetTarget tells the conditions which user, group or role the call is on.
func (r *Request) SetTarget(i *fsm.Identity) {
	r.Target = Target{Tags: i.Tags}
	if r.row.bounded {
		r.Target.Boundary = i.Boundary
	}
}

// maxKeys bounds the keys that a call names.
const maxKeys = 2

// Key is a key that a call names.
type Key struct {
	// Key is the record, nil if there is none or if it must not be told apart
	// from one that does not exist.
	*fsm.Key
	ARN string
	// Alias is the alias name that the call used, or empty.
	Alias string
	// Blob is the ciphertext's header where the key is named by one, and BlobErr
	// says that the ciphertext is none of kmsd's.
	Blob    crypto.Blob
	BlobErr error
	// Grant is the grant that the call retires; nil where it retires none, or where
	// there is none.
	Grant *fsm.Grant
	// NewTags are the tags of a key that the call is about to make.
	NewTags []fsm.Tag
	// planned is set for an AWS managed key that the call brings into being.
	planned *plannedKey
	// byBlob tells that the ciphertext alone named the key, byID that the call
	// named it by its bare id, byToken that a grant token named it.
	byBlob, byID, byToken bool
	// named is the ARN by which the call names another account's alias: refusals
	// show it instead of the key's.
	named string
}

// ownedBy tells whether there is a record, and whether it is the account's.
func (k *Key) ownedBy(account string) bool { return k.Key != nil && k.Account == account }

// onceLabel separates the exactly-once hash from all other uses of SHA-256.
const onceLabel = "kmsd/once/v1"

// requestKey returns the key under which the call's command is applied at most
// once. Retries of an SDK's call share it where a second application would give
// another result; otherwise it is fresh.
func requestKey(c *Call, once bool) (k fsm.ReqKey) {
	if !once || c.InvocationID == "" {
		rand.Read(k[:])
		return k
	}
	h := sha256.New()
	for _, part := range []string{onceLabel, c.Principal.Account, c.Principal.UniqueID, c.Service, c.Region, c.Operation, string(c.Body), c.InvocationID} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	copy(k[:], h.Sum(nil))
	return k
}
