package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/service/adminapi"
	"github.com/kmsd/kmsd/service/iamapi"
	"github.com/kmsd/kmsd/service/kmsapi"
)

// An action belongs to one operation, so that its name says how it is decided.
func TestActionsBelongToOneOperation(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for _, row := range slices.Concat(kmsapi.Rows(kmsapi.Config{}), iamapi.Rows(iamapi.Config{}), adminapi.Rows(adminapi.Config{})) {
		for _, action := range append(row.Actions(), row.Service+":"+row.Name) {
			action, name := strings.ToLower(action), row.Service+" "+row.Name
			if owner[action] != "" && owner[action] != name {
				t.Errorf("%s is of %s and of %s", action, owner[action], name)
			}
			owner[action] = name
		}
	}
}
