package kmsapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kmsd/kmsd/internal/testkit"
)

// pages walks a list from the marker on and returns the values of one member of
// each page's entries.
func pages(t *testing.T, s *testkit.Solo, op string, body obj, list, member string) [][]string {
	t.Helper()
	var out [][]string
	for marker := any(nil); ; {
		got := s.Must(t, op, with(body, obj{"Marker": marker}))
		out = append(out, column(got[list], member))
		if got["Truncated"] != true {
			if _, more := got["NextMarker"]; more || got["Truncated"] != false {
				t.Errorf("the last page has Truncated %v and NextMarker %v", got["Truncated"], got["NextMarker"])
			}
			return out
		}
		marker = got["NextMarker"]
		if n := len(marker.(string)); n < 1 || n > 1024 {
			t.Fatalf("a marker of %d characters", n)
		}
	}
}

func column(list any, member string) []string {
	out := []string{}
	for _, entry := range list.([]any) {
		out = append(out, entry.(obj)[member].(string))
	}
	return out
}

func sizes(pages [][]string) string {
	var out []string
	for _, p := range pages {
		out = append(out, fmt.Sprint(len(p)))
	}
	return strings.Join(out, " ")
}

func TestListKeys(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	wantJSON(t, s.Must(t, "ListKeys", ``), `{"Keys":[],"Truncated":false}`)
	var ids []string
	for range 101 {
		ids = append(ids, s.NewKey(t))
	}
	s.NewKeyOf(t, testkit.Other)
	s.NewKeyOf(t, testkit.Root.In("eu-west-1"))
	s.SetState(t, ids[0], "PendingDeletion")
	slices.Sort(ids)
	for limit, want := range map[any]string{nil: "100 1", 1000: "101", 101: "101", 100: "100 1", 50: "50 50 1", 1: strings.TrimSpace(strings.Repeat("1 ", 101))} {
		got := pages(t, s, "ListKeys", obj{"Limit": limit}, "Keys", "KeyId")
		if sizes(got) != want {
			t.Errorf("Limit %v: pages of %s, want %s", limit, sizes(got), want)
		}
		if all := slices.Concat(got...); !slices.Equal(all, ids) {
			t.Errorf("Limit %v: %d keys, or in another order", limit, len(all))
		}
	}
	entry := s.Must(t, "ListKeys", obj{"Limit": 1})["Keys"]
	wantJSON(t, entry, `[{"KeyId":"`+ids[0]+`","KeyArn":"arn:aws:kms:us-east-1:111122223333:key/`+ids[0]+`"}]`)
}

// Keys that come between two pages are listed if they sort behind the marker, and
// none is listed twice.
func TestListKeysBetweenPages(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for range 6 {
		s.NewKey(t)
	}
	first := s.Must(t, "ListKeys", obj{"Limit": 3})
	seen := column(first["Keys"], "KeyId")
	last := seen[2]
	var behind []string
	for range 10 {
		if id := s.NewKey(t); id > last {
			behind = append(behind, id)
		}
	}
	rest := column(s.Must(t, "ListKeys", obj{"Marker": first["NextMarker"]})["Keys"], "KeyId")
	if len(rest) != 3+len(behind) || slices.ContainsFunc(rest, func(id string) bool { return id <= last }) {
		t.Errorf("after %s: %v", last, rest)
	}
}

func TestListAliases(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	first, second := s.NewKey(t), s.NewKey(t)
	wantJSON(t, s.Must(t, "ListAliases", ``), `{"Aliases":[],"Truncated":false}`)
	var names, ofSecond []string
	for i := range 101 {
		name := fmt.Sprintf("alias/n-%03d", i)
		key := []string{first, second, s.NewKey(t)}[i%3]
		names = append(names, s.NewAlias(t, name, key))
		if key == second {
			ofSecond = append(ofSecond, name)
		}
	}
	s.MustAs(t, testkit.Other, "CreateAlias", obj{"AliasName": "alias/n-000", "TargetKeyId": s.NewKeyOf(t, testkit.Other)})
	for limit, want := range map[any]string{nil: "50 50 1", 50: "50 50 1", 100: "100 1", 1000: "100 1", 7: "7 7 7 7 7 7 7 7 7 7 7 7 7 7 3"} {
		got := pages(t, s, "ListAliases", obj{"Limit": limit}, "Aliases", "AliasName")
		if sizes(got) != want || !slices.Equal(slices.Concat(got...), names) {
			t.Errorf("Limit %v: pages of %s, want %s", limit, sizes(got), want)
		}
	}
	for _, id := range []string{second, testkit.ARN(second)} {
		got := pages(t, s, "ListAliases", obj{"KeyId": id, "Limit": 10}, "Aliases", "AliasName")
		if sizes(got) != "10 10 10 4" || !slices.Equal(slices.Concat(got...), ofSecond) {
			t.Errorf("of %s: %v", id, got)
		}
	}
}

func TestAliasListEntry(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	first, second := s.NewKey(t), s.NewKey(t)
	s.NewAlias(t, "alias/a", first)
	s.Advance(1500 * time.Millisecond)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/a", "TargetKeyId": second}), success)
	wantJSON(t, s.Must(t, "ListAliases", obj{}), `{"Aliases":[{"AliasName":"alias/a","AliasArn":"arn:aws:kms:us-east-1:111122223333:alias/a","TargetKeyId":"`+second+`",
		"CreationDate":1795521600.345,"LastUpdatedDate":1795521601.845}],"Truncated":false}`)
	s.Advance(time.Second)
	wantOutcome(t, s.Call(t, testkit.Root, "UpdateAlias", obj{"AliasName": "alias/a", "TargetKeyId": testkit.ARN(second)}), success)
	got := s.Must(t, "ListAliases", obj{"KeyId": second})["Aliases"].([]any)[0].(obj)
	if got["CreationDate"] != 1795521600.345 || got["LastUpdatedDate"] != 1795521602.845 {
		t.Errorf("an update to the same key: created %v, updated %v", got["CreationDate"], got["LastUpdatedDate"])
	}
}

// A marker belongs to one list: operation, account, Region and, for the aliases of
// a key, the key.
func TestMarkers(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	first, second := s.NewKey(t), s.NewKey(t)
	for i := range 2 {
		s.NewAlias(t, fmt.Sprintf("alias/first-%d", i), first)
		s.NewAlias(t, fmt.Sprintf("alias/second-%d", i), second)
	}
	marker := func(op string, body obj) string {
		return s.Must(t, op, with(body, obj{"Limit": 1}))["NextMarker"].(string)
	}
	keys, aliases, ofFirst := marker("ListKeys", obj{}), marker("ListAliases", obj{}), marker("ListAliases", obj{"KeyId": first})
	for _, row := range []struct {
		name, op string
		who      testkit.Caller
		body     obj
		good     string
		bad      []string
	}{
		{"keys", "ListKeys", testkit.Root, obj{}, keys, []string{aliases, ofFirst, "x", keys[1:], "===", " "}},
		{"keys of another account", "ListKeys", testkit.Other, obj{}, "", []string{keys}},
		{"keys of another Region", "ListKeys", testkit.Root.In("eu-west-1"), obj{}, "", []string{keys}},
		{"aliases", "ListAliases", testkit.Root, obj{}, aliases, []string{keys, ofFirst, "AAAAAAAAAAAA"}},
		{"aliases of a key", "ListAliases", testkit.Root, obj{"KeyId": first}, ofFirst, []string{aliases, keys}},
		{"aliases of another key", "ListAliases", testkit.Root, obj{"KeyId": second}, "", []string{ofFirst, aliases}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.good != "" {
				wantOutcome(t, s.Call(t, row.who, row.op, with(row.body, obj{"Marker": row.good})), success)
			}
			for _, bad := range row.bad {
				wantOutcome(t, s.Call(t, row.who, row.op, with(row.body, obj{"Marker": bad})), outcome{"InvalidMarkerException", "Could not deserialize marker '" + bad + "'"})
			}
		})
	}
}
