package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Summary tells what Verify found intact.
type Summary struct {
	Files   int    // files that belong to the log
	Records uint64 // records in them; also the last sequence number
	Head    string // SHA-256 of the last line, hex; 64 zeros for an empty log
	// Torn is the length of an unfinished last line, in bytes: a crash leaves one,
	// and so does reading while the log is being written. Open removes it.
	Torn int64
}

// Verify reads every file of the log in dir and checks the chain from its very
// first line. The error is a *BreakError for the first break, with the summary of
// what stands before it. It may run beside an open Log.
//
// It cannot see that the newest records are missing or that the last one was
// changed: compare Records and Head with values kept elsewhere (Log.Head).
func Verify(dir string) (Summary, error) {
	files, err := listFiles(dir)
	if err != nil {
		return Summary{}, err
	}
	var c chain
	var sum Summary
	for i, f := range files {
		if f.first != c.seq+1 {
			return sum.at(&c), &BreakError{File: f.name, Reason: errFirst}
		}
		sum.Files++
		good, err := scanFile(dir, f, &c)
		if err == nil {
			continue
		}
		if i == len(files)-1 && errors.Is(err, errTorn) {
			sum.Torn, err = bytesBehind(dir, f, good)
		}
		if err != nil {
			return sum.at(&c), err
		}
	}
	return sum.at(&c), nil
}

func (s Summary) at(c *chain) Summary {
	s.Records, s.Head = c.seq, hex.EncodeToString(c.hash[:])
	return s
}

// bytesBehind returns how many bytes of a file lie behind an offset.
func bytesBehind(dir string, f logFile, offset int64) (int64, error) {
	info, err := os.Stat(filepath.Join(dir, f.name))
	if err != nil {
		return 0, fmt.Errorf("reading audit file: %w", err)
	}
	return info.Size() - offset, nil
}
