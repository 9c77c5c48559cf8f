// Command wiregen writes the request and response types of wire/kms, wire/iam and
// wire/sts from AWS's API models (the service-2.json files of botocore). It is run by
// go generate; its output is committed and never edited.
//
// It takes names, types and constraints from a model and nothing of its
// documentation. What a model leaves open or gets wrong stands in quirks.go. A
// model that uses something the generator does not know ends it with an error: it
// never leaves a constraint out silently.
//
// Its input is a file of the developer's; nothing of it runs in kmsd.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wiregen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("wiregen", flag.ContinueOnError)
	service := flags.String("service", "", "service: the package wire/<service> and the model <service>-service-2*.json")
	models := flags.String("models", "", "folder of the models (default ../shared/aws beside the repository)")
	out := flags.String("out", "", "folder of the output (default wire/<service> in the repository)")
	check := flags.Bool("check", false, "write nothing; fail when the output differs from what is there")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *service == "" || flags.NArg() > 0 {
		return fmt.Errorf("usage: wiregen -service NAME [flags]")
	}
	root, err := repository()
	if err != nil {
		return err
	}
	if *models == "" {
		*models = filepath.Join(root, "..", "shared", "aws")
	}
	if *out == "" {
		*out = filepath.Join(root, "wire", *service)
	}
	path, err := modelPath(*models, *service)
	if err != nil {
		return err
	}
	m, err := loadModel(path)
	if err != nil {
		return err
	}
	files, err := generate(m, *service, served[*service])
	if err != nil {
		return err
	}
	if *check {
		return compare(*out, files)
	}
	return write(*out, files)
}

// repository returns the folder of go.mod at or above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod at or above the working directory")
		}
		dir = parent
	}
}

// modelPath finds a service's model, which may be a subset of AWS's.
func modelPath(dir, service string) (string, error) {
	for _, name := range []string{service + "-service-2.json", service + "-service-2.subset.json"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no model of %s in %s", service, dir)
}
