package kmsapi_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

// registerA and registerB are PCR 0 and PCR 8 of the kit's enclaves, in hexadecimal.
var registerA, registerB = strings.Repeat("a0", 48), strings.Repeat("a8", 48)

// notVerified is the answer to a document that is not believed.
func notVerified(why string) outcome {
	return validation("The attestation document could not be verified: " + why + ".")
}

// startAttested is a server that trusts an enclave's root.
func startAttested(t testing.TB) (*testkit.Solo, *testkit.Enclave) {
	t.Helper()
	s := testkit.Start(t)
	e := testkit.NewEnclave(t, s.Now())
	s.Service = s.NewServiceWith(func(c *service.Config) { c.Roots = e.Roots(t) })
	return s, e
}

// recipient is the parameter with a document.
func recipient(document []byte) obj {
	return obj{"Recipient": obj{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": b64(document)}}
}

// recipientCase is an operation that answers to enclaves: the member that callers get
// instead of them, and all members of an answer to an enclave.
type recipientCase struct {
	op      string
	body    obj
	secret  string
	members string
}

func recipientCases(t testing.TB, s *testkit.Solo) []recipientCase {
	t.Helper()
	key := s.NewKey(t)
	return []recipientCase{
		{"Decrypt", obj{"CiphertextBlob": s.NewBlob(t, key)}, "Plaintext", "KeyId EncryptionAlgorithm CiphertextForRecipient"},
		{"GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_256"}, "Plaintext", "CiphertextBlob KeyId CiphertextForRecipient"},
		{"GenerateDataKeyPair", obj{"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"}, "PrivateKeyPlaintext", "PrivateKeyCiphertextBlob PublicKey KeyId KeyPairSpec KeyMaterialId CiphertextForRecipient"},
		{"GenerateRandom", obj{"NumberOfBytes": 24}, "Plaintext", "CiphertextForRecipient"},
		{"DeriveSharedSecret", obj{"KeyId": newKeyFor(t, s, "DeriveSharedSecret"), "KeyAgreementAlgorithm": "ECDH", "PublicKey": generatorP256}, "SharedSecret", "KeyId KeyAgreementAlgorithm KeyOrigin CiphertextForRecipient"},
	}
}

// Only the enclave gets the secret, and it is the right one.
func TestRecipients(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	for _, c := range recipientCases(t, s) {
		plain, sealed := s.Must(t, c.op, c.body), s.Must(t, c.op, with(c.body, recipient(e.Document(t, s.Now()))))
		wantMembers(t, sealed, c.members)
		if plain[c.secret] == nil || plain["CiphertextForRecipient"] != nil {
			t.Errorf("%s answers the caller %v", c.op, plain)
		}
		got := e.Open(t, unb64(t, sealed["CiphertextForRecipient"]))
		var want []byte
		switch c.op {
		case "Decrypt", "DeriveSharedSecret":
			want = unb64(t, plain[c.secret])
		case "GenerateDataKey":
			want = unb64(t, s.Must(t, "Decrypt", obj{"CiphertextBlob": sealed["CiphertextBlob"]})["Plaintext"])
		case "GenerateDataKeyPair":
			want = unb64(t, s.Must(t, "Decrypt", obj{"CiphertextBlob": sealed["PrivateKeyCiphertextBlob"]})["Plaintext"])
			private, err := x509.ParsePKCS8PrivateKey(want)
			public, publicErr := x509.ParsePKIXPublicKey(unb64(t, sealed["PublicKey"]))
			if err != nil || publicErr != nil || !samePublic(private, public) {
				t.Errorf("the pair: %v, %v", err, publicErr)
			}
		case "GenerateRandom":
			want = got[:min(len(got), 24)]
		}
		if !bytes.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: the enclave gets %x, want %x", c.op, got, want)
		}
	}
	key := newRSA(t, s)
	const oaep = "RSAES_OAEP_SHA_256"
	body := obj{"KeyId": key, "EncryptionAlgorithm": oaep, "CiphertextBlob": s.Must(t, "Encrypt", obj{"KeyId": key, "EncryptionAlgorithm": oaep, "Plaintext": "aGVsbG8="})["CiphertextBlob"]}
	sealed := s.Must(t, "Decrypt", with(body, recipient(e.Document(t, s.Now()))))
	wantMembers(t, sealed, "KeyId EncryptionAlgorithm CiphertextForRecipient")
	if got := e.Open(t, unb64(t, sealed["CiphertextForRecipient"])); string(got) != "hello" {
		t.Errorf("the enclave gets %q", got)
	}
}

// Every operation refuses a document that is not believed, and says why.
func TestRefusedRecipients(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	other := testkit.NewEnclave(t, s.Now())
	expired := testkit.NewEnclaveWith(t, testkit.EnclaveConfig{From: s.Now().Add(-time.Hour), To: s.Now().Add(-time.Minute)})
	tampered := e.Document(t, s.Now())
	tampered[len(tampered)-1] ^= 1
	keyless := e.Statement(t, s.Now())
	keyless["public_key"] = nil
	for _, c := range recipientCases(t, s) {
		for _, row := range []struct {
			name string
			more obj
			want outcome
		}{
			{"no document at all", recipient([]byte{0}), notVerified("it is not the attestation document of an enclave or of NitroTPM")},
			{"another root", recipient(other.Document(t, s.Now())), notVerified("its certificate does not lead to a configured root certificate")},
			{"expired", recipient(expired.Document(t, s.Now())), notVerified("its certificate does not lead to a configured root certificate")},
			{"tampered", recipient(tampered), notVerified("its signature is not valid")},
			{"old", recipient(e.Document(t, s.Now().Add(-5*time.Minute-time.Millisecond))), notVerified("it was not made within the last five minutes")},
			{"without a key", recipient(e.Sign(t, keyless)), notVerified("it has no RSA_2048 public key")},
			{"empty", obj{"Recipient": obj{}}, notVerified("it is not the attestation document of an enclave or of NitroTPM")},
			{"without a document", obj{"Recipient": obj{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}}, notVerified("it is not the attestation document of an enclave or of NitroTPM")},
			{"without an algorithm", obj{"Recipient": obj{"AttestationDocument": b64(e.Document(t, s.Now()))}}, missing("recipient.keyEncryptionAlgorithm")},
			{"another algorithm", obj{"Recipient": obj{"AttestationDocument": b64(e.Document(t, s.Now())), "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}},
				constraint("Value 'RSAES_OAEP_SHA_1' at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [RSAES_OAEP_SHA_256]")},
			{"null", obj{"Recipient": nil}, success},
		} {
			t.Run(c.op+" "+row.name, func(t *testing.T) {
				for _, dry := range []bool{false, true} {
					body, want := with(c.body, row.more), row.want
					if dry && c.op != "GenerateRandom" {
						body["DryRun"] = true
						if want == success {
							want = dryRun
						}
					}
					wantOutcome(t, s.Call(t, testkit.Root, c.op, body), want)
				}
			})
		}
	}
}

// A document is verified as of the time of the call.
func TestRecipientsAge(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	body := with(obj{"NumberOfBytes": 1}, recipient(e.Document(t, s.Now())))
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", body), success)
	s.Advance(5 * time.Minute)
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", body), success)
	s.Advance(time.Millisecond)
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", body), notVerified("it was not made within the last five minutes"))
}

// A refused document is told after who may call and the key's state, and before what is
// done with the key.
func TestRecipientsInOrder(t *testing.T) {
	t.Parallel()
	s, _ := startAttested(t)
	key, disabled, bad := s.NewKey(t), s.NewKey(t), recipient([]byte{0})
	s.Must(t, "DisableKey", obj{"KeyId": disabled})
	nobody, _ := s.NewUser(t, testkit.Account, "nobody")
	blob := unb64(t, s.NewBlob(t, key))
	blob[len(blob)-1] ^= 1
	refused := notVerified("it is not the attestation document of an enclave or of NitroTPM")
	for _, row := range []struct {
		who  testkit.Caller
		body obj
		want outcome
	}{
		{nobody, obj{"KeyId": key, "CiphertextBlob": b64(blob)}, deniedUser("nobody", "kms:Decrypt", testkit.ARN(key), "because no identity-based policy allows the kms:Decrypt action")},
		{testkit.Root, obj{"KeyId": disabled, "CiphertextBlob": b64(blob)}, outcome{"DisabledException", testkit.ARN(disabled) + " is disabled."}},
		{testkit.Root, obj{"KeyId": key, "CiphertextBlob": b64(blob)}, refused},
	} {
		wantOutcome(t, s.Call(t, row.who, "Decrypt", with(row.body, bad)), row.want)
	}
}

// Policies see the registers of a verified document, and of no other (AWS KMS: "Condition
// keys for attested platforms").
func TestAttestationConditions(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	other, cases := testkit.NewEnclave(t, s.Now()), recipientCases(t, s)
	good, bad := e.Document(t, s.Now()), other.Document(t, s.Now())
	for i, row := range []struct {
		operator, key, value string
		document             []byte
		want                 bool
	}{
		{"StringEquals", "kms:RecipientAttestation:ImageSha384", registerA, good, true},
		{"StringEquals", "kms:RecipientAttestation:PCR0", registerA, good, true},
		{"StringEquals", "kms:recipientattestation:pcr8", registerB, good, true},
		{"StringEquals", "kms:RecipientAttestation:ImageSha384", registerB, good, false},
		{"StringEquals", "kms:RecipientAttestation:ImageSha384", strings.ToUpper(registerA), good, false},
		{"StringEqualsIgnoreCase", "kms:RecipientAttestation:ImageSha384", strings.ToUpper(registerA), good, true},
		{"Null", "kms:RecipientAttestation:PCR1", "true", good, true},
		{"Null", "kms:RecipientAttestation:PCR31", "true", good, true},
		{"Null", "kms:RecipientAttestation:PCR08", "true", good, true},
		{"Null", "kms:RecipientAttestation:PCR32", "true", good, true},
		{"Null", "kms:RecipientAttestation:PCR8", "false", good, true},
		{"StringEquals", "kms:RecipientAttestation:ImageSha384", registerA, nil, false},
		{"StringEquals", "kms:RecipientAttestation:ImageSha384", registerA, bad, false},
		{"StringEquals", "kms:RecipientAttestation:PCR8", registerB, bad, false},
	} {
		name := fmt.Sprint("u", i)
		who, _ := s.NewUser(t, testkit.Account, name, allowing("kms:*", "*", condition(row.operator, row.key, row.value)))
		for _, c := range cases {
			body := c.body
			if row.document != nil {
				body = with(body, recipient(row.document))
			}
			a := s.Call(t, who, c.op, body)
			if row.want {
				wantOutcome(t, a, success)
			} else if a.Refusal == nil || a.Refusal.Code != "AccessDeniedException" {
				t.Errorf("%s under %s %s with %s: got %v", c.op, row.operator, row.key, row.value, a.Refusal)
			}
		}
		wantOutcome(t, s.Call(t, who, "ListKeys", recipient(good)), map[bool]outcome{ // which takes no document
			true:  success,
			false: deniedUser(name, "kms:ListKeys", "*", "because no identity-based policy allows the kms:ListKeys action"),
		}[row.operator == "Null" && row.value == "true"])
	}
}

// A key policy that lets nobody decrypt outside of an image holds for everybody, whatever
// else allows.
func TestAttestationKeyPolicy(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	key := s.NewKey(t)
	setPolicy(t, s, key, lets("Deny", "*", "kms:Decrypt", condition("StringNotEquals", "kms:RecipientAttestation:ImageSha384", registerA)))
	body := obj{"KeyId": key, "CiphertextBlob": s.NewBlob(t, key)}
	denied := accessDenied("User: arn:aws:iam::111122223333:root is not authorized to perform: kms:Decrypt on resource: " + testkit.ARN(key) + " with an explicit deny in a resource-based policy")
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", body), denied)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(body, recipient([]byte{0}))), denied)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(body, recipient(e.Document(t, s.Now())))), success)
	changed := e.Statement(t, s.Now())
	changed["pcrs"] = map[int][]byte{0: make([]byte, 48)}
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(body, recipient(e.Sign(t, changed)))), denied)
}

// tpmDocument is a document of NitroTPM: PCR 4 is 48 bytes of 0xa4, PCR 12 of 0xac.
func tpmDocument(t testing.TB, s *testkit.Solo, e *testkit.Enclave) []byte {
	t.Helper()
	statement := e.Statement(t, s.Now())
	delete(statement, "pcrs")
	statement["module_id"] = "i-0123456789abcdef0-tpm0000000000000000"
	statement["nitrotpm_pcrs"] = map[int][]byte{4: bytes.Repeat([]byte{0xa4}, 48), 12: bytes.Repeat([]byte{0xac}, 48)}
	return e.Sign(t, statement)
}

// NitroTPM's registers have condition keys of their own (AWS KMS: "Condition keys for
// NitroTPM"): neither platform can pass for the other.
func TestNitroTPM(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	enclave, tpm := e.Document(t, s.Now()), tpmDocument(t, s, e)
	registerT, body := strings.Repeat("a4", 48), obj{"NumberOfBytes": 24}
	for i, row := range []struct {
		operator, key, value string
		document             []byte
		want                 bool
	}{
		{"StringEquals", "kms:RecipientAttestation:NitroTPMPCR4", registerT, tpm, true},
		{"StringEquals", "kms:RecipientAttestation:NitroTPMPCR12", strings.Repeat("ac", 48), tpm, true},
		{"StringEquals", "kms:RecipientAttestation:NitroTPMPCR12", registerT, tpm, false},
		{"Null", "kms:RecipientAttestation:NitroTPMPCR7", "true", tpm, true},
		{"Null", "kms:RecipientAttestation:PCR4", "true", tpm, true},
		{"Null", "kms:RecipientAttestation:ImageSha384", "true", tpm, true},
		{"Null", "kms:RecipientAttestation:NitroTPMPCR8", "true", enclave, true},
		{"Null", "kms:RecipientAttestation:NitroTPMPCR0", "true", enclave, true},
		{"StringEquals", "kms:RecipientAttestation:NitroTPMPCR4", registerT, nil, false},
	} {
		who, _ := s.NewUser(t, testkit.Account, fmt.Sprint("u", i), allowing("kms:GenerateRandom", "*", condition(row.operator, row.key, row.value)))
		call := body
		if row.document != nil {
			call = with(body, recipient(row.document))
		}
		if a := s.Call(t, who, "GenerateRandom", call); (a.Refusal == nil) != row.want {
			t.Errorf("%s %s with %s: got %v", row.operator, row.key, row.value, a.Refusal)
		}
	}
	a := s.Call(t, testkit.Root, "GenerateRandom", with(body, recipient(tpm)))
	if got := e.Open(t, unb64(t, a.Body["CiphertextForRecipient"])); len(got) != 24 {
		t.Errorf("got %d bytes", len(got))
	}
	wantJSON(t, s.Record(t, a)["additionalEventData"], fill(`{"recipient":{"attestationDocumentModuleId":"i-0123456789abcdef0-tpm0000000000000000",
		"attestationDocumentNitroTPMPCR4":"$PCR4"}}`, "$PCR4", b64(bytes.Repeat([]byte{0xa4}, 48))))
}

// Records name the enclave and its image, and hold neither document nor secret (§7.3).
func TestRecipientRecords(t *testing.T) {
	t.Parallel()
	s, e := startAttested(t)
	const enclave = `"recipient":{"attestationDocumentModuleId":"i-0123456789abcdef0-enc0123456789abcdef","attestationDocumentEnclaveImageDigest":"$PCR0","attestationDocumentEnclavePCR8":"$PCR8"}`
	document, secrets := e.Document(t, s.Now()), map[string][]byte{}
	for _, c := range recipientCases(t, s) {
		a := s.Call(t, testkit.Root, c.op, with(c.body, recipient(document)))
		wantOutcome(t, a, success)
		secrets[c.op+"'s secret"] = e.Open(t, unb64(t, a.Body["CiphertextForRecipient"]))
		secrets[c.op+"'s ciphertext"] = unb64(t, a.Body["CiphertextForRecipient"])[60:]
		rec := s.Record(t, a)
		material := ""
		if c.op == "Decrypt" || c.op == "GenerateDataKey" {
			material = `,"keyMaterialId":"` + rec["additionalEventData"].(obj)["keyMaterialId"].(string) + `"`
		}
		wantJSON(t, rec["additionalEventData"], fill("{"+enclave+material+"}", "$PCR0", b64(bytes.Repeat([]byte{0xa0}, 48)), "$PCR8", b64(bytes.Repeat([]byte{0xa8}, 48))))
		request, _ := rec["requestParameters"].(obj)
		if _, has := request["recipient"]; has || rec["responseElements"] != nil {
			t.Errorf("%s is recorded as %v", c.op, rec)
		}
		refused := s.Record(t, s.Call(t, testkit.Root, c.op, with(c.body, recipient([]byte{0}))))
		if _, has := refused["additionalEventData"]; has {
			t.Errorf("%s with a document that is refused is recorded as %v", c.op, refused)
		}
	}
	delete(secrets, "Decrypt's secret") // five bytes may stand anywhere
	secrets["document"], secrets["certificate"] = document, e.Chain[3][100:]
	wantNowhere(t, s.AuditDir, secrets)
}
