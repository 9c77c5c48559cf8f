package testkit

import (
	"slices"
	"sync"
)

// seen holds the error codes that calls of this test process were answered, by
// operation.
var seen struct {
	sync.Mutex
	codes map[string][]string
}

func note(op string, a *Answer) {
	seen.Lock()
	defer seen.Unlock()
	if seen.codes == nil {
		seen.codes = map[string][]string{}
	}
	if a.Refusal != nil && !slices.Contains(seen.codes[op], a.Refusal.Code) {
		seen.codes[op] = append(seen.codes[op], a.Refusal.Code)
	}
}

// Seen returns the error codes that the process's calls of the operation were
// answered so far, sorted.
func Seen(op string) []string {
	seen.Lock()
	defer seen.Unlock()
	return slices.Sorted(slices.Values(seen.codes[op]))
}
