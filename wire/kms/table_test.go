package kms_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/kms"
)

const operationNames = `CancelKeyDeletion ConnectCustomKeyStore CreateAlias CreateCustomKeyStore CreateGrant CreateKey Decapsulate
	Decrypt DeleteAlias DeleteCustomKeyStore DeleteImportedKeyMaterial DeriveSharedSecret DescribeCustomKeyStores DescribeKey
	DisableKey DisableKeyRotation DisconnectCustomKeyStore EnableKey EnableKeyRotation Encapsulate Encrypt GenerateDataKey
	GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GenerateRandom
	GetKeyLastUsage GetKeyPolicy GetKeyRotationStatus GetParametersForImport GetPublicKey ImportKeyMaterial ListAliases
	ListGrants ListKeyPolicies ListKeyRotations ListKeys ListResourceTags ListRetirableGrants PutKeyPolicy ReEncrypt
	ReplicateKey RetireGrant RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion Sign TagResource UntagResource UpdateAlias
	UpdateCustomKeyStore UpdateKeyDescription UpdatePrimaryRegion Verify VerifyMac`

func TestOperations(t *testing.T) {
	t.Parallel()
	var got []string
	for _, op := range kms.Operations() {
		got = append(got, op.Name)
	}
	want := strings.Fields(operationNames)
	if !slices.Equal(got, want) || len(got) != 56 {
		t.Errorf("got %d operations %v\nwant %d %v", len(got), got, len(want), want)
	}
	for _, name := range []string{"", "encrypt", "Encrypt ", "TrentService.Encrypt"} {
		if _, ok := kms.Lookup(name); ok {
			t.Errorf("Lookup(%q): got an operation, want none", name)
		}
	}
	if kms.TargetPrefix != "TrentService" || kms.ServiceName != "kms" {
		t.Errorf("got %s and %s, want TrentService and kms", kms.TargetPrefix, kms.ServiceName)
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	none := strings.Fields(`CreateAlias DeleteAlias DisableKey DisableKeyRotation EnableKey EnableKeyRotation PutKeyPolicy
		RetireGrant RevokeGrant TagResource UntagResource UpdateAlias UpdateKeyDescription UpdatePrimaryRegion`)
	empty := strings.Fields(`ConnectCustomKeyStore DeleteCustomKeyStore DisconnectCustomKeyStore UpdateCustomKeyStore`)
	for _, op := range kms.Operations() {
		want := wire.MembersOutput
		switch {
		case slices.Contains(none, op.Name):
			want = wire.NoOutput
		case slices.Contains(empty, op.Name):
			want = wire.EmptyOutput
		}
		if op.Output != want {
			t.Errorf("%s: got output %d, want %d", op.Name, op.Output, want)
		}
	}
}

func TestDeclaredErrors(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"EnableKey":       `DependencyTimeoutException InvalidArnException KMSInternalException KMSInvalidStateException LimitExceededException NotFoundException`,
		"GetKeyLastUsage": `DependencyTimeoutException InvalidArnException KMSInternalException NotFoundException`,
		"VerifyMac": `DisabledException DryRunOperationException InvalidGrantTokenException InvalidKeyUsageException KMSInternalException
			KMSInvalidMacException KMSInvalidStateException KeyUnavailableException NotFoundException`,
	} {
		op, _ := kms.Lookup(name)
		if got := slices.Sorted(slices.Values(op.Errors)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: got errors %v, want %v", name, got, strings.Fields(want))
		}
	}
	for _, op := range kms.Operations() {
		if len(op.Errors) == 0 {
			t.Errorf("%s: got no errors, want some", op.Name)
		}
	}
}
