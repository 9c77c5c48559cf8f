package iamapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/service/iamapi"
	iamwire "github.com/kmsd/kmsd/wire/iam"
	wire "github.com/kmsd/kmsd/wire/sts"
)

// What the documents say of STS's operations: nothing is written, and who needs a
// permission that an identity policy gives.
var stsActions = map[string]string{"GetCallerIdentity": "", "AssumeRole": "", "GetSessionToken": "", "GetAccessKeyInfo": "sts:GetAccessKeyInfo"}

func TestSTSRows(t *testing.T) {
	t.Parallel()
	var names []string
	for _, r := range iamapi.Rows(iamapi.Config{}) {
		if r.Service != "sts" {
			continue
		}
		names = append(names, r.Name)
		if _, ok := wire.Lookup(r.Name); !ok {
			t.Errorf("the model has no operation %s", r.Name)
		}
		if actions := strings.Join(r.Actions(), " "); r.Write || actions != stsActions[r.Name] {
			t.Errorf("%s: write %t, actions %q, want %q", r.Name, r.Write, actions, stsActions[r.Name])
		}
	}
	if len(names) != len(stsActions) || !slices.Contains(names, "AssumeRole") {
		t.Errorf("operations %v", names)
	}
}

// Every operation of IAM needs the permission of its name, and only those that AWS
// calls reads leave the state alone.
func TestIAMRows(t *testing.T) {
	t.Parallel()
	for _, r := range iamapi.Rows(iamapi.Config{}) {
		if r.Service != "iam" {
			continue
		}
		if _, ok := iamwire.Lookup(r.Name); !ok {
			t.Errorf("the model has no operation %s", r.Name)
		}
		reads := strings.HasPrefix(r.Name, "Get") || strings.HasPrefix(r.Name, "List")
		if actions := strings.Join(r.Actions(), " "); r.Write == reads || actions != "iam:"+r.Name || r.Open {
			t.Errorf("%s: write %t, actions %q", r.Name, r.Write, actions)
		}
		if strings.HasPrefix(r.Name, "Create") && !r.Once {
			t.Errorf("%s would create twice", r.Name)
		}
	}
}
