package kmsapi

import (
	"slices"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// algorithms are what a key can do by its spec and its usage: exactly one of the
// lists, the others are empty (AWS: KeyMetadata).
type algorithms struct {
	encryption    []string
	signing       []string
	keyAgreement  []string
	mac           []string
	encapsulation []string
}

func algorithmsOf(k *fsm.Key) (a algorithms) {
	switch k.Usage {
	case kms.EncryptDecrypt:
		a.encryption = texts(k.Spec.EncryptionAlgorithms())
	case kms.SignVerify:
		a.signing = texts(k.Spec.SigningAlgorithms())
	case kms.KeyAgreement:
		a.keyAgreement = texts(k.Spec.KeyAgreementAlgorithms())
	case kms.GenerateVerifyMac:
		a.mac = texts(k.Spec.MacAlgorithms())
	case kms.EncapsulateDecapsulate:
		a.encapsulation = texts(k.Spec.EncapsulationAlgorithms())
	}
	return a
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// checkSpec refuses an algorithm that is not among those of the key's spec. It is for
// keys of the right state and usage, which the pipeline has checked.
func checkSpec[T ~string](algorithm T, key *service.Key, have []T) error {
	if slices.Contains(have, algorithm) {
		return nil
	}
	return &kms.Error{Code: kms.CodeInvalidKeyUsage,
		Message: "Algorithm " + string(algorithm) + " is incompatible with key spec " + string(key.Spec) + "."}
}
