package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/kms"
)

// devCmd is "kmsd dev".
type devCmd struct {
	Nodes   int    `default:"3" help:"Number of nodes: 1, 3 or 5."`
	Listen  string `default:"127.0.0.1:9400" help:"Address of the first node's API; node i (from 0) serves on port + i. Port 0 lets the kernel choose all of them."`
	Data    string `placeholder:"DIR" help:"Keep everything in this directory. Without it, nothing outlives the process."`
	Account string `default:"123456789012" help:"The 12-digit id of the account."`
	Region  string `default:"us-east-1" help:"The Region that the printed environment names. Every Region is served."`
	EnvFile string `placeholder:"FILE" help:"Write the printed environment to this file when the cluster is ready."`
	// Root's credential is random where these are empty.
	AccessKeyID     string `env:"KMSD_ROOT_ACCESS_KEY_ID" hidden:""`
	SecretAccessKey string `env:"KMSD_ROOT_SECRET_ACCESS_KEY" hidden:""`

	usageEvery time.Duration // as memberConfig's
}

// Validate holds the rules that need more than one flag.
func (d *devCmd) Validate() error {
	host, port, err := net.SplitHostPort(d.Listen)
	switch {
	case d.Nodes != 1 && d.Nodes != 3 && d.Nodes != 5:
		return errors.New("--nodes must be 1, 3 or 5")
	case err != nil:
		return fmt.Errorf("--listen: %w", err)
	case !isLoopback(host):
		return errors.New("--listen must be a loopback address: dev serves plain HTTP")
	case !kms.ValidAccount(d.Account):
		return errors.New("--account must be 12 digits")
	case !kms.ValidRegion(d.Region):
		return errors.New("--region is not the name of a Region")
	case (d.AccessKeyID == "") != (d.SecretAccessKey == ""):
		return errors.New("KMSD_ROOT_ACCESS_KEY_ID and KMSD_ROOT_SECRET_ACCESS_KEY belong together")
	case d.AccessKeyID != "" && !validAccessKeyID(d.AccessKeyID):
		return errors.New("KMSD_ROOT_ACCESS_KEY_ID must be 16 to 128 letters and digits")
	case d.SecretAccessKey != "" && len(d.SecretAccessKey) < minSecret:
		return fmt.Errorf("KMSD_ROOT_SECRET_ACCESS_KEY must have at least %d characters", minSecret)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || int(n)+d.Nodes > 65536 {
		return errors.New("--listen: the port must be a number that leaves room for all nodes")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

const (
	// devStart bounds the time from the start to a cluster that is ready.
	devStart = 60 * time.Second
	// devStop bounds a clean end.
	devStop = 15 * time.Second
)

// Run runs the cluster until ctx ends.
func (d *devCmd) Run(ctx context.Context, std *streams) error {
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
	c, err := startDev(ctx, d, log)
	if err != nil && ctx.Err() != nil {
		return nil // told to stop before it was ready; what it had begun is stopped
	}
	if err != nil {
		return err
	}
	err = d.announce(ctx, c, std)
	if err == nil {
		err = c.watch(ctx)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStop)
	defer cancel()
	return errors.Join(err, c.stop(stopping))
}

// announce waits until every node is ready and prints how to reach the cluster.
// The environment file appears whole, by a rename: its appearance means ready.
func (d *devCmd) announce(ctx context.Context, c *devCluster, std *streams) error {
	starting, cancel := context.WithTimeout(ctx, devStart)
	defer cancel()
	if err := c.awaitReady(starting); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was ready
		}
		return err
	}
	env := "export AWS_ENDPOINT_URL=" + c.endpoint(0) +
		" AWS_ACCESS_KEY_ID=" + c.root.id + " AWS_SECRET_ACCESS_KEY=" + c.root.secret +
		" AWS_REGION=" + d.Region + " AWS_DEFAULT_REGION=" + d.Region + "\n"
	if d.EnvFile != "" {
		if err := writeEnvFile(d.EnvFile, env); err != nil {
			return fmt.Errorf("writing the environment file: %w", err)
		}
	}
	_, err := fmt.Fprint(std.out, env)
	return err
}

func writeEnvFile(path, env string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, []byte(env))
}

// dataDir returns the directory of the cluster's data and what removes it at the
// end, where it is temporary.
func (d *devCmd) dataDir() (dir string, remove func() error, err error) {
	if d.Data != "" {
		return d.Data, func() error { return nil }, durable.MkdirAll(d.Data)
	}
	dir, err = os.MkdirTemp("", "kmsd-dev-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}
