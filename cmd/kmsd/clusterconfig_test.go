package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	"github.com/kmsd/kmsd/wire/admin"
)

const (
	clusterSettingsBegin = "<!-- generated from the settings of the cluster: begin -->\n"
	clusterSettingsEnd   = "<!-- generated from the settings of the cluster: end -->\n"
	quotasBegin          = "<!-- generated from the request quotas: begin -->\n"
	quotasEnd            = "<!-- generated from the request quotas: end -->\n"
)

// TestClusterSettingsDocument holds docs/configuration.md against the settings of
// the cluster.
func TestClusterSettingsDocument(t *testing.T) {
	var b strings.Builder
	for _, s := range clusterSettings {
		b.WriteString("### `" + s.name + "`\n\n" + s.value + ". Default: `" + s.byDefault + "`.\n\n" + s.help + "\n\n")
	}
	wantGenerated(t, settingsFile, clusterSettingsBegin, clusterSettingsEnd, b.String())
}

// TestRequestQuotasDocument holds docs/configuration.md against AWS's figures.
func TestRequestQuotasDocument(t *testing.T) {
	quotas := map[uint32][]string{}
	var figures []uint32
	for _, r := range service.AWSRates() {
		if quotas[r.Milli] == nil {
			figures = append(figures, r.Milli)
		}
		quotas[r.Milli] = append(quotas[r.Milli], "`"+r.Quota+"`")
	}
	slices.SortFunc(figures, func(a, b uint32) int { return cmp.Compare(b, a) })
	var b strings.Builder
	b.WriteString("| AWS's figure per second | quotas |\n|---|---|\n")
	for _, f := range figures {
		b.WriteString("| " + admin.Rate(f).String() + " | " + strings.Join(quotas[f], ", ") + " |\n")
	}
	wantGenerated(t, settingsFile, quotasBegin, quotasEnd, b.String())
}

// TestClusterConfig changes the settings of a running node.
func TestClusterConfig(t *testing.T) {
	n := newTestNode(t, "")
	n.init()
	n.serve()
	n.asRoot()
	table := func(keys, aliases, throttle string) string {
		return regexp.QuoteMeta("quota.keys-per-region  "+keys+"\nquota.aliases-per-key  "+aliases+"\nthrottle               "+throttle) + `\n`
	}
	n.want(exitOK, table("100000", "50", "off"), "", "config", "get")
	n.want(exitOK, table("7", "50", "off"), "", "config", "set", "quota.keys-per-region=7")
	n.want(exitOK, table("7", "60", "aws"), "", "config", "set", "throttle=aws", "quota.aliases-per-key=60")
	n.throttledAt(5)
	rates := n.configJSON("config", "get").Rates
	if len(rates) != 52 || rates["GetParametersForImport"] != 250 || rates["symmetric"] != 10_000_000 {
		t.Errorf("AWS's rates are %v", rates)
	}

	file := writeFile(t, "# Requests per second.\nCreateAlias: 2\n\"GenerateDataKeyPair.RSA_4096\": 0.1\nsymmetric: 1000.0\n")
	custom := table("7", "60", "custom") + regexp.QuoteMeta("  CreateAlias                   2\n  GenerateDataKeyPair.RSA_4096  0.1\n  symmetric                     1000\n")
	custom = strings.ReplaceAll(custom, `quota\.keys-per-region  7`, `quota\.keys-per-region +7`)
	custom = strings.ReplaceAll(custom, `quota\.aliases-per-key  60`, `quota\.aliases-per-key +60`)
	custom = regexp.MustCompile(`throttle +custom`).ReplaceAllString(custom, "throttle +custom")
	n.want(exitOK, custom, "", "config", "set", "throttle="+file)
	n.throttledAt(2)
	n.want(exitOK, custom, "", "config", "get")
	set := n.configJSON("config", "set", "quota.keys-per-region=100000")
	if set.KeysPerRegion != 100_000 || set.AliasesPerKey != 60 || set.Throttle != "custom" || len(set.Rates) != 3 {
		t.Errorf("config set --json: %+v", set)
	}

	// What --json prints of the rates is a file of rates.
	text, err := json.Marshal(rates)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.configJSON("config", "set", "throttle="+writeFile(t, string(text))).Rates; fmt.Sprint(got) != fmt.Sprint(rates) {
		t.Errorf("got %v, want %v", got, rates)
	}
	n.want(exitRefused, "", `kmsd: ValidationException: There is no request quota "CreateKeys"\.\n`, "config", "set", "throttle="+writeFile(t, "CreateKeys: 5\n"))
	n.want(exitOK, table("100000", "60", "off"), "", "config", "set", "throttle=off")
	records, err := filepath.Glob(filepath.Join(n.data, "audit", "*.jsonl"))
	if err != nil || len(records) == 0 {
		t.Fatalf("%v, %v", records, err)
	}
	log, err := os.ReadFile(records[0])
	if err != nil || strings.Count(string(log), `"eventName":"SetConfig"`) != 7 || !strings.Contains(string(log), `"rates":{"CreateAlias":"2","GenerateDataKeyPair.RSA_4096":"0.1","symmetric":"1000"}`) {
		t.Errorf("the audit log does not show the changes: %v", err)
	}
	n.configCredentials()
}

// configJSON runs a command that prints the settings as JSON.
func (n *testNode) configJSON(args ...string) (s admin.Settings) {
	n.t.Helper()
	got := n.ask(append(args, "--json")...)
	dec := json.NewDecoder(strings.NewReader(got.out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || got.code != exitOK || got.err != "" {
		n.t.Errorf("%q: got %+v, %v", args, got, err)
	}
	return s
}

// throttledAt checks that of many calls of a write at once that many pass. A machine
// may be so slow that time brings some more.
func (n *testNode) throttledAt(rate int64) {
	n.t.Helper()
	alias, missing := "alias/x", "1234abcd-12ab-34cd-56ef-1234567890ab"
	client := n.kmsOf(aws.NopRetryer{})
	var passed atomic.Int64
	var throttled atomic.Bool
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for !throttled.Load() && passed.Load() < 1000 {
				_, err := client.CreateAlias(n.t.Context(), &awskms.CreateAliasInput{AliasName: &alias, TargetKeyId: &missing})
				if err != nil && strings.Contains(err.Error(), "ThrottlingException: You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.") {
					throttled.Store(true)
				} else if outcomeOf(err) == denied { // there is no such key
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := passed.Load(); !throttled.Load() || got < rate {
		n.t.Errorf("%d calls pass, want %d", got, rate)
	}
}

// configCredentials checks that the socket's caller needs credentials.
func (n *testNode) configCredentials() {
	n.t.Helper()
	n.t.Setenv("AWS_ACCESS_KEY_ID", "")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "config", "get")
	n.want(exitUsage, "", "kmsd: this command needs credentials: .*\n", "config", "set", "throttle=off")
}

// TestClusterConfigUsage holds what is refused before any node is asked.
func TestClusterConfigUsage(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	rates := func(text string) string { return "throttle=" + writeFile(t, text) }
	const bad = "a rate is a number of requests per second, such as 5 or 0.25, with at most three digits behind the point"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, `expected "<setting> ..."`},
		{[]string{"quota=5"}, `the cluster has no setting "quota", only quota.keys-per-region, quota.aliases-per-key, throttle`},
		{[]string{"throttle=aws", "Throttle=off"}, `the cluster has no setting "Throttle"`},
		{[]string{"throttle"}, "throttle needs a value: throttle=VALUE"},
		{[]string{"throttle=off", "throttle=aws"}, "throttle stands twice"},
		{[]string{"quota.keys-per-region=0"}, "quota.keys-per-region: must be a number from 1 to 10000000"},
		{[]string{"quota.keys-per-region=10000001"}, "quota.keys-per-region: must be a number from 1 to 10000000"},
		{[]string{"quota.keys-per-region=many"}, "quota.keys-per-region: must be a number from 1 to 10000000"},
		{[]string{"quota.aliases-per-key="}, "quota.aliases-per-key: must be a number from 1 to 100000"},
		{[]string{"quota.aliases-per-key=100001"}, "quota.aliases-per-key: must be a number from 1 to 100000"},
		{[]string{"throttle=on"}, "throttle: must be off, aws or a file of request rates: open on: no such file or directory"},
		{[]string{"throttle="}, "throttle: must be off, aws or a file of request rates: open : no such file or directory"},
		{[]string{rates("")}, "names no quota"},
		{[]string{rates("{}")}, "names no quota"},
		{[]string{rates("- CreateKey")}, "reading "},
		{[]string{rates("CreateKey: 5\nCreateKey: 6\n")}, "already defined"},
		{[]string{rates("CreateKey: fast")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: '5'")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: -5")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: .inf")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: .nan")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: 0.0101")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey:")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: {rate: 5}")}, "CreateKey: " + bad},
		{[]string{rates("CreateKey: 0.009")}, "CreateKey: must be from 0.01 to 1000000 requests per second"},
		{[]string{rates("CreateKey: 0")}, "CreateKey: must be from 0.01 to 1000000 requests per second"},
		{[]string{rates("CreateKey: 1000001")}, "CreateKey: must be from 0.01 to 1000000 requests per second"},
		{[]string{rates(strings.Repeat("# long\n", 10000))}, "longer than 65536 bytes"},
	} {
		got := runCLI(t, append([]string{"config", "set", "--data", "/nonexistent"}, tt.args...)...)
		if got.code != exitUsage || got.out != "" || !strings.Contains(got.err, tt.want) {
			t.Errorf("%q: got %+v, want exit code 2 and %q", tt.args, got, tt.want)
		}
	}
	if got := runCLI(t, "config", "get", "--data", "/nonexistent"); got.code != exitFailed || !strings.Contains(got.err, "no server runs in /nonexistent") {
		t.Errorf("no server: got %+v", got)
	}
}

// The bounds are those of the replicated state.
func TestClusterConfigBounds(t *testing.T) {
	t.Parallel()
	if admin.MaxKeysPerRegion != fsm.MaxKeysPerRegion || admin.MaxAliasesPerKey != fsm.MaxAliasesPerKey ||
		admin.MinRate != fsm.MinRate || admin.MaxRate != fsm.MaxRate {
		t.Error("the admin API takes what the state refuses, or refuses what it takes")
	}
}

// TestRatesOnEveryNode: a setting holds on every node when it has been made on one.
// Writes are counted once for the cluster, reads by each node.
func TestRatesOnEveryNode(t *testing.T) {
	c := startTest(t)
	for attempt := range 20 {
		leader := c.leader()
		term := c.members[leader].node.Status().Term
		reads, writes, answered := c.countPassed(leader, attempt)
		if reads == len(c.members) && writes == 1 {
			return
		}
		// Another leader, and a node that was restored, count anew.
		if now := c.members[leader].node.Status(); answered && now.Leads && now.Term == term {
			t.Fatalf("%d reads and %d writes passed, want %d and 1", reads, writes, len(c.members))
		}
	}
	t.Fatal("the cluster is never calm")
}

// countPassed lets one call through in 100 seconds, and tells how many reads and
// writes pass when every node is asked three times, and whether every call was
// answered one way or the other.
func (c *testCluster) countPassed(leader, attempt int) (reads, writes int, answered bool) {
	c.t.Helper()
	// Another figure each time, so that what was counted before is forgotten.
	c.admin(c.members[(leader+1)%len(c.members)], "SetConfig",
		fmt.Sprintf(`{"throttle":"custom","rates":{"ListKeys":0.01,"CreateAlias":0.01,"CreateKey":%d}}`, 100+attempt))
	alias, missing := "alias/x", "1234abcd-12ab-34cd-56ef-1234567890ab"
	answered = true
	count := func(n *int, err error) {
		var e smithy.APIError
		switch {
		case err == nil, errors.As(err, &e) && e.ErrorCode() == "NotFoundException":
			*n++
		case e == nil || e.ErrorCode() != "ThrottlingException":
			answered = false // a busy machine: no leader was heard for a second
		}
	}
	for _, m := range c.members {
		client := c.client(m)
		for range 3 {
			_, err := client.ListKeys(c.t.Context(), &awskms.ListKeysInput{})
			count(&reads, err)
			_, err = client.CreateAlias(c.t.Context(), &awskms.CreateAliasInput{AliasName: &alias, TargetKeyId: &missing})
			count(&writes, err)
		}
	}
	return reads, writes, answered
}

// admin runs a call of the admin API on a member, as the operator account's root,
// until the cluster takes it.
func (c *testCluster) admin(m *member, op, body string) {
	c.t.Helper()
	until(c.t, op, func() bool {
		session, err := m.service.Open(c.t.Context())
		if err != nil {
			return false
		}
		_, root, ok := session.Secret(c.root.id, "")
		if !ok {
			c.t.Fatal("the root credential is not active")
		}
		_, err = session.Do(c.t.Context(), &service.Call{
			Service: admin.ServiceName, Operation: op, Body: []byte(body), Region: testRegion, Principal: root, RequestID: service.NewUUID(),
		})
		return err == nil
	})
}
