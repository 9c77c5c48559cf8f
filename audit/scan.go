package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A BreakError names the first place where a log is not what was written.
type BreakError struct {
	File   string // name inside the directory
	Line   int    // counted from 1; 0 when the file as a whole is the finding
	Offset int64  // where the line starts, in bytes
	Reason error
}

// Error returns the place and the reason.
func (e *BreakError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("audit log broken: %s: %v", e.File, e.Reason)
	}
	return fmt.Sprintf("audit log broken: %s line %d: %v", e.File, e.Line, e.Reason)
}

// Unwrap returns the reason.
func (e *BreakError) Unwrap() error { return e.Reason }

// The findings that concern a whole file or the place where a line ends.
var (
	errFirst   = errors.New("its name and the lines before it tell of different sequence numbers: a file is missing or was added")
	errTorn    = errors.New("the line has no end")
	errTooLong = errors.New("the line is longer than any record")
	errHole    = errors.New("the line holds NUL bytes")
	errEmpty   = errors.New("it holds no line although another file follows it")
)

// scan follows the lines of a file from its start, moving c on. It returns the
// offset behind the last good line. A break is a *BreakError without a file name;
// other errors come from reading.
func scan(r io.Reader, c *chain) (good int64, err error) {
	br := bufio.NewReaderSize(r, maxLine)
	for number := 1; ; number++ {
		line, err := br.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return good, nil
		}
		if reason := follow(c, line, err); reason != nil {
			return good, &BreakError{Line: number, Offset: good, Reason: reason}
		}
		if err != nil {
			return good, err
		}
		good += int64(len(line))
	}
}

// follow checks one line as ReadSlice returned it. It leaves errors of reading to
// its caller.
func follow(c *chain, line []byte, err error) error {
	switch {
	case err == nil:
	case err == bufio.ErrBufferFull:
		err = errTooLong
	case err == io.EOF:
		err = errTorn
	default:
		return nil
	}
	if bytes.IndexByte(line, 0) >= 0 {
		return errHole
	}
	if err != nil {
		return err
	}
	return c.follow(line[:len(line)-1])
}

// scanFile scans a file of dir. The name of the file comes with every error.
func scanFile(dir string, f logFile, c *chain) (good int64, err error) {
	in, err := os.Open(filepath.Join(dir, f.name))
	if err != nil {
		return 0, fmt.Errorf("opening audit file: %w", err)
	}
	defer in.Close()
	good, err = scan(in, c)
	var broken *BreakError
	if errors.As(err, &broken) {
		broken.File = f.name
		return good, broken
	}
	if err != nil {
		return good, fmt.Errorf("reading audit file %s: %w", f.name, err)
	}
	return good, nil
}
