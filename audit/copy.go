package audit

import "github.com/kmsd/kmsd/kms"

// A Copy is the record of a call in the trail of the account that owns a key of it,
// where that is not the caller's (AWS KMS: "Logging AWS KMS API calls with AWS
// CloudTrail"). It differs from the caller's record in its event id and recipient, and
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

// copies returns the copies that are written with the record.
func (r *Record) copies() []Copy {
	if r.denied() {
		return nil
	}
	return r.Copies
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
