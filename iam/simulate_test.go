//go:build simulate

// Another reader of AWS's policy language, the simulator iam-simulate of npm, decides
// random questions beside kmsd. It runs as a process of its own; nothing of it is part of
// kmsd. To install it and to run the test:
//
//	npm --prefix iam/testdata/simulate ci --omit=dev --ignore-scripts
//	go test -tags simulate -run TestSimulatorAgrees -v ./iam
//
// KMSD_TEST_CASES sets how many questions, KMSD_TEST_SEED repeats a run. The test prints
// which kinds of decisions there were, and where the two differ and why: the list is
// readings in simulate_readings_test.go.

package iam_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// questionsAtLeast is how many questions it takes for every kind of decision and every
// difference to come up.
const questionsAtLeast = 50_000

// A question is a call with the policies that decide it, in the simulator's terms:
// principals are ARNs.
type question struct {
	Caller   string              `json:"caller"`
	Action   string              `json:"action"`
	Resource string              `json:"resource"`
	Account  string              `json:"account"` // the resource's
	Identity []document          `json:"identity,omitempty"`
	Boundary *document           `json:"boundary,omitempty"`
	Session  *document           `json:"session,omitempty"`
	Key      *document           `json:"key,omitempty"` // absent where identity policies alone decide
	Context  map[string][]string `json:"context"`
	// Foreign tells that callers of other accounts may be let in.
	Foreign bool `json:"foreign"`
}

// document is a policy.
type document struct {
	Version   string
	Statement []map[string]any
}

func (d *document) text() string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (q *question) clone() *question {
	var out question
	if err := json.Unmarshal([]byte(q.text()), &out); err != nil {
		panic(err)
	}
	return &out
}

func (q *question) text() string {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	return string(b)
}

const guestID = "AROAGUEST0GUEST0GUEST"

// uniqueIDs are those of the users, roles and sessions that policies name.
var uniqueIDs = map[string]string{
	"arn:aws:iam::111111111111:user/alice": userID, "arn:aws:iam::111111111111:user/victor": otherID, "arn:aws:iam::222222222222:user/xaver": foreign,
	"arn:aws:iam::111111111111:role/App": roleID, "arn:aws:sts::111111111111:assumed-role/App/s": roleID + ":s", "arn:aws:sts::111111111111:assumed-role/App/other": roleID + ":other",
	"arn:aws:iam::222222222222:role/Guest": guestID, "arn:aws:sts::222222222222:assumed-role/Guest/g": guestID + ":g",
}

// callers are who may ask.
func callers(t testing.TB) map[string]*kms.Principal {
	guest := session(t).Principal
	guest.Account, guest.UniqueID, guest.RoleID, guest.ARN = accountB, guestID+":g", guestID, "arn:aws:sts::222222222222:assumed-role/Guest/g"
	out := map[string]*kms.Principal{}
	for _, p := range []*kms.Principal{user(t).Principal, victor(t).Principal, xaver(t).Principal, session(t).Principal, guest, root(accountA).Principal, root(accountB).Principal} {
		out[p.ARN] = p
	}
	return out
}

// decide is kmsd's decision.
func (q *question) decide(t testing.TB, callers map[string]*kms.Principal) iam.Decision {
	s := &iam.Subject{Principal: callers[q.Caller]}
	for i := range q.Identity {
		s.Identity = append(s.Identity, identity(t, q.Identity[i].text())...)
	}
	if q.Boundary != nil {
		s.Boundary = iam.Attached{Policy: parse(t, q.Boundary.text(), iam.IdentityPolicy)}
	}
	if q.Session != nil {
		s.Session = identity(t, q.Session.text())
	}
	r := &iam.Request{Action: q.Action, Resource: q.Resource, Account: q.Account, Context: q.fixed()}
	if q.Key == nil {
		return iam.AuthorizeIdentity(s, r)
	}
	stored, err := iam.Rewrite(q.Key.text(), func(principal string) string {
		if id := uniqueIDs[principal]; id != "" {
			return id
		}
		return principal
	})
	if err != nil {
		t.Fatal(err)
	}
	return iam.AuthorizeKey(s, r, parse(t, stored, iam.KeyPolicy), q.Foreign)
}

// verdict is a decision in the simulator's words.
func verdict(d iam.Decision) string {
	switch {
	case d.Allowed:
		return "Allowed"
	case d.Explicit:
		return "ExplicitlyDenied"
	}
	return "ImplicitlyDenied"
}

// kind says what a decision is about, to count by.
func (q *question) kind(d iam.Decision, callers map[string]*kms.Principal) string {
	where := "own key"
	switch {
	case q.Key == nil:
		where = "no key"
	case callers[q.Caller].Account != q.Account:
		where = "foreign key"
	}
	return where + ": " + verdict(d) + " by " + [...]string{iam.ByBoundary: "boundary", iam.BySession: "session policy", iam.ByIdentity: "identity policy", iam.ByKeyPolicy: "key policy"}[d.Ground]
}

// kindsOf are the kinds of decisions that there are.
func kindsOf() (out []string) {
	for _, where := range []string{"own key", "foreign key", "no key"} {
		for _, verdict := range []string{"ExplicitlyDenied", "ImplicitlyDenied"} {
			for _, by := range []string{"boundary", "session policy", "identity policy", "key policy"} {
				if where != "no key" || by != "key policy" {
					out = append(out, where+": "+verdict+" by "+by)
				}
			}
		}
	}
	return append(out, "own key: Allowed by key policy", "own key: Allowed by identity policy", "foreign key: Allowed by key policy", "no key: Allowed by identity policy")
}

// told is the question as the simulator is told it. It knows nothing of root users, who
// need no identity policy, and leaves kms:EncryptionContext:<k> out of its requests.
func (q *question) told() *question {
	out := q.clone()
	if strings.HasSuffix(q.Caller, ":root") {
		out.Identity = append(out.Identity, document{"2012-10-17", []map[string]any{{"Effect": "Allow", "Action": "*", "Resource": "*"}}})
	}
	text := strings.ReplaceAll(out.text(), `"kms:EncryptionContext:app"`, `"aws:PrincipalTag/kms-EncryptionContext-app"`)
	var told question
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		panic(err)
	}
	return &told
}

// simulator is a process that runs iam-simulate.
type simulator struct {
	in  *bufio.Writer
	out *json.Decoder
}

func startSimulator(t *testing.T) *simulator {
	t.Helper()
	dir := filepath.Join("testdata", "simulate")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@cloud-copilot", "iam-simulate")); err != nil {
		t.Fatalf("iam-simulate must be installed (npm ci in iam/%s): %v", dir, err)
	}
	cmd := exec.Command("node", filepath.Join(dir, "decide.mjs"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC"} // texts of dates without a zone
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("Node.js 20 or newer must be installed: %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the simulator ended: %v", err)
		}
	})
	s := &simulator{bufio.NewWriter(in), json.NewDecoder(out)}
	var hello struct{ Node, Simulator string }
	if err := s.out.Decode(&hello); err != nil {
		t.Fatalf("starting the simulator: %v", err)
	}
	t.Logf("Node.js %s, iam-simulate %s", hello.Node, hello.Simulator)
	return s
}

// answer is the simulator's.
type answer struct{ Verdict, Problem string }

// ask puts questions and returns the answers. There must be so few that the answers fit
// into a pipe: nobody reads them before all questions are written.
func (s *simulator) ask(questions []*question) ([]answer, error) {
	for _, q := range questions {
		if _, err := s.in.WriteString(q.told().text() + "\n"); err != nil {
			return nil, err
		}
	}
	if err := s.in.Flush(); err != nil {
		return nil, err
	}
	answers := make([]answer, len(questions))
	for i := range answers {
		if err := s.out.Decode(&answers[i]); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// tally counts what came up.
type tally struct {
	mu       sync.Mutex
	kinds    map[string]int
	allowed  int
	differed int
	readings map[string]int // by name: answers that differ for this one reason
	together map[string]int // and those that differ for this one and others at once
}

// TestSimulatorAgrees asks kmsd and the simulator the same. Where they differ, kmsd must
// decide as the simulator does once it is asked what the simulator makes of the question;
// nothing else may remain.
func TestSimulatorAgrees(t *testing.T) {
	t.Parallel()
	n, seed := questionsAtLeast, rand.Uint64()
	for name, set := range map[string]func(string) error{
		"KMSD_TEST_CASES": func(s string) (err error) { n, err = strconv.Atoi(s); return err },
		"KMSD_TEST_SEED":  func(s string) (err error) { seed, err = strconv.ParseUint(s, 10, 64); return err },
	} {
		if s := os.Getenv(name); s != "" {
			if err := set(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("KMSD_TEST_SEED=%d KMSD_TEST_CASES=%d", seed, n)
	counts := &tally{kinds: map[string]int{}, readings: map[string]int{}, together: map[string]int{}}
	const batch = 100
	workers := max(runtime.GOMAXPROCS(0), 1)
	var running sync.WaitGroup
	for w := range workers {
		s := startSimulator(t)
		running.Go(func() {
			for from := w * batch; from < n && !t.Failed(); from += workers * batch {
				counts.compare(t, s, seed, from, min(from+batch, n))
			}
		})
	}
	running.Wait()
	counts.report(t, n)
}

// compare compares the answers to the questions of these numbers.
func (c *tally) compare(t *testing.T, s *simulator, seed uint64, from, to int) {
	who := callers(t)
	var questions []*question
	for i := from; i < to; i++ {
		g := &generator{rand.New(rand.NewPCG(seed, uint64(i))), simulatedWords}
		questions = append(questions, g.question())
	}
	answers, err := s.ask(questions)
	if err != nil {
		t.Errorf("asking the simulator: %v", err)
		return
	}
	for i, q := range questions {
		d := q.decide(t, who)
		got, want := verdict(d), answers[i].Verdict
		if problem := answers[i].Problem; problem != "" {
			t.Errorf("question %d: the simulator: %s\n%s", from+i, problem, q.told().text())
			return
		}
		as := q.read(readings)
		if read := verdict(as.decide(t, who)); read != want {
			t.Errorf("question %d: got %s, as the simulator reads it %s, want %s\n%s\nas it is read\n%s", from+i, got, read, want, q.text(), as.text())
			return
		}
		var because []reading
		if got != want {
			because = q.because(t, who, want)
		}
		c.add(q.kind(d, who), d.Allowed, because)
	}
}

func (c *tally) add(kind string, allowed bool, because []reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[kind]++
	if allowed {
		c.allowed++
	}
	counts := c.readings
	if len(because) > 1 {
		counts = c.together
	}
	for _, r := range because {
		counts[r.name]++
	}
	if because != nil {
		c.differed++
	}
}

// report prints the counts and checks that nothing is missing.
func (c *tally) report(t *testing.T, n int) {
	if t.Failed() {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d allowed\n", c.allowed, n)
	for _, kind := range kindsOf() {
		fmt.Fprintf(&b, "%7d %s\n", c.kinds[kind], kind)
		if n >= questionsAtLeast && c.kinds[kind] < n/2000 {
			t.Errorf("only %d decisions are of the kind %q: the test tests little", c.kinds[kind], kind)
		}
	}
	fmt.Fprintf(&b, "%d answers differ, for one reason or for several at once: the simulator\n", c.differed)
	for _, r := range readings {
		fmt.Fprintf(&b, "%7d %4d %s (%s)\n", c.readings[r.name], c.together[r.name], r.name, r.reason)
		if n >= questionsAtLeast && c.readings[r.name] == 0 {
			t.Errorf("no answer differs for the one reason that the simulator %s", r.name)
		}
	}
	t.Log(b.String())
	if n >= questionsAtLeast && c.allowed < n/4 {
		t.Errorf("only %d of %d are allowed: the test tests little", c.allowed, n)
	}
}
