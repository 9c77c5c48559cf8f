package testport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testport"
)

// take is the variable that makes a run of this binary take that many ports, print
// them and hold them until its standard input ends.
const take = "KMSD_TESTPORT_TAKE"

func TestHolder(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(take))
	if err != nil {
		n = 1 // as a test like any other
	}
	for range n {
		fmt.Println("took", portOf(t, testport.Addr(t)))
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, os.Stdin)
	}
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// hold runs another process that holds n ports until the test ends.
func hold(t *testing.T, n int) []int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolder$")
	cmd.Env = append(os.Environ(), take+"="+strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	})
	var ports []int
	for lines := bufio.NewScanner(out); len(ports) < n && lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "took ")
		port, err := strconv.Atoi(text)
		if !ok || err != nil {
			t.Fatalf("the other process printed %q", lines.Text())
		}
		ports = append(ports, port)
	}
	if len(ports) != n {
		t.Fatalf("the other process took %d ports, want %d", len(ports), n)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return ports
}

// TestProcessesShareNoPort takes more ports than a block has in three processes at
// the same time, none of which is listened on.
func TestProcessesShareNoPort(t *testing.T) {
	const n = testport.Size + 10
	all := slices.Concat(hold(t, n), hold(t, n))
	for range n {
		all = append(all, portOf(t, testport.Addr(t)))
	}
	low, high := testport.KernelRange()
	slices.Sort(all)
	for i, port := range all {
		if i > 0 && port == all[i-1] {
			t.Errorf("port %d was taken twice", port)
		}
		if port >= low && port <= high {
			t.Errorf("the kernel gives port %d to others, too", port)
		}
	}
}

func TestRow(t *testing.T) {
	held := map[int]bool{}
	for range 20 {
		base := testport.Row(t, 5)
		for port := base; port < base+5; port++ {
			if held[port] {
				t.Errorf("port %d was taken twice", port)
			}
			held[port] = true
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
	}
}

// TestPortsReturn takes more ports than a few blocks have, one test after the other:
// they come back, but for those that are listened on.
func TestPortsReturn(t *testing.T) {
	busy, err := net.Listen("tcp", testport.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	u, err := net.ListenPacket("udp", testport.Addr(t))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	before := testport.Blocks()
	for range 50 {
		t.Run("", func(t *testing.T) {
			base := testport.Row(t, 20)
			for _, used := range []string{busy.Addr().String(), u.LocalAddr().String()} {
				if port := portOf(t, used); port >= base && port < base+20 {
					t.Errorf("%s is in use", used)
				}
			}
		})
	}
	if n := testport.Blocks() - before; n > 1 {
		t.Errorf("%d more blocks were needed for 20 ports at a time", n)
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct{ low, high, least, most int }{
		{32768, 60999, 10_000, 65_535}, // Linux's default: below and above
		{49152, 65535, 10_000, 49_151}, // the IANA's range
		{10_000, 60_000, 60_001, 65_535},
		{1024, 65535, 10_000, 65_535}, // everything: any is as good
	} {
		got := testport.Candidates(c.low, c.high)
		if len(got) == 0 {
			t.Errorf("%d-%d: none", c.low, c.high)
		}
		slices.Sort(got)
		for i, base := range got {
			last := base + testport.Size - 1
			if base < c.least || last > c.most || i > 0 && base < got[i-1]+testport.Size {
				t.Errorf("%d-%d: block %d-%d", c.low, c.high, base, last)
			}
			if c.low > 1024 && last >= c.low && base <= c.high {
				t.Errorf("%d-%d: block %d-%d lies in it", c.low, c.high, base, last)
			}
		}
	}
}
