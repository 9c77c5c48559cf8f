package audit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
)

// tornSuffix is added to a file's name for the file that keeps what a crash left
// behind its last good line.
const tornSuffix = ".torn"

// A place is where the next line goes.
type place struct {
	chain chain
	name  string // of the file; empty: a new file must be made
	size  int64  // of the file, in bytes
}

// findPlace checks the log's newest file and returns where to continue. What a
// crash can leave behind the last good line (an unfinished line, or blocks that
// never reached the disk and read as zeros) is moved to a file beside it. Any
// other break is a *BreakError: somebody changed the file, and continuing would
// bury the evidence.
func findPlace(dir string, log *slog.Logger) (place, error) {
	files, err := listFiles(dir)
	if err != nil || len(files) == 0 {
		return place{}, err
	}
	newest := files[len(files)-1]
	p := place{chain: before(newest), name: newest.name}
	p.size, err = scanFile(dir, newest, &p.chain)
	var broken *BreakError
	if errors.As(err, &broken) && (broken.Reason == errTorn || broken.Reason == errHole) {
		err = cut(dir, newest, p.size, log)
	}
	if err != nil {
		return place{}, err
	}
	if p.chain.trusting {
		p.chain, err = endOf(dir, files[:len(files)-1])
	}
	if err == nil && p.size == 0 && p.chain.seq+1 != newest.first {
		err = &BreakError{File: newest.name, Reason: errFirst}
	}
	return p, err
}

// before returns what is known of the chain in front of a file from its name.
func before(f logFile) chain { return chain{seq: f.first - 1, trusting: f.first != 1} }

// endOf returns the chain behind the last of files.
func endOf(dir string, files []logFile) (chain, error) {
	if len(files) == 0 {
		return chain{}, nil
	}
	last := files[len(files)-1]
	c := before(last)
	if _, err := scanFile(dir, last, &c); err != nil {
		return chain{}, err
	}
	if c.trusting {
		return chain{}, &BreakError{File: last.name, Reason: errEmpty}
	}
	return c, nil
}

// cut moves what lies behind the first good bytes of a file to the file of the
// same name with tornSuffix, durably, before it removes it.
func cut(dir string, f logFile, good int64, log *slog.Logger) error {
	path := filepath.Join(dir, f.name)
	in, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cutting audit file: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(path+tornSuffix, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keeping torn audit line: %w", err)
	}
	n, err := io.Copy(out, io.NewSectionReader(in, good, 1<<62))
	if err = errors.Join(err, out.Sync(), out.Close(), syncDir(dir)); err != nil {
		return fmt.Errorf("keeping torn audit line: %w", err)
	}
	if err := errors.Join(in.Truncate(good), in.Sync()); err != nil {
		return fmt.Errorf("cutting audit file: %w", err)
	}
	log.Warn("audit: moved what a crash left behind the last whole record",
		"file", f.name, "bytes", n, "offset", good, "kept", f.name+tornSuffix)
	return nil
}
