package service

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

var testStart = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Buckets that are full again are dropped, those in use stay.
func TestIdleBucketsGo(t *testing.T) {
	t.Parallel()
	b, one := newBuckets(), newLimit(1000)
	now := testStart
	for i := range 200_000 {
		now = now.Add(time.Millisecond)
		if !b.take(bucketKey{strconv.Itoa(i), "CreateKey", "us-east-1"}, one, now) {
			t.Fatalf("the first call of account %d finds no token", i)
		}
		// A bucket that is never full must be there at the end.
		b.take(bucketKey{"busy", "CreateKey", "us-east-1"}, newLimit(slowest), now)
	}
	// At most 1,000 buckets of the last second are not full. A shard drops the others
	// when it has twice as many as it had left.
	if n := b.size(); n > 4*1000+bucketShards*minSweep {
		t.Errorf("%d buckets are kept", n)
	}
	if b.take(bucketKey{"busy", "CreateKey", "us-east-1"}, newLimit(slowest), now) {
		t.Error("a bucket in use was dropped")
	}
}

// slowest is one request in 1000 seconds.
const slowest = 1

// An account that invents Regions gets a bucket for each up to a bound, and one for
// all others. The other accounts of its shard keep figures of their own.
func TestManyRegions(t *testing.T) {
	t.Parallel()
	b, slow := newBuckets(), newLimit(slowest)
	now := testStart
	passed := 0
	for i := range 100_000 {
		if b.take(bucketKey{"flood", "CreateKey", "r-" + strconv.Itoa(i)}, slow, now) {
			passed++
		}
	}
	if n := b.size(); n > maxBuckets+1 || passed != n {
		t.Errorf("%d buckets are kept and %d calls passed", n, passed)
	}
	for i := range 1000 {
		key := bucketKey{fmt.Sprintf("%012d", i), "CreateKey", "us-east-1"}
		if !b.take(key, slow, now) || b.take(key, slow, now) {
			t.Fatalf("account %d has not its own figure", i)
		}
	}
	if n := b.size(); n > maxBuckets+1001 {
		t.Errorf("%d buckets are kept", n)
	}
	// When the flood's buckets are full again there is room.
	now = now.Add(2000 * time.Second)
	for i := range 200 {
		if !b.take(bucketKey{"flood", "CreateKey", "again-" + strconv.Itoa(i)}, slow, now) {
			t.Fatalf("Region %d of a calm account shares a bucket", i)
		}
	}
}

// A call is known for as long as it may be sent again, and memory is bounded.
func TestRecentCalls(t *testing.T) {
	t.Parallel()
	var s recent
	now := testStart
	for i := range 1000 {
		if !s.add(strconv.Itoa(i), now) {
			t.Fatalf("call %d is known already", i)
		}
		now = now.Add(10 * time.Millisecond)
	}
	for i := range 1000 { // the first of them came ten seconds ago
		if s.add(strconv.Itoa(i), now) {
			t.Errorf("call %d is forgotten", i)
		}
	}
	now = now.Add(writeDeadline - 10*time.Second)
	for i := range 1000 {
		if s.add(strconv.Itoa(i), now) {
			t.Errorf("call %d is forgotten within its deadline", i)
		}
	}
	for range 2 {
		now = now.Add(recentFor)
		s.add(now.String(), now)
	}
	if !s.add("0", now) {
		t.Error("a call is never forgotten")
	}
	for i := range 3 * maxRecent {
		s.add("flood"+strconv.Itoa(i), now)
	}
	if n := len(s.newer) + len(s.older); n > 2*maxRecent {
		t.Errorf("%d calls are known", n)
	}
	if s.add("flood"+strconv.Itoa(3*maxRecent-1), now) {
		t.Error("the last call of a flood is forgotten")
	}
}

// BenchmarkThrottle is the counting alone: with the rates off, of one account that
// all processors share, and of ten thousand.
func BenchmarkThrottle(b *testing.B) {
	const accounts = 10_000
	row := &Row{quota: QuotaSymmetric}
	for _, part := range []struct {
		name     string
		accounts int
		rates    *fsm.Throttle
	}{
		{"off", 1, nil},
		{"one account", 1, fsm.NewThrottle([]fsm.Rate{{Quota: string(QuotaSymmetric), Milli: fsm.MaxRate}})},
		{"10000 accounts", accounts, fsm.NewThrottle([]fsm.Rate{{Quota: string(QuotaSymmetric), Milli: fsm.MaxRate}})},
	} {
		b.Run(part.name, func(b *testing.B) {
			machine := benchMachine(b, part.rates)
			counter := newThrottle(time.Now)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := Request{Call: &Call{Region: "us-east-1"}, View: machine.View(), row: row}
				for i := 0; pb.Next(); i++ {
					r.Principal.Account = names[i%part.accounts]
					_, _ = counter.admit(&r, r.charges(nil)) // refusing costs what counting costs
				}
			})
		})
	}
}

// names are account ids.
var names = func() (list [10_000]string) {
	for i := range list {
		list[i] = fmt.Sprintf("%012d", i)
	}
	return list
}()

func benchMachine(b testing.TB, rates *fsm.Throttle) *fsm.Machine {
	const account = "111122223333"
	m := fsm.New()
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, fsm.Meta{}, fsm.Genesis{ClusterID: "c", OperatorAccount: account,
		Accounts: []fsm.Account{{ID: account}}, Config: &fsm.Config{Throttle: rates}})
	if err != nil {
		b.Fatal(err)
	}
	if r := m.Apply(1, cmd); r.Fatal != nil || r.Err != nil {
		b.Fatal(r)
	}
	return m
}

// RSA leaves half of the processors to the others, where there are two, and heavy work
// half of those; nobody waits for more than a second, but three for heavy work.
func TestPoolSizes(t *testing.T) {
	t.Parallel()
	for cpus, rsa := range map[int64]int64{1: 1, 2: 1, 3: 1, 4: 2, 64: 32} {
		p := newPools(cpus)
		if p.rsa.limit != rsa || p.read.limit <= p.rsa.limit || p.write.limit < 1024 || p.operator.limit < 1 {
			t.Errorf("%d processors: %d for RSA, %d reads, %d writes", cpus, p.rsa.limit, p.read.limit, p.write.limit)
		}
		if heavy := max(1, cpus/4); p.heavy.limit != heavy || p.heavy.patience != 3*time.Second || p.heavy.queue != 16*cpus {
			t.Errorf("%d processors: %d for heavy work, of which %d wait for %v", cpus, p.heavy.limit, p.heavy.queue, p.heavy.patience)
		}
		for _, pool := range []*pool{p.read, p.rsa, p.write, p.operator} {
			if pool.patience != time.Second || pool.queue < pool.limit {
				t.Errorf("%d processors: a pool of %d places has %d that wait for %v", cpus, pool.limit, pool.queue, pool.patience)
			}
		}
	}
}

// Where a call queues.
func TestPoolOfACall(t *testing.T) {
	t.Parallel()
	machine := benchMachine(t, nil)
	p := newPools(1)
	operator, stranger := kms.Principal{Account: "111122223333"}, kms.Principal{Account: "444455556666"}
	for _, row := range []struct {
		name string
		row  Row
		who  kms.Principal
		keys []kms.KeySpec
		want *pool
	}{
		{"a read", Row{}, stranger, nil, p.read},
		{"symmetric work", Row{}, stranger, []kms.KeySpec{"SYMMETRIC_DEFAULT"}, p.read},
		{"RSA", Row{}, stranger, []kms.KeySpec{"RSA_2048"}, p.rsa},
		{"both", Row{}, stranger, []kms.KeySpec{"SYMMETRIC_DEFAULT", "RSA_4096"}, p.rsa},
		{"ML-DSA", Row{}, stranger, []kms.KeySpec{"ML_DSA_44"}, p.rsa},
		{"ML-KEM", Row{}, stranger, []kms.KeySpec{"ML_KEM_1024"}, p.read},
		{"HMAC", Row{}, stranger, []kms.KeySpec{"HMAC_512"}, p.read},
		{"short curves", Row{}, stranger, []kms.KeySpec{"ECC_NIST_P256", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519"}, p.read},
		{"P-384", Row{}, stranger, []kms.KeySpec{"ECC_NIST_P384"}, p.rsa},
		{"P-521", Row{}, stranger, []kms.KeySpec{"ECC_NIST_P521"}, p.rsa},
		{"a write", Row{Write: true}, operator, nil, p.write},
		{"the operator", Row{Operator: "kmsd:SetConfig", Write: true}, operator, nil, p.operator},
		{"the local operator", Row{Operator: "kmsd:GetStatus"}, kms.LocalOperator(0), nil, p.operator},
		{"who would be operator", Row{Operator: "kmsd:GetStatus"}, stranger, nil, p.read},
		{"who would change it", Row{Operator: "kmsd:SetConfig", Write: true}, stranger, nil, p.write},
		{"anybody", Row{Public: true}, kms.Principal{}, nil, p.read},
	} {
		r := &Request{Call: &Call{Principal: row.who}, View: machine.View(), row: &row.row, slow: slices.ContainsFunc(row.keys, slow)}
		if p.of(r) != row.want {
			t.Errorf("%s queues elsewhere", row.name)
		}
	}
}
