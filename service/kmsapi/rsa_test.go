package kmsapi_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"hash"
	"math/big"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/service"
)

// oaepCase is a spec of RSA keys with one of its algorithms, and how many bytes fit (AWS:
// Encrypt; RFC 8017, section 7.1.1: k - 2 hLen - 2).
type oaepCase struct {
	spec, algorithm string
	most, size      int // of the plaintext, of the ciphertext
}

var oaepCases = []oaepCase{
	{"RSA_2048", "RSAES_OAEP_SHA_1", 214, 256}, {"RSA_2048", "RSAES_OAEP_SHA_256", 190, 256},
	{"RSA_3072", "RSAES_OAEP_SHA_1", 342, 384}, {"RSA_3072", "RSAES_OAEP_SHA_256", 318, 384},
	{"RSA_4096", "RSAES_OAEP_SHA_1", 470, 512}, {"RSA_4096", "RSAES_OAEP_SHA_256", 446, 512},
}

// tooLarge is the refusal of a plaintext.
func (c *oaepCase) tooLarge() outcome {
	return validation("Algorithm " + c.algorithm + " and key spec " + c.spec + " cannot encrypt data larger than " + strconv.Itoa(c.most) + " bytes.")
}

// newRSA creates a key that encrypts.
func newRSA(t testing.TB, s *testkit.Solo) string {
	t.Helper()
	return newKeyOf(t, s, "RSA_2048 ENCRYPT_DECRYPT")
}

func badAlgorithm(algorithm, spec string) outcome {
	return outcome{"InvalidKeyUsageException", "Algorithm " + algorithm + " is incompatible with key spec " + spec + "."}
}

func TestOAEP(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	symmetric := s.NewKey(t)
	keys := map[string]string{}
	for _, c := range oaepCases {
		if keys[c.spec] == "" {
			keys[c.spec] = newKeyOf(t, s, c.spec+" ENCRYPT_DECRYPT")
		}
		key := keys[c.spec]
		t.Run(c.spec+" "+c.algorithm, func(t *testing.T) {
			t.Parallel()
			for _, n := range []int{1, c.most - 1, c.most} {
				c.testSize(t, s, key, n)
			}
			for _, n := range []int{c.most + 1, 4096} {
				wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": bytesOf(n), "EncryptionAlgorithm": c.algorithm}), c.tooLarge())
				blob := s.Must(t, "Encrypt", obj{"KeyId": symmetric, "Plaintext": bytesOf(n)})["CiphertextBlob"]
				wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": key, "DestinationEncryptionAlgorithm": c.algorithm}), c.tooLarge())
			}
		})
	}
}

func (c *oaepCase) testSize(t *testing.T, s *testkit.Solo, key string, n int) {
	t.Helper()
	plaintext := bytes.Repeat([]byte{0xa5}, n)
	in := obj{"KeyId": key, "Plaintext": b64(plaintext), "EncryptionAlgorithm": c.algorithm}
	sealed, again := s.Must(t, "Encrypt", in), s.Must(t, "Encrypt", in)
	blob := unb64(t, sealed["CiphertextBlob"])
	if len(blob) != c.size || sealed["CiphertextBlob"] == again["CiphertextBlob"] {
		t.Errorf("%d bytes give a ciphertext of %d, the same twice: %t", n, len(blob), sealed["CiphertextBlob"] == again["CiphertextBlob"])
	}
	delete(sealed, "CiphertextBlob")
	names := []string{"$ARN", testkit.ARN(key), "$P", b64(plaintext), "$A", c.algorithm}
	wantJSON(t, sealed, fill(`{"KeyId":"$ARN","EncryptionAlgorithm":"$A"}`, names...))
	opened := s.Must(t, "Decrypt", obj{"KeyId": testkit.ARN(key), "CiphertextBlob": b64(blob), "EncryptionAlgorithm": c.algorithm})
	wantJSON(t, opened, fill(`{"KeyId":"$ARN","Plaintext":"$P","EncryptionAlgorithm":"$A"}`, names...))
}

// oaepHashes are the hash functions of the algorithms.
var oaepHashes = map[string]func() hash.Hash{"RSAES_OAEP_SHA_1": sha1.New, "RSAES_OAEP_SHA_256": sha256.New}

// rsaPublicOf is the public key that GetPublicKey shows of an RSA key.
func rsaPublicOf(t testing.TB, s *testkit.Solo, key string) *rsa.PublicKey {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(publicOf(t, s, key))
	if err != nil {
		t.Fatal(err)
	}
	return public.(*rsa.PublicKey)
}

// Everything that can be wrong with a ciphertext is one answer, and what was encrypted
// outside with the public key decrypts.
func TestOAEPCiphertexts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := newRSA(t, s), newRSA(t, s)
	public := rsaPublicOf(t, s, key)
	seal := func(h hash.Hash, public *rsa.PublicKey, label string) []byte {
		blob, err := rsa.EncryptOAEP(h, rand.Reader, public, []byte("hello"), []byte(label))
		if err != nil {
			t.Fatal(err)
		}
		return blob
	}
	// RFC 8017, section 7.2.1: what PKCS #1 v1.5 makes of the message.
	padded := slices.Concat([]byte{0, 2}, bytes.Repeat([]byte{0xff}, 248), []byte("\x00hello"))
	v15 := new(big.Int).Exp(new(big.Int).SetBytes(padded), big.NewInt(int64(public.E)), public.N).FillBytes(make([]byte, 256))
	for algorithm, newHash := range oaepHashes {
		decrypt := func(blob []byte) testkit.Answer {
			return s.Call(t, testkit.Root, "Decrypt", obj{"KeyId": key, "CiphertextBlob": b64(blob), "EncryptionAlgorithm": algorithm})
		}
		good := seal(newHash(), public, "")
		if a := decrypt(good); a.Body["Plaintext"] != "aGVsbG8=" {
			t.Errorf("%s: got %v %v", algorithm, a.Body, a.Refusal)
		}
		another := sha256.New()
		if algorithm == "RSAES_OAEP_SHA_256" {
			another = sha1.New()
		}
		bad := map[string][]byte{
			"the other hash": seal(another, public, ""), "a label": seal(newHash(), public, "x"), "another key": seal(newHash(), rsaPublicOf(t, s, other), ""),
			"PKCS #1 v1.5": v15, "one byte": {0}, "one byte less": good[:255], "one byte more": append(slices.Clone(good), 0), "a zero in front": append([]byte{0}, good...),
			"zero": make([]byte, 256), "one": append(make([]byte, 255), 1), "the modulus": public.N.Bytes(), "all ones": bytes.Repeat([]byte{0xff}, 256),
			"one less than the modulus": new(big.Int).Sub(public.N, big.NewInt(1)).Bytes(), "too long for any key": make([]byte, 6144),
			"a symmetric ciphertext": unb64(t, s.NewBlob(t, s.NewKey(t))),
		}
		for i := range 256 {
			bad["byte "+strconv.Itoa(i)] = slices.Concat(good[:i], []byte{good[i] ^ 0x10}, good[i+1:])
		}
		for name, blob := range bad {
			t.Run(algorithm+" "+name, func(t *testing.T) {
				wantOutcome(t, decrypt(blob), invalidCiphertext)
				wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": b64(blob), "SourceKeyId": key, "SourceEncryptionAlgorithm": algorithm, "DestinationKeyId": key,
					"DestinationEncryptionAlgorithm": algorithm}), invalidCiphertext)
			})
		}
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(good), "EncryptionAlgorithm": algorithm}), invalidCiphertext)
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": b64(good), "SourceEncryptionAlgorithm": algorithm, "DestinationKeyId": key,
			"DestinationEncryptionAlgorithm": algorithm}), invalidCiphertext)
	}
}

// Algorithms of another kind of key are refused before everything that is wrong with the
// ciphertext; an algorithm that is left out is that of symmetric keys.
func TestOAEPAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	symmetric, key := s.NewKey(t), newRSA(t, s)
	blob := s.NewBlob(t, symmetric)
	for _, algorithm := range []string{"", "SYMMETRIC_DEFAULT", "SM2PKE"} {
		shown, more := algorithm, func(member string) obj { return obj{member: algorithm} }
		if algorithm == "" {
			shown, more = "SYMMETRIC_DEFAULT", func(string) obj { return obj{} }
		}
		want := badAlgorithm(shown, "RSA_2048")
		wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", with(obj{"KeyId": key, "Plaintext": bytesOf(4096), "EncryptionContext": obj{"a": "1"}}, more("EncryptionAlgorithm"))), want)
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(obj{"KeyId": key, "CiphertextBlob": "AA=="}, more("EncryptionAlgorithm"))), want)
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", with(obj{"SourceKeyId": key, "CiphertextBlob": "AA==", "DestinationKeyId": symmetric}, more("SourceEncryptionAlgorithm"))), want)
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", with(obj{"CiphertextBlob": blob, "DestinationKeyId": key}, more("DestinationEncryptionAlgorithm"))), want)
		// The source comes first.
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_1", "DestinationKeyId": key}),
			badAlgorithm("RSAES_OAEP_SHA_1", "SYMMETRIC_DEFAULT"))
	}
}

func TestContextOfAsymmetricKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	symmetric, key := s.NewKey(t), newRSA(t, s)
	const oaep = "RSAES_OAEP_SHA_256"
	in := obj{"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionAlgorithm": oaep}
	blob := s.Must(t, "Encrypt", in)["CiphertextBlob"]
	for _, row := range []struct {
		op, member string
		body       obj
	}{
		{"Encrypt", "EncryptionContext", in},
		{"Decrypt", "EncryptionContext", obj{"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": oaep}},
		{"ReEncrypt", "SourceEncryptionContext", obj{"SourceKeyId": key, "CiphertextBlob": blob, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": symmetric}},
		{"ReEncrypt", "DestinationEncryptionContext", obj{"CiphertextBlob": s.NewBlob(t, symmetric), "DestinationKeyId": key, "DestinationEncryptionAlgorithm": oaep}},
	} {
		t.Run(row.op+" "+row.member, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{row.member: obj{"a": "1"}})), validation("An encryption context is not valid for asymmetric KMS keys."))
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{row.member: obj{}})), success) // which is none
			wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), success)
		})
	}
}

// Every kind of key re-encrypts to every other and to itself. Only symmetric sides have
// the id of their material.
func TestReEncryptBetweenKinds(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	kinds := []struct{ key, algorithm string }{{s.NewKey(t), "SYMMETRIC_DEFAULT"}, {s.NewKey(t), "SYMMETRIC_DEFAULT"}}
	for _, spec := range []string{"RSA_2048", "RSA_3072"} {
		key := newKeyOf(t, s, spec+" ENCRYPT_DECRYPT")
		kinds = append(kinds, struct{ key, algorithm string }{key, "RSAES_OAEP_SHA_1"}, struct{ key, algorithm string }{key, "RSAES_OAEP_SHA_256"})
	}
	material := func(key, algorithm string) any {
		if algorithm != "SYMMETRIC_DEFAULT" {
			return nil
		}
		return materialOf(t, s, key)
	}
	for _, from := range kinds {
		blob := s.Must(t, "Encrypt", obj{"KeyId": from.key, "Plaintext": "aGVsbG8=", "EncryptionAlgorithm": from.algorithm})["CiphertextBlob"]
		for _, to := range kinds {
			got := s.Must(t, "ReEncrypt", obj{"CiphertextBlob": blob, "SourceKeyId": from.key, "SourceEncryptionAlgorithm": from.algorithm,
				"DestinationKeyId": to.key, "DestinationEncryptionAlgorithm": to.algorithm})
			opened := s.Must(t, "Decrypt", obj{"CiphertextBlob": got["CiphertextBlob"], "KeyId": to.key, "EncryptionAlgorithm": to.algorithm})
			if opened["Plaintext"] != "aGVsbG8=" {
				t.Errorf("from %v to %v: got %v", from, to, opened)
			}
			want := obj{"SourceKeyId": testkit.ARN(from.key), "KeyId": testkit.ARN(to.key), "SourceEncryptionAlgorithm": from.algorithm, "DestinationEncryptionAlgorithm": to.algorithm}
			for member, id := range map[string]any{"SourceKeyMaterialId": material(from.key, from.algorithm), "DestinationKeyMaterialId": material(to.key, to.algorithm)} {
				if id != nil {
					want[member] = id
				}
			}
			delete(got, "CiphertextBlob")
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		}
	}
}

// States and usages of both keys, and dry runs, which check all that real calls do.
func TestRSAChecks(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	const oaep = "RSAES_OAEP_SHA_1"
	symmetric, key, off, signing := s.NewKey(t), newRSA(t, s), newRSA(t, s), newKeyOf(t, s, "RSA_2048 SIGN_VERIFY")
	blob := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionAlgorithm": oaep})["CiphertextBlob"]
	s.Must(t, "DisableKey", obj{"KeyId": off})
	disabled := outcome{"DisabledException", testkit.ARN(off) + " is disabled."}
	usage := func(op string) outcome {
		return outcome{"InvalidKeyUsageException", testkit.ARN(signing) + " key usage is SIGN_VERIFY which is not valid for " + op + "."}
	}
	encrypt := func(key string) obj {
		return obj{"KeyId": key, "Plaintext": "aGVsbG8=", "EncryptionAlgorithm": oaep}
	}
	decrypt := func(key string) obj {
		return obj{"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": oaep}
	}
	re := func(from, to string) obj {
		return obj{"SourceKeyId": from, "CiphertextBlob": blob, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": to, "DestinationEncryptionAlgorithm": oaep}
	}
	for _, row := range []struct {
		op   string
		body obj
		want outcome
	}{
		{"Encrypt", encrypt(key), success}, {"Encrypt", encrypt(off), disabled}, {"Encrypt", encrypt(signing), usage("Encrypt")},
		{"Encrypt", with(encrypt(key), obj{"Plaintext": bytesOf(215)}), oaepCases[0].tooLarge()},
		{"Decrypt", decrypt(key), success}, {"Decrypt", decrypt(off), disabled}, {"Decrypt", decrypt(signing), usage("Decrypt")},
		{"Decrypt", with(decrypt(key), obj{"CiphertextBlob": bytesOf(256)}), invalidCiphertext},
		{"ReEncrypt", re(key, key), success}, {"ReEncrypt", re(off, key), disabled}, {"ReEncrypt", re(key, off), disabled},
		{"ReEncrypt", re(signing, key), usage("ReEncrypt")}, {"ReEncrypt", re(key, signing), usage("ReEncrypt")},
		{"ReEncrypt", re(key, symmetric), badAlgorithm(oaep, "SYMMETRIC_DEFAULT")},
		{"ReEncrypt", with(re(key, key), obj{"CiphertextBlob": bytesOf(256)}), invalidCiphertext},
		{"GenerateDataKey", obj{"KeyId": key, "KeySpec": "AES_256"}, badAlgorithm("SYMMETRIC_DEFAULT", "RSA_2048")},
		{"GenerateDataKeyWithoutPlaintext", obj{"KeyId": key, "KeySpec": "AES_256"}, badAlgorithm("SYMMETRIC_DEFAULT", "RSA_2048")},
	} {
		t.Run(row.op+" "+row.want.code, func(t *testing.T) {
			dry := row.want
			if dry == success {
				dry = dryRun
			}
			wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), row.want)
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{"DryRun": true})), dry)
		})
	}
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"KeyId": key, "EncryptionAlgorithm": oaep, "DryRun": true, "DryRunModifiers": []string{"IGNORE_CIPHERTEXT"}}), dryRun)
}

// RSA's operations are uses of its keys; those that fail are not.
func TestRSAUsage(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, to := newRSA(t, s), newRSA(t, s)
	const oaep = "RSAES_OAEP_SHA_256"
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": bytesOf(191), "EncryptionAlgorithm": oaep}), oaepCases[1].tooLarge())
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"KeyId": key, "CiphertextBlob": bytesOf(256), "EncryptionAlgorithm": oaep}), invalidCiphertext)
	wantJSON(t, lastUsage(t, s, key), `{}`)
	used := func(key, op string) {
		t.Helper()
		s.Advance(time.Second)
		if got := lastUsage(t, s, key).(obj)["Operation"]; got != op {
			t.Errorf("last used by %v, want %s", got, op)
		}
	}
	blob := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionAlgorithm": oaep})["CiphertextBlob"]
	used(key, "Encrypt")
	s.Must(t, "Decrypt", obj{"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": oaep})
	used(key, "Decrypt")
	s.Must(t, "ReEncrypt", obj{"SourceKeyId": key, "CiphertextBlob": blob, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": to, "DestinationEncryptionAlgorithm": oaep})
	used(key, "ReEncrypt")
	used(to, "ReEncrypt")
}

const rsaResource = `{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"$RSAARN"}`

var rsaRecords = []recordCase{
	{op: "Encrypt", body: `{"KeyId":"$RSA","Plaintext":"cGxhaW50ZXh0","EncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`,
		request: `{"keyId":"$RSA","encryptionAlgorithm":"RSAES_OAEP_SHA_256"}`, response: `null`, res: `[` + rsaResource + `]`, readOnly: true},
	{op: "Decrypt", body: `{"CiphertextBlob":"$OAEP","KeyId":"$RSA","EncryptionAlgorithm":"RSAES_OAEP_SHA_1"}`,
		request: `{"keyId":"$RSA","encryptionAlgorithm":"RSAES_OAEP_SHA_1"}`, response: `null`, res: `[` + rsaResource + `]`, readOnly: true},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$OAEP","SourceKeyId":"$RSA","SourceEncryptionAlgorithm":"RSAES_OAEP_SHA_1","DestinationKeyId":"$ID","DestinationEncryptionContext":{"b":"2"}}`,
		request:  `{"sourceEncryptionAlgorithm":"RSAES_OAEP_SHA_1","sourceKeyId":"$RSA","destinationKeyId":"$ID","destinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationEncryptionContext":{"b":"2"}}`,
		response: `null`, event: `{"destinationKeyMaterialId":"$M"}`, res: `[` + rsaResource + `,` + keyResource + `]`, readOnly: true},
	{op: "ReEncrypt", body: `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$RSA","DestinationEncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`,
		request:  `{"sourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","destinationKeyId":"$RSA","destinationEncryptionAlgorithm":"RSAES_OAEP_SHA_256"}`,
		response: `null`, event: `{"sourceKeyMaterialId":"$M"}`, res: `[` + keyResource + `,` + rsaResource + `]`, readOnly: true},
}

func TestRSARecords(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, rsaKey := s.NewKey(t), newRSA(t, s)
	oaep := s.Must(t, "Encrypt", obj{"KeyId": rsaKey, "Plaintext": "aGVsbG8=", "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"})["CiphertextBlob"].(string)
	names := []string{"$RSAARN", testkit.ARN(rsaKey), "$RSA", rsaKey, "$OAEP", oaep, "$ID", key, "$ARN", testkit.ARN(key), "$M", materialOf(t, s, key), "$BLOB", s.NewBlob(t, key)}
	for _, row := range rsaRecords {
		t.Run(row.op, func(t *testing.T) { testRecord(t, s, row, names) })
	}
}

// RSA's operations take and allocate what package crypto does for them, beside what every
// call does.
func BenchmarkRSA(b *testing.B) {
	const algorithm = `"EncryptionAlgorithm":"RSAES_OAEP_SHA_256"`
	for _, spec := range []string{"RSA_2048", "RSA_4096"} {
		s := testkit.Start(b)
		key := newKeyOf(b, s, spec+" ENCRYPT_DECRYPT")
		encrypt := `{"KeyId":"` + key + `","Plaintext":"aGVsbG8=",` + algorithm + `}`
		blob := s.Must(b, "Encrypt", encrypt)["CiphertextBlob"].(string)
		b.Run("Encrypt/"+spec, func(b *testing.B) { benchmarkCall(b, s, "Encrypt", encrypt) })
		b.Run("Decrypt/"+spec, func(b *testing.B) {
			benchmarkCall(b, s, "Decrypt", `{"KeyId":"`+key+`","CiphertextBlob":"`+blob+`",`+algorithm+`}`)
		})
	}
}

// Encrypting opens no secret. A node that cannot open the private key answers so, and not
// as if the ciphertext were wrong.
func TestRSAKeyThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, symmetric := newRSA(t, s), s.NewKey(t)
	s.Service = s.NewServiceWith(func(c *service.Config) { c.Rows = rows() }) // with the keyring of nobody
	const oaep = "RSAES_OAEP_SHA_256"
	blob := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionAlgorithm": oaep})["CiphertextBlob"]
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": oaep}), internal)
	wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"SourceKeyId": key, "CiphertextBlob": blob, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": symmetric}), internal)
}
