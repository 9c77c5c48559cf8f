package model_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	pendingImport = "PendingImport"

	wrongMaterial = "IncorrectKeyMaterialException"
	expiredToken  = "ExpiredImportTokenException"
)

// importKey is the model of a symmetric key of origin EXTERNAL (AWS: "Importing key
// material").
type importKey struct {
	id        string
	state     string
	materials []*importMaterial // its own, the oldest first; the last one is current
	waiting   *importMaterial   // for a rotation; nil for none
	asked     int               // rotations on demand, ever
	// What material is wrapped with, and until when; both are nil and 0 at first.
	token   string
	public  *rsa.PublicKey
	tokenTo int64
	blobs   []importBlob
}

// importMaterial is 32 times one byte.
type importMaterial struct {
	fill        byte
	id          string
	present     bool
	validTo     int64 // 0: for ever
	description string
}

type importBlob struct{ text, plain string }

// complete tells whether all materials that the key needs are there.
func (k *importKey) complete() bool {
	return len(k.materials) > 0 && !slices.ContainsFunc(k.materials, func(m *importMaterial) bool { return !m.present })
}

// follow moves the state to what the materials allow.
func (k *importKey) follow() {
	switch {
	case k.state == pendingImport && k.complete():
		k.state = enabled
	case (k.state == enabled || k.state == disabled) && !k.complete():
		k.state = pendingImport
	}
}

// find returns the key's material of these bytes, the waiting one too.
func (k *importKey) find(fill byte) *importMaterial {
	for _, m := range append(slices.Clone(k.materials), k.waiting) {
		if m != nil && m.fill == fill {
			return m
		}
	}
	return nil
}

// drop takes a material away.
func (k *importKey) drop(m *importMaterial) {
	if m == k.waiting {
		k.waiting = nil
		return
	}
	m.present, m.validTo = false, 0
	k.follow()
}

// use is what cryptographic operations answer.
func (k *importKey) use() string {
	return map[string]string{enabled: ok, disabled: isDisabled, pendingImport: invalidState, pending: invalidState}[k.state]
}

// show is what every node shows of the key.
func (k *importKey) show() string {
	out := k.state
	if k.complete() {
		until := int64(0)
		for _, m := range k.materials {
			if m.validTo != 0 && (until == 0 || m.validTo < until) {
				until = m.validTo
			}
		}
		out += " " + showEnd(until)
	}
	for i, m := range k.materials {
		out += "\n" + m.show(map[bool]string{true: "CURRENT", false: "NON_CURRENT"}[i == len(k.materials)-1])
	}
	if k.waiting != nil {
		out += "\n" + k.waiting.show("PENDING_ROTATION")
	}
	return out
}

func (m *importMaterial) show(state string) string {
	if !m.present {
		return fmt.Sprintf("%s %s PENDING_IMPORT %q", m.id, state, m.description)
	}
	return fmt.Sprintf("%s %s IMPORTED %q %s", m.id, state, m.description, showEnd(m.validTo))
}

func showEnd(at int64) string {
	if at == 0 {
		return "KEY_MATERIAL_DOES_NOT_EXPIRE 0"
	}
	return fmt.Sprint("KEY_MATERIAL_EXPIRES ", at)
}

// importGame plays imports on nodes and on the model.
type importGame struct {
	*mathrand.Rand
	t     *testing.T
	c     *nodes
	keys  []*importKey
	trace []string
	count map[string]int
}

// TestImportsOfNodes imports, lets expire, deletes, imports again and rotates at random
// on three nodes. KMSD_TEST_SEED repeats the steps of a run.
func TestImportsOfNodes(t *testing.T) {
	t.Parallel()
	seed := mathrand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("KMSD_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("KMSD_TEST_SEED=%d", seed)
	g := &importGame{Rand: mathrand.New(mathrand.NewPCG(seed, 0)), t: t, c: startNodes(t), count: map[string]int{}}
	for range 2 {
		made := g.c.Must(g.IntN(3), "CreateKey", obj{"Origin": "EXTERNAL"})
		g.keys = append(g.keys, &importKey{id: made["KeyMetadata"].(obj)["KeyId"].(string), state: pendingImport})
	}
	for n := 0; n < 2*usualSteps || g.unproven() != "" && n < 20*usualSteps; n++ {
		if n == usualSteps {
			g.restart()
		}
		g.step()
		g.compare()
		if t.Failed() {
			for _, line := range g.trace[max(0, len(g.trace)-30):] {
				t.Log(line)
			}
			return
		}
	}
	g.c.sameDigests()
	t.Log(g.count)
	if what := g.unproven(); what != "" {
		t.Errorf("no %s happened", what)
	}
}

// unproven is something that has to happen in a run and has not yet.
func (g *importGame) unproven() string {
	for _, what := range []string{"ImportKeyMaterial", "ImportKeyMaterial " + wrongMaterial, "DeleteImportedKeyMaterial", "RotateKeyOnDemand", "expired", "Encrypt", "Decrypt", "Decrypt " + invalidState} {
		if g.count[what] == 0 {
			return what
		}
	}
	return ""
}

func (g *importGame) key() *importKey { return g.keys[g.IntN(len(g.keys))] }

func (g *importGame) step() {
	k := g.key()
	switch dice := g.IntN(100); {
	case dice < 35:
		g.bring(k)
	case dice < 45:
		g.take(k)
	case dice < 57:
		g.rotate(k)
	case dice < 67:
		g.pass()
	case dice < 72:
		g.change(k)
	default:
		g.use(k)
	}
}

// call makes a call through any node, and tells whether it was answered as the model
// says.
func (g *importGame) call(op string, body obj, want string) (obj, bool) {
	node := g.IntN(3)
	answer, code, message := g.c.call(node, op, body)
	g.trace = append(g.trace, fmt.Sprintf("node %d: %s %v: %s %s", node, op, body, code, message))
	if code != want {
		g.t.Errorf("%s %v: got %q (%s), want %q", op, body, code, message, want)
	}
	g.count[strings.TrimSpace(op+" "+code)]++
	return answer, code == ok && want == ok
}

// params gets what material is wrapped with, which serves for a day.
func (g *importGame) params(k *importKey) bool {
	want := ok
	if k.state == pending {
		want = invalidState
	}
	p, got := g.call("GetParametersForImport", obj{"KeyId": k.id, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, want)
	if !got {
		return false
	}
	der, err := base64.StdEncoding.DecodeString(p["PublicKey"].(string))
	if err != nil {
		g.t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		g.t.Fatal(err)
	}
	k.token, k.public, k.tokenTo = p["ImportToken"].(string), public.(*rsa.PublicKey), g.c.clock.Load()+day
	if at := millis(p["ParametersValidTo"]); at != k.tokenTo {
		g.t.Errorf("the parameters are valid until %d, want %d", at, k.tokenTo)
	}
	return true
}

// bring imports material.
func (g *importGame) bring(k *importKey) {
	now := g.c.clock.Load()
	if (k.public == nil || now > k.tokenTo && g.IntN(3) > 0) && !g.params(k) || k.public == nil {
		return
	}
	m := &importMaterial{fill: byte(1 + g.IntN(4)), present: true}
	kind := []string{"", "NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"}[g.IntN(3)]
	if g.IntN(2) == 0 {
		m.fill, kind = g.needed(k)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, k.public, bytes.Repeat([]byte{m.fill}, 32), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	body := obj{"KeyId": k.id, "ImportToken": k.token, "EncryptedKeyMaterial": base64.StdEncoding.EncodeToString(wrapped), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
	if kind != "" {
		body["ImportType"] = kind
	}
	if g.IntN(3) == 0 {
		m.validTo = now/second*second + []int64{hour, day, 20 * day}[g.IntN(3)]
		body["ExpirationModel"], body["ValidTo"] = "KEY_MATERIAL_EXPIRES", m.validTo/second
	}
	described := g.IntN(2) == 0
	if described {
		m.description = fmt.Sprint("description ", g.IntN(100))
		body["KeyMaterialDescription"] = m.description
	}
	has := k.find(m.fill)
	fresh := kind == "NEW_KEY_MATERIAL" || kind == "" && len(k.materials) == 0
	want := ok
	switch {
	case k.state == pending:
		want = invalidState
	case now > k.tokenTo:
		want = expiredToken
	case (has != nil) == fresh:
		want = wrongMaterial
	case fresh && k.waiting != nil:
		want = invalidState
	}
	answer, done := g.call("ImportKeyMaterial", body, want)
	if !done {
		return
	}
	m.id = answer["KeyMaterialId"].(string)
	switch {
	case has != nil:
		if has.id != m.id {
			g.t.Errorf("the same bytes have the ids %s and %s", has.id, m.id)
		}
		has.present, has.validTo = true, m.validTo
		if described {
			has.description = m.description
		}
	case len(k.materials) == 0:
		k.materials = append(k.materials, m)
	default:
		k.waiting = m
	}
	k.follow()
}

// needed is what a sensible operator would import next: what is missing, or something new.
func (g *importGame) needed(k *importKey) (fill byte, kind string) {
	for _, m := range k.materials {
		if !m.present {
			return m.fill, "EXISTING_KEY_MATERIAL"
		}
	}
	return byte(1 + g.IntN(250)), "NEW_KEY_MATERIAL"
}

// take deletes the current material or any, whether it is there or not.
func (g *importGame) take(k *importKey) {
	body, gone := obj{"KeyId": k.id}, k.any(g)
	if g.IntN(2) == 0 && len(k.materials) > 0 {
		gone = k.materials[len(k.materials)-1]
	} else if gone != nil {
		body["KeyMaterialId"] = gone.id
	}
	if _, done := g.call("DeleteImportedKeyMaterial", body, ok); done && gone != nil {
		k.drop(gone)
	}
}

// any returns one of the materials, nil for none.
func (k *importKey) any(g *importGame) *importMaterial {
	all := slices.Clone(k.materials)
	if k.waiting != nil {
		all = append(all, k.waiting)
	}
	if len(all) == 0 {
		return nil
	}
	return all[g.IntN(len(all))]
}

// rotate asks for a rotation. Sometimes the waiting material is deleted before the
// leader rotates, which then does not.
func (g *importGame) rotate(k *importKey) {
	want := k.use()
	switch {
	case want != ok:
	case k.waiting == nil:
		want = invalidState
	case k.asked >= 25:
		want = limit
	}
	held := g.IntN(4) == 0
	g.c.held.Store(held)
	defer g.c.held.Store(false)
	if _, done := g.call("RotateKeyOnDemand", obj{"KeyId": k.id}, want); !done {
		return
	}
	k.asked++
	if held {
		if _, done := g.call("DeleteImportedKeyMaterial", obj{"KeyId": k.id, "KeyMaterialId": k.waiting.id}, ok); done {
			k.drop(k.waiting)
		}
		return
	}
	k.materials, k.waiting = append(k.materials, k.waiting), nil
	g.eventually()
}

// pass lets time pass. What has expired is of no use at once, on every node, though the
// leader is late to delete it.
func (g *importGame) pass() {
	g.c.held.Store(true)
	now := g.c.clock.Load() + []int64{minute, hour, day, 10 * day}[g.IntN(4)]
	g.c.clock.Store(now)
	g.trace = append(g.trace, fmt.Sprint("it is ", now))
	for _, k := range g.keys {
		was := k.state
		for _, m := range append(slices.Clone(k.materials), k.waiting) {
			if m != nil && m.validTo != 0 && m.validTo <= now {
				g.count["expired"]++
				k.drop(m)
			}
		}
		for node := range g.c.Nodes {
			if was == enabled {
				if _, code, message := g.c.call(node, "Encrypt", obj{"KeyId": k.id, "Plaintext": "aGk="}); code != k.use() {
					g.t.Errorf("node %d encrypts after the time has passed: %q %s, want %q", node, code, message, k.use())
				}
			}
		}
	}
	g.c.held.Store(false)
	g.eventually()
}

// change enables, disables, schedules the deletion of, or cancels it.
func (g *importGame) change(k *importKey) {
	gate := map[string]string{pendingImport: invalidState, pending: invalidState}[k.state]
	switch g.IntN(4) {
	case 0:
		if _, done := g.call("EnableKey", obj{"KeyId": k.id}, gate); done {
			k.state = enabled
		}
	case 1:
		if _, done := g.call("DisableKey", obj{"KeyId": k.id}, gate); done {
			k.state = disabled
		}
	case 2:
		want := map[string]string{pending: invalidState}[k.state]
		if _, done := g.call("ScheduleKeyDeletion", obj{"KeyId": k.id, "PendingWindowInDays": 30}, want); !done {
			return
		}
		k.state = pending
		g.compare()
		if _, done := g.call("CancelKeyDeletion", obj{"KeyId": k.id}, ok); done {
			k.state = disabled
			k.follow()
		}
	case 3:
		want := map[bool]string{true: ok, false: invalidState}[k.state == pending]
		g.call("CancelKeyDeletion", obj{"KeyId": k.id}, want)
	}
}

// use encrypts, or decrypts what was encrypted before.
func (g *importGame) use(k *importKey) {
	if len(k.blobs) == 0 || g.IntN(2) == 0 {
		plain := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "text %d", g.IntN(1000)))
		if answer, done := g.call("Encrypt", obj{"KeyId": k.id, "Plaintext": plain}, k.use()); done {
			k.blobs = append(k.blobs, importBlob{answer["CiphertextBlob"].(string), plain})
		}
		return
	}
	b := k.blobs[g.IntN(len(k.blobs))]
	if answer, done := g.call("Decrypt", obj{"CiphertextBlob": b.text}, k.use()); done && answer["Plaintext"] != b.plain {
		g.t.Errorf("decrypted is %v, not %s", answer["Plaintext"], b.plain)
	}
}
