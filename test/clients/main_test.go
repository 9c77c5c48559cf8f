package clients_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The clients that must be installed, as Debian's packages install them.
const (
	debianCLI    = "/usr/bin/aws"     // package awscli
	debianPython = "/usr/bin/python3" // with package python3-boto3
)

// binaryPath is the program under test.
var binaryPath string

// dev is the cluster that all tests use. Tests keep apart by Region.
var dev *cluster

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if err := mandatory(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "kmsd-clients-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binaryPath, err = build(dir)
	if err != nil {
		return 1, err
	}
	if err := ownEnvironment(dir); err != nil {
		return 1, err
	}
	dev, err = start(binaryPath, dir)
	if err != nil {
		return 1, err
	}
	code = m.Run()
	return code, dev.stop(code != 0)
}

// mandatory reports the clients that must be there and are not.
func mandatory() error {
	var errs []error
	if _, err := os.Stat(debianCLI); err != nil {
		errs = append(errs, fmt.Errorf("the AWS CLI must be installed (apt-get install awscli): %w", err))
	}
	if out, err := exec.Command(debianPython, "-c", "import boto3").CombinedOutput(); err != nil {
		errs = append(errs, fmt.Errorf("boto3 must be installed for %s (apt-get install python3-boto3): %w: %s", debianPython, err, out))
	}
	for _, program := range []string{"haproxy", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			errs = append(errs, fmt.Errorf("%[1]s must be installed (apt-get install %[1]s): %[2]w", program, err))
		}
	}
	return errors.Join(append(errs, installedJS())...)
}

// build makes the static binary of the module that this one lies in.
func build(dir string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	binary := filepath.Join(dir, "kmsd")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/kmsd")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building kmsd: %w\n%s", err, out)
	}
	return binary, nil
}

// ownEnvironment takes everything from the process's environment but what runs
// programs, so that neither the user's nor the machine's AWS settings reach a
// client.
func ownEnvironment(dir string) error {
	path := os.Getenv("PATH")
	os.Clearenv()
	var errs []error
	for name, value := range map[string]string{
		"PATH":   path,
		"HOME":   dir,
		"TMPDIR": dir,
		"TZ":     "UTC",
		"LANG":   "C.UTF-8",
		// No client may look for a metadata service on the network.
		"AWS_EC2_METADATA_DISABLED": "true",
	} {
		errs = append(errs, os.Setenv(name, value))
	}
	return errors.Join(errs...)
}

// environment is what a client of the cluster gets: the process's own, the root user's
// credential, the Region, and more settings.
func (c *cluster) environment(region string, more ...string) []string {
	if c.ca != "" {
		more = append(more, "AWS_CA_BUNDLE="+c.ca, "NODE_EXTRA_CA_CERTS="+c.ca)
	}
	return append(append(os.Environ(),
		attempts,
		"AWS_ACCESS_KEY_ID="+c.accessKeyID,
		"AWS_SECRET_ACCESS_KEY="+c.secret,
		"AWS_REGION="+region,
		"AWS_DEFAULT_REGION="+region,
	), more...)
}

// onPath returns where PATH finds a program that is not the one at known.
func onPath(name, known string) (string, bool) {
	found, err := exec.LookPath(name)
	if err != nil {
		return "", false
	}
	same := func(path string) string {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return real
		}
		return path
	}
	return found, same(found) != same(known)
}

// firstLine is for messages.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
