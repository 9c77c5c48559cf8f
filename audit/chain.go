package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
)

// A chain is the state of the hash chain behind a line: what the next line must
// carry. The zero value stands before the first line of all.
//
// A line is the record's JSON with one more member at its end:
//
//	…,"kmsd":{"seq":7,"prev":"<SHA-256 of line 6 without its newline, hex>"}}
//
// seq counts from 1 and prev of line 1 is 64 zeros.
type chain struct {
	seq  uint64
	hash [sha256.Size]byte
	// trusting tells that hash is unknown: the next line's word is taken for it.
	trusting bool
}

// The pieces of the member that links a line to the one before it.
const (
	linkStart  = `,"kmsd":{"seq":`
	linkMiddle = `,"prev":"`
	linkEnd    = `"}}`
)

// maxLine bounds a line, newline included, in bytes: three objects of 100 KB and
// everything else fit many times.
const maxLine = 1 << 20

// maxLink bounds what seal adds to a record, in bytes.
const maxLink = len(linkStart) + 20 + len(linkMiddle) + 2*sha256.Size + len(linkEnd) + 1

// seal appends record, which is one JSON object on one line, as the next line of
// the chain, and moves the chain on.
func (c *chain) seal(dst, record []byte) []byte {
	start := len(dst)
	dst = append(dst, record[:len(record)-1]...)
	dst = c.appendLink(dst, c.seq+1)
	c.seq++
	c.hash = sha256.Sum256(dst[start:])
	return append(dst, '\n')
}

func (c *chain) appendLink(dst []byte, seq uint64) []byte {
	dst = strconv.AppendUint(append(dst, linkStart...), seq, 10)
	dst = hex.AppendEncode(append(dst, linkMiddle...), c.hash[:])
	return append(dst, linkEnd...)
}

// The ways in which a line breaks the chain.
var (
	errNoLink = errors.New("the line is not a record of this log")
	errSeq    = errors.New("the sequence number does not follow the line before it")
	errPrev   = errors.New("the line before it is not the one that was written")
	errJSON   = errors.New("the line is not valid JSON")
)

// follow checks that line, without its newline, continues the chain, and moves
// the chain on.
func (c *chain) follow(line []byte) error {
	seq, prev, err := parseLink(line)
	switch {
	case err != nil:
		return err
	case seq != c.seq+1:
		return errSeq
	case prev != c.hash && !c.trusting:
		return errPrev
	case !json.Valid(line):
		return errJSON
	}
	*c = chain{seq: seq, hash: sha256.Sum256(line)}
	return nil
}

// parseLink reads the link at the end of a line. Only the exact bytes that
// appendLink writes are a link.
func parseLink(line []byte) (seq uint64, prev [sha256.Size]byte, err error) {
	at := bytes.LastIndex(line, []byte(linkStart))
	if at < 0 {
		return 0, prev, errNoLink
	}
	number, rest, ok := bytes.Cut(line[at+len(linkStart):], []byte(linkMiddle))
	if !ok || len(rest) != 2*len(prev)+len(linkEnd) {
		return 0, prev, errNoLink
	}
	if seq, err = strconv.ParseUint(string(number), 10, 64); err != nil {
		return 0, prev, errNoLink
	}
	if _, err = hex.Decode(prev[:], rest[:2*len(prev)]); err != nil {
		return 0, prev, errNoLink
	}
	if again := (&chain{hash: prev}).appendLink(nil, seq); !bytes.Equal(again, line[at:]) {
		return 0, prev, errNoLink
	}
	return seq, prev, nil
}
