package service_test

import (
	"regexp"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const newRSA = `{"KeySpec":"RSA_2048","KeyUsage":"SIGN_VERIFY"}`

// Where RSA keys cannot be made, everything else goes on, the making of other keys
// included.
func TestHeavyWorkStarvesNobody(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	signing := s.Must(t, "CreateKey", newRSA)["KeyMetadata"].(obj)["KeyId"].(string)
	empty := s.Service.FillPool("heavy")
	for _, spec := range []string{"RSA_2048", "RSA_3072", "RSA_4096"} {
		for _, usage := range []string{"SIGN_VERIFY", "ENCRYPT_DECRYPT"} {
			wantAnswer(t, s.Call(t, testkit.Root, "CreateKey", obj{"KeySpec": spec, "KeyUsage": usage}), "ThrottlingException", throttledText)
		}
	}
	for _, c := range []struct{ op, body string }{
		{"CreateKey", `{}`}, {"CreateKey", `{"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`}, {"CreateKey", `{"KeySpec":"HMAC_512","KeyUsage":"GENERATE_VERIFY_MAC"}`},
		{"CreateKey", `{"KeySpec":"ML_DSA_65","KeyUsage":"SIGN_VERIFY"}`}, {"CreateKey", `{"KeySpec":"ML_KEM_768","KeyUsage":"ENCAPSULATE_DECAPSULATE"}`},
		{"Encrypt", `{"KeyId":"$KEY","Plaintext":"AA=="}`}, {"DisableKey", `{"KeyId":"$KEY"}`},
		{"Sign", `{"KeyId":"$RSA","Message":"AA==","SigningAlgorithm":"RSASSA_PSS_SHA_256"}`},
	} {
		wantCode(t, s.Call(t, testkit.Root, c.op, fill(c.body, []string{"$KEY", key, "$RSA", signing})), "")
	}
	empty()
	wantCode(t, s.Call(t, testkit.Root, "CreateKey", newRSA), "")
}

// A write that waits for its heavy work keeps nobody's place.
func TestHeavyWorkKeepsNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := testkit.Start(t)
		s.Service.Limit("write", 1)
		leave := s.Service.Hold("heavy")
		made := make(chan testkit.Answer, 1)
		go func() { made <- s.Call(t, testkit.Root, "CreateKey", newRSA) }()
		synctest.Wait()
		wantCode(t, s.Call(t, testkit.Root, "CreateKey", `{}`), "")
		if len(made) != 0 {
			t.Fatalf("the key was made without a place: %v", <-made)
		}
		leave()
		wantCode(t, <-made, "")
		wantCode(t, s.Call(t, testkit.Root, "CreateKey", newRSA), "")
	})
}

// newARN finds the new key in the record that a command carries.
var newARN = regexp.MustCompile(`arn:aws:kms:us-east-1:111122223333:key/([0-9a-f-]{36})`)

// A write that is sent again proposes what its first attempt has made.
func TestHeavyWorkOfRepeatedWrites(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	var ids []string
	s.Fault = func(cmd fsm.Command) error {
		ids = append(ids, string(newARN.FindSubmatch(cmd.Body)[1]))
		if len(ids) < testkit.Forwards {
			return kms.ErrNotLeader
		}
		return nil
	}
	a := s.Call(t, testkit.Root, "CreateKey", newRSA)
	wantCode(t, a, "")
	if want := slices.Repeat([]string{keyID(a)}, testkit.Forwards); !slices.Equal(ids, want) {
		t.Errorf("proposed %v, want %v", ids, want)
	}
	wantCode(t, s.Call(t, testkit.Root, "Sign", obj{"KeyId": keyID(a), "Message": "AA==", "SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_512"}), "")
	another := s.Call(t, testkit.Root, "CreateKey", newRSA)
	if keyID(another) == keyID(a) {
		t.Error("another call made the same key")
	}
}
