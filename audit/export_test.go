package audit

import "bytes"

// File is what a fault-injecting test replaces.
type File = file

// OpenAppend opens a real file.
var OpenAppend = openAppend

// SetOpen makes the log open its files with open.
func (c *Config) SetOpen(open func(path string, create bool) (File, error)) { c.open = open }

// Waiting returns how many records wait for the writer.
func (l *Log) Waiting() int { return len(l.queue) }

// Scan follows the lines of b from the start of a chain and returns the offset
// behind the last good one.
func Scan(b []byte) (good int64, err error) { return scan(bytes.NewReader(b), new(chain)) }

// Reseal takes the links off the lines of b and writes them again.
func Reseal(b []byte) []byte {
	var c chain
	var out []byte
	for line := range bytes.Lines(b) {
		record := line[:bytes.LastIndex(line, []byte(linkStart))]
		out = c.seal(out, append(bytes.Clone(record), '}'))
	}
	return out
}
