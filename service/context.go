package service

import (
	"strconv"
	"strings"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// conditions are the condition keys of one authorisation (AWS KMS: "AWS KMS
// condition keys"; IAM: "AWS global condition context keys"). It belongs to its
// request.
type conditions struct {
	r *Request
	// key is the resolved key, nil for what is on no key.
	key *Key
	// rule is what the call asks of the key; nil where no call does.
	rule *keyRule
	// own returns the values of the keys that come from the call's parameters.
	own func(key string) []string
	in  any // the parameters
	// region is where the authorisation is, empty for the call's own Region.
	region string
}

// Values returns the values of a condition key, whose name is in lower case.
func (c *conditions) Values(name string) ([]string, bool) {
	if c.r.hypothesis != nil {
		return c.r.hypothesis.values(c, name)
	}
	values := c.values(name)
	return values, len(values) > 0
}

func (c *conditions) values(name string) []string {
	service, rest, _ := strings.Cut(name, ":")
	switch service {
	case "aws":
		if tag, ok := strings.CutPrefix(rest, "resourcetag/"); ok {
			return c.resourceTag(tag)
		}
		if v := c.own(name); v != nil {
			return v
		}
		if rest == "requestedregion" && c.region != "" {
			return []string{c.region}
		}
		return c.r.global(rest)
	case "sts":
		return c.own(name)
	case "iam":
		if v := c.own(name); v != nil {
			return v
		}
		if tag, ok := strings.CutPrefix(rest, "resourcetag/"); ok {
			return tagNamed(c.r.Target.Tags, tag)
		}
		if rest == "permissionsboundary" {
			return present(c.r.Target.Boundary)
		}
		return nil
	case "kms":
		if name, ok := strings.CutPrefix(rest, attestationPrefix); ok {
			return c.r.attestation(name)
		}
		switch v := c.own(name); {
		case v != nil && rest == "grantisforawsresource":
			return []string{strconv.FormatBool(c.r.Principal.IsService())}
		case v != nil:
			return v
		case rest == "viaservice" && c.r.Principal.IsService() && (c.key != nil || c.r.row.callerAccount):
			return []string{c.r.Principal.Service.Via()}
		case rest == "calleraccount" && (c.key != nil || c.r.row.callerAccount):
			return []string{c.r.Principal.Account}
		case c.key != nil:
			return c.ofKey(rest)
		}
	}
	return nil
}

// ofKey returns the values that the key and the way it was named give.
func (c *conditions) ofKey(name string) []string {
	k := c.key.Key
	switch name {
	case "keyspec", "customermasterkeyspec":
		return []string{string(k.Spec)}
	case "keyusage", "customermasterkeyusage":
		return []string{string(k.Usage)}
	case "keyorigin":
		return []string{string(k.Origin)}
	case "multiregion":
		return []string{strconv.FormatBool(k.MultiRegion)}
	case "multiregionkeytype":
		return multiRegionType(k)
	case "requestalias":
		if c.rule != nil && c.rule.aliases && !c.r.row.onAlias {
			return present(c.key.Alias)
		}
	case "resourcealiases":
		if c.key.planned != nil {
			return []string{c.key.Alias}
		}
		if c.rule == nil || c.rule.retires == nil {
			return c.r.aliasesOf(k)
		}
	case "reencryptonsamekey":
		return c.r.onSameKey(c.in)
	case "trailingdayswithoutkeyusage":
		if c.rule != nil && c.rule.daysUnused {
			return c.r.daysUnused(k)
		}
	}
	return nil
}

// multiRegionType is kms:MultiRegionKeyType; keys of a single Region have none.
func multiRegionType(k *fsm.Key) []string {
	switch {
	case !k.MultiRegion:
		return nil
	case k.Replica:
		return []string{"REPLICA"}
	}
	return []string{"PRIMARY"}
}

// maxConditionAliases is how many aliases a key may have for conditions on
// kms:ResourceAliases to let anybody in (AWS: "Alias authorization").
const maxConditionAliases = 50

func (r *Request) aliasesOf(k *fsm.Key) []string {
	list, more := r.View.ListKeyAliases(k.Account, k.Region, k.ID, "", maxConditionAliases)
	if more {
		return iam.Unknowable
	}
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Name
	}
	return names
}

// onSameKey tells whether a call with two keys, of which a ciphertext names the first,
// names the same key twice.
func (r *Request) onSameKey(in any) []string {
	if len(r.row.keys) != 2 || r.row.keys[0].blob == nil {
		return nil
	}
	from, err := r.key(0, in)
	if err != nil || from.Key == nil {
		return nil
	}
	to, err := r.key(1, in)
	if err != nil || to.Key == nil {
		return nil
	}
	return []string{strconv.FormatBool(from.Key == to.Key)}
}

const dayMillis = 24 * 60 * 60 * 1000

// daysUnused counts whole days since the key's last use, or since it was made.
func (r *Request) daysUnused(k *fsm.Key) []string {
	since := k.Created
	if u := r.LastUsage(k); u != nil {
		since = max(since, u.Time)
	}
	return []string{strconv.FormatInt(max(0, r.Now-since)/dayMillis, 10)}
}

// resourceTag returns the value of a tag of the key, or of the identity that the call
// is on. Tag names of conditions ignore case.
func (c *conditions) resourceTag(name string) []string {
	switch {
	case c.key == nil:
		return tagNamed(c.r.Target.Tags, name)
	case c.key.NewTags != nil:
		return tagNamed(c.key.NewTags, name)
	}
	return tagNamed(c.r.View.Tags(c.key.Region, c.key.ID), name)
}

func tagNamed(tags []fsm.Tag, name string) []string {
	for _, t := range tags {
		if strings.EqualFold(t.Key, name) {
			return []string{t.Value}
		}
	}
	return nil
}

// global returns the values of the global keys, named without "aws:".
func (r *Request) global(name string) []string {
	p := &r.Principal
	if p.IsService() {
		if values, decided := serviceKey(p.Service, name); decided {
			return values
		}
	}
	if tag, ok := strings.CutPrefix(name, "principaltag/"); ok {
		return r.principalTag(tag)
	}
	if p.Session != nil {
		switch name {
		case "tokenissuetime":
			return []string{time.UnixMilli(p.Session.Issued).UTC().Format(time.RFC3339)}
		case "multifactorauthpresent":
			return []string{"false"}
		case "sourceidentity":
			return present(p.Session.SourceIdentity)
		}
	}
	switch name {
	case "principalarn":
		return []string{p.PolicyARN()}
	case "principalaccount":
		return []string{p.Account}
	case "principaltype":
		return principalTypes[p.Type]
	case "userid":
		return []string{p.UniqueID}
	case "username":
		if p.Type == kms.PrincipalUser {
			return []string{p.Name()}
		}
	case "principalisawsservice", "viaawsservice":
		return []string{"false"}
	case "sourceip":
		return present(r.Source.IP)
	case "useragent":
		return present(r.Source.UserAgent)
	case "referer":
		return present(r.Source.Referer)
	case "securetransport":
		return []string{strconv.FormatBool(r.Source.TLSVersion != "")}
	case "currenttime":
		return []string{time.UnixMilli(r.Now).UTC().Format(time.RFC3339)}
	case "epochtime":
		return []string{strconv.FormatInt(r.Now/1000, 10)}
	case "requestedregion":
		return present(r.Region)
	case "resourceaccount":
		if r.asked.Resource != "*" {
			return []string{r.asked.Account}
		}
	}
	return nil
}

// principalTag returns the value of a tag of the caller. A session's own tags go
// before its role's.
func (r *Request) principalTag(name string) []string {
	if r.Principal.Session != nil {
		for _, t := range r.Principal.Session.Tags {
			if strings.EqualFold(t.Key, name) {
				return []string{t.Value}
			}
		}
	}
	return tagNamed(r.tags, name)
}

var principalTypes = map[kms.PrincipalType][]string{
	kms.PrincipalRoot: {"Account"}, kms.PrincipalUser: {"User"}, kms.PrincipalAssumedRole: {"AssumedRole"},
}

func present(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// absent has none of the keys of a call's parameters.
func absent(string) []string { return nil }
