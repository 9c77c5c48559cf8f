package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// A stock is what was put into a cluster and must come out of it again.
type stock struct {
	keys     []string
	requests []string // the ids of the acknowledged calls
	disabled string
	sealed   map[string][]byte // by alias; the plaintext is the alias
}

// fill makes keys, aliases and ciphertexts through all nodes.
func fill(t *testing.T, c *cluster) *stock {
	t.Helper()
	s := &stock{sealed: map[string][]byte{}}
	for i, n := range c.everyKMS(c.region) {
		made, err := n.CreateKey(t.Context(), &kms.CreateKeyInput{Description: aws.String(fmt.Sprint("of node ", i))})
		must(t, "CreateKey", made, err)
		id, _ := awsmiddleware.GetRequestIDMetadata(made.ResultMetadata)
		s.keys, s.requests = append(s.keys, *made.KeyMetadata.KeyId), append(s.requests, id)
		alias := fmt.Sprint("alias/node/", i)
		_, err = n.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: made.KeyMetadata.KeyId})
		must(t, "CreateAlias", 0, err)
		out, err := n.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &alias, Plaintext: []byte(alias)})
		must(t, "Encrypt", out, err)
		id, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
		s.requests = append(s.requests, id)
		s.sealed[alias] = out.CiphertextBlob
	}
	first := c.kms(0, c.region)
	s.disabled, _ = create(t, first)
	s.keys = append(s.keys, s.disabled)
	_, err := first.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &s.disabled})
	must(t, "DisableKey", 0, err)
	return s
}

// check looks for everything through every node.
func (s *stock) check(t *testing.T, c *cluster) {
	t.Helper()
	c.settle(t)
	for i, n := range c.everyKMS(c.region) {
		listed := listKeys(t, n)
		for _, id := range s.keys {
			if !slices.Contains(listed, id) {
				t.Errorf("node %d lacks key %s", i, id)
			}
		}
		got, err := n.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &s.disabled})
		must(t, "DescribeKey", got, err)
		if got.KeyMetadata.KeyState != types.KeyStateDisabled {
			t.Errorf("node %d: the disabled key is %s", i, got.KeyMetadata.KeyState)
		}
		for alias, sealed := range s.sealed {
			out, err := n.Decrypt(t.Context(), &kms.DecryptInput{KeyId: &alias, CiphertextBlob: sealed})
			must(t, "Decrypt", out, err)
			if string(out.Plaintext) != alias {
				t.Errorf("node %d decrypts %q, want %q", i, out.Plaintext, alias)
			}
		}
	}
}

// load makes keys through all nodes until they are gone, and enters those that were
// acknowledged. more waits until there are n of them.
type load struct {
	mu    sync.Mutex
	stock *stock // guarded by mu
	wg    sync.WaitGroup
}

func startLoad(ctx context.Context, c *cluster, s *stock) *load {
	l := &load{stock: s}
	for _, n := range c.nodes {
		client := c.kmsAt(n.endpoint, c.region, once)
		l.wg.Go(func() {
			for {
				out, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
				if err != nil {
					select {
					case <-c.ended:
						return
					case <-time.After(unhurried):
					}
					continue
				}
				id, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
				l.mu.Lock()
				s.keys, s.requests = append(s.keys, *out.KeyMetadata.KeyId), append(s.requests, id)
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.stock.keys)
}

// TestRestart stops a cluster with its data cleanly and starts it, kills it under
// load and starts it, each time on other ports: everything acknowledged is there,
// and recorded.
func TestRestart(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	c := startCluster(t, nil, "--data", data)
	s := fill(t, c)
	s.check(t, c)
	if err := c.terminate(); err != nil {
		t.Fatal(err)
	}
	s.checkTrails(t, data, len(c.nodes))

	again := startCluster(t, nil, "--data", data)
	if again.accessKey != c.accessKey || again.secretKey != c.secretKey {
		t.Error("the credential is another one after a restart")
	}
	s.check(t, again)
	before := len(s.keys)
	l := startLoad(t.Context(), again, s)
	until(t, "keys of the load", func() bool { return l.count() >= before+20 })
	again.kill()
	l.wg.Wait()
	if err := again.raced(); err != nil {
		t.Error(err)
	}

	last := startCluster(t, nil, "--data", data)
	if last.accessKey != c.accessKey || last.secretKey != c.secretKey {
		t.Error("the credential is another one after a crash")
	}
	s.check(t, last)
	for _, n := range last.everyKMS(last.region) {
		id, _ := create(t, n)
		s.keys = append(s.keys, id)
	}
	s.check(t, last)
	if err := last.terminate(); err != nil {
		t.Fatal(err)
	}
	s.checkTrails(t, data, len(c.nodes))
}

// checkTrails checks the hash chain of every node's audit log, and that one of
// them has each acknowledged call.
func (s *stock) checkTrails(t *testing.T, data string, nodes int) {
	t.Helper()
	recorded := map[string]bool{}
	for i := range nodes {
		dir := filepath.Join(data, fmt.Sprint("node", i), "audit")
		if n := checkTrail(t, dir, recorded); n == 0 {
			t.Errorf("%s has no records", dir)
		}
	}
	for _, id := range s.requests {
		if !recorded[id] {
			t.Errorf("the acknowledged call %q is not recorded", id)
		}
	}
}

// link is the member that ends a line of an audit log.
var link = regexp.MustCompile(`,"kmsd":\{"seq":(\d+),"prev":"([0-9a-f]{64})"\}\}$`)

// checkTrail checks that each line of a log names its number and the SHA-256 of
// the line before it, and enters the request ids. It returns the number of lines.
func checkTrail(t *testing.T, dir string, recorded map[string]bool) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	must(t, "listing the log", files, err)
	var lines int
	var prev [sha256.Size]byte
	for _, file := range files { // their names are in order
		text, err := os.ReadFile(file)
		must(t, "reading the log", text, err)
		for line := range bytes.Lines(text) {
			line, whole := bytes.CutSuffix(line, []byte("\n"))
			lines++
			m := link.FindSubmatch(line)
			if !whole || m == nil || string(m[1]) != fmt.Sprint(lines) || string(m[2]) != hex.EncodeToString(prev[:]) {
				t.Errorf("%s: line %d of the log does not follow the one before it: %s", file, lines, line)
				return lines
			}
			prev = sha256.Sum256(line)
			var record struct{ RequestID, EventVersion string }
			if err := json.Unmarshal(line, &record); err != nil || !strings.HasPrefix(record.EventVersion, "1.") {
				t.Errorf("%s: line %d: %v: %s", file, lines, err, line)
			}
			recorded[record.RequestID] = true
		}
	}
	return lines
}
