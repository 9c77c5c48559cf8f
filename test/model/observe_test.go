package model_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// millis reads a time of an answer: seconds since 1970, with three decimals.
func millis(v any) int64 {
	f, _ := v.(float64)
	return int64(math.Round(f * 1000))
}

// facts returns what a node shows of the world's keys.
func (c *nodes) facts(i int, w *world) facts {
	f := facts{}
	for _, k := range w.keys {
		c.look(i, k, f)
	}
	var ids, names []string
	for _, page := range c.pages(i, "ListKeys", obj{"Limit": 3}, "Keys") {
		ids = append(ids, page["KeyId"].(string))
	}
	for _, page := range c.pages(i, "ListAliases", obj{"Limit": 2}, "Aliases") {
		names = append(names, fmt.Sprint(page["AliasName"], " of ", page["TargetKeyId"]))
	}
	slices.Sort(ids)
	slices.Sort(names)
	f["the keys"], f["the aliases"] = strings.Join(ids, " "), strings.Join(names, ", ")
	return f
}

// look adds what a node shows of one key, in the words of key.show.
func (c *nodes) look(i int, k *key, f facts) {
	answer, code, _ := c.call(i, "DescribeKey", obj{"KeyId": k.id})
	if code != "" {
		f[k.String()] = code
		return
	}
	m := answer["KeyMetadata"].(obj)
	metadata := fmt.Sprintf("%v created %d %v enabled=%v %q material %v", m["Arn"], millis(m["CreationDate"]), m["KeyState"], m["Enabled"], m["Description"], m["CurrentKeyMaterialId"])
	if date, dated := m["DeletionDate"]; dated {
		metadata += fmt.Sprint(" deletion ", millis(date))
	}
	f[k.String()] = metadata
	f[k.String()+" rotation"] = c.rotation(i, k)
	var tags []string
	for _, tag := range c.pages(i, "ListResourceTags", obj{"KeyId": k.id}, "Tags") {
		tags = append(tags, fmt.Sprintf("%q=%q", tag["TagKey"], tag["TagValue"]))
	}
	slices.Sort(tags)
	f[k.String()+" tags"] = strings.Join(tags, " ")
	f[k.String()+" materials"] = strings.Join(c.materials(i, k), "\n")
}

func (c *nodes) rotation(i int, k *key) string {
	s, code, _ := c.call(i, "GetKeyRotationStatus", obj{"KeyId": k.id})
	out := code
	switch {
	case code != "":
	case s["KeyRotationEnabled"] == true:
		out = fmt.Sprintf("every %v days, next %d", s["RotationPeriodInDays"], millis(s["NextRotationDate"]))
	case s["KeyRotationEnabled"] == false && s["RotationPeriodInDays"] == nil && s["NextRotationDate"] == nil:
		out = "off"
	}
	if asked, running := s["OnDemandRotationStartDate"]; running {
		out += fmt.Sprint(", asked for ", millis(asked))
	}
	return out
}

// materials lists a key's materials, and compares the two ways to list them: without
// the first one it is the list of rotations.
func (c *nodes) materials(i int, k *key) (out []string) {
	for _, e := range c.pages(i, "ListKeyRotations", obj{"KeyId": k.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Limit": 7}, "Rotations") {
		line := fmt.Sprint(e["KeyMaterialId"])
		if kind, rotated := e["RotationType"]; rotated {
			line += fmt.Sprintf(" %v %d", kind, millis(e["RotationDate"]))
		}
		switch e["KeyMaterialState"] {
		case "CURRENT":
			line += " CURRENT"
		case "NON_CURRENT":
		default:
			line += fmt.Sprint(" in state ", e["KeyMaterialState"])
		}
		if e["KeyId"] != k.id {
			line += fmt.Sprint(" of ", e["KeyId"])
		}
		out = append(out, line)
	}
	rotations := c.pages(i, "ListKeyRotations", obj{"KeyId": k.id}, "Rotations")
	if len(rotations) != max(0, len(out)-1) {
		out = append(out, fmt.Sprintf("but %d rotations", len(rotations)))
	}
	return out
}

// pages returns the entries of a list, whatever the size of its pages. A refusal is an
// entry.
func (c *nodes) pages(i int, op string, body obj, member string) (out []obj) {
	for {
		answer, code, message := c.call(i, op, body)
		if code != "" {
			return append(out, obj{"refused": op + ": " + code + " " + message})
		}
		for _, e := range answer[member].([]any) {
			out = append(out, e.(obj))
		}
		if answer["Truncated"] != true {
			return out
		}
		body["Marker"] = answer["NextMarker"]
	}
}

var materialID = regexp.MustCompile("^[0-9a-f]{64}$")

// learn takes from a node the ids of materials that the model has not seen, if the
// node has as many as the model. An id that is not new is not taken.
func (c *nodes) learn(i int, w *world) {
	for _, k := range w.alive() {
		if k.current().id != "" {
			continue
		}
		list := c.pages(i, "ListKeyRotations", obj{"KeyId": k.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}, "Rotations")
		if len(list) != len(k.materials) {
			continue
		}
		for n, m := range k.materials {
			id, _ := list[n]["KeyMaterialId"].(string)
			if m.id == "" && materialID.MatchString(id) && !w.knows(id) {
				m.id = id
			}
		}
	}
}

// knows tells whether a material's id is known already.
func (w *world) knows(id string) bool {
	for _, k := range w.keys {
		if slices.ContainsFunc(k.materials, func(m *material) bool { return m.id == id }) {
			return true
		}
	}
	return false
}
