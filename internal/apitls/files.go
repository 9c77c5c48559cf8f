package apitls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"
)

// maxFile bounds a file, in bytes: a chain of many certificates fits.
const maxFile = 1 << 20

// FromFiles returns a Source of the certificate chain in certFile and the private
// key in keyFile, both PEM. It fails when they cannot be used; the error names
// the file. Later changes of either file are noticed by Run. They may happen in
// any order: until both fit together the old pair stays in use. A pair outside of
// its time is taken at the start, with a log line, but never in place of a valid
// one.
func FromFiles(cfg Config, certFile, keyFile string) (*Source, error) {
	s, err := newSource(cfg, &files{cert: certFile, key: keyFile, log: cfg.Logger})
	if err != nil {
		return nil, err
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// files makes certificates of two files.
type files struct {
	cert, key string
	log       *slog.Logger

	seen   [2]os.FileInfo    // of the files as they were taken
	broken bool              // the last attempt failed
	leaf   *x509.Certificate // the one in use
}

// next looks at the files before it reads them, so that a change in between is
// seen as one at the next call.
func (f *files) next(now time.Time, force bool) (*tls.Certificate, error) {
	seen, err := f.stat()
	if err == nil && !force && !f.broken && same(seen[0], f.seen[0]) && same(seen[1], f.seen[1]) {
		return nil, nil
	}
	var pair *tls.Certificate
	if err == nil {
		pair, err = f.load(now)
	}
	f.broken = err != nil
	if err != nil {
		return nil, err
	}
	f.seen, f.leaf = seen, pair.Leaf
	if seen[1].Mode().Perm()&0o004 != 0 {
		f.log.Warn("every user of this machine can read the API's private key", "file", f.key)
	}
	return pair, nil
}

func (f *files) stat() (seen [2]os.FileInfo, err error) {
	if seen[0], err = os.Stat(f.cert); err != nil {
		return seen, fmt.Errorf("reading tls.cert: %w", err)
	}
	if seen[1], err = os.Stat(f.key); err != nil {
		return seen, fmt.Errorf("reading tls.key: %w", err)
	}
	return seen, nil
}

// same tells whether nothing suggests that a file changed: neither its place on
// the disk, nor its time, nor its size.
func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// load reads both files and judges them.
func (f *files) load(now time.Time) (*tls.Certificate, error) {
	chain, err := read(f.cert)
	if err != nil {
		return nil, fmt.Errorf("reading tls.cert: %w", err)
	}
	if block, _ := pem.Decode(chain); block == nil || block.Type != pemCertificate {
		return nil, fmt.Errorf("tls.cert: %s does not begin with a PEM certificate", f.cert)
	}
	key, err := read(f.key)
	if err != nil {
		return nil, fmt.Errorf("reading tls.key: %w", err)
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert %s and tls.key %s cannot be used: %w", f.cert, f.key, err)
	}
	switch usages := pair.Leaf.ExtKeyUsage; {
	case len(usages) > 0 && !slices.Contains(usages, x509.ExtKeyUsageServerAuth) && !slices.Contains(usages, x509.ExtKeyUsageAny):
		return nil, fmt.Errorf("tls.cert: %s is not for servers", f.cert)
	case !valid(pair.Leaf, now) && f.leaf != nil && valid(f.leaf, now):
		return nil, fmt.Errorf("tls.cert: %s is valid from %s to %s only", f.cert,
			pair.Leaf.NotBefore.Format(time.RFC3339), pair.Leaf.NotAfter.Format(time.RFC3339))
	}
	return &pair, nil
}

// read reads a file of at most maxFile bytes.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var b bytes.Buffer
	if n, err := b.ReadFrom(io.LimitReader(file, maxFile+1)); err != nil {
		return nil, err
	} else if n > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b.Bytes(), nil
}
