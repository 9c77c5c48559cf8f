package service_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

// A local operator who waits for admission needs no new View: a node in trouble
// answers how it is. Whoever signed does need one.
func TestLocalOperatorWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		leave := s.Service.Hold("operator")
		var local, signed testkit.Answer
		done := make(chan bool, 2)
		go func() { local = s.Local(t, 1000, "GetStatus", ``); done <- true }()
		go func() { signed = s.Admin(t, testkit.Root, "GetStatus", ``); done <- true }()
		synctest.Wait()
		s.Down = kms.ErrUnavailable
		time.AfterFunc(200*time.Millisecond, leave)
		<-done
		<-done
		wantCode(t, local, "")
		wantAnswer(t, signed, "ServiceUnavailableException", nothingDone)
	})
}
