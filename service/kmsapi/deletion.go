package kmsapi

import (
	"context"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func deletionRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.ScheduleKeyDeletionRequest, wire.ScheduleKeyDeletionResponse]{
			Service: serviceName, Name: "ScheduleKeyDeletion", Once: true,
			Keys: []service.KeyRule[wire.ScheduleKeyDeletionRequest]{{
				ID: func(in *wire.ScheduleKeyDeletionRequest) string { return in.KeyId }, Action: "kms:ScheduleKeyDeletion", States: service.Deletable, DaysUnused: true,
				Conditions: func(in *wire.ScheduleKeyDeletionRequest, key string) []string {
					return number(key, "kms:schedulekeydeletionpendingwindowindays", in.PendingWindowInDays)
				},
			}},
			Check: checkWindow,
			Params: func(in *wire.ScheduleKeyDeletionRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				audit.OptInt(p, "pendingWindowInDays", in.PendingWindowInDays)
			},
			Write: scheduleKeyDeletion, Repeat: scheduledDeletion,
		}.Row(),
		service.Op[wire.CancelKeyDeletionRequest, wire.CancelKeyDeletionResponse]{
			Service: serviceName, Name: "CancelKeyDeletion", Once: true,
			Keys:   manage(func(in *wire.CancelKeyDeletionRequest) string { return in.KeyId }, "kms:CancelKeyDeletion", service.AnyState),
			Params: func(in *wire.CancelKeyDeletionRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Write:  cancelKeyDeletion, Repeat: cancelledDeletion,
		}.Row(),
	}
}

// The waiting period before a key is destroyed, in days (AWS: ScheduleKeyDeletion).
const (
	minWindow     = 7
	maxWindow     = 30
	defaultWindow = 30
)

// checkWindow is narrower than the model.
func checkWindow(in *wire.ScheduleKeyDeletionRequest) error {
	if w := window(in); w < minWindow || w > maxWindow {
		return invalid("PendingWindowInDays must be between 7 and 30.")
	}
	return nil
}

func window(in *wire.ScheduleKeyDeletionRequest) int {
	if in.PendingWindowInDays == nil {
		return defaultWindow
	}
	return *in.PendingWindowInDays
}

const dayMillis = 24 * 60 * 60 * 1000

func scheduleKeyDeletion(_ context.Context, r *service.Request, in *wire.ScheduleKeyDeletionRequest) (fsm.Args, *wire.ScheduleKeyDeletionResponse, error) {
	waiting := *r.Keys[0].Key
	waiting.State, waiting.PendingWindow = kms.PendingDeletion, uint16(window(in))
	waiting.DeletionDate = max(r.Now, r.View.Time()) + int64(waiting.PendingWindow)*dayMillis
	args := fsm.ScheduleKeyDeletion{
		Account: waiting.Account, Region: waiting.Region, KeyID: waiting.ID, Window: waiting.PendingWindow, DeletionDate: waiting.DeletionDate,
	}
	if !waiting.Replica && len(r.View.Related(&waiting)) > 1 {
		waiting.State, waiting.DeletionDate = kms.PendingReplicaDeletion, 0
	}
	return args, answerSchedule(r, &waiting), nil
}

// answerSchedule answers with a key that waits for its deletion, and shows the
// answer in the record.
func answerSchedule(r *service.Request, k *fsm.Key) *wire.ScheduleKeyDeletionResponse {
	out := &wire.ScheduleKeyDeletionResponse{KeyId: new(k.ARN()), KeyState: string(k.State)}
	elements := &r.Record.ResponseElements
	elements.String("keyId", *out.KeyId)
	elements.String("keyState", out.KeyState)
	if k.DeletionDate != 0 {
		out.DeletionDate = new(time.UnixMilli(k.DeletionDate).UTC())
		elements.Time("deletionDate", k.DeletionDate)
	}
	if k.PendingWindow != 0 {
		out.PendingWindowInDays = new(int(k.PendingWindow))
		elements.Int("pendingWindowInDays", int64(k.PendingWindow))
	}
	return out
}

// scheduledDeletion answers a ScheduleKeyDeletion that was applied before, with the
// key as it is now.
func scheduledDeletion(r *service.Request, once *fsm.Once) (*wire.ScheduleKeyDeletionResponse, error) {
	k, err := repeatedKey(r, once)
	if err != nil {
		return nil, err
	}
	return answerSchedule(r, k), nil
}

func cancelKeyDeletion(_ context.Context, r *service.Request, _ *wire.CancelKeyDeletionRequest) (fsm.Args, *wire.CancelKeyDeletionResponse, error) {
	key := &r.Keys[0]
	if key.State != kms.PendingDeletion && key.State != kms.PendingReplicaDeletion {
		return nil, nil, &kms.Error{Code: kms.CodeInvalidState, Message: key.ARN + " is not pending deletion."}
	}
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.CancelKeyDeletion{Account: key.Account, Region: key.Region, KeyID: key.ID}, &wire.CancelKeyDeletionResponse{KeyId: &key.ARN}, nil
}

// cancelledDeletion answers a CancelKeyDeletion that was applied before.
func cancelledDeletion(r *service.Request, once *fsm.Once) (*wire.CancelKeyDeletionResponse, error) {
	k, err := repeatedKey(r, once)
	if err != nil {
		return nil, err
	}
	arn := k.ARN()
	r.Record.ResponseElements.String("keyId", arn)
	return &wire.CancelKeyDeletionResponse{KeyId: &arn}, nil
}

// repeatedKey returns the key that a command which was applied before was about,
// and makes the record show it.
func repeatedKey(r *service.Request, once *fsm.Once) (*fsm.Key, error) {
	if len(once.IDs) != 1 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of %s names %d keys", r.Operation, len(once.IDs))
	}
	k, ok := r.View.Key(r.Region, once.IDs[0])
	if !ok {
		return nil, kms.ErrOutcomeUnknown
	}
	r.Record.Resources = []audit.Resource{{Account: k.Account, ARN: k.ARN()}}
	return k, nil
}
