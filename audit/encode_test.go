package audit_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/kms"
)

// trip sends a record through its replicated form.
func trip(t *testing.T, r *audit.Record) *audit.Record {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := audit.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestEncodedRecordRendersTheSame(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		r := newRecord(op.name)
		r.Source.UserAgent = "agent \xff\x00"
		op.fill(r)
		want := string(r.AppendJSON(nil))
		if got := string(trip(t, r).AppendJSON(nil)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", op.name, got, want)
		}
		r.Err = &kms.Error{Code: kms.CodeLimitExceeded, Message: "text"}
		want = string(r.AppendJSON(nil))
		if got := string(trip(t, r).AppendJSON(nil)); got != want {
			t.Errorf("refused %s:\n got %s\nwant %s", op.name, got, want)
		}
	}
}

// What a new leader does with the record of a command that was refused.
func TestRecordOfSuccessBecomesRefusal(t *testing.T) {
	t.Parallel()
	r := newRecord("CreateAlias")
	aliasWrite(r)
	r.Additional.String("customKeyStoreId", "cks-1")
	got := trip(t, r)
	got.Err = &kms.Error{Code: kms.CodeAlreadyExists, Message: "An alias with the name " + aliasARN + " already exists"}
	want := newRecord("CreateAlias")
	want.RequestParameters.String("aliasName", "alias/app")
	want.RequestParameters.String("targetKeyId", keyID)
	want.Resources = r.Resources
	want.Err = got.Err
	if got, want := string(got.AppendJSON(nil)), string(want.AppendJSON(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestRepeat(t *testing.T) {
	t.Parallel()
	r := newRecord("CreateAlias")
	aliasWrite(r)
	again := trip(t, r)
	again.Repeat("first-request")
	want := `"responseElements":` + keyElement + `,"additionalEventData":{"repeatOf":"first-request"},"requestID"`
	if got := string(again.AppendJSON(nil)); !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
	d := trip(t, decrypt())
	d.Repeat("r")
	want = `"additionalEventData":{"keyMaterialId":"` + material + `","repeatOf":"r"}`
	if got := string(d.AppendJSON(nil)); !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
}

func TestEncodeLimits(t *testing.T) {
	t.Parallel()
	r := newRecord("CreateKey")
	r.RequestParameters.String("policy", strings.Repeat("x", 200<<10)) // dropped, as in the record
	if b, err := r.Encode(); err != nil || len(b) > 1000 {
		t.Errorf("Encode with dropped parameters: %d bytes, %v", len(b), err)
	}
	r.Source.UserAgent = strings.Repeat("x", 256<<10)
	if _, err := r.Encode(); err == nil {
		t.Error("Encode beyond 256 KiB: no error")
	}
}

func TestDecodeIsStrict(t *testing.T) {
	t.Parallel()
	good, err := decrypt().Encode()
	if err != nil {
		t.Fatal(err)
	}
	object := []byte(`{"encryptionAlgorithm"`)
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"only the version":     good[:1],
		"another version":      append([]byte{2}, good[1:]...),
		"truncated":            good[:len(good)-1],
		"trailing byte":        append(bytes.Clone(good), 0),
		"not an object":        bytes.Replace(good, object, []byte(`["encryptionAlgorithm"`), 1),
		"a newline in JSON":    bytes.Replace(good, object, []byte("{\n\"ncryptionAlgorithm\""), 1),
		"broken JSON":          bytes.Replace(good, object, []byte(`{"encryptionAlgorithm,`), 1),
		"an unknown field":     append([]byte{1, good[1] + 1}, append(bytes.Clone(good[2:]), 0x18, 0x63, 0x00)...),
		"a field out of order": append([]byte{1, 0xa2, 0x02, 0x60}, 0x01, 0x60),
	} {
		if name != "nothing" && bytes.Equal(b, good) {
			t.Errorf("%s: the test changed nothing", name)
		}
		if _, err := audit.DecodeRecord(b); !errors.Is(err, audit.ErrEncoding) {
			t.Errorf("%s: got %v, want ErrEncoding", name, err)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	records := []*audit.Record{rotation(), shared(), moved()}
	for _, op := range operations {
		r := newRecord(op.name)
		op.fill(r)
		records = append(records, r)
	}
	for _, r := range records {
		b, err := r.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := audit.DecodeRecord(b)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("re-encoded: %x, %v; want %x", again, err, b)
		}
		if bytes.IndexByte(r.AppendJSON(nil), '\n') >= 0 {
			t.Error("the record is more than one line")
		}
	})
}
