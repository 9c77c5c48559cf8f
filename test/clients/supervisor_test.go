package clients_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// supervisor does for the hosts of a site what systemd does, as far as their unit
// files ask for it: start and wait for readiness, reload, stop, and start again what
// failed. The program systemctl of testdata/operations/bin asks it.
type supervisor struct {
	site *site
	l    net.Listener
	mu   sync.Mutex // held by each request, and guards the hosts' units
}

func newSupervisor(t *testing.T, s *site) *supervisor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &supervisor{site: s, l: l}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { v.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
		v.end(t)
	})
	return v
}

func (v *supervisor) port() string { return strconv.Itoa(v.l.Addr().(*net.TCPAddr).Port) }

// serve answers one request: a host and systemctl's arguments. The first line of
// the answer is the exit code.
func (v *supervisor) serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) < 2 {
		return
	}
	out, err := v.do(v.site.hosts[words[0]], words[1:])
	if err != nil {
		_, _ = fmt.Fprintf(conn, "1\n%v\n", err)
		return
	}
	_, _ = fmt.Fprintf(conn, "0\n%s", out)
}

func (v *supervisor) do(h *host, args []string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Equal(args, []string{"daemon-reload"}) {
		return "", nil
	}
	verb := args[0]
	if verb == "enable" && len(args) == 3 && args[1] == "--now" {
		verb, args = "start", args[1:]
	}
	if len(args) != 2 {
		return "", fmt.Errorf("systemctl: the test does not know %q", args)
	}
	u, err := v.unit(h, args[1])
	if err != nil {
		return "", err
	}
	switch verb {
	case "start":
		return "", u.start()
	case "stop", "disable":
		return "", u.stop()
	case "restart":
		return "", errors.Join(u.stop(), u.start())
	case "reload":
		return "", u.signal(u.reload)
	case "is-active":
		if !u.active() {
			return "", errors.New("inactive")
		}
		return "active\n", nil
	}
	return "", fmt.Errorf("systemctl: the test does not know %q", args)
}

// unit returns the host's unit of this name: kmsd's from its unit file, HAProxy's as
// Debian's package has it.
func (v *supervisor) unit(h *host, name string) (*unit, error) {
	if u := h.units[name]; u != nil {
		return u, nil
	}
	u := &unit{dir: h.home, log: filepath.Join(h.root, name+".log"), notify: filepath.Join(h.root, name+".notify")}
	u.env, u.reload = append(v.site.environment(h), "NOTIFY_SOCKET="+u.notify), syscall.SIGHUP
	switch name {
	case "haproxy":
		u.success, u.final, u.reload = 128+int(syscall.SIGTERM), []int{1}, syscall.SIGUSR2
		u.command = []string{"haproxy", "-Ws", "-f", h.path("/etc/haproxy/haproxy.cfg")}
	case "kmsd":
		if err := u.read(h.path("/etc/systemd/system/kmsd.service")); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("systemctl: there is no unit %q", name)
	}
	h.units[name] = u
	return u, nil
}

// end stops what still runs.
func (v *supervisor) end(t *testing.T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var stopping sync.WaitGroup
	for _, h := range v.site.hosts {
		for name, u := range h.units {
			stopping.Go(func() {
				if err := u.stop(); err != nil {
					t.Errorf("stopping %s on %s: %v", name, h.name, err)
				}
			})
		}
	}
	stopping.Wait()
	if t.Failed() {
		t.Log(v.site.describe())
	}
}

// unit is a service.
type unit struct {
	command []string
	env     []string
	dir     string
	log     string // file with its output
	notify  string // socket on which it says that it is ready
	final   []int  // exit codes after which it is not started again
	success int    // exit code, beside 0, of an end that was asked for
	reload  syscall.Signal

	mu       sync.Mutex
	cmd      *exec.Cmd     // guarded by mu; nil: never started
	stopping bool          // guarded by mu
	ended    chan struct{} // guarded by mu; closed when it has ended for good
}

// read takes from a unit file what the supervisor understands.
func (u *unit) read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "ExecStart":
			u.command = strings.Fields(value)
		case "RestartPreventExitStatus":
			for word := range strings.FieldsSeq(value) {
				code, err := strconv.Atoi(word)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				u.final = append(u.final, code)
			}
		}
	}
	if len(u.command) == 0 {
		return fmt.Errorf("%s has no ExecStart", path)
	}
	return nil
}

// start starts the service and waits until it is ready or has ended.
func (u *unit) start() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cmd != nil && !closed(u.ended) {
		return nil
	}
	_ = os.Remove(u.notify)
	socket, err := net.ListenPacket("unixgram", u.notify)
	if err != nil {
		return err
	}
	u.stopping, u.ended = false, make(chan struct{})
	if err := u.launch(); err != nil {
		close(u.ended)
		return errors.Join(err, socket.Close())
	}
	ended, ready := u.ended, make(chan struct{})
	go awaitReady(socket, ready)
	go func() {
		<-ended
		_ = socket.Close()
	}()
	u.mu.Unlock()
	defer u.mu.Lock()
	select {
	case <-ready:
		return nil
	case <-ended:
		return fmt.Errorf("ended before it was ready\n%s", u.tail())
	case <-time.After(startLimit):
		return fmt.Errorf("not ready within %v\n%s", startLimit, u.tail())
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// awaitReady reads what the service says until the socket is closed, and closes
// ready at the first READY=1.
func awaitReady(socket net.PacketConn, ready chan<- struct{}) {
	buf := make([]byte, 4096)
	for said := false; ; {
		n, _, err := socket.ReadFrom(buf)
		if err != nil {
			return
		}
		if !said && slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			said = true
			close(ready)
		}
	}
}

// launch starts the process and what watches over it. The caller holds mu.
func (u *unit) launch() error {
	log, err := os.OpenFile(u.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	u.cmd = exec.Command(u.command[0], u.command[1:]...)
	if path, err := lookPath(u.command[0], u.env); err == nil {
		u.cmd.Path = path
	}
	u.cmd.Dir, u.cmd.Env, u.cmd.Stdout, u.cmd.Stderr = u.dir, u.env, log, log
	if err := u.cmd.Start(); err != nil {
		return err
	}
	go u.watch(u.cmd, u.ended)
	return nil
}

// watch waits for the end of the process, and starts it again where systemd would.
func (u *unit) watch(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.stopping && code != 0 && !slices.Contains(u.final, code) && u.launch() == nil {
		return
	}
	close(ended)
}

// stop asks the service to end and waits until it has, which it must in time and
// without a failure.
func (u *unit) stop() error {
	u.mu.Lock()
	if u.cmd == nil || closed(u.ended) {
		u.mu.Unlock()
		return nil
	}
	u.stopping = true
	cmd, ended := u.cmd, u.ended
	err := cmd.Process.Signal(syscall.SIGTERM)
	u.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(stopLimit):
		_ = cmd.Process.Kill()
		<-ended
		return errors.New("did not stop in time")
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != u.success {
		return fmt.Errorf("ended with code %d\n%s", code, u.tail())
	}
	return nil
}

// kill ends the service as a crash of its machine does: nobody starts it again.
func (u *unit) kill() {
	u.mu.Lock()
	u.stopping = true
	cmd, ended := u.cmd, u.ended
	u.mu.Unlock()
	_ = cmd.Process.Kill()
	<-ended
}

func (u *unit) signal(s os.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cmd == nil {
		return errors.New("it does not run")
	}
	return u.cmd.Process.Signal(s)
}

func (u *unit) active() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cmd != nil && !closed(u.ended)
}

// code is the exit code of the last run.
func (u *unit) code() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cmd.ProcessState.ExitCode()
}

// tail is the end of the log.
func (u *unit) tail() string {
	f, err := os.Open(u.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > 8<<10 {
		_, _ = f.Seek(-8<<10, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	return string(text)
}

// lookPath finds a program by the PATH of an environment.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
				return filepath.Join(dir, name), nil
			}
		}
	}
	return "", exec.ErrNotFound
}
