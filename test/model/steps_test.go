package model_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/kmsd/kmsd/internal/testkit"
)

// step is one call, and what it must answer.
type step struct {
	op   string
	body obj
	want string // the code of the refusal, or ok
	// or is another code that is right, where documentation does not say which of two
	// refusals comes first.
	or string
	// shows are members of a success's answer.
	shows obj
	// apply makes the change that a success means.
	apply func(answer obj)
	// uses are the keys whose last use a success is.
	uses []*key
}

// player draws steps from a seed.
type player struct {
	*rand.Rand
	w *world
}

// pick draws one of a list.
func pick[T any](p *player, of ...T) T { return of[p.IntN(len(of))] }

// anyKey draws a key, most of the time one that exists, and mostly one of the first:
// their lives shall be long. A key that waits to be rotated is drawn more often.
func (p *player) anyKey() *key {
	alive := p.w.alive()
	waits := slices.IndexFunc(alive, func(k *key) bool { return k.asked != 0 })
	switch dice := p.IntN(25); {
	case len(alive) == 0 || dice == 0:
		return pick(p, p.w.keys...)
	case waits >= 0 && dice < 9:
		return alive[waits]
	}
	return alive[min(p.IntN(len(alive)), p.IntN(len(alive)))]
}

// keyIn draws a key in a state, if there is one, and now and then any.
func (p *player) keyIn(state string) *key {
	k := p.anyKey()
	for tries := 0; k.state != state && tries < 5; tries++ {
		k = p.anyKey()
	}
	return k
}

// idOf is a way to name the key where aliases are not accepted.
func (p *player) idOf(k *key) string { return pick(p, k.id, k.arn()) }

// nameOf is a way to name the key in cryptography.
func (p *player) nameOf(k *key) string {
	names := []string{k.id, k.arn()}
	for _, name := range p.w.namesOf(k) {
		names = append(names, name, testkit.AliasARN(name))
	}
	return pick(p, names...)
}

// weighted are the steps and how often they are drawn.
var weighted = []struct {
	weight int
	draw   func(*player) step
}{
	{2, (*player).create}, {12, (*player).enable}, {5, (*player).disable}, {11, (*player).schedule}, {7, (*player).cancel}, {3, (*player).describe},
	{5, (*player).tag}, {3, (*player).untag}, {12, (*player).enableRotation}, {4, (*player).disableRotation}, {9, (*player).rotate},
	{9, (*player).createAlias}, {2, (*player).updateAlias}, {1, (*player).deleteAlias},
	{8, (*player).encrypt}, {3, (*player).dataKey}, {16, (*player).decrypt}, {4, (*player).reEncrypt},
}

func (p *player) draw() step {
	if len(p.w.alive()) < 3 {
		return p.create()
	}
	total := 0
	for _, e := range weighted {
		total += e.weight
	}
	dice := p.IntN(total)
	for _, e := range weighted {
		if dice -= e.weight; dice < 0 {
			return e.draw(p)
		}
	}
	panic("unreachable")
}

func (p *player) create() step {
	if len(p.w.alive()) >= 5 {
		return p.encrypt()
	}
	k := &key{number: len(p.w.keys), created: p.w.now, state: enabled, tags: map[string]string{}, description: pick(p, "", "a key", "ключ"), materials: []*material{{}}}
	body := obj{"Description": k.description}
	if p.IntN(2) == 0 {
		k.tags["made"] = "with the key"
		body["Tags"] = []obj{{"TagKey": "made", "TagValue": "with the key"}}
	}
	return step{op: "CreateKey", body: body, apply: func(answer obj) {
		k.id, _ = answer["KeyMetadata"].(obj)["KeyId"].(string)
		p.w.keys = append(p.w.keys, k)
	}}
}

func (p *player) enable() step {
	k := p.keyIn(disabled)
	return step{op: "EnableKey", body: obj{"KeyId": p.idOf(k)}, want: k.notPending(), apply: func(obj) { k.state = enabled }}
}

func (p *player) disable() step {
	k := p.anyKey()
	return step{op: "DisableKey", body: obj{"KeyId": p.idOf(k)}, want: k.notPending(), apply: func(obj) { k.state = disabled }}
}

// schedule: the waiting period is 7 to 30 days, 30 when it is not given; no other is
// looked at any further.
func (p *player) schedule() step {
	k, days := p.anyKey(), 30
	body, want := obj{"KeyId": p.idOf(k)}, k.notPending()
	if p.IntN(4) != 0 {
		days = pick(p, 7, 7, 7, 7, 8, 15, 29, 30, 6, 31, 366)
		body["PendingWindowInDays"] = days
	}
	if days < 7 || days > 30 {
		want = badRequest
	}
	date := p.w.now + int64(days)*day
	return step{op: "ScheduleKeyDeletion", body: body, want: want,
		shows: obj{"KeyId": k.arn(), "KeyState": pending, "PendingWindowInDays": float64(days), "DeletionDate": float64(date) / 1000},
		apply: func(obj) { k.state, k.deletion = pending, date },
	}
}

// cancel leaves the key disabled, whatever it was before.
func (p *player) cancel() step {
	k := p.keyIn(pending)
	want := k.anyState()
	if k.state == enabled || k.state == disabled {
		want = invalidState
	}
	return step{op: "CancelKeyDeletion", body: obj{"KeyId": p.idOf(k)}, want: want, shows: obj{"KeyId": k.arn()},
		apply: func(obj) { k.state, k.deletion = disabled, 0 }}
}

func (p *player) describe() step {
	k, text := p.anyKey(), pick(p, "", "another", `"<&> é`, "the third")
	return step{op: "UpdateKeyDescription", body: obj{"KeyId": p.idOf(k), "Description": text}, want: k.notPending(),
		apply: func(obj) { k.description = text }}
}

// tagNames are few, so that tags are written over.
var tagNames = []string{"a", "A", "b", "owner", "é"}

func bulk(n int) string { return fmt.Sprint("bulk", n) }

// tag: what is wrong with the tags alone is refused first; the 50 tags that a key may
// have are counted last.
func (p *player) tag() step {
	k := p.anyKey()
	given := map[string]string{}
	var list []obj
	add := func(name, value string) {
		given[name] = value
		list = append(list, obj{"TagKey": name, "TagValue": value})
	}
	want := k.notPending()
	switch dice := p.IntN(12); {
	case dice == 0:
		add("twice", "1")
		add("twice", "2")
		want = badTag
	case dice == 1:
		add(pick(p, "aws:x", "AWS:x"), "1")
		want = badTag
	case dice == 2:
		for n := range 47 {
			add(bulk(n), fmt.Sprint(p.IntN(3)))
		}
	default:
		for _, n := range p.Perm(len(tagNames))[:1+p.IntN(3)] {
			add(tagNames[n], pick(p, "", "1", "2", "3"))
		}
	}
	after := maps.Clone(k.tags)
	maps.Copy(after, given)
	if want == ok && len(after) > 50 {
		want = badTag
	}
	return step{op: "TagResource", body: obj{"KeyId": p.idOf(k), "Tags": list}, want: want, apply: func(obj) { k.tags = after }}
}

// untag minds no tag that is not there.
func (p *player) untag() step {
	k, names := p.anyKey(), []string{"nobody"}
	if _, many := k.tags[bulk(0)]; many && p.IntN(2) == 0 {
		names = nil
		for n := range 47 {
			names = append(names, bulk(n))
		}
	}
	names = append(names, tagNames[p.IntN(len(tagNames))], "made")
	return step{op: "UntagResource", body: obj{"KeyId": p.idOf(k), "TagKeys": names}, want: k.notPending(), apply: func(obj) {
		k.tags = maps.Clone(k.tags)
		for _, name := range names {
			delete(k.tags, name)
		}
	}}
}

// enableRotation counts from now, also where rotation is enabled.
func (p *player) enableRotation() step {
	k, days := p.keyIn(enabled), 365
	body, want := obj{"KeyId": p.idOf(k)}, k.onlyEnabled()
	if p.IntN(3) != 0 {
		days = pick(p, 90, 90, 90, 91, 180, 365, 2560, 89, 2561)
		body["RotationPeriodInDays"] = days
	}
	if days < 90 || days > 2560 {
		want = badRequest
	}
	next := p.w.now + int64(days)*day
	return step{op: "EnableKeyRotation", body: body, want: want, apply: func(obj) { k.period, k.next = days, next }}
}

// disableRotation lets a rotation on demand that was asked for go on.
func (p *player) disableRotation() step {
	k := p.keyIn(enabled)
	return step{op: "DisableKeyRotation", body: obj{"KeyId": p.idOf(k)}, want: k.onlyEnabled(), apply: func(obj) { k.period, k.next = 0, 0 }}
}

// rotate asks for a rotation, 25 times in a key's life at most, and not while another
// one is under way or within 20 minutes of an automatic one.
func (p *player) rotate() step {
	return p.rotateKey(p.keyIn(enabled))
}

func (p *player) rotateKey(k *key) step {
	s := step{op: "RotateKeyOnDemand", body: obj{"KeyId": p.idOf(k)}, want: k.onlyEnabled(), shows: obj{"KeyId": k.id}}
	busy := k.asked != 0 || k.period != 0 && k.next-p.w.now <= 20*minute
	switch {
	case s.want != ok:
	case k.askedEver >= 25 && busy:
		s.want, s.or = limit, conflict
	case k.askedEver >= 25:
		s.want = limit
	case busy:
		s.want = conflict
	}
	s.apply = func(obj) { k.asked, k.askedEver = p.w.now, k.askedEver+1 }
	return s
}

// aliasNames are few, so that they are taken.
var aliasNames = []string{"alias/a", "alias/b/c", "alias/A", "alias/0"}

func (p *player) createAlias() step {
	k, name := p.anyKey(), pick(p, aliasNames...)
	want := k.notPending()
	if want == ok && p.w.aliases[name] != nil {
		want = exists
	}
	return step{op: "CreateAlias", body: obj{"AliasName": name, "TargetKeyId": p.idOf(k)}, want: want, apply: func(obj) { p.w.aliases[name] = k }}
}

// updateAlias minds the state of the new key only.
func (p *player) updateAlias() step {
	k, name := p.anyKey(), pick(p, aliasNames...)
	s := step{op: "UpdateAlias", body: obj{"AliasName": name, "TargetKeyId": p.idOf(k)}, want: k.notPending(), apply: func(obj) { p.w.aliases[name] = k }}
	switch missing := p.w.aliases[name] == nil; {
	case missing && s.want != ok:
		s.or = notFound
	case missing:
		s.want = notFound
	}
	return s
}

func (p *player) deleteAlias() step {
	name := pick(p, aliasNames...)
	s := step{op: "DeleteAlias", body: obj{"AliasName": name}, apply: func(obj) { delete(p.w.aliases, name) }}
	if p.w.aliases[name] == nil {
		s.want = notFound
	}
	return s
}

func (p *player) context() obj { return pick(p, obj{}, obj{"app": "a"}, obj{"app": "a", "user": "é"}) }

// keep remembers a ciphertext that was made under the key's current material.
func (p *player) keep(k *key, answer obj, plain string, context obj) {
	text, _ := answer["CiphertextBlob"].(string)
	p.w.blobs = append(p.w.blobs, &blob{key: k, material: k.current(), text: text, plain: plain, context: context})
}

func (p *player) encrypt() step {
	k, context := p.anyKey(), p.context()
	plain := base64.StdEncoding.EncodeToString(fmt.Append(nil, "plaintext ", p.Uint64()))
	return step{op: "Encrypt", body: obj{"KeyId": p.nameOf(k), "Plaintext": plain, "EncryptionContext": context}, want: k.onlyEnabled(),
		shows: obj{"KeyId": k.arn(), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, uses: []*key{k},
		apply: func(answer obj) { p.keep(k, answer, plain, context) },
	}
}

func (p *player) dataKey() step {
	k, context := p.anyKey(), p.context()
	return step{op: pick(p, "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"), want: k.onlyEnabled(),
		body:  obj{"KeyId": p.nameOf(k), "KeySpec": "AES_256", "EncryptionContext": context},
		shows: obj{"KeyId": k.arn(), "KeyMaterialId": k.current().id}, uses: []*key{k},
		apply: func(answer obj) {
			plain, _ := answer["Plaintext"].(string)
			p.keep(k, answer, plain, context)
		},
	}
}

// anyBlob draws a ciphertext, rather one that decrypts.
func (p *player) anyBlob() *blob {
	n := len(p.w.blobs)
	b := p.w.blobs[p.IntN(n)]
	for tries := 0; b.readable() != ok && tries < 2; tries++ {
		b = p.w.blobs[p.IntN(n)]
	}
	return b
}

// readable is what a call answers that decrypts the blob: one of a key that is gone is
// answered like one of a key that was never there.
func (b *blob) readable() string {
	if b.key.state == deleted {
		return denied
	}
	return b.key.onlyEnabled()
}

func (b *blob) shows() obj {
	out := obj{"KeyId": b.key.arn(), "KeyMaterialId": b.material.id}
	if b.plain != "" {
		out["Plaintext"] = b.plain
	}
	return out
}

func (p *player) decrypt() step {
	if len(p.w.blobs) == 0 {
		return p.encrypt()
	}
	b := p.anyBlob()
	s := step{op: "Decrypt", body: obj{"CiphertextBlob": b.text, "EncryptionContext": b.context}, want: b.readable(), shows: b.shows(), uses: []*key{b.key}}
	other := p.anyKey()
	switch dice := p.IntN(8); {
	case b.key.state == deleted:
	case dice == 0:
		s.body["KeyId"] = p.nameOf(b.key)
	case dice == 1 && other != b.key && other.state == enabled:
		s.body["KeyId"], s.want = p.nameOf(other), incorrectKey
	case dice == 2 && s.want == ok:
		s.body["EncryptionContext"], s.want = obj{"app": "another"}, badBlob
	}
	return s
}

// reEncrypt brings a ciphertext under a key's current material.
func (p *player) reEncrypt() step {
	if len(p.w.blobs) == 0 {
		return p.encrypt()
	}
	b, to, context := p.anyBlob(), pick(p, p.w.alive()...), p.context()
	s := step{op: "ReEncrypt", want: b.readable(), uses: []*key{b.key, to},
		body: obj{"CiphertextBlob": b.text, "SourceEncryptionContext": b.context, "DestinationKeyId": p.nameOf(to), "DestinationEncryptionContext": context},
		shows: obj{"KeyId": to.arn(), "SourceKeyId": b.key.arn(), "SourceKeyMaterialId": b.material.id,
			"DestinationKeyMaterialId": to.current().id},
		apply: func(answer obj) { p.keep(to, answer, b.plain, context) },
	}
	if s.want == ok {
		s.want = to.onlyEnabled()
	}
	return s
}

// pass draws how much time passes: up to just before, at, or after a date at which
// something is due, or any time, up to years.
func (p *player) pass() int64 {
	dates := p.w.dates()
	if k := slices.IndexFunc(p.w.keys, func(k *key) bool { return k.state == pending }); k >= 0 && p.IntN(3) != 0 {
		dates = []int64{p.w.keys[k].deletion + hour}
	}
	if len(dates) > 0 && p.IntN(4) != 0 {
		at := dates[min(p.IntN(len(dates)), p.IntN(len(dates)))] // rather one of the next
		return max(1, at-p.w.now+pick(p, -1, 0, 0, 1, -19*minute, -21*minute, hour))
	}
	return pick(p, second, minute, hour, day, 7*day, 30*day, 365*day, 3*365*day)
}

func (s *step) String() string {
	body := maps.Clone(s.body)
	if text, long := body["CiphertextBlob"].(string); long {
		body["CiphertextBlob"] = text[:8] + "…" + text[len(text)-8:]
	}
	if list, tags := body["Tags"].([]obj); tags && len(list) > 3 {
		body["Tags"] = fmt.Sprint(len(list), " tags")
	}
	want := "succeeds"
	if s.want != ok {
		want = "answers " + s.want
	}
	return fmt.Sprintf("%s %v %s", s.op, body, want)
}

// right tells whether the code is one that the step allows.
func (s *step) right(code string) bool {
	return code == s.want || s.or != "" && code == s.or
}

// missing lists the members of an answer that are not as the step shows them.
func (s *step) missing(answer obj) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(s.shows)) {
		if answer[name] != s.shows[name] {
			out = append(out, fmt.Sprintf("%s is %v, want %v", name, answer[name], s.shows[name]))
		}
	}
	return out
}
