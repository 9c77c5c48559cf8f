package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// heavyTest counts what is done.
type heavyTest struct {
	*Service
	done int
}

func newHeavyTest(cpus int64) *heavyTest { return &heavyTest{Service: &Service{pools: newPools(cpus)}} }

// work returns how often work was done, after a time.
func (h *heavyTest) work(d time.Duration) func() (any, error) {
	return func() (any, error) {
		h.done++
		n := h.done
		time.Sleep(d)
		return n, nil
	}
}

func (h *heavyTest) want(t *testing.T, key fsm.ReqKey, work func() (any, error), want int) {
	t.Helper()
	if got, err := h.heavy(t.Context(), key, work); err != nil || got != want {
		t.Errorf("got %v, %v, want %d", got, err, want)
	}
}

// The attempts of a write share one piece of work, also while it is being done, and for
// as long as there may be attempts.
func TestHeavyWorkIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeavyTest(64)
		go h.want(t, fsm.ReqKey{1}, h.work(5*time.Second), 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.heavy(ctx, fsm.ReqKey{1}, h.work(0)); !errors.Is(err, kms.ErrUnavailable) {
			t.Errorf("an attempt that does not wait longer: %v", err)
		}
		began := time.Now()
		h.want(t, fsm.ReqKey{1}, h.work(0), 1)
		if waited := time.Since(began); waited != 4*time.Second {
			t.Errorf("the second attempt waited %v", waited)
		}
		h.want(t, fsm.ReqKey{2}, h.work(0), 2)
		time.Sleep(11 * time.Second)
		h.want(t, fsm.ReqKey{1}, h.work(0), 1)
		time.Sleep(2 * time.Second)
		h.want(t, fsm.ReqKey{1}, h.work(0), 3)
		time.Sleep(time.Minute)
		h.heavyWorks.mu.Lock()
		defer h.heavyWorks.mu.Unlock()
		if n := len(h.heavyWorks.works); n != 0 {
			t.Errorf("%d results are kept for ever", n)
		}
	})
}

// Reads have no attempts: each does its own work.
func TestHeavyWorkOfReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeavyTest(1)
		h.want(t, fsm.ReqKey{}, h.work(0), 1)
		h.want(t, fsm.ReqKey{}, h.work(0), 2)
	})
}

// What failed is done again, whether it returned an error, panicked or got no place.
func TestHeavyWorkThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, key := newHeavyTest(1), fsm.ReqKey{1}
		broken := errors.New("broken")
		if _, err := h.heavy(t.Context(), key, func() (any, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = h.heavy(t.Context(), key, func() (any, error) { panic("work") })
		}()
		go h.want(t, fsm.ReqKey{2}, h.work(time.Minute), 1)
		synctest.Wait()
		began := time.Now()
		if _, err := h.heavy(t.Context(), key, h.work(0)); !errors.Is(err, errThrottled) || time.Since(began) != 3*time.Second {
			t.Errorf("without a place: %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		h.want(t, key, h.work(0), 2)
	})
}

// As many wait as the pool has room for; the next is refused at once.
func TestHeavyQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHeavyTest(1)
		refused := make(chan error, 100)
		for i := range byte(1 + 16 + 1) {
			go func() {
				_, err := h.heavy(t.Context(), fsm.ReqKey{1 + i}, func() (any, error) { time.Sleep(time.Minute); return 1, nil })
				refused <- err
			}()
		}
		synctest.Wait()
		if len(refused) != 1 || !errors.Is(<-refused, errThrottled) {
			t.Error("not exactly one was refused at once")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(refused) != 16 {
			t.Errorf("%d of 16 that waited were refused after three seconds", len(refused))
		}
		time.Sleep(time.Hour)
	})
}
