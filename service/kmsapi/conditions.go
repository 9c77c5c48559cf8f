package kmsapi

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsd/kmsd/kms"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// The condition keys that come from a call's parameters (AWS KMS: "AWS KMS condition
// keys"). Their names are in lower case; what is absent is nil.

// encryption has the keys of an operation with an encryption context.
func encryption(key, algorithm string, context map[string]string) []string {
	switch key {
	case "kms:encryptionalgorithm":
		return []string{algorithmOr(algorithm)}
	case "kms:encryptioncontextkeys":
		return slices.Sorted(maps.Keys(context))
	}
	if name, ok := strings.CutPrefix(key, "kms:encryptioncontext:"); ok {
		return pairNamed(context, name)
	}
	return nil
}

// pairEncryption is encryption for the private key of a data key pair.
func pairEncryption(key, spec string, context map[string]string) []string {
	if key == "kms:datakeypairspec" {
		return []string{spec}
	}
	return encryption(key, "", context)
}

// pairNamed returns the value of a pair of an encryption context. The names of
// condition keys ignore case; of several pairs that differ in nothing else, the one
// whose name comes first in the order of bytes counts, so that every node decides
// alike.
func pairNamed(context map[string]string, name string) []string {
	for _, k := range slices.Sorted(maps.Keys(context)) {
		if strings.EqualFold(k, name) {
			return []string{context[k]}
		}
	}
	return nil
}

// signing has the keys of an operation with signatures. A message type that the request
// leaves out has its default.
func signing(key, algorithm, sent string) []string {
	if v := parameter(key, "kms:signingalgorithm", algorithm); v != nil {
		return v
	}
	return parameter(key, "kms:messagetype", string(messageType(sent)))
}

// parameter is the value of a parameter that is always there, under its name.
func parameter(key, name, value string) []string {
	if key != name {
		return nil
	}
	return []string{value}
}

func number(key, name string, sent *int) []string {
	if key != name || sent == nil {
		return nil
	}
	return []string{strconv.Itoa(*sent)}
}

func bypass(key string, sent *bool) []string {
	if key != "kms:bypasspolicylockoutsafetycheck" || sent == nil {
		return nil
	}
	return []string{strconv.FormatBool(*sent)}
}

// requestTags has the keys of a call that sets tags.
func requestTags(key string, tags []wire.Tag) []string {
	if key == "aws:tagkeys" {
		names := make([]string, len(tags))
		for i, t := range tags {
			names[i] = t.TagKey
		}
		return names
	}
	if name, ok := strings.CutPrefix(key, "aws:requesttag/"); ok {
		for _, t := range tags {
			if strings.EqualFold(t.TagKey, name) {
				return []string{t.TagValue}
			}
		}
	}
	return nil
}

// createKeyAlso: tags on a new key need a permission of their own.
func createKeyAlso(in *wire.CreateKeyRequest) []string {
	if len(in.Tags) == 0 {
		return nil
	}
	return []string{"kms:TagResource"}
}

func createKeyConditions(in *wire.CreateKeyRequest, key string) []string {
	switch key {
	case "kms:keyspec", "kms:customermasterkeyspec":
		return []string{keySpec(in)}
	case "kms:keyusage", "kms:customermasterkeyusage":
		if in.KeyUsage == "" {
			return []string{string(kms.EncryptDecrypt)}
		}
		return []string{in.KeyUsage}
	case "kms:keyorigin":
		return []string{origin(in)}
	case "kms:multiregion":
		return []string{strconv.FormatBool(isTrue(in.MultiRegion))}
	case "kms:multiregionkeytype":
		if isTrue(in.MultiRegion) {
			return []string{"PRIMARY"}
		}
		return nil
	}
	if v := bypass(key, in.BypassPolicyLockoutSafetyCheck); v != nil {
		return v
	}
	return requestTags(key, in.Tags)
}
