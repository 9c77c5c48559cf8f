package service_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kmsd/kmsd/internal/testkit"
)

// A rotation of a primary reaches its replicas, and their Regions' records say so
// (CloudTrail: SynchronizeMultiRegionKey). Keys without replicas have no such records.
func TestRotationReachesReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		id, alone := keyID(s.Call(t, testkit.Root, "CreateKey", obj{"MultiRegion": true})), keyID(s.Call(t, testkit.Root, "CreateKey", obj{"MultiRegion": true}))
		regions := []string{"ap-south-1", "eu-west-1"}
		for _, region := range regions {
			s.Must(t, "ReplicateKey", obj{"KeyId": id, "ReplicaRegion": region})
		}
		rotateOnDemand(t, s, id)
		rotateOnDemand(t, s, alone)
		stop := leads(t, s, s.Service)
		pass(s, 0)
		stop()
		current := key(t, s, id).CurrentMaterial
		wantSame(t, generations(t, s, id)[1], current)
		wantSame(t, len(generations(t, s, alone)), 2)
		for _, region := range regions {
			replica, _ := s.Machine.View().Key(region, id)
			wantSame(t, replica.CurrentMaterial, current)
		}
		wantSame(t, len(s.Events(t, "RotateKey")), 2)
		var in []string
		requests := map[any]bool{}
		for _, rec := range s.Records(t) {
			if rec["eventName"] == "SynchronizeMultiRegionKey" {
				in = append(in, rec["awsRegion"].(string))
				requests[rec["requestID"]] = true
				wantSame(t, rec["resources"].([]any)[0].(obj)["ARN"], any(testkit.ARN(id)))
			}
		}
		wantSame(t, strings.Join(in, " "), strings.Join(regions, " "))
		wantSame(t, len(requests), 2)
	})
}
