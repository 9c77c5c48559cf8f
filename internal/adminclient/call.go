package adminclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire/admin"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// call is one request.
type call struct {
	method, path  string
	segment, rest string // one more segment of the path, escaped, and what follows it
	query         url.Values
	body          any  // JSON; nil for none
	local         bool // needs no credentials on the socket
	public        bool // needs none at all
	changes       bool // what is not answered may have been done
	text          bool // answered as text
}

// Outcome is how a call ended that did not succeed.
type Outcome uint8

const (
	// Failed: nothing was done, or it was a question. The node could not be reached,
	// or cannot serve now.
	Failed Outcome = iota
	// Refused: the cluster decided against it. Nothing was done.
	Refused
	// Unknown: nobody can say whether it took effect.
	Unknown
)

// Error is how a call ended without success.
type Error struct {
	Outcome Outcome
	// Code and Message are the answer's, empty when there was none.
	Code, Message string
	RequestID     string // of the answer; audit records have it
	// Err is the reason when there was no answer, or one that is none of kmsd's.
	Err error
}

// Error says what happened in words for an operator.
func (e *Error) Error() string {
	text := e.Message
	switch {
	case e.Err != nil:
		text = e.Err.Error()
	case text == "":
		text = e.Code
	case e.Code != "":
		text = e.Code + ": " + text
	}
	if e.Outcome == Unknown {
		return "it is not known whether the command took effect: " + text
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// do sends a call and reads the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return k.lost(connected.Load(), err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return k.lost(true, fmt.Errorf("reading the answer: %w", err))
	}
	if response.StatusCode != http.StatusOK {
		return k.failure(response, body)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return k.lost(true, fmt.Errorf("the answer is not kmsd's: %w", err))
	}
	return nil
}

// request builds and signs the request.
func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	credentials, err := c.credentials(k)
	if err != nil {
		return nil, err
	}
	var body []byte
	if k.body != nil {
		if body, err = json.Marshal(k.body); err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
	}
	u := c.base
	u.Path = k.path + k.segment + k.rest
	u.RawPath = k.path + url.PathEscape(k.segment) + k.rest
	u.RawQuery = k.query.Encode()
	r, err := http.NewRequestWithContext(ctx, k.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("User-Agent", c.cfg.UserAgent)
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if credentials == nil {
		return r, nil
	}
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, *credentials, r, hex.EncodeToString(sum[:]), admin.ServiceName, c.cfg.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("signing a request: %w", err)
	}
	return r, nil
}

// lost is the end of a call without an answer. Before there was a connection
// nothing was sent.
func (k call) lost(connected bool, err error) *Error {
	if connected && k.changes {
		return &Error{Outcome: Unknown, Err: err}
	}
	return &Error{Outcome: Failed, Err: err}
}

// failure is the answer of a call that did not succeed.
func (k call) failure(r *http.Response, body []byte) *Error {
	e := &Error{RequestID: r.Header.Get("x-amzn-RequestId")}
	var answer struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // also as Message
	}
	switch {
	case k.text:
		e.Message = strings.TrimSpace(string(body))
		return e
	case json.Unmarshal(body, &answer) == nil:
		e.Code, e.Message = answer.Type, answer.Message
	}
	if e.Code == "" {
		e.Err = errors.New("the answer is not kmsd's: " + r.Status)
	}
	e.Outcome = k.outcome(r.StatusCode, e.Code)
	return e
}

// outcome tells from an answer what was done. 503 and throttling say that nothing
// was, also when a load balancer says so; every other fault of a server leaves it
// open.
func (k call) outcome(status int, code string) Outcome {
	switch {
	case status == http.StatusServiceUnavailable, code == kms.CodeThrottling:
		return Failed
	case status >= http.StatusInternalServerError && k.changes:
		return Unknown
	case status >= http.StatusBadRequest && status < http.StatusInternalServerError && code != "":
		return Refused
	}
	return Failed
}
