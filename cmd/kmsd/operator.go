package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kmsd/kmsd/internal/adminclient"
	"github.com/kmsd/kmsd/wire"
)

// socketName is the admin socket in the data directory.
const socketName = "admin.sock"

// operator is embedded by the commands that ask a running node.
type operator struct {
	configFile
	Data     string `env:"KMSD_DATA" default:"/var/lib/kmsd" help:"The directory of the node on this machine, whose admin socket is asked."`
	Endpoint string `env:"KMSD_ENDPOINT" placeholder:"URL" help:"Ask a node over the network instead, for example https://kms.example.com:9400, signed with the operator account's credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."`
	CABundle string `name:"ca-bundle" env:"AWS_CA_BUNDLE" placeholder:"FILE" help:"The authorities to trust at the endpoint, PEM. Default: the system's."`
	JSON     bool   `help:"Print JSON."`
}

// client returns a client of the node.
func (o *operator) client() (*adminclient.Client, error) { return o.patientClient(0) }

// patientClient returns a client that waits so long for an answer; 0: not longer than
// for any.
func (o *operator) patientClient(timeout time.Duration) (*adminclient.Client, error) {
	cfg := adminclient.Config{UserAgent: "kmsd/" + thisVersion().Version, Timeout: timeout}
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); id != "" {
		cfg.Credentials = &adminclient.Credentials{
			AccessKeyID: id, SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		}
	}
	if o.Endpoint == "" {
		cfg.Socket = filepath.Join(o.Data, socketName)
		return adminclient.New(cfg)
	}
	cfg.Endpoint = o.Endpoint
	if o.CABundle != "" {
		text, err := os.ReadFile(o.CABundle)
		if err != nil {
			return nil, fmt.Errorf("reading --ca-bundle: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--ca-bundle: %s holds no certificate", o.CABundle)
		}
		cfg.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return adminclient.New(cfg)
}

// outcome turns how a call ended into an exit code.
func (o *operator) outcome(err error) error {
	var e *adminclient.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, adminclient.ErrNoCredentials):
		return &exitError{exitUsage, err}
	case !errors.As(err, &e):
		return err
	case e.Outcome == adminclient.Refused:
		return &exitError{exitRefused, err}
	case e.Outcome == adminclient.Unknown:
		return &exitError{exitUnknown, err}
	}
	if o.Endpoint == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)) {
		return fmt.Errorf("no server runs in %s: name its directory with --data, or a node with --endpoint: %w", o.Data, err)
	}
	return err
}

// answer prints a response as JSON.
func (o *operator) answer(std *streams, r wire.Response) error {
	var b bytes.Buffer
	if err := json.Indent(&b, r.AppendJSON(nil), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := std.out.Write(b.Bytes())
	return err
}

// confirmation is embedded by the commands that destroy something.
type confirmation struct {
	Yes bool `help:"Do not ask."`
}

// ask returns nil when the operator agrees to what will happen.
func (c *confirmation) ask(std *streams, what string) error {
	if c.Yes {
		return nil
	}
	if _, err := fmt.Fprintf(std.err, "%s\nGo on? Type yes: ", what); err != nil {
		return err
	}
	line, _ := bufio.NewReader(std.in).ReadString('\n') // an end without an answer is none
	if strings.TrimSpace(line) != "yes" {
		return &exitError{exitUsage, errors.New("not confirmed, nothing was done: answer yes, or give --yes")}
	}
	return nil
}
