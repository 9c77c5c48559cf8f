// Package kmsapi holds the operations of AWS KMS: their rows and what is unique
// to each of them. Everything that operations share is in package service.
//
// Handlers hold key material for the time of a call only, through handles of the
// material cache. They put no plaintext, key material, token or ciphertext into
// errors or audit records.
package kmsapi

import (
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

// Config holds what the operations need beyond the pipeline. All fields are
// required.
type Config struct {
	// Keyring seals and opens the material of keys.
	Keyring *crypto.Keyring
	// Materials caches opened material.
	Materials *crypto.MaterialCache
}

type api struct {
	keyring   *crypto.Keyring
	materials *crypto.MaterialCache
}

// serviceName is AWS's name of the service in credential scopes and event
// sources.
const serviceName = "kms"

// Rows returns the operations of AWS KMS that kmsd serves.
func Rows(cfg Config) []*service.Row {
	a := &api{keyring: cfg.Keyring, materials: cfg.Materials}
	var rows []*service.Row
	for _, group := range [][]*service.Row{
		a.cryptoRows(), a.dataKeyRows(), a.dataKeyPairRows(), a.signRows(), a.macRows(), a.agreementRows(), a.encapsulationRows(),
		a.keyRows(), multiRegionRows(), publicKeyRows(), a.importRows(), aliasRows(), a.grantRows(), policyRows(), deletionRows(), rotationRows(), tagRows(), usageRows(),
	} {
		rows = append(rows, group...)
	}
	return rows
}

// use is the rule of a key of the usage that a cryptographic operation works with.
func use[In any](usage kms.KeyUsage, id func(*In) string, action string, conditions func(*In, string) []string) service.KeyRule[In] {
	rule := service.KeyRule[In]{
		ID: id, Aliases: true, Action: action, CrossAccount: true, Usage: usage, States: service.Usable, Conditions: conditions,
		Granted: granted[In](operationOf(action), nil),
	}
	if usage == kms.EncryptDecrypt {
		rule.Managed = service.ManagedByService
	}
	return rule
}

// within is a rule of a call with an encryption context, which grants can constrain.
func within[In any](rule service.KeyRule[In], context func(*In) map[string]string) service.KeyRule[In] {
	rule.Granted = granted(operationOf(rule.Action), context)
	return rule
}

// operationOf is the operation of grants that the action is.
func operationOf(action string) kms.GrantOperations {
	return kms.GrantOperation(strings.TrimPrefix(action, serviceName+":"))
}

// granted is what a grant must have for an operation. Constraints on the encryption
// context do not apply to calls that can have none.
func granted[In any](operation kms.GrantOperations, context func(*In) map[string]string) func(*In) fsm.GrantQuery {
	return func(in *In) fsm.GrantQuery {
		if context == nil {
			return fsm.GrantQuery{Operations: operation, AnyContext: true}
		}
		return fsm.GrantQuery{Operations: operation, Context: service.ContextPairs(context(in)), Whole: true}
	}
}

// manage is the rule of a key that the call manages: aliases are not accepted and
// other accounts have no access.
func manage[In any](id func(*In) string, action string, states service.States) []service.KeyRule[In] {
	return []service.KeyRule[In]{{ID: id, Action: action, States: states}}
}

func (a *api) cryptoRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.EncryptRequest, wire.EncryptResponse]{
			Service: serviceName, Name: "Encrypt", QuotaOf: service.QuotaOfKey,
			Keys: []service.KeyRule[wire.EncryptRequest]{within(use(kms.EncryptDecrypt, func(in *wire.EncryptRequest) string { return in.KeyId }, "kms:Encrypt",
				func(in *wire.EncryptRequest, key string) []string {
					return encryption(key, in.EncryptionAlgorithm, in.EncryptionContext)
				}), func(in *wire.EncryptRequest) map[string]string { return in.EncryptionContext })},
			Check:       func(in *wire.EncryptRequest) error { return checkContext(in.EncryptionContext) },
			DryRun:      func(in *wire.EncryptRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.EncryptRequest) []string { return in.GrantTokens },
			Params: func(in *wire.EncryptRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("encryptionAlgorithm", algorithmOr(in.EncryptionAlgorithm))
				p.Map("encryptionContext", in.EncryptionContext)
			},
			Read: a.encrypt,
		}.Row(),
		service.Op[wire.DecryptRequest, wire.DecryptResponse]{
			Service: serviceName, Name: "Decrypt", QuotaOf: service.QuotaOfKey,
			Keys: []service.KeyRule[wire.DecryptRequest]{{
				ID: func(in *wire.DecryptRequest) string { return text(in.KeyId) }, Blob: decryptBlob,
				Aliases: true, Action: "kms:Decrypt", CrossAccount: true, Usage: kms.EncryptDecrypt, States: service.Usable,
				Conditions: func(in *wire.DecryptRequest, key string) []string {
					return encryption(key, in.EncryptionAlgorithm, in.EncryptionContext)
				},
				Granted: granted(kms.GrantDecrypt, func(in *wire.DecryptRequest) map[string]string { return in.EncryptionContext }),
			}},
			Check:       checkDecrypt,
			DryRun:      func(in *wire.DecryptRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.DecryptRequest) []string { return in.GrantTokens },
			Params: func(in *wire.DecryptRequest, p *audit.Params) {
				p.OptString("keyId", in.KeyId)
				p.String("encryptionAlgorithm", algorithmOr(in.EncryptionAlgorithm))
				p.Map("encryptionContext", in.EncryptionContext)
			},
			Recipient: func(in *wire.DecryptRequest) []byte { return attestationOf(in.Recipient) },
			Read:      a.decrypt,
		}.Row(),
		service.Op[wire.ReEncryptRequest, wire.ReEncryptResponse]{
			Service: serviceName, Name: "ReEncrypt", QuotaOf: service.QuotaOfKey,
			Keys: []service.KeyRule[wire.ReEncryptRequest]{{
				ID: func(in *wire.ReEncryptRequest) string { return text(in.SourceKeyId) }, Blob: reEncryptBlob,
				Aliases: true, Action: "kms:ReEncryptFrom", CrossAccount: true, Usage: kms.EncryptDecrypt, States: service.Usable,
				Conditions: func(in *wire.ReEncryptRequest, key string) []string {
					return encryption(key, in.SourceEncryptionAlgorithm, in.SourceEncryptionContext)
				},
				Granted: granted(kms.GrantReEncryptFrom, func(in *wire.ReEncryptRequest) map[string]string { return in.SourceEncryptionContext }),
			}, within(use(kms.EncryptDecrypt, func(in *wire.ReEncryptRequest) string { return in.DestinationKeyId }, "kms:ReEncryptTo",
				func(in *wire.ReEncryptRequest, key string) []string {
					return encryption(key, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext)
				}), func(in *wire.ReEncryptRequest) map[string]string { return in.DestinationEncryptionContext })},
			Check:       checkReEncrypt,
			DryRun:      func(in *wire.ReEncryptRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.ReEncryptRequest) []string { return in.GrantTokens },
			Params:      reEncryptParams,
			Read:        a.reEncrypt,
		}.Row(),
	}
}

func (a *api) dataKeyRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GenerateDataKeyRequest, wire.GenerateDataKeyResponse]{
			Service: serviceName, Name: "GenerateDataKey", Quota: service.QuotaSymmetric,
			Keys: []service.KeyRule[wire.GenerateDataKeyRequest]{within(use(kms.EncryptDecrypt, func(in *wire.GenerateDataKeyRequest) string { return in.KeyId }, "kms:GenerateDataKey",
				func(in *wire.GenerateDataKeyRequest, key string) []string {
					return encryption(key, "", in.EncryptionContext)
				}), func(in *wire.GenerateDataKeyRequest) map[string]string { return in.EncryptionContext })},
			Check: func(in *wire.GenerateDataKeyRequest) error {
				return checkDataKey(in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
			},
			DryRun:      func(in *wire.GenerateDataKeyRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.GenerateDataKeyRequest) []string { return in.GrantTokens },
			Params: func(in *wire.GenerateDataKeyRequest, p *audit.Params) {
				dataKeyParams(p, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
			},
			Recipient: func(in *wire.GenerateDataKeyRequest) []byte { return attestationOf(in.Recipient) },
			Read:      a.generateDataKey,
		}.Row(),
		service.Op[wire.GenerateDataKeyWithoutPlaintextRequest, wire.GenerateDataKeyWithoutPlaintextResponse]{
			Service: serviceName, Name: "GenerateDataKeyWithoutPlaintext", Quota: service.QuotaSymmetric,
			Keys: []service.KeyRule[wire.GenerateDataKeyWithoutPlaintextRequest]{
				within(use(kms.EncryptDecrypt, func(in *wire.GenerateDataKeyWithoutPlaintextRequest) string { return in.KeyId }, "kms:GenerateDataKeyWithoutPlaintext",
					func(in *wire.GenerateDataKeyWithoutPlaintextRequest, key string) []string {
						return encryption(key, "", in.EncryptionContext)
					}), func(in *wire.GenerateDataKeyWithoutPlaintextRequest) map[string]string { return in.EncryptionContext }),
			},
			Check: func(in *wire.GenerateDataKeyWithoutPlaintextRequest) error {
				return checkDataKey(in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
			},
			DryRun:      func(in *wire.GenerateDataKeyWithoutPlaintextRequest) bool { return isTrue(in.DryRun) },
			GrantTokens: func(in *wire.GenerateDataKeyWithoutPlaintextRequest) []string { return in.GrantTokens },
			Params: func(in *wire.GenerateDataKeyWithoutPlaintextRequest, p *audit.Params) {
				dataKeyParams(p, in.KeyId, in.KeySpec, in.NumberOfBytes, in.EncryptionContext)
			},
			Read: a.generateDataKeyWithoutPlaintext,
		}.Row(),
		service.Op[wire.GenerateRandomRequest, wire.GenerateRandomResponse]{
			Service: serviceName, Name: "GenerateRandom", Quota: service.QuotaSymmetric, Identity: "kms:GenerateRandom",
			Check: checkRandom,
			Own:   func(*wire.GenerateRandomRequest, *kms.Service) bool { return true },
			Params: func(in *wire.GenerateRandomRequest, p *audit.Params) {
				p.OptString("customKeyStoreId", in.CustomKeyStoreId)
			},
			Recipient: func(in *wire.GenerateRandomRequest) []byte { return attestationOf(in.Recipient) },
			Read:      generateRandom,
		}.Row(),
	}
}

func (a *api) keyRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.CreateKeyRequest, wire.CreateKeyResponse]{
			Service: serviceName, Name: "CreateKey", Once: true, Identity: "kms:CreateKey", CallerAccount: true,
			Also: createKeyAlso, Conditions: createKeyConditions,
			Check: checkCreateKey, Params: createKeyParams,
			Write: a.createKey, Repeat: createdKey,
		}.Row(),
		service.Op[wire.DescribeKeyRequest, wire.DescribeKeyResponse]{
			Service: serviceName, Name: "DescribeKey",
			Keys: []service.KeyRule[wire.DescribeKeyRequest]{{
				ID:      func(in *wire.DescribeKeyRequest) string { return in.KeyId },
				Aliases: true, Action: "kms:DescribeKey", CrossAccount: true, States: service.AnyState, Managed: service.ManagedByAnyone,
				Granted: granted[wire.DescribeKeyRequest](kms.GrantDescribeKey, nil),
			}},
			GrantTokens: func(in *wire.DescribeKeyRequest) []string { return in.GrantTokens },
			Params:      func(in *wire.DescribeKeyRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Read:        describeKey,
		}.Row(),
		service.Op[wire.ListKeysRequest, wire.ListKeysResponse]{
			Service: serviceName, Name: "ListKeys", Identity: "kms:ListKeys",
			Params: func(in *wire.ListKeysRequest, p *audit.Params) {
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listKeys,
		}.Row(),
		service.Op[wire.EnableKeyRequest, service.None]{
			Service: serviceName, Name: "EnableKey",
			Keys:   manage(func(in *wire.EnableKeyRequest) string { return in.KeyId }, "kms:EnableKey", service.Switchable),
			Params: func(in *wire.EnableKeyRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Write:  setKeyState[wire.EnableKeyRequest](true),
		}.Row(),
		service.Op[wire.DisableKeyRequest, service.None]{
			Service: serviceName, Name: "DisableKey",
			Keys: []service.KeyRule[wire.DisableKeyRequest]{{
				ID: func(in *wire.DisableKeyRequest) string { return in.KeyId }, Action: "kms:DisableKey", States: service.Switchable, DaysUnused: true,
			}},
			Params: func(in *wire.DisableKeyRequest, p *audit.Params) { p.String("keyId", in.KeyId) },
			Write:  setKeyState[wire.DisableKeyRequest](false),
		}.Row(),
		service.Op[wire.UpdateKeyDescriptionRequest, service.None]{
			Service: serviceName, Name: "UpdateKeyDescription",
			Keys: manage(func(in *wire.UpdateKeyDescriptionRequest) string { return in.KeyId }, "kms:UpdateKeyDescription", service.NotPendingDeletion),
			Params: func(in *wire.UpdateKeyDescriptionRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("description", in.Description)
			},
			Write: updateKeyDescription,
		}.Row(),
	}
}

func aliasRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.CreateAliasRequest, service.None]{
			Service: serviceName, Name: "CreateAlias", Once: true,
			Alias: func(in *wire.CreateAliasRequest) string { return in.AliasName },
			Keys:  manage(func(in *wire.CreateAliasRequest) string { return in.TargetKeyId }, "kms:CreateAlias", service.NotPendingDeletion),
			Check: func(in *wire.CreateAliasRequest) error { return checkAlias(in.AliasName, in.TargetKeyId) },
			Params: func(in *wire.CreateAliasRequest, p *audit.Params) {
				p.String("aliasName", in.AliasName)
				p.String("targetKeyId", in.TargetKeyId)
			},
			Write: createAlias,
		}.Row(),
		service.Op[wire.UpdateAliasRequest, service.None]{
			Service: serviceName, Name: "UpdateAlias",
			Alias: func(in *wire.UpdateAliasRequest) string { return in.AliasName },
			Keys: []service.KeyRule[wire.UpdateAliasRequest]{
				{ID: func(in *wire.UpdateAliasRequest) string { return in.AliasName }, Aliases: true, Action: "kms:UpdateAlias", States: service.AnyState},
				{ID: func(in *wire.UpdateAliasRequest) string { return in.TargetKeyId }, Action: "kms:UpdateAlias", States: service.NotPendingDeletion},
			},
			Check: func(in *wire.UpdateAliasRequest) error { return checkAlias(in.AliasName, in.TargetKeyId) },
			Params: func(in *wire.UpdateAliasRequest, p *audit.Params) {
				p.String("aliasName", in.AliasName)
				p.String("targetKeyId", in.TargetKeyId)
			},
			Write: updateAlias,
		}.Row(),
		service.Op[wire.DeleteAliasRequest, service.None]{
			Service: serviceName, Name: "DeleteAlias", Once: true,
			Alias: func(in *wire.DeleteAliasRequest) string { return in.AliasName },
			Keys: []service.KeyRule[wire.DeleteAliasRequest]{
				{ID: func(in *wire.DeleteAliasRequest) string { return in.AliasName }, Aliases: true, Action: "kms:DeleteAlias", States: service.AnyState},
			},
			Check:  func(in *wire.DeleteAliasRequest) error { return checkAliasName(in.AliasName) },
			Params: func(in *wire.DeleteAliasRequest, p *audit.Params) { p.String("aliasName", in.AliasName) },
			Write:  deleteAlias,
		}.Row(),
		service.Op[wire.ListAliasesRequest, wire.ListAliasesResponse]{
			Service: serviceName, Name: "ListAliases", Identity: "kms:ListAliases",
			Keys: []service.KeyRule[wire.ListAliasesRequest]{{
				ID: func(in *wire.ListAliasesRequest) string { return text(in.KeyId) }, Optional: true, States: service.AnyState,
			}},
			Params: func(in *wire.ListAliasesRequest, p *audit.Params) {
				p.OptString("keyId", in.KeyId)
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listAliases,
		}.Row(),
	}
}

func policyRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetKeyPolicyRequest, wire.GetKeyPolicyResponse]{
			Service: serviceName, Name: "GetKeyPolicy",
			Keys: manage(func(in *wire.GetKeyPolicyRequest) string { return in.KeyId }, "kms:GetKeyPolicy", service.AnyState),
			Params: func(in *wire.GetKeyPolicyRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.OptString("policyName", in.PolicyName)
			},
			Read: getKeyPolicy,
		}.Row(),
		service.Op[wire.PutKeyPolicyRequest, service.None]{
			Service: serviceName, Name: "PutKeyPolicy",
			Keys: []service.KeyRule[wire.PutKeyPolicyRequest]{{
				ID: func(in *wire.PutKeyPolicyRequest) string { return in.KeyId }, Action: "kms:PutKeyPolicy", States: service.AnyState,
				Conditions: func(in *wire.PutKeyPolicyRequest, key string) []string {
					return bypass(key, in.BypassPolicyLockoutSafetyCheck)
				},
			}},
			Params: func(in *wire.PutKeyPolicyRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("policyName", policyName)
				p.String("policy", in.Policy)
				p.Bool("bypassPolicyLockoutSafetyCheck", isTrue(in.BypassPolicyLockoutSafetyCheck))
			},
			Write: putKeyPolicy,
		}.Row(),
		service.Op[wire.ListKeyPoliciesRequest, wire.ListKeyPoliciesResponse]{
			Service: serviceName, Name: "ListKeyPolicies",
			Keys: manage(func(in *wire.ListKeyPoliciesRequest) string { return in.KeyId }, "kms:ListKeyPolicies", service.AnyState),
			Params: func(in *wire.ListKeyPoliciesRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listKeyPolicies,
		}.Row(),
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func isTrue(b *bool) bool { return b != nil && *b }

func invalid(message string) error { return &kms.Error{Code: kms.CodeValidation, Message: message} }

func unsupported(message string) error {
	return &kms.Error{Code: kms.CodeUnsupportedOperation, Message: message}
}
