package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/kmsd/kmsd/fsm"
)

// TestReadersDuringApply runs every kind of reader against applies and restores.
// In every view, all keys carry one alias each, and the lists agree with the
// records.
func TestReadersDuringApply(t *testing.T) {
	t.Parallel()
	d := started(t, &fsm.Config{AliasesPerKey: 1000})
	fill(t, d, 200)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, read := range []func() error{
		func() error { return readLists(d.View()) },
		func() error { return readRecords(d.View()) },
		func() error { return d.Snapshot().Persist(io.Discard) },
		func() error { d.Digest(); d.Check(); return nil },
	} {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := read(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 600 {
		k := 1 + i%200
		switch i / 200 {
		case 0:
			d.ok(createAlias(fmt.Sprintf("%03d", k), k))
		case 1:
			d.ok(fsm.UpdateAlias(createAlias(fmt.Sprintf("%03d", k), 1+k%200)))
		case 2:
			d.ok(fsm.DeleteAlias{Account: account, Region: region, Name: fmt.Sprintf("alias/%03d", k)})
		}
		if i%50 == 0 {
			d.ok(fsm.HashCheck{})
		}
		if i%150 == 100 {
			if err := d.Restore(bytes.NewReader(persist(t, d.Machine))); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
}

func readLists(v *fsm.View) error {
	ids, more := v.ListKeys(account, region, "", 300)
	if len(ids) != 200 || more {
		return fmt.Errorf("ListKeys: got %d keys, want 200", len(ids))
	}
	aliases, _ := v.ListAliases(account, region, "", 1000)
	for _, a := range aliases {
		if got, ok := v.Alias(account, region, a.Name); !ok || got != a {
			return fmt.Errorf("alias %s: the list has %+v, the table %+v", a.Name, a, got)
		}
	}
	perKey := 0
	for _, id := range ids {
		list, _ := v.ListKeyAliases(account, region, id, "", 1000)
		perKey += len(list)
	}
	if perKey != len(aliases) {
		return fmt.Errorf("the keys have %d aliases, the Region %d", perKey, len(aliases))
	}
	return nil
}

func readRecords(v *fsm.View) error {
	for i := 1; i <= 200; i++ {
		k, ok := v.Key(region, keyID(i))
		if !ok || k.ModIndex > v.Index() {
			return fmt.Errorf("key %d: got %+v in a view at index %d", i, k, v.Index())
		}
		if _, ok := v.PolicyText(k.PolicyHash); !ok {
			return fmt.Errorf("key %d has no policy", i)
		}
	}
	return nil
}
