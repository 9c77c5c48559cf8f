package main

import (
	"fmt"
	"io"
	"os"

	"github.com/kmsd/kmsd/crypto/attestation"
)

// attestationConfig is whose attestation documents are believed.
type attestationConfig struct {
	Roots string `env:"ROOTS" placeholder:"FILE" help:"Root certificates, PEM, to one of which the attestation document of a request's Recipient must lead. Every node must have the same: each decides for the requests that it receives. It is read when the node starts. Without it every attestation document is refused."`
}

// maxRootsFile bounds the file, in bytes.
const maxRootsFile = 1 << 20

// read returns the roots, nil for none.
func (c *attestationConfig) read() (*attestation.Roots, error) {
	if c.Roots == "" {
		return nil, nil
	}
	f, err := os.Open(c.Roots)
	if err != nil {
		return nil, fmt.Errorf("--attestation-roots: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRootsFile+1))
	if err == nil && len(text) > maxRootsFile {
		err = fmt.Errorf("it is longer than %d bytes", maxRootsFile)
	}
	var roots *attestation.Roots
	if err == nil {
		roots, err = attestation.ParseRoots(text)
	}
	if err != nil {
		return nil, fmt.Errorf("--attestation-roots: %s: %w", c.Roots, err)
	}
	return roots, nil
}
