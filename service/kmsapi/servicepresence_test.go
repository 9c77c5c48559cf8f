package kmsapi_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// Every call of a service that a key's policy decides has the condition keys that AWS
// lists for it, kms:ViaService besides, and no others.
func TestServiceConditionKeyPresence(t *testing.T) {
	t.Parallel()
	for _, p := range presences {
		if p.bare || p.unlet || strings.HasSuffix(p.op, "Alias") {
			continue // policies of identities decide these, too, or alone
		}
		t.Run(p.op, func(t *testing.T) {
			t.Parallel()
			keys := append(strings.Fields(p.keys), genericKeys...)
			keys = slices.DeleteFunc(keys, func(key string) bool { return key == "kms:ResourceAliases" || key == "aws:ResourceTag/team" })
			r := newConditions(t, p.op)
			if p.op == "CancelKeyDeletion" {
				r.SetState(t, r.keys[0], "PendingDeletion")
			}
			r.NewUser(t, testkit.Account, "alice") // whom the policies of the cases name
			who := r.Session(t, r.NewServiceRole(t, "s3"), forUs)
			r.letIn(t, letsService("Allow", "s3.amazonaws.com", "kms:*", nulls(append(keys, "kms:ViaService"))))
			want := success
			switch p.op {
			case "ImportKeyMaterial":
				want.code = "ExpiredImportTokenException" // the keys are days old, and the token with them
			case "ReplicateKey": // the replica is made by right of identity policies, which a service has none of
				want = outcome{"AccessDeniedException", "User: s3.amazonaws.com is not authorized to perform: kms:CreateKey on resource: * because no identity-based policy allows the kms:CreateKey action"}
			}
			wantOutcome(t, r.Call(t, who, p.op, fill(p.body, r.names...)), want)
		})
	}
}

// kms:GrantIsForAWSResource is true of services, where an operation has it.
func TestServiceGrantsAreForResources(t *testing.T) {
	t.Parallel()
	for _, c := range grantConditionCases {
		if c.key != "kms:GrantIsForAWSResource" {
			continue
		}
		for value, want := range map[string]string{"true": "", "false": "AccessDeniedException"} {
			r := newConditions(t, c.op)
			who := r.Session(t, r.NewServiceRole(t, "s3"), forUs)
			r.letIn(t, letsService("Allow", "s3.amazonaws.com", "kms:*", condition("Bool", c.key, value)))
			a := r.Call(t, who, c.op, fill(c.body, r.names...))
			code := ""
			if a.Refusal != nil {
				code = a.Refusal.Code
			}
			if code != want || a.Err != nil {
				t.Errorf("%s, %s: %v %v", c.op, value, a.Refusal, a.Err)
			}
		}
	}
}
