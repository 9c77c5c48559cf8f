package kms_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/kms"
)

// Every client error of the JSON services is HTTP 400, except the one for bodies
// that are too large; 500 and 503 are the service's own. IAM has 403, 404 and 409.
func TestStatuses(t *testing.T) {
	t.Parallel()
	want := map[string]int{
		"KMSInternalException": 500, "DependencyTimeoutException": 500, "KeyUnavailableException": 500,
		"ServiceUnavailableException": 503, "RequestEntityTooLargeException": 413,
		"MissingAuthenticationToken": 403, "SignatureDoesNotMatch": 403, "InvalidClientTokenId": 403, "ExpiredToken": 403,
		"ServiceUnavailable": 503, "InternalFailure": 500,
		"AccessDenied": 403, "ConcurrentModification": 409,
		"NoSuchEntity": 404, "EntityAlreadyExists": 409, "DeleteConflict": 409, "LimitExceeded": 409,
	}
	for _, code := range kms.Codes() {
		status, ok := want[code]
		if !ok {
			status = http.StatusBadRequest
		}
		if got := kms.Info(code).Status; got != status {
			t.Errorf("%s: status %d, want %d", code, got, status)
		}
		if got := kms.Info(code).Fault == kms.FaultServer; got != (status >= 500) {
			t.Errorf("%s: server fault %v with status %d", code, got, status)
		}
	}
	for code := range want {
		if kms.Info(code).Status != want[code] {
			t.Errorf("%s is missing", code)
		}
	}
}

// The codes that only kmsd has are client errors like AWS's own.
func TestOwnCodes(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"ConflictException", "InvalidJoinTokenException", "QuorumAtRiskException"} {
		if !slices.Contains(kms.Codes(), code) {
			t.Errorf("%s is missing", code)
		}
		if got := kms.Info(code); got.Status != 400 || got.Fault != kms.FaultClient {
			t.Errorf("%s: got %+v, want a client's error with status 400", code, got)
		}
	}
}

// That a signature or a MAC is not valid is the client's error with status 400, and
// another one than a request's own signature that is not.
func TestInvalidSignatures(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"InvalidSignatureException", "KMSInvalidSignatureException", "KMSInvalidMacException"} {
		if !slices.Contains(kms.Codes(), code) {
			t.Errorf("%s is missing", code)
		}
	}
}

// The other errors of IAM and STS are client errors with status 400, which is what
// TestStatuses takes for granted of every code that is there.
func TestQueryCodes(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"InvalidInput", "PackedPolicyTooLarge", "PolicyNotAttachable", "UnmodifiableEntity", "MalformedPolicyDocument", "MalformedInput"} {
		if !slices.Contains(kms.Codes(), code) {
			t.Errorf("%s is missing", code)
		}
	}
}

func TestCapitalMessage(t *testing.T) {
	t.Parallel()
	for _, code := range kms.Codes() {
		want := code == "AccessDeniedException" || code == "SerializationException"
		if got := kms.Info(code).CapitalMessage; got != want {
			t.Errorf("%s: CapitalMessage %v, want %v", code, got, want)
		}
	}
}

func TestUnknownCodeIsAnInternalFault(t *testing.T) {
	t.Parallel()
	if got := kms.Info("NoSuchCode"); got.Status != 500 || got.Fault != kms.FaultServer {
		t.Errorf("got %+v", got)
	}
}

func TestAsErrorHidesWhatIsNotForClients(t *testing.T) {
	t.Parallel()
	e, ok := kms.AsError(errors.New("open /var/lib/kmsd: secret detail"))
	if ok || e.Code != kms.CodeInternal || strings.Contains(e.Message, "secret") {
		t.Errorf("got %+v, %v", e, ok)
	}
	wrapped := fmt.Errorf("resolving: %w", &kms.Error{Code: kms.CodeNotFound, Message: "x"})
	e, ok = kms.AsError(wrapped)
	if !ok || e.Code != kms.CodeNotFound {
		t.Errorf("got %+v, %v", e, ok)
	}
	if !errors.Is(wrapped, &kms.Error{Code: kms.CodeNotFound}) || errors.Is(wrapped, &kms.Error{Code: kms.CodeDisabled}) {
		t.Error("errors.Is does not match on the code alone")
	}
}
