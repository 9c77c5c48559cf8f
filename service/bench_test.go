package service_test

import (
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

// BenchmarkThrottledEncrypt is what request rates cost an Encrypt: without them, and
// with a rate that is never reached. All processors use one bucket. The audit log is
// on a disk.
func BenchmarkThrottledEncrypt(b *testing.B) {
	high := fsm.NewThrottle([]fsm.Rate{{Quota: string(service.QuotaSymmetric), Milli: fsm.MaxRate}})
	for _, part := range []struct {
		name     string
		throttle *fsm.Throttle
	}{{"off", nil}, {"on", high}} {
		b.Run(part.name, func(b *testing.B) { benchmarkEncrypt(b, part.throttle) })
	}
}

func benchmarkEncrypt(b *testing.B, throttle *fsm.Throttle) {
	s := testkit.StartWith(b, &fsm.Config{Throttle: throttle})
	body := `{"KeyId":"` + s.NewKey(b) + `","Plaintext":"aGVsbG8="}`
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if a := s.Raw(b, testkit.Root, "kms", "Encrypt", body); a.Refusal != nil || a.Err != nil {
				b.Errorf("got %v, %v", a.Refusal, a.Err)
			}
		}
	})
}
