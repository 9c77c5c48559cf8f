package audit

import "cmp"

// Elsewhere is the record of what a call, or the service by itself, did in another Region,
// where KMS made a call of its own (AWS KMS: "Logging AWS KMS API calls with AWS
// CloudTrail", ReplicateKey, UpdatePrimaryRegion and SynchronizeMultiRegionKey). It is
// written with the record that it belongs to, unless the call was refused; who called and
// when is that record's.
type Elsewhere struct {
	EventID   string // a fresh UUID
	EventName string // the API's name of the operation
	Region    string
	// RequestID is that of KMS's call, empty for the request id of the caller's.
	RequestID string
	// RequestParameters, ResponseElements and Resources are as a Record's, but an object
	// of more than 8 KB is left out: it shows little that the Record does not, and both lie
	// in one log entry.
	RequestParameters Params
	ResponseElements  Params
	Resources         []Resource
}

// maxSmall bounds each object of an Elsewhere, in bytes of JSON.
const maxSmall = 8 << 10

// small returns the object, or none when it is too large for an Elsewhere.
func (p Params) small() Params {
	if len(p.buf) >= maxSmall {
		return Params{}
	}
	return p
}

// elsewhere returns the records that are written in other Regions.
func (r *Record) elsewhere() []Elsewhere {
	if r.Err != nil {
		return nil
	}
	return r.Elsewhere
}

// appendElsewhere appends the record of another Region, as AppendJSON does.
func (r *Record) appendElsewhere(dst []byte, e *Elsewhere) []byte {
	there := *r
	there.EventID, there.EventName, there.Region = e.EventID, e.EventName, e.Region
	there.RequestID = cmp.Or(e.RequestID, r.RequestID)
	there.RequestParameters, there.ResponseElements, there.Resources = e.RequestParameters.small(), e.ResponseElements.small(), e.Resources
	there.Additional, there.Details, there.SharedEventID, there.elsewhereOf = Params{}, Params{}, "", true
	return there.AppendJSON(dst)
}
