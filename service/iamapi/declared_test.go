package iamapi_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/wire"
	iamwire "github.com/kmsd/kmsd/wire/iam"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if undeclared := undeclaredCodes(); len(undeclared) > 0 {
		fmt.Println("FAIL: answers that the model does not declare:\n  " + strings.Join(undeclared, "\n  "))
		code = 1
	}
	if never := neverAnswered(); code == 0 && isWhole() && len(never) > 0 {
		fmt.Println("FAIL: errors that the model declares and no test was answered:\n  " + strings.Join(never, "\n  "))
		code = 1
	}
	os.Exit(code)
}

// common are the errors that every operation may answer without declaring them (AWS
// IAM: "Common errors"), under the names that the pipeline has for them.
var common = strings.Fields("AccessDeniedException KMSInternalException ServiceUnavailableException ThrottlingException ValidationException")

// renamed are the codes of the model that the pipeline knows under another name.
var renamed = map[string]string{"MalformedPolicyDocument": "MalformedPolicyDocumentException"}

// undocumented are codes that operations answer although the model declares them for
// other operations only.
var undocumented = map[string][]string{
	// A retry whose policy was deleted since; an access key that is not the account's.
	"NoSuchEntity": {"CreatePolicy", "GetAccessKeyLastUsed"},
}

// neverOccur are the errors that the model declares and that no call of kmsd can be
// answered, and why. The list is for the operations on managed policies.
var neverOccur = []struct{ code, operations, why string }{
	{"ServiceFailure", "*", "AWS's common error InternalFailure stands for it"},
	{"ConcurrentModification", "CreatePolicy TagPolicy UntagPolicy", "a write under which the state changes is decided anew; at last it answers Throttling"},
	{"LimitExceeded", "DeletePolicy DeletePolicyVersion SetDefaultPolicyVersion", "they add nothing"},
}

// policyOperations are the operations of which every declared error is accounted for.
var policyOperations = strings.Fields(`CreatePolicy GetPolicy DeletePolicy ListPolicies CreatePolicyVersion GetPolicyVersion DeletePolicyVersion
	SetDefaultPolicyVersion ListPolicyVersions ListEntitiesForPolicy TagPolicy UntagPolicy ListPolicyTags GetAccountAuthorizationDetails`)

// declares tells whether the model declares the pipeline's code for the operation.
func declares(op wire.Operation, code string) bool {
	return slices.ContainsFunc(op.Errors, func(declared string) bool { return declared == code || renamed[declared] == code })
}

// undeclaredCodes returns what calls of this process were answered against the
// model.
func undeclaredCodes() (out []string) {
	for _, op := range iamwire.Operations() {
		for _, code := range testkit.Seen(op.Name) {
			if !declares(op, code) && !slices.Contains(common, code) && !slices.Contains(undocumented[code], op.Name) {
				out = append(out, op.Name+": "+code)
			}
		}
	}
	return out
}

// neverAnswered returns the errors that operations declare, that can occur, and that no
// call of this process was answered; and those of the list above that one was.
func neverAnswered() (out []string) {
	for _, name := range policyOperations {
		op, _ := iamwire.Lookup(name)
		answered := testkit.Seen(name)
		for _, code := range op.Errors {
			excused := slices.ContainsFunc(neverOccur, func(e struct{ code, operations, why string }) bool {
				return e.code == code && (e.operations == "*" || slices.Contains(strings.Fields(e.operations), name))
			})
			switch seen := slices.Contains(answered, code) || slices.Contains(answered, renamed[code]); {
			case !seen && !excused:
				out = append(out, name+": "+code)
			case seen && excused:
				out = append(out, name+": "+code+", which cannot occur, was answered")
			}
		}
	}
	return out
}

// isWhole tells whether this process runs all tests of the package.
func isWhole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

// Every error that a listed operation is excused from is one that it declares.
func TestNeverOccur(t *testing.T) {
	t.Parallel()
	for _, e := range neverOccur {
		for _, name := range strings.Fields(e.operations) {
			if op, ok := iamwire.Lookup(name); name != "*" && (!ok || !slices.Contains(op.Errors, e.code)) {
				t.Errorf("%s does not declare %s", name, e.code)
			}
		}
	}
}
