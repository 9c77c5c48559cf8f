package model_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kmsd/kmsd/internal/testkit"
)

// Times are in milliseconds since 1970, as the test's clock is.
const (
	second = int64(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// The states and codes of AWS KMS that a symmetric key of origin AWS_KMS can meet.
const (
	enabled  = "Enabled"
	disabled = "Disabled"
	pending  = "PendingDeletion"
	deleted  = "" // the key is gone

	ok           = ""
	badRequest   = "ValidationException"
	notFound     = "NotFoundException"
	isDisabled   = "DisabledException"
	invalidState = "KMSInvalidStateException"
	denied       = "AccessDeniedException"
	conflict     = "ConflictException"
	limit        = "LimitExceededException"
	exists       = "AlreadyExistsException"
	badTag       = "TagException"
	incorrectKey = "IncorrectKeyException"
	badBlob      = "InvalidCiphertextException"
)

// world is what has to be true of all keys of the account.
type world struct {
	now  int64
	keys []*key // all that ever were, in their order
	// aliases are the names and their keys.
	aliases map[string]*key
	blobs   []*blob
	held    bool // nothing that is due is done
}

// key is the model of one key's life (AWS: "Key states", ScheduleKeyDeletion,
// "Rotating AWS KMS keys", TagResource).
type key struct {
	number      int
	id          string
	created     int64
	state       string
	description string
	tags        map[string]string
	period      int   // days; 0: automatic rotation is off
	next        int64 // of the automatic rotation
	asked       int64 // when a rotation on demand was asked for that has not happened; 0: none
	askedEver   int
	deletion    int64
	materials   []*material // the oldest first; the last one is current
}

// material is one of a key's. Its id is the code's to choose; the model learns it when
// it is first shown, and it never changes then.
type material struct {
	id      string
	rotated int64  // 0: the first
	kind    string // of the rotation
}

// blob is a ciphertext and what it must decrypt to.
type blob struct {
	key      *key
	material *material
	text     string // base64, as it was given
	plain    string // base64; empty where only kmsd knows it
	context  obj
}

func (k *key) arn() string        { return testkit.ARN(k.id) }
func (k *key) current() *material { return k.materials[len(k.materials)-1] }
func (k *key) String() string     { return fmt.Sprint("key ", k.number) }

// alive returns the keys that exist, those pending deletion too.
func (w *world) alive() []*key {
	return slices.DeleteFunc(slices.Clone(w.keys), func(k *key) bool { return k.state == deleted })
}

// namesOf are the aliases of a key.
func (w *world) namesOf(k *key) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(w.aliases)) {
		if w.aliases[name] == k {
			out = append(out, name)
		}
	}
	return out
}

// The columns of the table of key states: what an operation answers for a key in each
// state before it looks at anything else of it.

// anyState is for operations that work whatever the state is.
func (k *key) anyState() string {
	if k.state == deleted {
		return notFound
	}
	return ok
}

// notPending is for those that only a deletion stops.
func (k *key) notPending() string {
	switch k.state {
	case deleted:
		return notFound
	case pending:
		return invalidState
	}
	return ok
}

// onlyEnabled is for cryptography and rotation.
func (k *key) onlyEnabled() string {
	if k.state == disabled {
		return isDisabled
	}
	return k.notPending()
}

// ripen does what is due by itself and tells whether anything was. A rotation on
// demand goes first and leaves the schedule alone; an automatic one keeps the days of
// those after it, unless the next day is past too.
func (w *world) ripen() (changed bool) {
	if w.held {
		return false
	}
	for _, k := range w.alive() {
		switch {
		case k.state == pending && w.now >= k.deletion+hour:
			w.destroy(k)
			changed = true
		case k.state == enabled:
			changed = k.rotateIfDue(w.now) || changed
		}
	}
	return changed
}

func (k *key) rotateIfDue(now int64) (changed bool) {
	if k.asked != 0 {
		k.materials = append(k.materials, &material{rotated: now, kind: "ON_DEMAND"})
		k.asked, changed = 0, true
	}
	if k.period != 0 && k.next <= now {
		k.materials = append(k.materials, &material{rotated: now, kind: "AUTOMATIC"})
		if k.next += int64(k.period) * day; k.next <= now {
			k.next = now + int64(k.period)*day
		}
		changed = true
	}
	return changed
}

// destroy ends a key with all that hangs on it.
func (w *world) destroy(k *key) {
	k.state = deleted
	for _, name := range w.namesOf(k) {
		delete(w.aliases, name)
	}
}

// dates are when something is due, the next first: with a disabled key it must not
// happen.
func (w *world) dates() (out []int64) {
	for _, k := range w.alive() {
		switch {
		case k.state == pending:
			out = append(out, k.deletion+hour)
		case k.period != 0:
			out = append(out, k.next)
		}
	}
	out = slices.DeleteFunc(out, func(at int64) bool { return at <= w.now })
	slices.Sort(out)
	return out
}

// facts are what every node has to show of the world, one line each.
type facts map[string]string

func (w *world) facts() facts {
	f := facts{}
	var ids, names []string
	for _, k := range w.keys {
		if k.state == deleted {
			f[k.String()] = notFound
			continue
		}
		ids = append(ids, k.id)
		k.show(f)
	}
	for _, name := range slices.Sorted(maps.Keys(w.aliases)) {
		names = append(names, name+" of "+w.aliases[name].id)
	}
	slices.Sort(ids)
	f["the keys"], f["the aliases"] = strings.Join(ids, " "), strings.Join(names, ", ")
	return f
}

// show adds what is to be seen of a key that exists.
func (k *key) show(f facts) {
	metadata := fmt.Sprintf("%s created %d %s enabled=%t %q material %s", k.arn(), k.created, k.state, k.state == enabled, k.description, k.current().id)
	if k.state == pending {
		metadata += fmt.Sprint(" deletion ", k.deletion)
	}
	rotation := "off"
	if k.state != pending {
		if k.period != 0 {
			rotation = fmt.Sprintf("every %d days, next %d", k.period, k.next)
		}
		if k.asked != 0 {
			rotation += fmt.Sprint(", asked for ", k.asked)
		}
	}
	var tags, materials []string
	for _, name := range slices.Sorted(maps.Keys(k.tags)) {
		tags = append(tags, fmt.Sprintf("%q=%q", name, k.tags[name]))
	}
	for i, m := range k.materials {
		entry := m.id
		if i > 0 {
			entry += fmt.Sprintf(" %s %d", m.kind, m.rotated)
		}
		if m == k.current() {
			entry += " CURRENT"
		}
		materials = append(materials, entry)
	}
	f[k.String()] = metadata
	f[k.String()+" rotation"] = rotation
	f[k.String()+" tags"] = strings.Join(tags, " ")
	f[k.String()+" materials"] = strings.Join(materials, "\n")
}
