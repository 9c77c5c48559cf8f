package iamapi

import (
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// checkTags checks the tags of one call beyond the model (AWS IAM: "Rules for
// tagging in IAM and AWS STS"). Unlike those of KMS, keys differ only in more than
// their case.
func checkTags(tags []wire.Tag) error {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		key := strings.ToLower(t.Key)
		switch {
		case strings.HasPrefix(key, "aws:"):
			return invalidInput("System tags cannot be added/updated by requester.")
		case seen[key]:
			return invalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
	}
	return nil
}

// tagged returns tags with those of a call added or replaced.
func tagged(tags []fsm.Tag, added []wire.Tag) []fsm.Tag {
	out := slices.Clone(tags)
	for _, t := range added {
		tag := fsm.Tag{Key: t.Key, Value: t.Value}
		if at := tagAt(out, t.Key); at >= 0 {
			out[at] = tag
		} else {
			out = append(out, tag)
		}
	}
	return out
}

// untagged returns tags without those of the keys. Keys that are not there are no
// error.
func untagged(tags []fsm.Tag, keys []string) []fsm.Tag {
	out := slices.Clone(tags)
	for _, key := range keys {
		if at := tagAt(out, key); at >= 0 {
			out = slices.Delete(out, at, at+1)
		}
	}
	return out
}

func tagAt(tags []fsm.Tag, key string) int {
	return slices.IndexFunc(tags, func(t fsm.Tag) bool { return strings.EqualFold(t.Key, key) })
}

// shownTags are tags as answers show them, nil where there are none: the member is
// absent then.
func shownTags(tags []fsm.Tag) []wire.Tag {
	var out []wire.Tag
	for _, t := range tags {
		out = append(out, wire.Tag{Key: t.Key, Value: t.Value})
	}
	return out
}

func recordTags(p *audit.Params, tags []wire.Tag) {
	if len(tags) == 0 {
		return
	}
	p.Objects("tags", len(tags), func(i int, p *audit.Params) {
		p.String("key", tags[i].Key)
		p.String("value", tags[i].Value)
	})
}

// tagCondition has the condition keys of calls with tags.
func tagCondition(tags []wire.Tag, key string) []string {
	if key == "aws:tagkeys" {
		keys := make([]string, len(tags))
		for i, t := range tags {
			keys[i] = t.Key
		}
		return keys
	}
	if name, ok := strings.CutPrefix(key, "aws:requesttag/"); ok {
		for _, t := range tags {
			if strings.EqualFold(t.Key, name) {
				return []string{t.Value}
			}
		}
	}
	return nil
}

// untagCondition is tagCondition for calls that remove tags.
func untagCondition(keys []string, key string) []string {
	if key == "aws:tagkeys" {
		return keys
	}
	return nil
}

// tagAction is the action that a call with tags needs beside its own.
func tagAction(action string, tags []wire.Tag) []string {
	if len(tags) == 0 {
		return nil
	}
	return []string{action}
}
