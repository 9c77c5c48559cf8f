package httpapi_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/httpapi"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// staleCluster is a node that cannot prove its freshness.
type staleCluster struct{ service.Cluster }

func (staleCluster) View(context.Context) (*fsm.View, error) { return nil, kms.ErrUnavailable }

// TestWrapWithoutView checks that no Session stands beside the error.
func TestWrapWithoutView(t *testing.T) {
	t.Parallel()
	b := httpapi.Wrap(service.New(service.Config{Cluster: staleCluster{}}))
	session, err := b.Open(t.Context())
	if session != nil || !errors.Is(err, kms.ErrUnavailable) {
		t.Errorf("got %v, %v", session, err)
	}
	if b.Knows("kms", "Encrypt") {
		t.Error("a service without rows knows Encrypt")
	}
}
