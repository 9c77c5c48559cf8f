package clients_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// block is a piece of a document that says what to type where: a fenced block whose
// info string is "sh" and the hosts that it is for, each in its turn.
type block struct {
	section string // the heading above
	line    int    // in the file
	hosts   []string
	script  string
}

// readBlocks returns the blocks of a document in their order.
func readBlocks(path string) ([]block, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var blocks []block
	var section string
	var open *block
	fenced := false
	for i, line := range strings.SplitAfter(string(text), "\n") {
		info, fence := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "```")
		switch {
		case fence && fenced:
			if open != nil {
				blocks, open = append(blocks, *open), nil
			}
			fenced = false
		case fence:
			fenced = true
			if words := strings.Fields(info); len(words) > 1 && words[0] == "sh" {
				open = &block{section: section, line: i + 1, hosts: words[1:]}
			}
		case open != nil:
			open.script += line
		case !fenced && strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	if fenced {
		return nil, fmt.Errorf("%s: the last fenced block has no end", path)
	}
	return blocks, nil
}

// document is a document that a test carries out, section by section.
type document struct {
	path   string
	blocks []block
	done   []string // sections
}

func openDocument(t *testing.T, path string) *document {
	t.Helper()
	blocks, err := readBlocks(path)
	if err != nil {
		t.Fatal(err)
	}
	return &document{path: path, blocks: blocks}
}

// run does on the site what a section says, and returns what its commands show.
func (d *document) run(t *testing.T, s *site, section string) (shown string) {
	t.Helper()
	ran := 0
	for _, b := range d.blocks {
		if b.section != section {
			continue
		}
		for _, name := range b.hosts {
			shown += s.run(t, name, fmt.Sprintf("%s:%d", d.path, b.line), b.script)
			ran++
		}
	}
	if ran == 0 {
		t.Fatalf("%s has no section %q that says what to do", d.path, section)
	}
	d.done = append(d.done, section)
	return shown
}

// finish fails the test when a section was left out.
func (d *document) finish(t *testing.T) {
	t.Helper()
	for _, b := range d.blocks {
		if !slices.Contains(d.done, b.section) {
			t.Errorf("%s:%d: the section %q was not carried out", d.path, b.line, b.section)
		}
	}
}
