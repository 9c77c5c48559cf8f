package iam

import (
	"slices"

	"github.com/kmsd/kmsd/wire"
)

var byName = func() map[string]wire.Operation {
	m := make(map[string]wire.Operation, len(operations))
	for _, op := range operations {
		m[op.Name] = op
	}
	return m
}()

// Lookup returns the operation of that name, which is case-sensitive.
func Lookup(name string) (wire.Operation, bool) {
	op, ok := byName[name]
	return op, ok
}

// Operations returns all operations, sorted by name.
func Operations() []wire.Operation { return slices.Clone(operations) }
