package gossip_test

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/cluster/gossip"
)

func TestRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate, burst   float64
		n             int
		first, second int
	}{
		{10, 5, 100, 5, 5},
		{3, 10, 100, 10, 3},
		{10, 5, 2, 2, 2},
		{1000, 1000, 2000, 1000, 1000},
	} {
		first, second := gossip.Allow(tt.rate, tt.burst, tt.n)
		if first != tt.first || second != tt.second {
			t.Errorf("%v a second, burst %v: %d then %d of %d, want %d then %d",
				tt.rate, tt.burst, first, second, tt.n, tt.first, tt.second)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	gossip.LogLines(slog.New(slog.NewTextHandler(&out, nil)),
		"[DEBUG] memberlist: a detail",
		"[INFO] memberlist: some news",
		"[WARN] memberlist: a warning",
		"[ERR] memberlist: an error",
		"Err: no level",
		"[WARN] memberlist: Binding to public address without encryption!",
		"[WARN] memberlist: "+strings.Repeat("long ", 1000),
	)
	got := out.String()
	for _, want := range []string{"level=INFO msg=gossip text=\"some news\"", "level=WARN msg=gossip text=\"a warning\"", "level=WARN msg=gossip text=\"an error\"", "level=WARN msg=gossip text=\"Err: no level\""} {
		if !strings.Contains(got, want) {
			t.Errorf("the log lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, "detail") || strings.Contains(got, "without encryption") || len(got) > 1500 {
		t.Errorf("the log has too much:\n%s", got)
	}
	out.Reset()
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = "[WARN] memberlist: again"
	}
	gossip.LogLines(slog.New(slog.NewTextHandler(&out, nil)), lines...)
	if n := strings.Count(out.String(), "\n"); n < gossip.LogBurst || n > gossip.LogBurst+30 {
		t.Errorf("%d lines, want about %d", n, gossip.LogBurst)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	add, shut := gossip.NewStreams()
	var peers, open []net.Conn
	for range gossip.MaxStreams {
		mine, theirs := net.Pipe()
		c, err := add(mine)
		if err != nil {
			t.Fatal(err)
		}
		peers, open = append(peers, theirs), append(open, c)
	}
	extra, theirs := net.Pipe()
	if _, err := add(extra); err == nil {
		t.Error("one more stream was taken")
	}
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the refused connection is open")
	}
	_ = open[0].Close()
	_ = open[0].Close() // once more does not count
	replacement, peer := net.Pipe()
	c, err := add(replacement)
	if err != nil {
		t.Fatalf("no room after a stream was closed: %v", err)
	}
	open[0], peers[0] = c, peer
	// The end cuts the streams; their users, who read, let go of them.
	for _, c := range open {
		go func() {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
	}
	shut()
	for _, p := range peers {
		if _, err := p.Read(make([]byte, 1)); err == nil {
			t.Error("a stream is open after the end")
		}
	}
	late, _ := net.Pipe()
	if _, err := add(late); err == nil {
		t.Error("a stream was taken after the end")
	}
	shut()
}

func TestStreamsAreShort(t *testing.T) {
	t.Parallel()
	add, _ := gossip.NewStreams()
	mine, theirs := net.Pipe()
	c, err := add(mine)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer theirs.Close()
		chunk := make([]byte, 64<<10)
		for range 2 * gossip.MaxStreamBytes / len(chunk) {
			if _, err := theirs.Write(chunk); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, c)
	if n != gossip.MaxStreamBytes || err == nil {
		t.Errorf("read %d bytes, %v; want %d and an error", n, err, gossip.MaxStreamBytes)
	}
	// A failed write ends the stream by itself.
	_ = theirs.Close()
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("written to a closed stream")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the stream is open after a failed write")
	}
}

// Streams beyond the bound are refused, and one that says nothing ends.
func TestStreamsFromMembersEndWithGossip(t *testing.T) {
	t.Parallel()
	a := start(t, node1, nil)
	var conns []net.Conn
	for range gossip.MaxStreams + 5 {
		c, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	await(t, "some are refused", func() bool { return a.metric(t, "kmsd_gossip_streams_total", "refused") == 5 })
	if got := a.metric(t, "kmsd_gossip_streams_total", "accepted"); got != gossip.MaxStreams {
		t.Errorf("%v streams accepted, want %d", got, gossip.MaxStreams)
	}
	a.stop()
	for _, c := range conns {
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		_ = c.Close()
	}
}
