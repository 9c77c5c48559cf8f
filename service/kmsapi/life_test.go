package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
	"github.com/kmsd/kmsd/kms"
)

const oneDay = 24 * time.Hour

// metadata returns what DescribeKey shows.
func metadata(t *testing.T, s *testkit.Solo, key string) obj {
	t.Helper()
	return s.Must(t, "DescribeKey", obj{"KeyId": key})["KeyMetadata"].(obj)
}

// began is the time at which the kit's clock starts, 2026-11-24T12:00:00.345Z, as
// the API shows it.
const began = 1795521600.345

func TestScheduleKeyDeletion(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, row := range []struct {
		body string
		days float64
	}{{`{"KeyId":"$KEY"}`, 30}, {`{"KeyId":"$KEY","PendingWindowInDays":7}`, 7}, {`{"KeyId":"$ARN","PendingWindowInDays":30}`, 30}} {
		key := s.NewKey(t)
		blob, alias := s.NewBlob(t, key), s.NewAlias(t, "alias/of-"+key, key)
		got := s.Must(t, "ScheduleKeyDeletion", fill(row.body, "$KEY", key, "$ARN", testkit.ARN(key)))
		date := began + row.days*86400
		wantJSON(t, got, fmt.Sprintf(`{"KeyId":%q,"DeletionDate":%.3f,"KeyState":"PendingDeletion","PendingWindowInDays":%v}`, testkit.ARN(key), date, row.days))
		m := metadata(t, s, alias)
		if m["KeyState"] != "PendingDeletion" || m["Enabled"] != false || m["DeletionDate"] != date || m["PendingDeletionWindowInDays"] != nil {
			t.Errorf("after %s: %v", row.body, m)
		}
		pending := outcome{"KMSInvalidStateException", testkit.ARN(key) + " is pending deletion."}
		wantOutcome(t, s.Call(t, testkit.Root, "ScheduleKeyDeletion", obj{"KeyId": key}), pending)
		wantOutcome(t, s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob}), pending)
		wantJSON(t, s.Must(t, "CancelKeyDeletion", obj{"KeyId": key}), `{"KeyId":"`+testkit.ARN(key)+`"}`)
		m = metadata(t, s, key)
		if _, dated := m["DeletionDate"]; m["KeyState"] != "Disabled" || dated {
			t.Errorf("cancelled: %v", m)
		}
		s.Must(t, "EnableKey", obj{"KeyId": key})
		s.Must(t, "Decrypt", obj{"CiphertextBlob": blob})
	}
}

// The date that the call names is the one that the state holds, also when the
// state's time is ahead of the leader's clock.
func TestDeletionDateIsTheStates(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Advance(90 * time.Second)
	s.NewKey(t)
	s.Advance(-30 * time.Second)
	got := s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7})["DeletionDate"]
	if want := began + 90 + 7*86400; got != want || metadata(t, s, key)["DeletionDate"] != want {
		t.Errorf("DeletionDate %v and %v, want %v", got, metadata(t, s, key)["DeletionDate"], want)
	}
}

// A key that was destroyed is a key that never was.
func TestDeletedKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	blob := s.NewBlob(t, key)
	s.NewAlias(t, "alias/app", key)
	s.NewAlias(t, "alias/other", other)
	s.Must(t, "ScheduleKeyDeletion", obj{"KeyId": key, "PendingWindowInDays": 7})
	s.Advance(7*oneDay + time.Hour)
	s.Apply(t, fsm.DeleteKey{Account: testkit.Account, Region: testkit.Region, KeyID: key, DeletionDate: testkit.Began.Add(7 * oneDay).UnixMilli()})
	gone := notFound("Key '" + testkit.ARN(key) + "' does not exist")
	for _, op := range []string{"DescribeKey", "EnableKey", "CancelKeyDeletion", "ScheduleKeyDeletion", "ListResourceTags", "GetKeyRotationStatus", "ListKeyRotations"} {
		wantOutcome(t, s.Call(t, testkit.Root, op, obj{"KeyId": key}), gone)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "DescribeKey", obj{"KeyId": "alias/app"}), notFound("Alias arn:aws:kms:us-east-1:111122223333:alias/app is not found."))
	denied := s.Call(t, testkit.Root, "Decrypt", obj{"CiphertextBlob": blob})
	if denied.Refusal == nil || denied.Refusal.Code != "AccessDeniedException" && denied.Refusal.Code != "NotFoundException" {
		t.Errorf("Decrypt answers %v", denied.Refusal)
	}
	if ids := column(s.Must(t, "ListKeys", ``)["Keys"], "KeyId"); !slices.Equal(ids, []string{other}) {
		t.Errorf("ListKeys: %v", ids)
	}
	if names := column(s.Must(t, "ListAliases", ``)["Aliases"], "AliasName"); !slices.Equal(names, []string{"alias/other"}) {
		t.Errorf("ListAliases: %v", names)
	}
	s.NewAlias(t, "alias/app", other) // the name is free again
}

func TestUpdateKeyDescription(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, text := range []string{"a", "", strings.Repeat("é", 8192), `"<&` + "\n"} {
		a := s.Call(t, testkit.Root, "UpdateKeyDescription", obj{"KeyId": testkit.ARN(key), "Description": text})
		wantOutcome(t, a, success)
		if got := metadata(t, s, key)["Description"]; got != text {
			t.Errorf("Description %v, want %q", got, text)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.Must(t, "CreateKey", `{"Tags":[{"TagKey":"b","TagValue":"1"}]}`)["KeyMetadata"].(obj)["KeyId"].(string)
	want := func(pairs string) {
		t.Helper()
		var list []string
		for pair := range strings.FieldsSeq(pairs) {
			name, value, _ := strings.Cut(pair, "=")
			list = append(list, fmt.Sprintf(`{"TagKey":%q,"TagValue":%q}`, name, value))
		}
		wantJSON(t, s.Must(t, "ListResourceTags", obj{"KeyId": key}), `{"Tags":[`+strings.Join(list, ",")+`],"Truncated":false}`)
	}
	tag := func(pairs ...string) outcome {
		t.Helper()
		list := []obj{}
		for pair := range slices.Chunk(pairs, 2) {
			list = append(list, obj{"TagKey": pair[0], "TagValue": pair[1]})
		}
		a := s.Call(t, testkit.Root, "TagResource", obj{"KeyId": key, "Tags": list})
		if a.Refusal != nil {
			return outcome{a.Refusal.Code, a.Refusal.Message}
		}
		return success
	}
	for _, row := range []struct {
		pairs []string
		want  outcome
		tags  string
	}{
		{[]string{"a", "", "B", "2"}, success, "B=2 a= b=1"},
		{[]string{"b", "3"}, success, "B=2 a= b=3"},
		{nil, success, "B=2 a= b=3"},
		{[]string{"x", "1", "x", "1"}, outcome{"TagException", "Duplicate tag keys"}, "B=2 a= b=3"},
		{[]string{"aws:x", "1"}, outcome{"TagException", "Tags beginning with aws: are reserved"}, "B=2 a= b=3"},
		{[]string{"AWS:x", "1"}, outcome{"TagException", "Tags beginning with aws: are reserved"}, "B=2 a= b=3"},
		{[]string{"awsx", "+-=._:/@"}, success, "B=2 a= awsx=+-=._:/@ b=3"},
		{[]string{"x", "a#b"}, outcome{"TagException", "Tag keys and values can contain only letters, digits, white space and the characters _ . / = + - @ :"}, "B=2 a= awsx=+-=._:/@ b=3"},
	} {
		if got := tag(row.pairs...); got != row.want {
			t.Errorf("%q: got %v, want %v", row.pairs, got, row.want)
		}
		want(row.tags)
	}
	for _, row := range []struct{ keys, code, tags string }{
		{`["a","none"]`, "", "B=2 awsx=+-=._:/@ b=3"}, {`[]`, "", "B=2 awsx=+-=._:/@ b=3"}, {`["aws:x"]`, "TagException", "B=2 awsx=+-=._:/@ b=3"},
		{`["A","awsx"]`, "", "B=2 b=3"}, {`["B","b"]`, "", ""}, {`["B"]`, "", ""},
	} {
		a := s.Call(t, testkit.Root, "UntagResource", `{"KeyId":"`+key+`","TagKeys":`+row.keys+`}`)
		if a.Refusal != nil && a.Refusal.Code != row.code || a.Refusal == nil && row.code != "" {
			t.Errorf("untag %s: %v, want %q", row.keys, a.Refusal, row.code)
		}
		want(row.tags)
	}
	var many []string
	for i := range 50 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	if got := tag(many...); got != success {
		t.Errorf("50 tags: %v", got)
	}
	if got := tag("one", "more"); got != (outcome{"TagException", "Too many tags"}) {
		t.Errorf("a 51st tag: %v", got)
	}
	if got := tag("k7", "other"); got != success {
		t.Errorf("another value: %v", got)
	}
	if got := tag(append(many, "one", "more")...); got != (outcome{"TagException", "Too many tags"}) {
		t.Errorf("51 tags at once: %v", got)
	}
}

func TestListResourceTags(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key, other := s.NewKey(t), s.NewKey(t)
	wantJSON(t, s.Must(t, "ListResourceTags", obj{"KeyId": key}), `{"Tags":[],"Truncated":false}`)
	var names []string
	var list []obj
	for i := range 50 {
		names = append(names, fmt.Sprintf("k%02d", i))
		list = append(list, obj{"TagKey": names[i], "TagValue": "v"})
	}
	s.Must(t, "TagResource", obj{"KeyId": key, "Tags": list})
	for limit, want := range map[any]string{nil: "50", 1000: "50", 50: "50", 49: "49 1", 20: "20 20 10"} {
		got := pages(t, s, "ListResourceTags", obj{"KeyId": key, "Limit": limit}, "Tags", "TagKey")
		if sizes(got) != want || !slices.Equal(slices.Concat(got...), names) {
			t.Errorf("Limit %v: pages of %s, want %s", limit, sizes(got), want)
		}
	}
	first := s.Must(t, "ListResourceTags", obj{"KeyId": key, "Limit": 10})
	s.Must(t, "UntagResource", obj{"KeyId": key, "TagKeys": []string{"k09", "k10"}})
	s.Must(t, "TagResource", obj{"KeyId": key, "Tags": []obj{{"TagKey": "k1", "TagValue": ""}}}) // before k10
	rest := column(s.Must(t, "ListResourceTags", obj{"KeyId": key, "Marker": first["NextMarker"]})["Tags"], "TagKey")
	if !slices.Equal(rest, append([]string{"k1"}, names[11:]...)) {
		t.Errorf("after a change: %v", rest)
	}
	marker := first["NextMarker"].(string)
	for _, bad := range []string{marker[1:], "x"} {
		wantOutcome(t, s.Call(t, testkit.Root, "ListResourceTags", obj{"KeyId": key, "Marker": bad}), outcome{"InvalidMarkerException", "Could not deserialize marker '" + bad + "'"})
	}
	wantOutcome(t, s.Call(t, testkit.Root, "ListResourceTags", obj{"KeyId": other, "Marker": marker}), outcome{"InvalidMarkerException", "Could not deserialize marker '" + marker + "'"})
}

func TestListKeyPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, body := range []obj{{"KeyId": key}, {"KeyId": testkit.ARN(key), "Limit": 1}, {"KeyId": key, "Marker": "x"}} {
		wantJSON(t, s.Must(t, "ListKeyPolicies", body), `{"PolicyNames":["default"],"Truncated":false}`)
	}
}

// status returns what GetKeyRotationStatus shows beside the key's id.
func status(t *testing.T, s *testkit.Solo, key string) obj {
	t.Helper()
	got := s.Must(t, "GetKeyRotationStatus", obj{"KeyId": testkit.ARN(key)})
	if got["KeyId"] != key {
		t.Errorf("KeyId is %v, want the key ID", got["KeyId"])
	}
	delete(got, "KeyId")
	return got
}

func TestRotationStatus(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	const off = `{"KeyRotationEnabled":false}`
	on := func(days, next float64) string {
		return fmt.Sprintf(`{"KeyRotationEnabled":true,"RotationPeriodInDays":%v,"NextRotationDate":%.3f}`, days, next)
	}
	do := func(op string, body obj) {
		t.Helper()
		wantOutcome(t, s.Call(t, testkit.Root, op, with(obj{"KeyId": key}, body)), success)
	}
	wantJSON(t, status(t, s, key), off)
	do("DisableKeyRotation", nil)
	wantJSON(t, status(t, s, key), off)
	do("EnableKeyRotation", nil)
	wantJSON(t, status(t, s, key), on(365, began+365*86400))
	s.Advance(10 * oneDay)
	do("EnableKeyRotation", obj{"RotationPeriodInDays": 90})
	wantJSON(t, status(t, s, key), on(90, began+100*86400))
	s.Advance(oneDay)
	do("EnableKeyRotation", nil) // the default, not the period that it had
	wantJSON(t, status(t, s, key), on(365, began+376*86400))
	do("EnableKeyRotation", obj{"RotationPeriodInDays": 2560})
	wantJSON(t, status(t, s, key), on(2560, began+2571*86400))
	do("DisableKey", nil)
	wantJSON(t, status(t, s, key), on(2560, began+2571*86400))
	do("ScheduleKeyDeletion", obj{"PendingWindowInDays": 7})
	wantJSON(t, status(t, s, key), off)
	do("CancelKeyDeletion", nil)
	wantJSON(t, status(t, s, key), on(2560, began+2571*86400))
	do("EnableKey", nil)
	do("DisableKeyRotation", nil)
	wantJSON(t, status(t, s, key), off)
}

// rotateNow carries out what the leader's due work would.
func rotateNow(t *testing.T, s *testkit.Solo, key string) string {
	t.Helper()
	k, _ := s.Machine.View().Key(testkit.Region, key)
	at, kind, ok := k.DueRotation()
	if !ok {
		t.Fatalf("no rotation of %s is due", key)
	}
	return testkit.Rotate(t, s, k, at, kind)
}

func TestRotateKeyOnDemand(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Must(t, "EnableKeyRotation", obj{"KeyId": key})
	s.Advance(time.Second)
	wantJSON(t, s.Must(t, "RotateKeyOnDemand", obj{"KeyId": testkit.ARN(key)}), `{"KeyId":"`+key+`"}`)
	running := status(t, s, key)
	if running["OnDemandRotationStartDate"] != began+1 || running["NextRotationDate"] != began+365*86400 {
		t.Errorf("while it runs: %v", running)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "RotateKeyOnDemand", obj{"KeyId": key}),
		outcome{"ConflictException", "An on-demand rotation of " + testkit.ARN(key) + " is in progress."})
	rotateNow(t, s, key)
	if done := status(t, s, key); done["OnDemandRotationStartDate"] != nil || done["NextRotationDate"] != began+365*86400 {
		t.Errorf("afterwards: %v", done)
	}
	for range 24 {
		s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
		rotateNow(t, s, key)
	}
	wantOutcome(t, s.Call(t, testkit.Root, "RotateKeyOnDemand", obj{"KeyId": key}),
		outcome{"LimitExceededException", "You have exceeded the number of on-demand rotations allowed for this KMS key."})
	near := s.NewKey(t)
	s.Must(t, "EnableKeyRotation", obj{"KeyId": near, "RotationPeriodInDays": 90})
	s.Advance(90*oneDay - 20*time.Minute)
	wantOutcome(t, s.Call(t, testkit.Root, "RotateKeyOnDemand", obj{"KeyId": near}),
		outcome{"ConflictException", "An automatic rotation of " + testkit.ARN(near) + " is in progress or due within 20 minutes."})
}

// Kinds of keys that do not rotate (AWS: "Rotating AWS KMS keys").
func TestKeysThatDoNotRotate(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	type kind struct {
		name       string
		make       func(key string)
		ops        map[string]outcome // by operation; the rest succeeds
		statusWant string
	}
	bare := outcome{"UnsupportedOperationException", ""}
	external := outcome{"UnsupportedOperationException", "$ARN origin is EXTERNAL which is not valid for this operation."}
	never := map[string]outcome{"EnableKeyRotation": bare, "DisableKeyRotation": bare, "RotateKeyOnDemand": bare, "ListKeyRotations": bare}
	for _, k := range []kind{
		{"RSA", func(key string) { s.SetType(t, key, "RSA_2048", "SIGN_VERIFY") }, never, `{"KeyRotationEnabled":false}`},
		{"HMAC", func(key string) { s.SetType(t, key, "HMAC_256", "GENERATE_VERIFY_MAC") }, never, `{"KeyRotationEnabled":false}`},
		{"imported", func(key string) { s.SetOrigin(t, key, "EXTERNAL") }, map[string]outcome{
			"EnableKeyRotation": external, "DisableKeyRotation": external,
			"RotateKeyOnDemand": {"KMSInvalidStateException", "No available key material pending rotation for the key: $ARN."},
		}, `{"KeyRotationEnabled":false}`},
	} {
		key := s.NewKey(t)
		k.make(key)
		for _, op := range []string{"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand", "ListKeyRotations"} {
			want := k.ops[op]
			t.Run(k.name+" "+op, func(t *testing.T) {
				wantOutcome(t, s.Call(t, testkit.Root, op, obj{"KeyId": key}), outcome{want.code, fill(want.message, "$ARN", testkit.ARN(key))})
			})
		}
		wantJSON(t, status(t, s, key), k.statusWant)
	}
}

func TestListKeyRotations(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	first := materialOf(t, s, key)
	wantJSON(t, s.Must(t, "ListKeyRotations", obj{"KeyId": key}), `{"Rotations":[],"Truncated":false}`)
	wantJSON(t, s.Must(t, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}),
		fill(`{"Rotations":[{"KeyId":"$ID","KeyMaterialId":"$M","KeyMaterialState":"CURRENT"}],"Truncated":false}`, "$ID", key, "$M", first))
	s.Must(t, "EnableKeyRotation", obj{"KeyId": key, "RotationPeriodInDays": 90})
	s.Advance(time.Second)
	s.Must(t, "RotateKeyOnDemand", obj{"KeyId": key})
	second := rotateNow(t, s, key)
	s.Advance(90 * oneDay)
	third := rotateNow(t, s, key)
	entries := fill(`{"KeyId":"$ID","KeyMaterialId":"$2","KeyMaterialState":"NON_CURRENT","RotationDate":1795521601.345,"RotationType":"ON_DEMAND"},
		{"KeyId":"$ID","KeyMaterialId":"$3","KeyMaterialState":"CURRENT","RotationDate":1803297601.345,"RotationType":"AUTOMATIC"}`, "$ID", key, "$2", second, "$3", third)
	wantJSON(t, s.Must(t, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": "ROTATIONS_ONLY"}), `{"Rotations":[`+entries+`],"Truncated":false}`)
	wantJSON(t, s.Must(t, "ListKeyRotations", obj{"KeyId": testkit.ARN(key), "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}),
		fill(`{"Rotations":[{"KeyId":"$ID","KeyMaterialId":"$1","KeyMaterialState":"NON_CURRENT"},`, "$ID", key, "$1", first)+entries+`],"Truncated":false}`)
	if metadata(t, s, key)["CurrentKeyMaterialId"] != third {
		t.Error("CurrentKeyMaterialId is not the last material")
	}
	all := []string{first, second, third}
	for include, want := range map[string][]string{"ALL_KEY_MATERIAL": all, "ROTATIONS_ONLY": all[1:]} {
		got := pages(t, s, "ListKeyRotations", obj{"KeyId": key, "IncludeKeyMaterial": include, "Limit": 1}, "Rotations", "KeyMaterialId")
		if !slices.Equal(slices.Concat(got...), want) {
			t.Errorf("%s page by page: %v", include, got)
		}
	}
	marker := s.Must(t, "ListKeyRotations", obj{"KeyId": key, "Limit": 1})["NextMarker"].(string)
	for name, body := range map[string]obj{
		"another list of the key": {"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Marker": marker},
		"another key":             {"KeyId": s.NewKey(t), "Marker": marker},
	} {
		t.Run(name, func(t *testing.T) {
			wantOutcome(t, s.Call(t, testkit.Root, "ListKeyRotations", body), outcome{"InvalidMarkerException", "Could not deserialize marker '" + marker + "'"})
		})
	}
}

// Old ciphertexts decrypt with the material that made them, for ever; new ones are
// of the current material.
func TestOldCiphertextsDecrypt(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	s.Must(t, "EnableKeyRotation", obj{"KeyId": key, "RotationPeriodInDays": 90})
	type sealed struct{ blob, plaintext, material string }
	var blobs []sealed
	for n := range 30 {
		plaintext := b64(fmt.Appendf(nil, "plaintext %d", n))
		blob := s.Must(t, "Encrypt", obj{"KeyId": key, "Plaintext": plaintext})
		blobs = append(blobs, sealed{blob["CiphertextBlob"].(string), plaintext, materialOf(t, s, key)})
		s.Advance(90 * oneDay)
		rotateNow(t, s, key)
	}
	for n, b := range blobs {
		got := s.Must(t, "Decrypt", obj{"CiphertextBlob": b.blob})
		if got["Plaintext"] != b.plaintext || got["KeyMaterialId"] != b.material {
			t.Fatalf("ciphertext %d: plaintext %v, material %v, want %v", n, got["Plaintext"], got["KeyMaterialId"], b.material)
		}
		moved := s.Must(t, "ReEncrypt", obj{"CiphertextBlob": b.blob, "DestinationKeyId": key})
		if moved["SourceKeyMaterialId"] != b.material || moved["DestinationKeyMaterialId"] != materialOf(t, s, key) {
			t.Fatalf("ciphertext %d: moved from %v to %v", n, moved["SourceKeyMaterialId"], moved["DestinationKeyMaterialId"])
		}
	}
}

// The attempts of one SDK call have one effect and one answer.
func TestRepeatedLifeCalls(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	key := s.NewKey(t)
	for _, op := range []string{"ScheduleKeyDeletion", "CancelKeyDeletion"} {
		who := testkit.Root.As("call of " + op)
		first := s.Call(t, who, op, obj{"KeyId": key})
		wantOutcome(t, first, success)
		s.Advance(time.Minute)
		again := s.Call(t, who, op, obj{"KeyId": key})
		wantOutcome(t, again, success)
		if string(again.Raw) != string(first.Raw) {
			t.Errorf("%s again answers %s, want %s", op, again.Raw, first.Raw)
		}
		rec, original := s.Record(t, again), s.Record(t, first)
		wantJSON(t, rec["additionalEventData"], `{"repeatOf":"`+first.RequestID+`"}`)
		for _, member := range []string{"responseElements", "requestParameters", "resources"} {
			if fmt.Sprint(rec[member]) != fmt.Sprint(original[member]) {
				t.Errorf("%s of the repeated %s: %v, want %v", member, op, rec[member], original[member])
			}
		}
	}
	s.Must(t, "EnableKey", obj{"KeyId": key})
	who := testkit.Root.As("rotation")
	for range 3 {
		wantJSON(t, s.MustAs(t, who, "RotateKeyOnDemand", obj{"KeyId": key}), `{"KeyId":"`+key+`"}`)
	}
	if k, _ := s.Machine.View().Key(testkit.Region, key); k.OnDemandCount != 1 || k.State != kms.Enabled {
		t.Errorf("%d rotations were asked for", k.OnDemandCount)
	}
}
