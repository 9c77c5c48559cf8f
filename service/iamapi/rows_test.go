package iamapi_test

import (
	"testing"

	"github.com/kmsd/kmsd/service/iamapi"
	wire "github.com/kmsd/kmsd/wire/sts"
)

func TestRows(t *testing.T) {
	t.Parallel()
	rows := iamapi.Rows()
	if len(rows) != 1 || rows[0].Name != "GetCallerIdentity" {
		t.Errorf("%d rows", len(rows))
	}
	for _, r := range rows {
		if _, ok := wire.Lookup(r.Name); !ok {
			t.Errorf("the model has no operation %s", r.Name)
		}
		if r.Service != "sts" || r.Write || !r.Open || len(r.Actions()) != 0 {
			t.Errorf("got the row %+v", r)
		}
	}
}
