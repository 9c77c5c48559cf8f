package clients_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// attempts is more than SDKs make by default: a busy machine makes a node refuse calls
// for some seconds.
const attempts = "AWS_MAX_ATTEMPTS=10"

// gap is for how long a member that a leader went on without may serve its old state, on
// a machine that is too busy to write down in time when it was.
const gap = 3 * time.Second

var passedOver = regexp.MustCompile(`(?m)^time=(\S+) .*writes go on without a member`)

// settle is called before each call. What another node acknowledged is known at once
// everywhere, but for members that the leader did not wait for: their gap passes.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	if c.log == "" {
		return
	}
	log, err := os.ReadFile(c.log)
	if err != nil {
		t.Fatal(err)
	}
	all := passedOver.FindAllSubmatch(log, -1)
	if len(all) == 0 {
		return
	}
	at, err := time.Parse(time.RFC3339, string(all[len(all)-1][1]))
	if err != nil {
		t.Fatal(err)
	}
	if left := gap - time.Since(at); left > 0 {
		<-time.After(left)
	}
}

var faults = regexp.MustCompile(`(?m)^kmsd_http_requests_total\{code="(?:ServiceUnavailableException|KMSInternalException)",.*\} ([0-9.e+]+)$`)

// faulty tells whether a node was ever too busy to answer, so that a call may have been
// made more often than it had to be.
func (c *cluster) faulty(t *testing.T) bool {
	t.Helper()
	for _, url := range c.metrics {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range faults.FindAllSubmatch(text, -1) {
			if n, err := strconv.ParseFloat(string(m[1]), 64); err == nil && n > 0 {
				return true
			}
		}
	}
	return false
}
