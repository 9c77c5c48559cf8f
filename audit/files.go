package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A file is what the log needs of an open file.
type file interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

// openAppend opens path for appending. With create it makes the file, with mode
// 0600, and insists that it is new.
func openAppend(path string, create bool) (file, error) {
	flags := os.O_WRONLY | os.O_APPEND
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	return os.OpenFile(path, flags, 0o600)
}

// A logFile names one file of a log: audit-<first sequence number, 20
// digits>-<UTC time of creation>.jsonl. Names sort in the chain's order.
type logFile struct {
	name  string
	first uint64 // sequence number of the file's first line
}

const (
	namePrefix = "audit-"
	nameSuffix = ".jsonl"
	nameTime   = "20060102T150405Z"
	seqDigits  = 20
)

func newLogFile(first uint64, created time.Time) logFile {
	return logFile{
		name:  fmt.Sprintf("%s%0*d-%s%s", namePrefix, seqDigits, first, created.UTC().Format(nameTime), nameSuffix),
		first: first,
	}
}

// parseLogFile reads a name that newLogFile made.
func parseLogFile(name string) (logFile, bool) {
	middle, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return logFile{}, false
	}
	if middle, ok = strings.CutSuffix(middle, nameSuffix); !ok {
		return logFile{}, false
	}
	digits, created, ok := strings.Cut(middle, "-")
	if !ok || len(digits) != seqDigits {
		return logFile{}, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return logFile{}, false
	}
	if _, err := time.Parse(nameTime, created); err != nil {
		return logFile{}, false
	}
	return logFile{name: name, first: first}, true
}

// listFiles returns the log's files in the chain's order. Other names are left
// alone.
func listFiles(dir string) ([]logFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing audit directory: %w", err)
	}
	var files []logFile
	for _, e := range entries {
		if f, ok := parseLogFile(e.Name()); ok {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b logFile) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// makeDir makes dir with mode 0700, durably, unless it exists.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes the names inside dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the directory for this log alone: two writers would break the
// chain. The lock ends with the returned file, or with the process.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking audit directory %s (is another process using it?): %w", dir, err), d.Close())
	}
	return d, nil
}
