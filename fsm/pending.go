package fsm

import "github.com/kmsd/kmsd/kms"

// PendingAudit is the audit record of a command that was decided but whose
// record is not known to be durable: a new leader writes it when the old one
// died in between.
type PendingAudit struct {
	Index  uint64 // log index of the command
	Record []byte // the CloudTrail record of success, as the command carried it
	// Err is the refusal that the record must be changed to; nil for success.
	Err *kms.Error
}

// pendingAudit is the record behind PendingAudit.
type pendingAudit struct {
	Versioned
	Index   uint64 `cbor:"1,keyasint"`
	Record  []byte `cbor:"2,keyasint"`
	Code    string `cbor:"3,keyasint,omitempty"`
	Message string `cbor:"4,keyasint,omitempty"`
}

func newPendingAudit(index uint64, rec []byte, refusal *kms.Error) *pendingAudit {
	p := &pendingAudit{Index: index, Record: rec}
	if refusal != nil {
		p.Code, p.Message = refusal.Code, refusal.Message
	}
	return p
}

func (p *pendingAudit) appendID(dst []byte) []byte { return append(dst, indexKey(p.Index)...) }

func auditPlaces(rec record) []place {
	return []place{{index: auditByIndex, key: indexKey(rec.(*pendingAudit).Index)}}
}

func (p *pendingAudit) export() PendingAudit {
	out := PendingAudit{Index: p.Index, Record: p.Record}
	if p.Code != "" {
		out.Err = &kms.Error{Code: p.Code, Message: p.Message}
	}
	return out
}

// recorded drops the pending records of log indexes that are durable.
func (s *state) recorded(indexes []uint64, index uint64) {
	for _, i := range indexes {
		if rec := s.get(tableAudit, indexKey(i)); rec != nil {
			s.drop(tableAudit, index, rec)
		}
	}
}

// PruneAudit does nothing of its own: it exists to carry Meta.Recorded when no
// other command does.
type PruneAudit struct{}

func (PruneAudit) command() (Type, uint8) { return TypePruneAudit, 1 }

func (PruneAudit) check() error { return nil }

func pruneAudit(*txn, *PruneAudit) (*kms.Error, error) { return nil, nil }
