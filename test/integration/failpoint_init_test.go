//go:build failpoint

package integration_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// What refusals tell the operator to do.
const (
	nothingThere = "holds no node: kmsd init makes a cluster and its first node, kmsd join another node"
	initAgain    = "remove the directory and run kmsd init again"
	removeIt     = "remove it and run kmsd init again"
	joinAgain    = "join again, with the same directory"
)

// ofInit ends "kmsd init" at each of its moments. A server starts only when the
// credentials were printed.
func (c *crashes) ofInit(t *testing.T) {
	f, tr := newFleet(t), newTrace(t)
	m := f.newMember()
	m.env = []string{tr.env()}
	f.ok(m.run("init"))
	each(t, tr.moments(t), func(t *testing.T, at moment) {
		f := newFleet(t)
		m := f.newMember()
		m.env = []string{at.kill(), hasty}
		r := m.run("init", "--json")
		m.env = []string{hasty}
		f.dies(r, at)
		c.add(at)
		if told := json.Valid([]byte(r.stdout)); told {
			f.founded(result{stdout: r.stdout})
		}
		if m.starts(nothingThere, initAgain) {
			create(t, f.kms(m)) // with the credentials that were printed
			m.checkLeftovers()
			return
		}
		r = m.run("init", "--json")
		if r.code != 0 && strings.Contains(r.stderr, removeIt) {
			must(t, "removing the directory", 0, os.RemoveAll(m.data))
			f.ok(m.run("init", "--json"))
			return // with a cluster that has nothing of the first attempt but the seal
		}
		f.founded(r)
		m.launch()
		m.awaitReady()
		create(t, f.kms(m))
		m.checkLeftovers()
	})
}
