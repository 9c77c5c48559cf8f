package kmsapi

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func tagRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.TagResourceRequest, service.None]{
			Service: serviceName, Name: "TagResource",
			Keys: []service.KeyRule[wire.TagResourceRequest]{{
				ID: func(in *wire.TagResourceRequest) string { return in.KeyId }, Action: "kms:TagResource", States: service.NotPendingDeletion,
				Conditions: func(in *wire.TagResourceRequest, key string) []string { return requestTags(key, in.Tags) },
			}},
			Check: func(in *wire.TagResourceRequest) error { return checkTags(in.Tags) },
			Params: func(in *wire.TagResourceRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				recordTags(p, in.Tags)
			},
			Write: tagResource,
		}.Row(),
		service.Op[wire.UntagResourceRequest, service.None]{
			Service: serviceName, Name: "UntagResource",
			Keys: []service.KeyRule[wire.UntagResourceRequest]{{
				ID: func(in *wire.UntagResourceRequest) string { return in.KeyId }, Action: "kms:UntagResource", States: service.NotPendingDeletion,
				Conditions: func(in *wire.UntagResourceRequest, key string) []string {
					if key == "aws:tagkeys" {
						return in.TagKeys
					}
					return nil
				},
			}},
			Check: checkUntag,
			Params: func(in *wire.UntagResourceRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.Strings("tagKeys", in.TagKeys)
			},
			Write: untagResource,
		}.Row(),
		service.Op[wire.ListResourceTagsRequest, wire.ListResourceTagsResponse]{
			Service: serviceName, Name: "ListResourceTags",
			Keys: manage(func(in *wire.ListResourceTagsRequest) string { return in.KeyId }, "kms:ListResourceTags", service.AnyState),
			Params: func(in *wire.ListResourceTagsRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				audit.OptInt(p, "limit", in.Limit)
				p.OptString("marker", in.Marker)
			},
			Read: listResourceTags,
		}.Row(),
	}
}

// maxTags is how many tags a key may have (AWS: "Resource quotas").
const maxTags = 50

// checkTags checks the tags of one call beyond the model (AWS: TagResource).
func checkTags(tags []wire.Tag) error {
	seen := make(map[string]bool, len(tags))
	for _, tag := range tags {
		if seen[tag.TagKey] {
			return tagError("Duplicate tag keys")
		}
		if err := checkTagKey(tag.TagKey); err != nil {
			return err
		}
		if !tagText(tag.TagValue) {
			return errTagText
		}
		seen[tag.TagKey] = true
	}
	if len(tags) > maxTags {
		return tagError("Too many tags")
	}
	return nil
}

func checkUntag(in *wire.UntagResourceRequest) error {
	for _, key := range in.TagKeys {
		if err := checkTagKey(key); err != nil {
			return err
		}
	}
	return nil
}

func checkTagKey(key string) error {
	switch {
	case len(key) >= 4 && strings.EqualFold(key[:4], "aws:"):
		return tagError("Tags beginning with aws: are reserved")
	case !tagText(key):
		return errTagText
	}
	return nil
}

var errTagText = tagError("Tag keys and values can contain only letters, digits, white space and the characters _ . / = + - @ :")

func tagError(message string) error { return &kms.Error{Code: kms.CodeTag, Message: message} }

// tagText tells whether every character may stand in a tag.
func tagText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) && !unicode.IsSpace(r) && !strings.ContainsRune("_./=+-@:", r)
	}) < 0
}

func tags(in []wire.Tag) []fsm.Tag {
	out := make([]fsm.Tag, len(in))
	for i, t := range in {
		out[i] = fsm.Tag{Key: t.TagKey, Value: t.TagValue}
	}
	return out
}

// shownTags is the reverse of tags.
func shownTags(in []fsm.Tag) []wire.Tag {
	out := make([]wire.Tag, len(in))
	for i, t := range in {
		out[i] = wire.Tag{TagKey: t.Key, TagValue: t.Value}
	}
	return out
}

// recordTags adds the tags of a call as CloudTrail shows them.
func recordTags(p *audit.Params, tags []wire.Tag) {
	p.Objects("tags", len(tags), func(i int, p *audit.Params) {
		p.String("tagKey", tags[i].TagKey)
		p.String("tagValue", tags[i].TagValue)
	})
}

func tagResource(_ context.Context, r *service.Request, in *wire.TagResourceRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.TagKey{Account: key.Account, Region: key.Region, KeyID: key.ID, Tags: tags(in.Tags)}, nil, nil
}

func untagResource(_ context.Context, r *service.Request, in *wire.UntagResourceRequest) (fsm.Args, *service.None, error) {
	key := &r.Keys[0]
	r.Record.ResponseElements.String("keyId", key.ARN)
	return fsm.UntagKey{Account: key.Account, Region: key.Region, KeyID: key.ID, Keys: in.TagKeys}, nil, nil
}

// tagsAfter returns up to limit tags whose keys follow after, in their order, and
// whether more follow.
func tagsAfter(tags []fsm.Tag, after string, limit int) ([]fsm.Tag, bool) {
	tags = slices.Clone(tags)
	slices.SortFunc(tags, func(a, b fsm.Tag) int { return strings.Compare(a.Key, b.Key) })
	if after != "" {
		tags = slices.DeleteFunc(tags, func(t fsm.Tag) bool { return t.Key <= after })
	}
	return tags[:min(limit, len(tags))], len(tags) > limit
}

// listResourceTags lists a key's tags in the order of their keys, so that a marker
// stays good while tags come and go.
func listResourceTags(_ context.Context, r *service.Request, in *wire.ListResourceTagsRequest) (*wire.ListResourceTagsResponse, error) {
	key := &r.Keys[0]
	page := page{operation: "ListResourceTags", owner: key.Account + "/" + r.Region + "/" + key.ID}
	after, err := page.after(in.Marker)
	if err != nil {
		return nil, err
	}
	tags, more := tagsAfter(r.View.Tags(key.Region, key.ID), after, limit(in.Limit, 50, 50))
	out := &wire.ListResourceTagsResponse{Tags: shownTags(tags), Truncated: &more}
	if more {
		out.NextMarker = page.marker(tags[len(tags)-1].Key)
	}
	return out, nil
}
