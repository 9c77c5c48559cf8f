package audit

import (
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// A Copy is the record of a call in the trail of the account that owns a key of it,
// where that is not the caller's (AWS KMS: "Logging AWS KMS API calls with AWS
// CloudTrail"), or of the operator account, of whose role the service is that called. It
// differs from the caller's record in its event id and recipient, and
// shows of the caller no more than a key's owner may know.
type Copy struct {
	EventID string // a fresh UUID
	Account string // the recipient, 12 digits
}

// EventIn returns the event id of the call in an account's trail: that of the account's
// copy, or the record's own.
func (r *Record) EventIn(account string) string {
	for i := range r.Copies {
		if r.Copies[i].Account == account {
			return r.Copies[i].EventID
		}
	}
	return r.EventID
}

// copies returns the copies that are written with the record. The operator account hears
// of all that its services try.
func (r *Record) copies() []Copy {
	switch {
	case !r.denied():
		return r.Copies
	case !r.Principal.IsService():
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Copies), func(c Copy) bool { return c.Account != r.Principal.Service.Operator })
}

// tellsOperator tells whether the operator account has a copy of the record, or this is
// that copy.
func (r *Record) tellsOperator() bool {
	return r.Principal.IsService() || r.invokedBy != "" && r.RecipientAccount != ""
}

// ofSession returns the record as the operator account sees it where a service called:
// with the session of its role that stands behind the service, and where that called
// from. All others see the service.
func (r *Record) ofSession() *Record {
	if !r.Principal.IsService() || r.recipient() != r.Principal.Service.Operator {
		return r
	}
	own, s := *r, r.Principal.Service
	own.Principal.Type, own.Principal.Account, own.Principal.ARN = kms.PrincipalAssumedRole, s.Operator, s.Session
	own.copied, own.invokedBy = false, s.Principal()
	return &own
}

// denied tells whether the record is that of a refused authorisation, which is for the
// caller's account alone.
func (r *Record) denied() bool { return r.Err != nil && r.Err.Code == kms.CodeAccessDenied }

// appendCopy appends a copy of the record, as AppendJSON does.
func (r *Record) appendCopy(dst []byte, c Copy) []byte {
	owners := *r
	owners.EventID, owners.RecipientAccount, owners.copied = c.EventID, c.Account, true
	return owners.AppendJSON(dst)
}

// appendForeigner appends the userIdentity of a caller of another account (CloudTrail
// userIdentity element: AWSAccount).
func (r *Record) appendForeigner(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "type", "AWSAccount")
	dst = appendMember(dst, "principalId", r.Principal.UniqueID)
	return append(appendMember(dst, "accountId", r.Principal.Account), '}')
}
