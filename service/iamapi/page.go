package iamapi

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// pager is what a call of a list says about its page.
type pager struct {
	list     string // binds the marker: the operation and what it lists
	marker   *string
	maxItems *int
	// full tells that a page is long enough with less than maxItems elements; nil where
	// only their number counts.
	full func() bool
}

// bindingSize is the length of the hash in a marker, in bytes. It guards against
// mistakes, not against forgery: all that a marker can name is the caller's own.
const bindingSize = 8

func (p pager) binding() []byte {
	sum := sha256.Sum256([]byte("kmsd/iam-marker/v1\x00" + p.list))
	return sum[:bindingSize]
}

// after returns the place that the page follows, "" for the first page. Errors:
// ValidationException.
func (p pager) after() (string, error) {
	if p.marker == nil {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(*p.marker)
	if err != nil || len(b) <= bindingSize || string(b[:bindingSize]) != string(p.binding()) {
		return "", invalid("Invalid Marker.")
	}
	return string(b[bindingSize:]), nil
}

// defaultItems is how many elements a page has when the call does not say.
const defaultItems = 100

func (p pager) limit() int {
	if p.maxItems == nil {
		return defaultItems
	}
	return *p.maxItems
}

// end returns IsTruncated and Marker of a page whose last element has the place.
func (p pager) end(more bool, last string) (*bool, *string) {
	if !more {
		return &more, nil
	}
	return &more, new(base64.RawURLEncoding.EncodeToString(append(p.binding(), last...)))
}

// record adds the page to the call's record.
func (p pager) record(params *audit.Params) {
	params.OptString("marker", p.marker)
	audit.OptInt(params, "maxItems", p.maxItems)
}

// listed is a page of a list, each element made by show.
type listed[T any] struct {
	items     []T
	truncated *bool
	marker    *string
}

// pageOf cuts a page out of all elements of a short list. Place orders them and must
// tell them apart; nothing of the state may be in a place but what the caller sees.
func pageOf[E, T any](p pager, all []E, place func(E) string, show func(E) T) (listed[T], error) {
	after, err := p.after()
	if err != nil {
		return listed[T]{}, err
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b E) int { return cmp.Compare(place(a), place(b)) })
	all = slices.DeleteFunc(all, func(e E) bool { return after != "" && place(e) <= after })
	n := min(len(all), p.limit())
	out := listed[T]{items: make([]T, n)}
	for i, e := range all[:n] {
		out.items[i] = show(e)
	}
	last := ""
	if n > 0 {
		last = place(all[n-1])
	}
	out.truncated, out.marker = p.end(n < len(all), last)
	return out, nil
}

// A source gives the elements of a list that follow a place, in the order of their
// places, and tells whether more follow.
type source[E any] func(after string, limit int) ([]E, bool)

// scan cuts a page out of a source, of the elements that keep wants.
func scan[E, T any](p pager, next source[E], place func(E) string, keep func(E) bool, show func(E) T) (listed[T], error) {
	after, err := p.after()
	if err != nil {
		return listed[T]{}, err
	}
	out := listed[T]{items: []T{}}
	for last, more := "", true; more; {
		var found []E
		found, more = next(after, p.limit())
		for _, e := range found {
			after = place(e)
			if !keep(e) {
				continue
			}
			if len(out.items) == p.limit() || p.full != nil && p.full() {
				out.truncated, out.marker = p.end(true, last)
				return out, nil
			}
			out.items, last = append(out.items, show(e)), after
		}
	}
	out.truncated, out.marker = p.end(false, "")
	return out, nil
}

// identityPage lists the identities that next gives in the order of their names in
// lower case, as far as their path starts with prefix.
func identityPage[T any](p pager, prefix string, next source[*fsm.Identity], show func(*fsm.Identity) T) (listed[T], error) {
	under := func(i *fsm.Identity) bool { return strings.HasPrefix(i.Path, prefix) }
	return scan(p, next, nameKey, under, show)
}

// A section is a part of a list of several kinds. Its prefix starts its places and no
// other section's; the source works with what follows it.
type section[E any] struct {
	prefix string
	next   source[E]
}

// chain makes one source of sections in the order of their prefixes.
func chain[E any](sections []section[E]) source[E] {
	return func(after string, limit int) ([]E, bool) {
		for i, s := range sections {
			inside, here := strings.CutPrefix(after, s.prefix)
			if !here && after > s.prefix {
				continue
			}
			if !here {
				inside = ""
			}
			last := i == len(sections)-1
			if found, more := s.next(inside, limit); more || last || len(found) > 0 {
				return found, more || !last
			}
		}
		return nil, false
	}
}

// all gives identityPage the identities of a kind.
func all(r *service.Request, kind fsm.IdentityKind) source[*fsm.Identity] {
	return func(after string, limit int) ([]*fsm.Identity, bool) {
		return r.View.Identities(r.Principal.Account, kind, after, limit)
	}
}

// maxPlace bounds what a tag's key contributes to its place, in bytes, so that a
// marker stays within the 320 characters that the model allows it.
const maxPlace = 200

// tagPlace is where a tag stands in a list of tags: at its key.
func tagPlace(t fsm.Tag) string {
	if len(t.Key) <= maxPlace {
		return t.Key
	}
	sum := sha256.Sum256([]byte(t.Key))
	return t.Key[:maxPlace] + "\x00" + string(sum[:bindingSize])
}

func tagPage(p pager, tags []fsm.Tag) (listed[wire.Tag], error) {
	return pageOf(p, tags, tagPlace, func(t fsm.Tag) wire.Tag { return wire.Tag{Key: t.Key, Value: t.Value} })
}

// nameKey and policyKey are where identities and managed policies stand in their
// lists.
func nameKey(i *fsm.Identity) string { return strings.ToLower(i.Name) }

func policyKey(p *fsm.ManagedPolicy) string { return strings.ToLower(p.Name) }
