package clients_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os/exec"
	"testing"
)

// program is a program of another language that runs calls of an AWS SDK, working
// in a Region of its own: one JSON object a line in, one a line out.
type program struct {
	at     *cluster
	region string
	in     *json.Encoder
	out    *bufio.Scanner
	stderr *bytes.Buffer
}

// call is a line of input.
type call struct {
	Endpoint    string `json:"endpoint"`
	Environment bool   `json:"environment"`
	Service     string `json:"service"`
	Operation   string `json:"operation"`
	Params      object `json:"params,omitempty"`
	Retries     object `json:"retries,omitempty"`
	Paginate    int    `json:"paginate,omitempty"`
	Presign     bool   `json:"presign,omitempty"`
	Wait        string `json:"wait,omitempty"`
	Attempts    int    `json:"attempts,omitempty"`
}

// reply is a line of output.
type reply struct {
	Result    object   `json:"result"`
	Pages     []any    `json:"pages"`
	Refusal   *refusal `json:"refusal"`
	GaveUp    string   `json:"gaveUp"` // what a waiter says
	Failure   string   `json:"failure"`
	Status    int      `json:"status"`
	RequestID string   `json:"requestId"`
	Retries   int      `json:"retries"`
}

// refusal is an error as the SDK shows it: the exception's class, what is in its
// response, and its text.
type refusal struct{ Type, Code, Message, Text string }

// startProgram starts a program, which ends with the test, and reads the line in
// which it says what it is.
func startProgram(t *testing.T, at *cluster, region string, cmd *exec.Cmd, hello any) *program {
	t.Helper()
	p := &program{at: at, region: region, stderr: new(bytes.Buffer)}
	cmd.Stderr = p.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", cmd, err, p.stderr)
		}
	})
	p.in, p.out = json.NewEncoder(stdin), bufio.NewScanner(stdout)
	p.out.Buffer(nil, 1<<20)
	p.read(t, hello)
	return p
}

func (p *program) read(t *testing.T, into any) {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("the program has ended: %v: %s", p.out.Err(), p.stderr)
	}
	if err := json.Unmarshal(p.out.Bytes(), into); err != nil {
		t.Fatalf("%v: %q", err, p.out.Text())
	}
}

// do runs a call, which the service must have answered.
func (p *program) do(t *testing.T, c call) reply {
	t.Helper()
	p.begin(t, c)
	return p.end(t, c)
}

// begin has the program begin a call, whose reply end reads.
func (p *program) begin(t *testing.T, c call) {
	t.Helper()
	p.at.settle(t)
	if err := p.in.Encode(c); err != nil {
		t.Fatalf("%v: %s", err, p.stderr)
	}
}

func (p *program) end(t *testing.T, c call) reply {
	t.Helper()
	var r reply
	p.read(t, &r)
	if r.Failure != "" {
		t.Fatalf("%s failed: %s", c.Operation, r.Failure)
	}
	return r
}

// succeed runs a call, which must succeed the first time, unless the machine is too busy.
func (p *program) succeed(t *testing.T, c call) object {
	t.Helper()
	r := p.do(t, c)
	if r.Refusal != nil || r.Status != http.StatusOK || r.Retries != 0 && !p.at.faulty(t) || !uuid.ok(r.RequestID) {
		t.Fatalf("%s: got %+v (%+v), want success without retries and a request id", c.Operation, r, r.Refusal)
	}
	return r.Result
}

// refuse runs a call, which the service must refuse in these words.
func (p *program) refuse(t *testing.T, c call, want refusal) {
	t.Helper()
	p.refuseWith(t, c, http.StatusBadRequest, want)
}

func (p *program) refuseWith(t *testing.T, c call, status int, want refusal) {
	t.Helper()
	r := p.do(t, c)
	if r.Refusal == nil || *r.Refusal != want || r.Status != status || !uuid.ok(r.RequestID) {
		t.Fatalf("%s: got %+v\n(%+v)\nwant %d, %+v", c.Operation, r.Refusal, r, status, want)
	}
}

// packed is bytes as a parameter; packedBytes and packedTime are the wanted forms
// of results.
func packed(b []byte) object {
	return object{"$bytes": base64.StdEncoding.EncodeToString(b)}
}

var packedBytes = object{"$bytes": base64Text}

var packedTime = object{"$time": recent}

// size is the number of bytes of a packed result.
func size(value any) int {
	text, _ := value.(object)["$bytes"].(string)
	b, _ := base64.StdEncoding.DecodeString(text)
	return len(b)
}
