package attestation_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/crypto/attestation"
	"github.com/kmsd/kmsd/internal/testkit"
)

// at is when the tests verify.
var at = time.Date(2026, 11, 24, 12, 0, 0, 345e6, time.UTC)

func TestVerify(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	document := e.Document(t, at)
	tagged := append([]byte{0xd2}, document...) // tag 18
	full := e.Statement(t, at)
	full["user_data"], full["nonce"] = make([]byte, 512), []byte{}
	full["pcrs"] = map[int][]byte{0: make([]byte, 32), 1: make([]byte, 48), 31: make([]byte, 64)}
	bare := e.Statement(t, at)
	delete(bare, "user_data")
	delete(bare, "nonce")
	for name, signed := range map[string][]byte{"untagged": document, "tagged": tagged, "with everything": e.Sign(t, full), "without what is optional": e.Sign(t, bare)} {
		d, err := e.Roots(t).Verify(signed, at)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.ModuleID != "i-0123456789abcdef0-enc0123456789abcdef" {
			t.Errorf("%s: the module is %q", name, d.ModuleID)
		}
	}
	tpm := e.Statement(t, at)
	delete(tpm, "pcrs")
	tpm["nitrotpm_pcrs"] = map[int][]byte{4: make([]byte, 48)}
	if d, err := e.Roots(t).Verify(e.Sign(t, tpm), at); err != nil || d.Platform != attestation.NitroTPM {
		t.Errorf("NitroTPM: got %+v, %v", d, err)
	}
	d, err := e.Roots(t).Verify(document, at)
	if err != nil || d.Platform != attestation.Enclave {
		t.Fatal(d, err)
	}
	for n, want := range map[int][]byte{0: bytes.Repeat([]byte{0xa0}, 48), 8: bytes.Repeat([]byte{0xa8}, 48), 1: nil, 32: nil, -1: nil} {
		if got, ok := d.PCR(n); ok != (want != nil) || !bytes.Equal(got, want) {
			t.Errorf("PCR %d is %x, %v", n, got, ok)
		}
	}
}

// Of several roots any may be the document's.
func TestSeveralRoots(t *testing.T) {
	t.Parallel()
	one, two, other := testkit.NewEnclave(t, at), testkit.NewEnclave(t, at), testkit.NewEnclave(t, at)
	roots, err := attestation.ParseRoots(append(append([]byte("# two of them\n"), one.RootPEM()...), two.RootPEM()...))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []*testkit.Enclave{one, two} {
		if _, err := roots.Verify(e.Document(t, at), at); err != nil {
			t.Error(err)
		}
	}
	if _, err := roots.Verify(other.Document(t, at), at); !errors.Is(err, attestation.ErrCertificate) {
		t.Errorf("got %v", err)
	}
}

func TestParseRootsRefuses(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Chain[3]})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	for text, want := range map[string]string{
		"": "not PEM certificates", "nothing": "not PEM certificates", string(e.RootPEM()) + "rest": "not PEM certificates", string(key): "a PRIVATE KEY is no certificate",
		string(e.RootPEM()) + string(leaf):                                                 "certificate 2 is not that of a certification authority",
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Chain[0][1:]})): "reading certificate 1: x509: malformed certificate",
	} {
		if _, err := attestation.ParseRoots([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%.40q: got %v, want %s", text, err, want)
		}
	}
}

// refuses checks that a document is refused for a reason.
func refuses(t *testing.T, name string, e *testkit.Enclave, signed []byte, want error) {
	t.Helper()
	if d, err := e.Roots(t).Verify(signed, at); !errors.Is(err, want) || d != nil {
		t.Errorf("%s: got %v, %v, want %v", name, d, err, want)
	}
}

func TestNoRoots(t *testing.T) {
	t.Parallel()
	var none *attestation.Roots
	for _, signed := range [][]byte{nil, {0}, testkit.NewEnclave(t, at).Document(t, at)} {
		if _, err := none.Verify(signed, at); !errors.Is(err, attestation.ErrNoRoots) {
			t.Errorf("got %v", err)
		}
	}
}

// Whichever byte of a document is changed, it is refused.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	document := e.Document(t, at)
	step := 7
	for i := 0; i < len(document); i += step {
		changed := bytes.Clone(document)
		changed[i] ^= 1
		if _, err := e.Roots(t).Verify(changed, at); err == nil {
			t.Errorf("byte %d of %d does not count", i, len(document))
		}
	}
	for n := 0; n < len(document); n += step {
		refuses(t, "cut short", e, document[:n], attestation.ErrSyntax)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	e, other := testkit.NewEnclave(t, at), testkit.NewEnclave(t, at)
	with := func(change func(e *testkit.Enclave)) []byte {
		c := *e
		c.Chain = append([][]byte(nil), e.Chain...)
		change(&c)
		return c.Document(t, at)
	}
	refuses(t, "another root", e, other.Document(t, at), attestation.ErrCertificate)
	for name, change := range map[string]func(e *testkit.Enclave){
		"another root in the bundle": func(e *testkit.Enclave) { e.Chain[0] = other.Chain[0] },
		"the root behind":            func(e *testkit.Enclave) { e.Chain[0], e.Chain[1] = e.Chain[1], e.Chain[0] },
		"another's in between":       func(e *testkit.Enclave) { e.Chain[1] = other.Chain[1] },
		"one left out":               func(e *testkit.Enclave) { e.Chain = append(e.Chain[:2:2], e.Chain[3]) },
		"one twice": func(e *testkit.Enclave) {
			e.Chain = [][]byte{e.Chain[0], e.Chain[1], e.Chain[1], e.Chain[2], e.Chain[3]}
		},
		"another order":        func(e *testkit.Enclave) { e.Chain[1], e.Chain[2] = e.Chain[2], e.Chain[1] },
		"another's at the end": func(e *testkit.Enclave) { e.Chain[3] = other.Chain[3] },
		"bytes behind one":     func(e *testkit.Enclave) { e.Chain[2] = append(bytes.Clone(e.Chain[2]), 0) },
		"no certificate":       func(e *testkit.Enclave) { e.Chain[2] = []byte{1} },
		"the CA's itself":      func(e *testkit.Enclave) { e.Chain = e.Chain[:3] },
		"the root alone":       func(e *testkit.Enclave) { e.Chain = [][]byte{e.Chain[0], e.Chain[0]} },
	} {
		refuses(t, name, e, with(change), attestation.ErrCertificate)
	}
	for name, cfg := range map[string]testkit.EnclaveConfig{
		"expired":            {From: at.Add(-2 * time.Hour), To: at.Add(-time.Minute)},
		"not yet valid":      {From: at.Add(time.Minute), To: at.Add(time.Hour)},
		"a CA's":             {From: at.Add(-time.Hour), To: at.Add(time.Hour), IsCA: true, Usage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign},
		"not for signatures": {From: at.Add(-time.Hour), To: at.Add(time.Hour), Usage: x509.KeyUsageKeyAgreement},
	} {
		bad := testkit.NewEnclaveWith(t, cfg)
		refuses(t, name, bad, bad.Document(t, at), attestation.ErrCertificate)
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	e, other := testkit.NewEnclave(t, at), testkit.NewEnclave(t, at)
	stolen := *e
	stolen.Signer = other.Signer
	refuses(t, "another's key", e, stolen.Document(t, at), attestation.ErrSignature)
	p256 := testkit.NewEnclaveWith(t, testkit.EnclaveConfig{From: at.Add(-time.Hour), To: at.Add(time.Hour), Curve: elliptic.P256()})
	refuses(t, "another curve", p256, p256.Document(t, at), attestation.ErrSignature)
	document := e.Document(t, at)
	for i := len(document) - 96; i < len(document); i++ {
		changed := bytes.Clone(document)
		changed[i] ^= 0x80
		refuses(t, "a changed signature", e, changed, attestation.ErrSignature)
	}
	zero := append(bytes.Clone(document[:len(document)-96]), make([]byte, 96)...)
	refuses(t, "a signature of zeros", e, zero, attestation.ErrSignature)
}

func TestTimes(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	for _, row := range []struct {
		made time.Duration
		want error
	}{
		{0, nil}, {-5 * time.Minute, nil}, {time.Minute, nil},
		{-5*time.Minute - time.Millisecond, attestation.ErrTime}, {time.Minute + time.Millisecond, attestation.ErrTime}, {-24 * time.Hour, attestation.ErrTime},
	} {
		if _, err := e.Roots(t).Verify(e.Document(t, at.Add(row.made)), at); !errors.Is(err, row.want) {
			t.Errorf("made at %v: got %v, want %v", row.made, err, row.want)
		}
	}
	far := e.Statement(t, at)
	far["timestamp"] = uint64(1<<64 - 1)
	refuses(t, "the end of time", e, e.Sign(t, far), attestation.ErrTime)
}

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	short, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	long, err := x509.MarshalPKIXPublicKey(short.Public())
	if err != nil {
		t.Fatal(err)
	}
	curve, err := x509.MarshalPKIXPublicKey(e.Signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	good := e.Statement(t, at)["public_key"].([]byte)
	for name, key := range map[string]any{
		"null": nil, "empty": []byte{}, "no key": []byte("key"), "RSA_3072": long, "ECC_NIST_P384": curve,
		"PKCS 1": x509.MarshalPKCS1PublicKey(&e.Key.PublicKey), "bytes behind it": append(bytes.Clone(good), 0),
	} {
		s := e.Statement(t, at)
		s["public_key"] = key
		refuses(t, name, e, e.Sign(t, s), attestation.ErrPublicKey)
	}
	s := e.Statement(t, at)
	delete(s, "public_key")
	refuses(t, "absent", e, e.Sign(t, s), attestation.ErrPublicKey)
}

// What AWS's "Syntactical validation" demands.
func TestStatements(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	for _, row := range []struct {
		member string
		value  any
	}{
		{"module_id", ""}, {"module_id", nil}, {"module_id", []byte("i")}, {"digest", "SHA256"}, {"digest", "sha384"}, {"digest", nil},
		{"timestamp", 0}, {"timestamp", -1}, {"timestamp", "1795521600345"}, {"timestamp", 1795521600345.5}, {"timestamp", nil},
		{"pcrs", map[int][]byte{}}, {"pcrs", nil}, {"pcrs", map[int][]byte{32: make([]byte, 48)}}, {"pcrs", map[int][]byte{-1: make([]byte, 48)}}, {"pcrs", map[int][]byte{0: make([]byte, 47)}},
		{"pcrs", map[int][]byte{0: {}}}, {"pcrs", map[int]any{0: nil}}, {"pcrs", map[string][]byte{"0": make([]byte, 48)}}, {"pcrs", map[int]string{0: strings.Repeat("a", 48)}}, {"pcrs", [][]byte{make([]byte, 48)}},
		{"certificate", []byte{}}, {"certificate", nil}, {"certificate", make([]byte, 1025)}, {"certificate", "text"},
		{"cabundle", [][]byte{}}, {"cabundle", nil}, {"cabundle", [][]byte{{}}}, {"cabundle", [][]byte{make([]byte, 1025)}}, {"cabundle", e.Chain[0]}, {"cabundle", make([][]byte, 17)},
		{"public_key", make([]byte, 1025)}, {"public_key", "text"}, {"public_key", []int{1, 2}}, {"user_data", make([]byte, 1025)}, {"user_data", 1}, {"nonce", make([]byte, 1025)}, {"nonce", "text"},
		{"another", 1}, {"Module_ID", "i"}, {"nitrotpm_pcrs", map[int][]byte{4: make([]byte, 48)}}, {"nitrotpm_pcrs", map[int][]byte{}},
	} {
		s := e.Statement(t, at)
		s[row.member] = row.value
		refuses(t, row.member, e, e.Sign(t, s), attestation.ErrSyntax)
	}
	other := e.Statement(t, at)
	other["Nonce"] = other["nonce"]
	delete(other, "nonce")
	refuses(t, "a name in other letters", e, e.Sign(t, other), attestation.ErrSyntax)
	for _, pcrs := range []map[int][]byte{{}, {32: make([]byte, 48)}, {4: make([]byte, 20)}} {
		s := e.Statement(t, at)
		delete(s, "pcrs")
		s["nitrotpm_pcrs"] = pcrs
		refuses(t, "NitroTPM's registers", e, e.Sign(t, s), attestation.ErrSyntax)
	}
	for _, member := range []string{"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"} {
		s := e.Statement(t, at)
		delete(s, member)
		refuses(t, "without "+member, e, e.Sign(t, s), attestation.ErrSyntax)
	}
}

// encoded returns the CBOR of a value.
func encoded(t *testing.T, value any) []byte {
	t.Helper()
	b, err := cbor.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Documents have one form around what is signed, and no form of CBOR that could be read
// in two ways.
func TestEncodings(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	document, payload := e.Document(t, at), encoded(t, e.Statement(t, at))
	var parts []any
	if err := cbor.Unmarshal(document, &parts); err != nil {
		t.Fatal(err)
	}
	with := func(i int, value any) []byte {
		changed := append([]any(nil), parts...)
		changed[i] = value
		return encoded(t, changed)
	}
	none := map[int]any{}
	twice := append([]byte{0xb8, byte(len(e.Statement(t, at)) + 1)}, append(bytes.Clone(payload[1:]), append(encoded(t, "module_id"), encoded(t, "other")...)...)...)
	endless := append(append([]byte{0xbf}, payload[1:]...), 0xff)
	for name, signed := range map[string][]byte{
		"nothing": {}, "no CBOR": []byte("document"), "bytes behind": append(bytes.Clone(document), 0), "tag 17": append([]byte{0xd1}, document...), "tag 18 in two bytes": append([]byte{0xd8, 18}, document...),
		"tagged twice": append([]byte{0xd2, 0xd2}, document...), "a map": encoded(t, map[string]any{"a": 1}), "three parts": encoded(t, parts[:3]), "five parts": encoded(t, append(append([]any(nil), parts...), 1)),
		"without a length":  append(append([]byte{0x9f}, document[1:]...), 0xff),
		"ES256":             with(0, []byte{0xa1, 0x01, 0x26}),
		"a key id":          with(0, []byte{0xa2, 0x01, 0x38, 0x22, 0x04, 0x41, 0x00}),
		"no algorithm":      with(0, []byte{0xa0}),
		"unprotected":       with(1, map[int]any{4: []byte{0}}),
		"unprotected null":  with(1, nil),
		"a long empty map":  append(append([]byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xb8, 0x00}, encoded(t, parts[2])...), encoded(t, parts[3])...),
		"payload null":      with(2, nil),
		"payload as text":   with(2, string(payload[:0])),
		"short signature":   with(3, make([]byte, 95)),
		"long signature":    with(3, make([]byte, 97)),
		"DER signature":     with(3, make([]byte, 104)),
		"bytes in payload":  e.SignPayload(t, append(bytes.Clone(payload), 0)),
		"a member twice":    e.SignPayload(t, twice),
		"an endless map":    e.SignPayload(t, endless),
		"payload no map":    e.SignPayload(t, encoded(t, []int{1})),
		"deep":              e.SignPayload(t, bytes.Repeat([]byte{0x81}, 100)),
		"a tag in payload":  e.SignPayload(t, append([]byte{0xc0}, payload...)),
		"payload a list":    with(2, []any{none}),
		"more than MaxSize": e.SignPayload(t, make([]byte, attestation.MaxSize)),
	} {
		refuses(t, name, e, signed, attestation.ErrSyntax)
	}
}

// What is sealed opens with the enclave's key, whatever its length, and never looks the
// same.
func TestSeal(t *testing.T) {
	t.Parallel()
	e := testkit.NewEnclave(t, at)
	d, err := e.Roots(t).Verify(e.Document(t, at), at)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 15, 16, 17, 32, 1024, 4096} {
		plaintext := bytes.Repeat([]byte{7}, n)
		one, err := d.Seal(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		two, err := d.Seal(plaintext)
		if err != nil || bytes.Equal(one, two) {
			t.Errorf("%d bytes were sealed twice alike, %v", n, err)
		}
		if !bytes.Equal(plaintext, bytes.Repeat([]byte{7}, n)) {
			t.Error("the plaintext was changed")
		}
		if got := e.Open(t, one); !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes came back as %x", n, got)
		}
	}
}

// Nothing that is sent stops the parser or makes it believe what nobody signed.
func FuzzVerify(f *testing.F) {
	e, other := testkit.NewEnclave(f, at), testkit.NewEnclave(f, at)
	roots := e.Roots(f)
	f.Add([]byte{})
	f.Add([]byte{0xd2, 0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0})
	f.Add(other.Document(f, at))
	f.Add(append([]byte{0xd2}, other.Sign(f, map[string]any{"module_id": "x", "pcrs": map[int][]byte{31: make([]byte, 64)}})...))
	f.Fuzz(func(t *testing.T, signed []byte) {
		d, err := roots.Verify(signed, at)
		if err == nil || d != nil {
			t.Errorf("a document that nobody signed was believed: %v", d)
		}
		for _, known := range []error{attestation.ErrSyntax, attestation.ErrCertificate, attestation.ErrSignature} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Errorf("got %v", err)
	})
}
