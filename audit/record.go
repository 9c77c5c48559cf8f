package audit

import (
	"strings"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// The event sources.
const (
	SourceKMS = "kms.amazonaws.com"
	SourceSTS = "sts.amazonaws.com"
	// SourceAdmin is kmsd's own admin API.
	SourceAdmin = "kmsd.local"
)

// eventVersion is the version of CloudTrail's record format (CloudTrail record
// contents).
const eventVersion = "1.11"

// maxObject bounds requestParameters, responseElements and additionalEventData,
// each in bytes of JSON (CloudTrail record contents: 100 KB). A larger object is
// left out.
const maxObject = 100 << 10

// A Resource is a key or an alias that a call touched. CloudTrail gives both the
// type AWS::KMS::Key.
type Resource struct {
	Account string // 12 digits: the owner
	ARN     string
}

// A Record is the CloudTrail record of one authenticated API call, or of something
// that the service did by itself. It holds only what may be logged. Nothing in it is
// safe for concurrent use, except that any number of goroutines may read it.
type Record struct {
	EventID   string // a fresh UUID
	RequestID string // the x-amzn-RequestId of the reply
	EventName string // the API's name of the operation
	// EventSource is the service, such as SourceKMS.
	EventSource string
	Region      string
	Time        int64 // milliseconds since 1970; recorded in whole seconds
	Principal   kms.Principal
	Source      kms.Source
	ReadOnly    bool

	// RequestParameters is null in the record when nothing was added, or when it
	// exceeds 100 KB.
	RequestParameters Params
	// ResponseElements is null in the record when nothing was added, or on failure.
	ResponseElements Params
	// Additional is additionalEventData: absent when nothing was added, or on
	// failure.
	Additional Params

	// Resources is absent from the record when it is nil (a service without
	// resources, or a call whose key was not resolved) and [] when it is empty
	// (GenerateRandom, ListKeys).
	Resources []Resource

	// Err is the refusal, nil for success. Setting it on a record of success is all
	// it takes to make the record of a refusal.
	Err *kms.Error

	// RecipientAccount is the account whose trail receives the record. Empty stands
	// for the caller's. It is absent from the record when neither is known: a local
	// operator's call to a node that cannot prove its state.
	RecipientAccount string

	// SharedEventID is a UUID that the record and its Copies have in common. It is
	// absent when it is empty, and from the record of a refused authorisation.
	SharedEventID string
	// Copies are the records of the same call in other accounts' trails. A refused
	// authorisation has none.
	Copies []Copy
	// copied tells that this is the owner's copy.
	copied bool
	// Elsewhere is what was done in other Regions.
	Elsewhere []Elsewhere
	// elsewhereOf tells that this is such a record.
	elsewhereOf bool
	// invokedBy is the service whose session the caller is, where the record shows both.
	invokedBy string

	// ServiceEvent tells that the service acted by itself (CloudTrail:
	// AwsServiceEvent). There is no RequestID, Principal or Source then, and
	// RecipientAccount is required: the account of what was acted on.
	ServiceEvent bool
	// Details is serviceEventDetails: absent when nothing was added.
	Details Params
}

// Repeat marks the record as that of a repeated request whose work was done under
// the given request id before: additionalEventData gains repeatOf.
func (r *Record) Repeat(requestID string) { r.Additional.String("repeatOf", requestID) }

// AppendJSON appends the record as one line of JSON without a newline. The
// members stand in the order of CloudTrail's own records.
func (r *Record) AppendJSON(dst []byte) []byte {
	r = r.ofSession()
	dst = appendMember(append(dst, '{'), "eventVersion", eventVersion)
	dst = r.appendIdentity(appendName(dst, "userIdentity"))
	dst = append(appendName(dst, "eventTime"), '"')
	dst = append(time.UnixMilli(r.Time).UTC().AppendFormat(dst, "2006-01-02T15:04:05Z"), '"')
	dst = appendMember(dst, "eventSource", r.EventSource)
	dst = appendMember(dst, "eventName", r.EventName)
	dst = appendMember(dst, "awsRegion", r.Region)
	dst = r.appendSource(dst)
	dst = r.appendError(dst)
	dst = r.appendObjects(dst)
	eventType := eventOfCall
	if r.ServiceEvent && !r.elsewhereOf {
		eventType = eventOfService
	} else {
		dst = appendMember(dst, "requestID", r.RequestID)
	}
	dst = appendMember(dst, "eventID", r.EventID)
	dst = appendBoolMember(dst, "readOnly", r.ReadOnly)
	dst = r.appendResources(dst)
	dst = appendMember(dst, "eventType", eventType)
	dst = appendBoolMember(dst, "managementEvent", true)
	if account := r.recipient(); account != "" {
		dst = appendMember(dst, "recipientAccountId", account)
	}
	if r.SharedEventID != "" && (!r.denied() || r.tellsOperator()) {
		dst = appendMember(dst, "sharedEventID", r.SharedEventID)
	}
	dst = appendMember(dst, "eventCategory", "Management")
	if r.ServiceEvent {
		return append(r.appendDetails(dst), '}')
	}
	return append(r.appendTLS(dst), '}')
}

// The types of events (CloudTrail record contents).
const (
	eventOfCall    = "AwsApiCall"
	eventOfService = "AwsServiceEvent"
)

// internal stands for the caller, its address and its agent where the service did
// something by itself.
const internal = "AWS Internal"

// appendSource appends where the call came from.
func (r *Record) appendSource(dst []byte) []byte {
	if r.ServiceEvent {
		return appendMember(appendMember(dst, "sourceIPAddress", internal), "userAgent", internal)
	}
	if r.elsewhereOf {
		return appendMember(appendMember(dst, "sourceIPAddress", SourceKMS), "userAgent", SourceKMS)
	}
	if r.Principal.IsService() {
		by := r.Principal.Service.Principal()
		return appendMember(appendMember(dst, "sourceIPAddress", by), "userAgent", by)
	}
	dst = appendMember(dst, "sourceIPAddress", r.Source.IP)
	if r.Source.UserAgent == "" {
		return dst
	}
	return appendBounded(appendName(dst, "userAgent"), r.Source.UserAgent, maxText)
}

// appendIdentity appends userIdentity with the members that CloudTrail gives root
// users and users. A local operator has only a uid, as text, and a service only its name.
// KMS itself has no identity: the record names the account for which it acted.
func (r *Record) appendIdentity(dst []byte) []byte {
	if r.ServiceEvent {
		dst = appendMember(append(dst, '{'), "accountId", r.RecipientAccount)
		return append(appendMember(dst, "invokedBy", internal), '}')
	}
	if r.Principal.IsService() {
		dst = appendMember(append(dst, '{'), "type", string(r.Principal.Type))
		return append(appendMember(dst, "invokedBy", r.Principal.Service.Principal()), '}')
	}
	if r.copied {
		return r.appendForeigner(dst)
	}
	dst = appendMember(append(dst, '{'), "type", string(r.Principal.Type))
	if r.Principal.Type == kms.PrincipalLocalOperator {
		return append(appendMember(dst, "uid", r.Principal.UniqueID), '}')
	}
	dst = appendMember(dst, "principalId", r.Principal.UniqueID)
	dst = appendMember(dst, "arn", r.Principal.ARN)
	dst = appendMember(dst, "accountId", r.Principal.Account)
	dst = appendMember(dst, "accessKeyId", r.Principal.AccessKeyID)
	if r.Principal.Type == kms.PrincipalUser {
		dst = appendMember(dst, "userName", r.Principal.Name())
	}
	if r.Principal.Session != nil {
		dst = r.appendSession(appendName(dst, "sessionContext"))
	}
	if r.elsewhereOf {
		dst = appendMember(dst, "invokedBy", SourceKMS)
	}
	if r.invokedBy != "" {
		dst = appendMember(dst, "invokedBy", r.invokedBy)
	}
	return append(dst, '}')
}

// appendSession appends sessionContext: who issued the session, and when (AWS:
// "CloudTrail userIdentity element").
func (r *Record) appendSession(dst []byte) []byte {
	p := &r.Principal
	dst = append(dst, '{')
	if p.RoleID != "" {
		dst = appendMember(append(appendName(dst, "sessionIssuer"), '{'), "type", "Role")
		dst = appendMember(dst, "principalId", p.RoleID)
		dst = appendMember(dst, "arn", p.RoleARN)
		dst = appendMember(dst, "accountId", p.Account)
		dst = append(appendMember(dst, "userName", p.RoleARN[strings.LastIndexByte(p.RoleARN, '/')+1:]), '}')
		dst = append(appendName(dst, "webIdFederationData"), '{', '}')
	}
	dst = append(appendName(dst, "attributes"), '{')
	dst = appendMember(dst, "creationDate", time.UnixMilli(p.Session.Issued).UTC().Format(time.RFC3339))
	dst = append(appendMember(dst, "mfaAuthenticated", "false"), '}')
	if p.Session.SourceIdentity != "" {
		dst = appendMember(dst, "sourceIdentity", p.Session.SourceIdentity)
	}
	return append(dst, '}')
}

func (r *Record) recipient() string {
	if r.RecipientAccount == "" {
		return r.Principal.Account
	}
	return r.RecipientAccount
}

// appendError appends errorCode and errorMessage. CloudTrail records a refused
// authorisation as AccessDenied, every other error under its own name.
func (r *Record) appendError(dst []byte) []byte {
	if r.Err == nil {
		return dst
	}
	code := r.Err.Code
	if code == kms.CodeAccessDenied {
		code = "AccessDenied"
	}
	dst = appendMember(dst, "errorCode", code)
	if r.Err.Message == "" {
		return dst
	}
	return appendBounded(appendName(dst, "errorMessage"), r.Err.Message, maxText)
}

func (r *Record) appendObjects(dst []byte) []byte {
	dst = appendObject(appendName(dst, "requestParameters"), &r.RequestParameters)
	dst = appendName(dst, "responseElements")
	if r.Err != nil {
		return append(dst, "null"...)
	}
	dst = appendObject(dst, &r.ResponseElements)
	if !r.Additional.fits() {
		return dst
	}
	return appendObject(appendName(dst, "additionalEventData"), &r.Additional)
}

// appendDetails appends serviceEventDetails.
func (r *Record) appendDetails(dst []byte) []byte {
	if !r.Details.fits() {
		return dst
	}
	return appendObject(appendName(dst, "serviceEventDetails"), &r.Details)
}

// fits tells whether there is an object that is not too large to be recorded.
func (p *Params) fits() bool { return !p.Empty() && len(p.buf) < maxObject }

func appendObject(dst []byte, p *Params) []byte {
	if !p.fits() {
		return append(dst, "null"...)
	}
	return append(append(dst, p.buf...), '}')
}

func (r *Record) appendResources(dst []byte) []byte {
	if r.Resources == nil {
		return dst
	}
	dst = append(appendName(dst, "resources"), '[')
	for i, res := range r.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendMember(append(dst, '{'), "accountId", res.Account)
		dst = appendMember(dst, "type", "AWS::KMS::Key")
		dst = append(appendMember(dst, "ARN", res.ARN), '}')
	}
	return append(dst, ']')
}

// appendTLS appends tlsDetails, which CloudTrail shows only for TLS.
func (r *Record) appendTLS(dst []byte) []byte {
	if r.Source.TLSVersion == "" || r.elsewhereOf || r.Principal.IsService() {
		return dst
	}
	dst = append(appendName(dst, "tlsDetails"), '{')
	dst = appendMember(dst, "tlsVersion", r.Source.TLSVersion)
	dst = appendMember(dst, "cipherSuite", r.Source.TLSCipher)
	dst = appendBounded(appendName(dst, "clientProvidedHostHeader"), r.Source.Host, maxText)
	return append(dst, '}')
}
