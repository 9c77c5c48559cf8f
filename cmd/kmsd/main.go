// Command kmsd is a key management service with the API of AWS KMS.
//
// This package is the wiring: it turns flags into a running node and is the only
// place that ends the process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/kmsd/kmsd/internal/failpoint"
)

// cli is the whole command line.
type cli struct {
	Dev            devCmd            `cmd:"" help:"Run a cluster on loopback in one process, to develop against."`
	Init           initCmd           `cmd:"" help:"Make a cluster and its first node, once. Prints the root credential and the recovery identity."`
	Join           joinCmd           `cmd:"" help:"Make this node a member of a cluster, once."`
	Server         serverCmd         `cmd:"" help:"Run the node that init or join made."`
	Status         statusCmd         `cmd:"" help:"Tell how a node is. The exit code is 0 only if it serves."`
	Members        membersCmd        `cmd:"" help:"List the members of the cluster."`
	Token          tokenCmd          `cmd:"" help:"Make join tokens."`
	Leave          leaveCmd          `cmd:"" help:"Make a node leave the cluster for good. Stopping a server is not leaving."`
	RemovePeer     removePeerCmd     `cmd:"" help:"Remove a dead member for good."`
	RootCredential rootCredentialCmd `cmd:"" help:"Replace the operator account's root credential."`
	Account        accountCmd        `cmd:"" help:"Make, list and close accounts; replace their root credentials."`
	CA             caCmd             `cmd:"" name:"ca" help:"Print the API CA, for AWS_CA_BUNDLE."`
	Config         configCmd         `cmd:"" help:"Check a node's configuration; read and change the cluster's settings."`
	Explain        explainCmd        `cmd:"" help:"Tell why a call is allowed or refused, and by which statement. The exit code is 0 for either."`
	Version        versionCmd        `cmd:"" help:"Print the version."`
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitRefused tells that the cluster decided against it: nothing was done.
	exitRefused = 3
	// exitUnknown tells that nobody can say whether it was done.
	exitUnknown = 4
	// exitNotConfigured tells that there is no node in the data directory.
	exitNotConfigured = 78
)

// exitError is an error that decides the exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	harden()
	failpoint.Start()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run parses the arguments, runs the command until it ends or ctx does, and
// returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	var c cli
	file := newFileResolver()
	parser, err := kong.New(&c, kong.Name("kmsd"), kong.Writers(stdout, stderr),
		kong.Description("A key management service with the API of AWS KMS."),
		kong.Vars{"settingsHelp": settingsHelp()}, kong.Resolvers(file), kong.WithBeforeResolve(file.load), kong.Exit(func(int) { panic(errHelp) }))
	if err != nil {
		panic("kmsd: command line: " + err.Error())
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errHelp {
				panic(r)
			}
			code = exitOK
		}
	}()
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(stderr, "kmsd:", err)
		return exitUsage
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run(&streams{os.Stdin, stdout, stderr})
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		code = exit.code
	default:
		code = exitFailed
	}
	fmt.Fprintln(stderr, "kmsd:", err)
	return code
}

// errHelp unwinds the parser when it has printed the help.
var errHelp = errors.New("help was printed")
