package kmsapi_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

var invalidCiphertext = outcome{"InvalidCiphertextException", ""}

var incorrectKey = outcome{"IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."}

var dryRun = outcome{"DryRunOperationException", "The request would have succeeded, but the DryRun option is set."}

// members lists the names of an object's members.
func members(o obj) map[string]bool {
	out := map[string]bool{}
	for name := range o {
		out[name] = true
	}
	return out
}

func wantMembers(t *testing.T, got obj, names string) {
	t.Helper()
	want := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		want[name] = true
	}
	if diff := cmp.Diff(members(got), want); diff != "" {
		t.Errorf("members: -got +want:\n%s", diff)
	}
}

func materialOf(t *testing.T, s *testkit.Solo, key string) string {
	t.Helper()
	id := s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)["CurrentKeyMaterialId"].(string)
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		t.Errorf("the material id is %q", id)
	}
	return id
}

func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.NewAlias(t, "alias/app", key)
	material := materialOf(t, s, key)
	context := obj{"app": "x", "": "empty key", "b": "", "ünï": "\u0000"}
	sealed := s.Must(t, "Encrypt", obj{"KeyId": "alias/app", "Plaintext": "aGVsbG8=", "EncryptionContext": context})
	wantMembers(t, sealed, "CiphertextBlob KeyId EncryptionAlgorithm")
	if sealed["KeyId"] != testkit.ARN(key) || sealed["EncryptionAlgorithm"] != "SYMMETRIC_DEFAULT" {
		t.Errorf("got %v", sealed)
	}
	for _, name := range []obj{{}, {"KeyId": key}, {"KeyId": testkit.ARN(key)}, {"KeyId": "alias/app"}, {"KeyId": testkit.AliasARN("alias/app")}, {"EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}} {
		opened := s.Must(t, "Decrypt", with(name, obj{"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context}))
		wantJSON(t, opened, fill(`{"KeyId":"$ARN","Plaintext":"aGVsbG8=","EncryptionAlgorithm":"SYMMETRIC_DEFAULT","KeyMaterialId":"$M"}`, "$ARN", testkit.ARN(key), "$M", material))
	}
}

func TestPlaintextSizes(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	seen := map[string]bool{}
	for _, n := range []int{1, 2, 15, 16, 17, 31, 32, 33, 4095, 4096, 4096} {
		blob := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": bytesOf(n)})["CiphertextBlob"].(string)
		if size := len(unb64(t, blob)); size > 6144 || size-n > 2048 {
			t.Errorf("%d bytes give a ciphertext of %d", n, size)
		}
		if seen[blob] {
			t.Errorf("%d bytes gave the same ciphertext twice", n)
		}
		seen[blob] = true
		if got := s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})["Plaintext"]; got != bytesOf(n) {
			t.Errorf("%d bytes came back as %v", n, got)
		}
	}
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": bytesOf(4097)}),
		constraint("Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"))
	wantOutcome(t, s.Call(t, testkit.Root, "Encrypt", obj{"KeyId": key, "Plaintext": ""}),
		constraint("Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"))
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": bytesOf(6145)}),
		constraint("Value 'java.nio.HeapByteBuffer[pos=0 lim=6145 cap=6145]' at 'ciphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144"))
}

// contextCase says whether what was encrypted under one context decrypts under
// another.
type contextCase struct {
	name, sealed, opened string
	want                 outcome
}

var contextCases = []contextCase{
	{"none and none", `null`, `null`, success},
	{"empty is none", `{}`, `null`, success},
	{"none is empty", `null`, `{}`, success},
	{"order is free", `{"a":"1","b":"2"}`, `{"b":"2","a":"1"}`, success},
	{"numbers and booleans are their text", `{"a":1,"b":true}`, `{"a":"1","b":"true"}`, success},
	{"the last of two wins", `{"a":"1","a":"2"}`, `{"a":"2"}`, success},
	{"left out", `{"a":"1"}`, `null`, invalidCiphertext},
	{"made up", `null`, `{"a":"1"}`, invalidCiphertext},
	{"one pair more", `{"a":"1"}`, `{"a":"1","b":"2"}`, invalidCiphertext},
	{"another value", `{"a":"1"}`, `{"a":"2"}`, invalidCiphertext},
	{"keys in capitals", `{"a":"1"}`, `{"A":"1"}`, invalidCiphertext},
	{"values in capitals", `{"a":"x"}`, `{"a":"X"}`, invalidCiphertext},
	{"another cut between key and value", `{"ab":"c"}`, `{"a":"bc"}`, invalidCiphertext},
	{"another cut between pairs", `{"a":"b","c":"d"}`, `{"a":"bcd"}`, invalidCiphertext},
	{"no Unicode normalisation", `{"a":"\u00e9"}`, `{"a":"e\u0301"}`, invalidCiphertext},
	{"keys and values swapped", `{"a":"b"}`, `{"b":"a"}`, invalidCiphertext},
}

func TestEncryptionContext(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, row := range contextCases {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sealed := s.Must(t, "Encrypt", `{"KeyId":"`+key+`","Plaintext":"AA==","EncryptionContext":`+row.sealed+`}`)
			dataKey := s.Must(t, "GenerateDataKey", `{"KeyId":"`+key+`","KeySpec":"AES_128","EncryptionContext":`+row.sealed+`}`)
			for _, blob := range []any{sealed["CiphertextBlob"], dataKey["CiphertextBlob"]} {
				body := `{"CiphertextBlob":"` + blob.(string) + `","EncryptionContext":` + row.opened + `}`
				wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", body), row.want)
				body = `{"CiphertextBlob":"` + blob.(string) + `","SourceEncryptionContext":` + row.opened + `,"DestinationKeyId":"` + key + `"}`
				wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", body), row.want)
			}
		})
	}
}

// An encryption context has at most 8,192 bytes of keys and values together.
func TestEncryptionContextSize(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	tooLarge := validation("The encryption context is too large: its keys and values may have at most 8192 bytes together.")
	most, more := obj{"key": strings.Repeat("ü", 4090), "12345": "1234"}, obj{"key": strings.Repeat("ü", 4090), "12345": "12345"}
	for _, row := range []struct {
		op, member string
		body       obj
		fits       outcome
	}{
		{"Encrypt", "EncryptionContext", obj{"KeyId": key, "Plaintext": "AA=="}, success},
		{"Decrypt", "EncryptionContext", obj{"CiphertextBlob": blob}, invalidCiphertext},
		{"GenerateDataKey", "EncryptionContext", obj{"KeyId": key, "NumberOfBytes": 7}, success},
		{"GenerateDataKeyWithoutPlaintext", "EncryptionContext", obj{"KeyId": key, "NumberOfBytes": 7}, success},
		{"ReEncrypt", "SourceEncryptionContext", obj{"CiphertextBlob": blob, "DestinationKeyId": key}, invalidCiphertext},
		{"ReEncrypt", "DestinationEncryptionContext", obj{"CiphertextBlob": blob, "DestinationKeyId": key}, success},
	} {
		t.Run(row.op+" "+row.member, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{row.member: most})), row.fits)
			wantOutcome(t, s.Call(t, testkit.Root, row.op, with(row.body, obj{row.member: more})), tooLarge)
		})
	}
}

func TestEveryByteOfACiphertextCounts(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := unb64(t, s.NewBlob(t, key))
	for i := range blob {
		changed := append([]byte(nil), blob...)
		changed[i] ^= 1
		a := s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(changed)})
		// Bytes 3 to 18 name the key: changed, they name one that does not exist.
		want := invalidCiphertext
		if 3 <= i && i < 19 {
			want = deniedBlob("111122223333", "kms:Decrypt")
		}
		wantOutcome(t, a, want)
		if 3 <= i && i < 19 {
			want = incorrectKey
		}
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(changed), "KeyId": key}), want)
	}
	for _, text := range []string{b64(blob[:len(blob)-1]), b64(append(blob, 0)), "AA==", bytesOf(200), bytesOf(6144)} {
		for _, name := range []obj{{}, {"KeyId": key}} {
			wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", with(name, obj{"CiphertextBlob": text})), invalidCiphertext)
		}
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": text, "DestinationKeyId": key}), invalidCiphertext)
	}
}

// algorithmCases are the algorithms of the model against a symmetric key.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := s.NewBlob(t, key)
	for _, algorithm := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"} {
		want := outcome{"InvalidKeyUsageException", "Algorithm " + algorithm + " is incompatible with key spec SYMMETRIC_DEFAULT."}
		for _, row := range []struct {
			op   string
			body obj
		}{
			{"Encrypt", obj{"KeyId": key, "Plaintext": "AA==", "EncryptionAlgorithm": algorithm}},
			{"Decrypt", obj{"KeyId": key, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm}},
			{"Decrypt", obj{"CiphertextBlob": blob, "EncryptionAlgorithm": algorithm}},
			{"ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": key, "SourceEncryptionAlgorithm": algorithm}},
			{"ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": key, "DestinationEncryptionAlgorithm": algorithm}},
		} {
			t.Run(row.op+" "+algorithm, func(t *testing.T) { wantOutcome(t, s.Call(t, testkit.Root, row.op, row.body), want) })
		}
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": bytesOf(256), "EncryptionAlgorithm": algorithm}), invalidCiphertext)
	}
}

// A key of another usage answers so, under the API's name of the operation; one
// of the right usage and another spec has no symmetric algorithm.
func TestKeyUsage(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, signing, rsa := s.NewKey(t), s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	theirs := map[string]string{signing: s.NewBlob(t, signing), rsa: s.NewBlob(t, rsa)}
	s.SetType(t, signing, "ECC_NIST_P256", "SIGN_VERIFY")
	s.SetType(t, rsa, "RSA_2048", "ENCRYPT_DECRYPT")
	for _, row := range []struct{ op, body string }{
		{"Encrypt", `{"KeyId":"$ID","Plaintext":"AA=="}`},
		{"Decrypt", `{"KeyId":"$ID","CiphertextBlob":"$BLOB"}`},
		{"Decrypt", `{"CiphertextBlob":"$OF"}`},
		{"GenerateDataKey", `{"KeyId":"$ID","KeySpec":"AES_256"}`},
		{"GenerateDataKeyWithoutPlaintext", `{"KeyId":"$ID","KeySpec":"AES_256"}`},
		{"ReEncrypt", `{"SourceKeyId":"$ID","CiphertextBlob":"$BLOB","DestinationKeyId":"$KEY"}`},
		{"ReEncrypt", `{"CiphertextBlob":"$BLOB","DestinationKeyId":"$ID"}`},
	} {
		t.Run(row.op, func(t *testing.T) {
			for id, want := range map[string]outcome{
				signing: {"InvalidKeyUsageException", testkit.ARN(signing) + " key usage is SIGN_VERIFY which is not valid for " + row.op + "."},
				rsa:     {"InvalidKeyUsageException", "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."},
			} {
				wantOutcome(t, s.Call(t, testkit.Root, row.op, fill(row.body, "$ID", id, "$BLOB", blob, "$OF", theirs[id], "$KEY", key)), want)
			}
		})
	}
}

func TestReEncrypt(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	from, to := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/to", to)
	fromMaterial, toMaterial := materialOf(t, s, from), materialOf(t, s, to)
	sealed := s.Must(t, "Encrypt", obj{"KeyId": from, "Plaintext": bytesOf(4096), "EncryptionContext": obj{"a": "1"}})
	for _, target := range []string{to, "alias/to", from} {
		arn, material := testkit.ARN(to), toMaterial
		if target == from {
			arn, material = testkit.ARN(from), fromMaterial
		}
		got := s.Must(t, "ReEncrypt", obj{"CiphertextBlob": sealed["CiphertextBlob"], "SourceEncryptionContext": obj{"a": "1"},
			"DestinationKeyId": target, "DestinationEncryptionContext": obj{"b": "2"}})
		blob := got["CiphertextBlob"]
		delete(got, "CiphertextBlob")
		wantJSON(t, got, fill(`{"SourceKeyId":"$FROM","KeyId":"$TO","SourceEncryptionAlgorithm":"SYMMETRIC_DEFAULT","DestinationEncryptionAlgorithm":"SYMMETRIC_DEFAULT",
			"SourceKeyMaterialId":"$FM","DestinationKeyMaterialId":"$TM"}`, "$FROM", testkit.ARN(from), "$TO", arn, "$FM", fromMaterial, "$TM", material))
		opened := s.Must(t, "Decrypt", obj{"CiphertextBlob": blob, "EncryptionContext": obj{"b": "2"}})
		if opened["Plaintext"] != bytesOf(4096) || opened["KeyId"] != arn {
			t.Errorf("to %s: got the key %v", target, opened["KeyId"])
		}
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob, "EncryptionContext": obj{"a": "1"}}), invalidCiphertext)
	}
}

func TestWrongKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	for _, name := range []string{other, testkit.ARN(other), s.NewAlias(t, "alias/other", other)} {
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob, "KeyId": name}), incorrectKey)
		wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", obj{"CiphertextBlob": blob, "SourceKeyId": name, "DestinationKeyId": key}), incorrectKey)
	}
	s.SetState(t, other, "Disabled")
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob, "KeyId": other}), outcome{"DisabledException", testkit.ARN(other) + " is disabled."})
}

// Nobody learns of another account's key: not through its ciphertext, and not
// through one that was made up to name it.
func TestForeignCiphertext(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	theirs, mine := s.NewKeyOf(t, testkit.Other), s.NewKey(t)
	blob := s.MustAs(t, testkit.Other, "Encrypt", obj{"KeyId": theirs, "Plaintext": "AA=="})["CiphertextBlob"].(string)
	unknown := unb64(t, blob)
	copy(unknown[3:], []byte{0x0b, 0xad, 0xca, 0xfe, 0x0b, 0xad, 0x4b, 0xad, 0x8b, 0xad, 0x0b, 0xad, 0xca, 0xfe, 0x0b, 0xad})
	for name, row := range map[string]struct{ blob, key string }{"existing": {blob, theirs}, "unknown": {b64(unknown), nobody}} {
		t.Run(name, func(t *testing.T) {
			for _, by := range []struct {
				id   string
				want func(action string) outcome
			}{
				{"", func(action string) outcome { return deniedBlob("111122223333", action) }},
				{row.key, func(string) outcome { return notFound("Key '" + own + "key/" + row.key + "' does not exist") }},
				{foreign + "key/" + row.key, func(action string) outcome { return deniedTo("111122223333", action, foreign+"key/"+row.key) }},
				{mine, func(string) outcome { return incorrectKey }},
			} {
				decrypt, reEncrypt := obj{"CiphertextBlob": row.blob}, obj{"CiphertextBlob": row.blob, "DestinationKeyId": mine}
				if by.id != "" {
					decrypt["KeyId"], reEncrypt["SourceKeyId"] = by.id, by.id
				}
				wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", decrypt), by.want("kms:Decrypt"))
				wantOutcome(t, s.Call(t, testkit.Root, "ReEncrypt", reEncrypt), by.want("kms:ReEncryptFrom"))
			}
		})
	}
	wantOutcome(t, s.Call(t, testkit.Other, "ReEncrypt", obj{"CiphertextBlob": blob, "DestinationKeyId": testkit.ARN(mine)}),
		deniedTo("444455556666", "kms:ReEncryptTo", testkit.ARN(mine)))
}

// Material that the key has not is like any other damage.
func TestUnknownMaterial(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	blob := unb64(t, s.NewBlob(t, key))
	copy(blob[19:35], make([]byte, 16))
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(blob)}), invalidCiphertext)
	wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": b64(blob), "KeyId": key}), invalidCiphertext)
}

func TestDataKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	material := materialOf(t, s, key)
	for _, row := range []struct {
		size obj
		want int
	}{
		{obj{"KeySpec": "AES_128"}, 16}, {obj{"KeySpec": "AES_256"}, 32},
		{obj{"NumberOfBytes": 1}, 1}, {obj{"NumberOfBytes": 64}, 64}, {obj{"NumberOfBytes": 1024}, 1024},
	} {
		body := with(row.size, obj{"KeyId": key, "EncryptionContext": obj{"a": "1"}})
		open, closed := s.Must(t, "GenerateDataKey", body), s.Must(t, "GenerateDataKeyWithoutPlaintext", body)
		wantMembers(t, open, "CiphertextBlob Plaintext KeyId KeyMaterialId")
		wantMembers(t, closed, "CiphertextBlob KeyId KeyMaterialId")
		for _, made := range []obj{open, closed} {
			if made["KeyId"] != testkit.ARN(key) || made["KeyMaterialId"] != material {
				t.Errorf("got %v %v", made["KeyId"], made["KeyMaterialId"])
			}
			opened := s.Must(t, "Decrypt", obj{"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": obj{"a": "1"}})
			if n := len(unb64(t, opened["Plaintext"])); n != row.want {
				t.Errorf("%v: %d bytes, want %d", row.size, n, row.want)
			}
			if p, ok := made["Plaintext"]; ok && p != opened["Plaintext"] {
				t.Errorf("%v: the ciphertext holds another key", row.size)
			}
		}
	}
}

func TestSizeParameters(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	neither := validation("Please specify either number of bytes or key spec.")
	for _, op := range []string{"GenerateDataKey", "GenerateDataKeyWithoutPlaintext"} {
		wantOutcome(t, s.Call(t, testkit.Root, op, obj{"KeyId": key}), neither)
		wantOutcome(t, s.Call(t, testkit.Root, op, obj{"KeyId": key, "KeySpec": "AES_256", "NumberOfBytes": 32}), neither)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", obj{}), neither)
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", obj{"KeySpec": "AES_256"}), neither)
	for _, n := range []int{0, 1025} {
		limit := "less than or equal to 1024"
		if n == 0 {
			limit = "greater than or equal to 1"
		}
		want := constraint("Value '" + strconv.Itoa(n) + "' at 'numberOfBytes' failed to satisfy constraint: Member must have value " + limit)
		wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", obj{"NumberOfBytes": n}), want)
		wantOutcome(t, s.Call(t, testkit.Root, "GenerateDataKey", obj{"KeyId": key, "NumberOfBytes": n}), want)
	}
}

func TestGenerateRandom(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, n := range []int{1, 32, 1024} {
		got := s.Must(t, "GenerateRandom", obj{"NumberOfBytes": n, "KeySpec": "ignored"})
		wantMembers(t, got, "Plaintext")
		if size := len(unb64(t, got["Plaintext"])); size != n {
			t.Errorf("%d bytes, want %d", size, n)
		}
	}
	first, second := s.Must(t, "GenerateRandom", obj{"NumberOfBytes": 32}), s.Must(t, "GenerateRandom", obj{"NumberOfBytes": 32})
	if first["Plaintext"] == second["Plaintext"] {
		t.Error("the same bytes twice")
	}
	wantOutcome(t, s.Call(t, testkit.Root, "GenerateRandom", obj{"NumberOfBytes": 1, "CustomKeyStoreId": "cks-1"}),
		outcome{"CustomKeyStoreNotFoundException", "The custom key store does not exist."})
}
