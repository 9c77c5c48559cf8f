package service

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmsd/kmsd/kms"
)

func TestPoolBoundsWhatRuns(t *testing.T) {
	t.Parallel()
	const limit = 3
	p := newPool(limit, 1000, time.Minute)
	var running, most atomic.Int64
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if err := p.enter(context.Background()); err != nil {
				t.Error(err)
				return
			}
			defer p.leave()
			n := running.Add(1)
			for {
				m := most.Load()
				if n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			running.Add(-1)
		})
	}
	wg.Wait()
	if most.Load() > limit || p.running.Load() != 0 || p.waiting.Load() != 0 {
		t.Errorf("most %d at once, %d left running, %d left waiting", most.Load(), p.running.Load(), p.waiting.Load())
	}
}

func TestPoolRefuses(t *testing.T) {
	t.Parallel()
	throttled := &kms.Error{Code: kms.CodeThrottling}
	full := newPool(1, 0, time.Minute)
	if err := full.enter(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := full.enter(context.Background()); !errors.Is(err, throttled) {
		t.Errorf("a full queue answers %v", err)
	}
	impatient := newPool(1, 1, time.Nanosecond)
	if err := impatient.enter(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := impatient.enter(context.Background()); !errors.Is(err, throttled) {
		t.Errorf("a long wait answers %v", err)
	}
	impatient.leave()
	if err := impatient.enter(context.Background()); err != nil {
		t.Errorf("after leave: %v", err)
	}
}
