package kmsapi

import (
	"context"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func usageRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetKeyLastUsageRequest, wire.GetKeyLastUsageResponse]{
			Service: serviceName, Name: "GetKeyLastUsage",
			Keys:   manage(func(in *wire.GetKeyLastUsageRequest) string { return in.KeyId }, "kms:GetKeyLastUsage", service.AnyState),
			Params: func(in *wire.GetKeyLastUsageRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Read:   getKeyLastUsage,
		}.Row(),
	}
}

// getKeyLastUsage shows a key's last use; without one that member is there and
// empty (AWS: GetKeyLastUsage). Every key is tracked from its creation on.
func getKeyLastUsage(_ context.Context, r *service.Request, _ *wire.GetKeyLastUsageRequest) (*wire.GetKeyLastUsageResponse, error) {
	key := r.Keys[0].Key
	created := time.UnixMilli(key.Created).UTC()
	last := &wire.KeyLastUsageData{}
	if u := r.LastUsage(key); u != nil {
		last = &wire.KeyLastUsageData{
			Operation: u.Operation, Timestamp: new(time.UnixMilli(u.Time).UTC()), CloudTrailEventId: &u.EventID, KmsRequestId: &u.RequestID,
		}
	}
	return &wire.GetKeyLastUsageResponse{KeyId: &key.ID, KeyCreationDate: &created, TrackingStartDate: &created, KeyLastUsage: last}, nil
}
