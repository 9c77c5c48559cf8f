package service

import "github.com/kmsd/kmsd/kms"

// States is a set of key states in which an operation works (AWS: "Key states of
// AWS KMS keys"). What the others answer follows from the state alone.
type States uint16

const (
	inEnabled States = 1 << iota
	inDisabled
	inPendingDeletion
	inPendingReplicaDeletion
	inPendingImport
	inUnavailable
	inCreating
	inUpdating
)

const (
	// AnyState is for operations that look at a key or manage what hangs on it.
	AnyState States = 1<<8 - 1
	// Usable is for cryptographic operations.
	Usable = inEnabled | inUpdating
	// NotPendingDeletion is for new aliases, tags and descriptions.
	NotPendingDeletion = AnyState &^ (inPendingDeletion | inPendingReplicaDeletion)
	// Complete is for GetPublicKey, which shows what a key has.
	Complete = NotPendingDeletion &^ inCreating
	// Deletable is for ScheduleKeyDeletion.
	Deletable = NotPendingDeletion &^ inUpdating
	// Schedulable is for the schedule of rotation: what may not have one for its
	// origin is told so, whatever its state.
	Schedulable = inEnabled | inUpdating | inPendingImport | inUnavailable
	// Grantable is for CreateGrant.
	Grantable = inEnabled | inUpdating | inUnavailable
	// Rotatable is for RotateKeyOnDemand.
	Rotatable = inEnabled | inUpdating | inUnavailable
	// Importing is for ImportKeyMaterial.
	Importing = Complete
	// Importable is for GetParametersForImport.
	Importable = Importing &^ inUpdating
	// Erasable is for DeleteImportedKeyMaterial.
	Erasable = AnyState &^ (inCreating | inUpdating)
	// Replicable is for ReplicateKey.
	Replicable = inEnabled
	// Switchable is for EnableKey and DisableKey.
	Switchable = inEnabled | inDisabled | inUnavailable
)

var stateBits = map[kms.KeyState]States{
	kms.Enabled: inEnabled, kms.Disabled: inDisabled,
	kms.PendingDeletion: inPendingDeletion, kms.PendingReplicaDeletion: inPendingReplicaDeletion,
	kms.PendingImport: inPendingImport, kms.Unavailable: inUnavailable,
	kms.Creating: inCreating, kms.Updating: inUpdating,
}

var stateTexts = map[kms.KeyState]string{
	kms.PendingDeletion: "pending deletion", kms.PendingReplicaDeletion: "pending replica deletion",
	kms.PendingImport: "pending import", kms.Unavailable: "unavailable",
	kms.Creating: "creating", kms.Updating: "updating",
}

// check returns nil where the set holds the state, otherwise what AWS answers:
// DisabledException or KMSInvalidStateException.
func (s States) check(state kms.KeyState, arn string) error {
	switch bit, ok := stateBits[state]; {
	case !ok:
		panic("kmsd: unknown key state " + string(state))
	case s&bit != 0:
		return nil
	case state == kms.Disabled:
		return &kms.Error{Code: kms.CodeDisabled, Message: arn + " is disabled."}
	}
	return &kms.Error{Code: kms.CodeInvalidState, Message: arn + " is " + stateTexts[state] + "."}
}
