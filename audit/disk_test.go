package audit_test

import (
	"sync"

	"github.com/kmsd/kmsd/audit"
)

// A disk opens real files and does to them what a test wants.
type disk struct {
	mu    sync.Mutex
	n     counts
	gate  chan struct{} // writes wait until it is closed; nil: no wait
	fault fault         // what happens to the next call; the zero value: nothing
}

type counts struct{ writes, syncs, opens int }

// A fault is a failure of one kind of call.
type fault struct {
	call string // write, sync or open; empty: none
	keep int    // bytes of a write that reach the file
	err  error  // nil for a write: only the count is short
}

func newDisk() *disk { return &disk{} }

// hold makes writes wait until the returned channel is closed.
func (d *disk) hold() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
	return d.gate
}

// fail sets what happens from now on.
func (d *disk) fail(f fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

func (d *disk) counted() counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// enter counts a call and returns the fault if it concerns the call.
func (d *disk) enter(call string, count *int) (fault, bool, chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*count++
	return d.fault, d.fault.call == call, d.gate
}

func (d *disk) open(path string, create bool) (audit.File, error) {
	if f, hit, _ := d.enter("open", &d.n.opens); hit {
		return nil, f.err
	}
	real, err := audit.OpenAppend(path, create)
	if err != nil {
		return nil, err
	}
	return &diskFile{disk: d, real: real}, nil
}

type diskFile struct {
	disk *disk
	real audit.File
}

func (f *diskFile) Write(b []byte) (int, error) {
	fault, hit, gate := f.disk.enter("write", &f.disk.n.writes)
	if gate != nil {
		<-gate
	}
	if !hit {
		return f.real.Write(b)
	}
	n, err := f.real.Write(b[:min(fault.keep, len(b))])
	if err != nil {
		return n, err
	}
	return n, fault.err
}

func (f *diskFile) Sync() error {
	if fault, hit, _ := f.disk.enter("sync", &f.disk.n.syncs); hit {
		return fault.err
	}
	return nil // counted; the machine's disk would only make the tests slow
}

func (f *diskFile) Close() error { return f.real.Close() }
