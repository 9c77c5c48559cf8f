package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/kms"
)

// encodingVersion starts every encoded record. Encodings outlive the binary that
// made them: they lie in logs and snapshots.
const encodingVersion = 1

// maxEncoded bounds the bytes that DecodeRecord looks at: a log entry's limit.
const maxEncoded = 256 << 10

// recordV1 is the replicated form of a Record, as CBOR with integer keys. Its
// numbers are never reused.
type recordV1 struct {
	EventID     string `cbor:"1,keyasint"`
	RequestID   string `cbor:"2,keyasint"`
	EventName   string `cbor:"3,keyasint"`
	EventSource string `cbor:"4,keyasint"`
	Region      string `cbor:"5,keyasint"`
	Time        int64  `cbor:"6,keyasint"`
	ReadOnly    bool   `cbor:"7,keyasint,omitempty"`
	// Service tells that no request stands behind the event.
	Service bool `cbor:"8,keyasint,omitempty"`

	Type        string `cbor:"10,keyasint"`
	Account     string `cbor:"11,keyasint"`
	UniqueID    string `cbor:"12,keyasint"`
	ARN         string `cbor:"13,keyasint"`
	AccessKeyID string `cbor:"14,keyasint"`
	RoleID      string `cbor:"15,keyasint,omitempty"`
	RoleARN     string `cbor:"16,keyasint,omitempty"`
	// Issued is when temporary credentials were made; 0 for long-term ones.
	Issued         int64  `cbor:"17,keyasint,omitempty"`
	SourceIdentity string `cbor:"18,keyasint,omitempty"`

	// Name, Operator and Session are a service's; empty where none called.
	Name     string `cbor:"19,keyasint,omitempty"`
	Operator string `cbor:"25,keyasint,omitempty"`
	Session  string `cbor:"26,keyasint,omitempty"`

	IP         string `cbor:"20,keyasint,omitempty"`
	UserAgent  string `cbor:"21,keyasint,omitempty"`
	Host       string `cbor:"22,keyasint,omitempty"`
	TLSVersion string `cbor:"23,keyasint,omitempty"`
	TLSCipher  string `cbor:"24,keyasint,omitempty"`

	// The objects are finished JSON.
	Request    []byte `cbor:"30,keyasint,omitempty"`
	Response   []byte `cbor:"31,keyasint,omitempty"`
	Additional []byte `cbor:"32,keyasint,omitempty"`
	Details    []byte `cbor:"33,keyasint,omitempty"`

	Resources []resourceV1  `cbor:"40,keyasint"` // null: absent from the record
	Err       *errorV1      `cbor:"41,keyasint,omitempty"`
	Recipient string        `cbor:"42,keyasint,omitempty"`
	Shared    string        `cbor:"43,keyasint,omitempty"`
	Copies    []copyV1      `cbor:"44,keyasint,omitempty"`
	Elsewhere []elsewhereV1 `cbor:"46,keyasint,omitempty"`
}

type resourceV1 struct {
	_       struct{} `cbor:",toarray"`
	Account string
	ARN     string
}

type copyV1 struct {
	_       struct{} `cbor:",toarray"`
	EventID string
	Account string
}

type elsewhereV1 struct {
	EventID   string       `cbor:"1,keyasint"`
	EventName string       `cbor:"2,keyasint"`
	Region    string       `cbor:"3,keyasint"`
	Request   []byte       `cbor:"4,keyasint,omitempty"`
	Response  []byte       `cbor:"5,keyasint,omitempty"`
	Resources []resourceV1 `cbor:"6,keyasint"`
	RequestID string       `cbor:"7,keyasint,omitempty"`
}

type errorV1 struct {
	_       struct{} `cbor:",toarray"`
	Code    string
	Message string
}

// The modes. Text may hold bytes that are not UTF-8, because a client's user
// agent may: they reach the new leader's record unchanged.
var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8DecodeInvalid,
		MaxNestedLevels:   5,
		MaxArrayElements:  1024,
		MaxMapPairs:       64,
	}.DecMode())
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic("kmsd: audit: " + err.Error())
	}
	return mode
}

// ErrEncoding is returned by DecodeRecord for bytes that Encode cannot have made.
var ErrEncoding = errors.New("kmsd: not an encoded audit record")

// Encode returns the record in the form that travels inside a replicated command.
// Equal records give equal bytes. It fails only with ErrTooLarge, when the result
// would exceed what DecodeRecord accepts (256 KiB).
func (r *Record) Encode() ([]byte, error) {
	body, err := encMode.Marshal(r.v1())
	if err != nil {
		return nil, fmt.Errorf("encoding audit record: %w", err)
	}
	if len(body) >= maxEncoded {
		return nil, fmt.Errorf("encoding audit record: %w", ErrTooLarge)
	}
	return append([]byte{encodingVersion}, body...), nil
}

// DecodeRecord reads what Encode wrote. It is strict: each record has one
// encoding, and everything else is ErrEncoding. The record shares no memory with
// b. Only nodes of the cluster write such bytes; even so, no input makes it panic
// or makes a record that would not render as one line of JSON.
func DecodeRecord(b []byte) (*Record, error) {
	if len(b) == 0 || len(b) > maxEncoded || b[0] != encodingVersion {
		return nil, ErrEncoding
	}
	var v recordV1
	if err := decMode.Unmarshal(b[1:], &v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	r, ok := v.record()
	if !ok {
		return nil, ErrEncoding
	}
	if again, err := r.Encode(); err != nil || !slices.Equal(again, b) {
		return nil, ErrEncoding
	}
	return r, nil
}

func (r *Record) v1() *recordV1 {
	v := &recordV1{
		EventID: r.EventID, RequestID: r.RequestID, EventName: r.EventName, EventSource: r.EventSource,
		Region: r.Region, Time: r.Time, ReadOnly: r.ReadOnly, Service: r.ServiceEvent,
		Type: string(r.Principal.Type), Account: r.Principal.Account, UniqueID: r.Principal.UniqueID,
		ARN: r.Principal.ARN, AccessKeyID: r.Principal.AccessKeyID, RoleID: r.Principal.RoleID, RoleARN: r.Principal.RoleARN,
		IP: r.Source.IP, UserAgent: r.Source.UserAgent, Host: r.Source.Host,
		TLSVersion: r.Source.TLSVersion, TLSCipher: r.Source.TLSCipher,
		Request: r.RequestParameters.json(), Response: r.ResponseElements.json(), Additional: r.Additional.json(),
		Details: r.Details.json(), Recipient: r.RecipientAccount, Shared: r.SharedEventID,
	}
	for _, c := range r.Copies {
		v.Copies = append(v.Copies, copyV1{EventID: c.EventID, Account: c.Account})
	}
	if session := r.Principal.Session; session != nil {
		v.Issued, v.SourceIdentity = session.Issued, session.SourceIdentity
	}
	if r.Principal.IsService() {
		s := r.Principal.Service
		v.Name, v.Operator, v.Session = s.Name, s.Operator, s.Session
	}
	v.Resources = resourcesV1(r.Resources)
	for _, e := range r.Elsewhere {
		request, response := e.RequestParameters.small(), e.ResponseElements.small()
		v.Elsewhere = append(v.Elsewhere, elsewhereV1{
			EventID: e.EventID, EventName: e.EventName, Region: e.Region, RequestID: e.RequestID,
			Request: request.json(), Response: response.json(), Resources: resourcesV1(e.Resources),
		})
	}
	if r.Err != nil {
		v.Err = &errorV1{Code: r.Err.Code, Message: r.Err.Message}
	}
	return v
}

func resourcesV1(list []Resource) []resourceV1 {
	if list == nil {
		return nil
	}
	out := make([]resourceV1, len(list))
	for i, res := range list {
		out[i] = resourceV1{Account: res.Account, ARN: res.ARN}
	}
	return out
}

func resources(list []resourceV1) []Resource {
	if list == nil {
		return nil
	}
	out := make([]Resource, len(list))
	for i, res := range list {
		out[i] = Resource{Account: res.Account, ARN: res.ARN}
	}
	return out
}

func (v *recordV1) record() (*Record, bool) {
	r := &Record{
		EventID: v.EventID, RequestID: v.RequestID, EventName: v.EventName, EventSource: v.EventSource,
		Region: v.Region, Time: v.Time, ReadOnly: v.ReadOnly, ServiceEvent: v.Service,
		Principal: kms.Principal{
			Type: kms.PrincipalType(v.Type), Account: v.Account, UniqueID: v.UniqueID,
			ARN: v.ARN, AccessKeyID: v.AccessKeyID, RoleID: v.RoleID, RoleARN: v.RoleARN,
		},
		Source: kms.Source{
			IP: v.IP, UserAgent: v.UserAgent, Host: v.Host, TLSVersion: v.TLSVersion, TLSCipher: v.TLSCipher,
		},
		RecipientAccount: v.Recipient, SharedEventID: v.Shared,
	}
	for _, c := range v.Copies {
		r.Copies = append(r.Copies, Copy{EventID: c.EventID, Account: c.Account})
	}
	if v.Issued != 0 || v.SourceIdentity != "" {
		r.Principal.Session = &kms.Session{Issued: v.Issued, SourceIdentity: v.SourceIdentity}
	}
	if r.Principal.IsService() {
		r.Principal.Service = &kms.Service{Name: v.Name, Operator: v.Operator, Session: v.Session}
	}
	ok := r.RequestParameters.parse(v.Request) && r.ResponseElements.parse(v.Response) && r.Additional.parse(v.Additional) &&
		r.Details.parse(v.Details)
	r.Resources = resources(v.Resources)
	for _, e := range v.Elsewhere {
		there := Elsewhere{EventID: e.EventID, EventName: e.EventName, Region: e.Region, RequestID: e.RequestID, Resources: resources(e.Resources)}
		ok = ok && there.RequestParameters.parse(e.Request) && there.ResponseElements.parse(e.Response)
		r.Elsewhere = append(r.Elsewhere, there)
	}
	if v.Err != nil {
		r.Err = &kms.Error{Code: v.Err.Code, Message: v.Err.Message}
	}
	return r, ok
}

// json returns the object, or nil when it is absent or too large to be recorded.
func (p *Params) json() []byte {
	if !p.fits() {
		return nil
	}
	return append(slices.Clip(p.buf), '}')
}

// parse sets p to a finished object on one line; nil stands for an absent one.
func (p *Params) parse(object []byte) bool {
	if object == nil {
		return true
	}
	n := len(object) - 1
	control := slices.ContainsFunc(object, func(c byte) bool { return c < ' ' })
	if n < 1 || n >= maxObject || object[0] != '{' || control || !json.Valid(object) {
		return false
	}
	p.buf = slices.Clip(object[:n])
	return true
}
