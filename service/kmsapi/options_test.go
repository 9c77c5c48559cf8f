package kmsapi_test

import (
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

// Ignoring an attestation document would hand out the plaintext that it was sent
// to protect.
func TestRecipientIsRefused(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	recipient := obj{"Recipient": obj{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": "AA=="}}
	want := validation("The attestation document could not be verified: no root certificate of attestation documents is configured.")
	for op, body := range map[string]obj{
		"Decrypt":             {"CiphertextBlob": s.NewBlob(t, key)},
		"GenerateDataKey":     {"KeyId": key, "KeySpec": "AES_256"},
		"GenerateDataKeyPair": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateRandom":      {"NumberOfBytes": 1},
		"DeriveSharedSecret":  {"KeyId": newKeyFor(t, s, "DeriveSharedSecret"), "KeyAgreementAlgorithm": "ECDH", "PublicKey": generatorP256},
	} {
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, recipient)), want)
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"Recipient": obj{}})), want)
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"Recipient": nil})), success)
	}
}

func TestGrantTokensAreRefused(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	bodies := map[string]obj{
		"Encrypt":                             {"KeyId": key, "Plaintext": "AA=="},
		"Decrypt":                             {"CiphertextBlob": blob},
		"ReEncrypt":                           {"CiphertextBlob": blob, "DestinationKeyId": key},
		"GenerateDataKey":                     {"KeyId": key, "KeySpec": "AES_256"},
		"GenerateDataKeyPair":                 {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateDataKeyPairWithoutPlaintext": {"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"},
		"GenerateDataKeyWithoutPlaintext":     {"KeyId": key, "KeySpec": "AES_256"},
		"DescribeKey":                         {"KeyId": key},
		"CreateGrant":                         {"KeyId": key, "GranteePrincipal": testkit.Account, "Operations": []string{"Decrypt"}},
	}
	for op, kind := range kinds {
		if kind == imported || kind == related {
			continue // they take none
		}
		_, body := exampleOf(t, s, op)
		bodies[op] = parse(t, body)
	}
	for op, body := range bodies {
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"GrantTokens": []string{"token"}})), outcome{"InvalidGrantTokenException", "The grant token is not valid."})
		wantOutcome(t, s.Call(t, testkit.Root, op, with(body, obj{"GrantTokens": []string{}})), success)
	}
}

// A dry run goes through every check and does nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, disabled := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	s.Must(t, "DisableKey", obj{"KeyId": disabled})
	signing, macs := newKeyFor(t, s, "Sign"), newKeyFor(t, s, "GenerateMac")
	sign := obj{"KeyId": signing, "Message": "aGVsbG8=", "SigningAlgorithm": "ECDSA_SHA_256"}
	derive := obj{"KeyId": newKeyFor(t, s, "DeriveSharedSecret"), "KeyAgreementAlgorithm": "ECDH", "PublicKey": generatorP256}
	encapsulate := obj{"KeyId": newKeyFor(t, s, "Encapsulate"), "EncapsulationAlgorithm": "ML_KEM"}
	mac := obj{"KeyId": macs, "Message": "aGVsbG8=", "MacAlgorithm": "HMAC_SHA_256"}
	off := outcome{"DisabledException", testkit.ARN(disabled) + " is disabled."}
	for _, row := range []struct {
		name, op string
		body     obj
		want     outcome
	}{
		{"good", "Encrypt", obj{"KeyId": key, "Plaintext": "AA=="}, dryRun},
		{"disabled", "Encrypt", obj{"KeyId": disabled, "Plaintext": "AA=="}, off},
		{"good", "Decrypt", obj{"CiphertextBlob": blob}, dryRun},
		{"another context", "Decrypt", obj{"CiphertextBlob": blob, "EncryptionContext": obj{"a": "1"}}, invalidCiphertext},
		{"damaged", "Decrypt", obj{"CiphertextBlob": bytesOf(150), "KeyId": key}, invalidCiphertext},
		{"good", "GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_256"}, dryRun},
		{"disabled", "GenerateDataKey", obj{"KeyId": disabled, "KeySpec": "AES_256"}, off},
		{"good", "GenerateDataKeyPair", obj{"KeyId": key, "KeyPairSpec": "RSA_4096"}, dryRun},
		{"disabled", "GenerateDataKeyPair", obj{"KeyId": disabled, "KeyPairSpec": "RSA_4096"}, off},
		{"good", "GenerateDataKeyPairWithoutPlaintext", obj{"KeyId": key, "KeyPairSpec": "RSA_4096"}, dryRun},
		{"good", "GenerateDataKeyWithoutPlaintext", obj{"KeyId": key, "KeySpec": "AES_256"}, dryRun},
		{"good", "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": key}, dryRun},
		{"damaged", "ReEncrypt", obj{"CiphertextBlob": bytesOf(150), "DestinationKeyId": key}, invalidCiphertext},
		{"disabled", "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": disabled}, off},
		{"good", "DeriveSharedSecret", derive, dryRun},
		{"public key", "DeriveSharedSecret", with(derive, obj{"PublicKey": "AA=="}), badPublicKey("ECC_NIST_P256")},
		{"good", "Encapsulate", encapsulate, dryRun},
		{"good", "Decapsulate", with(encapsulate, obj{"SharedSecretCiphertextBlob": bytesOf(1088)}), dryRun},
		{"length", "Decapsulate", with(encapsulate, obj{"SharedSecretCiphertextBlob": bytesOf(1087)}), invalidCiphertext},
		{"good", "Sign", sign, dryRun},
		{"length", "Sign", with(sign, obj{"MessageType": "DIGEST"}), validation("Digest is invalid length for algorithm ECDSA_SHA_256.")},
		{"good", "Verify", with(sign, obj{"Signature": s.Must(t, "Sign", sign)["Signature"]}), dryRun},
		{"damaged", "Verify", with(sign, obj{"Signature": "AA=="}), badSignature},
		{"good", "GenerateMac", mac, dryRun},
		{"algorithm", "GenerateMac", with(mac, obj{"MacAlgorithm": "HMAC_SHA_512"}), keyUsage("Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256.")},
		{"good", "VerifyMac", with(mac, obj{"Mac": s.Must(t, "GenerateMac", mac)["Mac"]}), dryRun},
		{"damaged", "VerifyMac", with(mac, obj{"Mac": "AA=="}), badMac},
	} {
		t.Run(row.op+" "+row.name, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{"DryRun": true})), row.want)
			plain := row.want
			if plain == dryRun {
				plain = success
			}
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{"DryRun": false})), plain)
		})
	}
}

func TestDryRunModifiers(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, disabled := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	s.Must(t, "DisableKey", obj{"KeyId": disabled})
	ignore := []string{"IGNORE_CIPHERTEXT"}
	alone := validation("DryRunModifiers can be specified only together with DryRun and KeyId.")
	aloneFrom := validation("DryRunModifiers can be specified only together with DryRun and SourceKeyId.")
	for _, row := range []struct {
		name, op string
		body     obj
		want     outcome
	}{
		{"without a ciphertext", "Decrypt", obj{"KeyId": key, "DryRun": true, "DryRunModifiers": ignore}, dryRun},
		{"with a bad ciphertext", "Decrypt", obj{"KeyId": key, "DryRun": true, "DryRunModifiers": ignore, "CiphertextBlob": "AA=="}, dryRun},
		{"disabled", "Decrypt", obj{"KeyId": disabled, "DryRun": true, "DryRunModifiers": ignore}, outcome{"DisabledException", testkit.ARN(disabled) + " is disabled."}},
		{"without a key", "Decrypt", obj{"DryRun": true, "DryRunModifiers": ignore, "CiphertextBlob": blob}, alone},
		{"without DryRun", "Decrypt", obj{"KeyId": key, "DryRunModifiers": ignore, "CiphertextBlob": blob}, alone},
		{"DryRun false", "Decrypt", obj{"KeyId": key, "DryRun": false, "DryRunModifiers": ignore, "CiphertextBlob": blob}, alone},
		{"no modifier", "Decrypt", obj{"KeyId": key, "DryRun": true, "DryRunModifiers": []string{}, "CiphertextBlob": blob}, dryRun},
		{"no modifier, no ciphertext", "Decrypt", obj{"KeyId": key, "DryRun": true}, missing("ciphertextBlob")},
		{"no ciphertext", "Decrypt", obj{"KeyId": key}, missing("ciphertextBlob")},
		{"without a ciphertext", "ReEncrypt", obj{"SourceKeyId": key, "DestinationKeyId": key, "DryRun": true, "DryRunModifiers": ignore}, dryRun},
		{"without a source", "ReEncrypt", obj{"DestinationKeyId": key, "DryRun": true, "DryRunModifiers": ignore, "CiphertextBlob": blob}, aloneFrom},
		{"without DryRun", "ReEncrypt", obj{"SourceKeyId": key, "DestinationKeyId": key, "DryRunModifiers": ignore, "CiphertextBlob": blob}, aloneFrom},
		{"no ciphertext", "ReEncrypt", obj{"DestinationKeyId": key}, missing("ciphertextBlob")},
		{"unknown modifier", "Decrypt", obj{"KeyId": key, "DryRun": true, "DryRunModifiers": []string{"X"}, "CiphertextBlob": blob},
			constraint("Value '[X]' at 'dryRunModifiers' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [IGNORE_CIPHERTEXT]]")},
	} {
		t.Run(row.op+" "+row.name, func(t *testing.T) { wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), row.want) })
	}
}
