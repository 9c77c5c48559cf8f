package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/kms"
)

const (
	// measureEvery is how often the free space of the data directory is looked at.
	measureEvery = time.Second
	// unreadyBelow and refuseWrites are shares of the disk that are free, in percent:
	// below the first, the node says that it is not ready; below the second, a leader
	// proposes nothing.
	unreadyBelow = 5
	refuseWrites = 2
	// maxSkew is how far a node's wall clock may be from the median of all. A node
	// beyond it is not ready and does not go on leading.
	maxSkew = 60 * time.Second
	// skewPatience is how long a leader is beyond it before it hands over.
	skewPatience = 2 * time.Second
	// deafPatience is how long a leader goes without the answers to its Beats of so many
	// voters that it could not lead without them, before it hands over.
	deafPatience = 10 * time.Second
	// leastClocks is how many clocks there must be for a median to accuse anybody.
	leastClocks = 3
)

// diskSpace is the room for the data directory, in bytes; 0 when it is not known.
type diskSpace struct{ free, total uint64 }

// below tells whether less than a percentage is free.
func (d diskSpace) below(percent uint64) bool { return d.total > 0 && d.free/percent < d.total/100 }

func statDisk(dir string) diskSpace {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return diskSpace{}
	}
	return diskSpace{free: fs.Bavail * uint64(fs.Bsize), total: fs.Blocks * uint64(fs.Bsize)}
}

// disk returns what was measured last.
func (n *Node) disk() diskSpace { return *n.space.Load() }

func (n *Node) measureDisk() {
	d := n.cfg.hooks.disk()
	n.space.Store(&d)
}

// watchMachine measures the disk for as long as the node runs, and says when
// thresholds are crossed.
func (n *Node) watchMachine() {
	var said uint64 // the threshold that was logged
	for sleep(n.ctx, measureEvery) {
		n.measureDisk()
		var crossed uint64
		switch d := n.disk(); {
		case d.below(refuseWrites):
			crossed = refuseWrites
		case d.below(unreadyBelow):
			crossed = unreadyBelow
		}
		if crossed != said && crossed > 0 {
			n.log.Error("the disk of the data directory is nearly full", "free_bytes", n.disk().free, "below_percent", crossed)
		}
		said = crossed
	}
}

var (
	errDisk = errors.New("less than 5 % of the disk is free")
	errSkew = errors.New("the wall clock differs from the other nodes' by more than 60 seconds")
)

// A clockReading is a wall clock's time and when it was taken, on this node's boot
// clock.
type clockReading struct {
	wall int64 // milliseconds since 1970
	at   time.Duration
}

// noteMedian takes what the leader says of the clocks.
func (n *Node) noteMedian(wall int64) {
	if wall == 0 {
		n.median.Store(nil)
		return
	}
	n.median.Store(&clockReading{wall, n.clock.Boot()})
}

// skew returns how far this node's wall clock is ahead of the median; 0 while that
// is not known. It is as exact as a Beat is fast.
func (n *Node) skew() time.Duration {
	m := n.median.Load()
	if m == nil {
		return 0
	}
	return time.Duration(n.clock.Wall().UnixMilli()-m.wall)*time.Millisecond - (n.clock.Boot() - m.at)
}

// median returns the median of the members' wall clocks now, or 0 while too few
// are known. With two, nobody could say which is wrong.
func (l *leadership) median() int64 {
	now := l.n.clock.Boot()
	clocks := []int64{l.n.clock.Wall().UnixMilli()}
	for _, m := range l.known() {
		if m.Any && now-m.Heard < lease.Silence {
			clocks = append(clocks, m.Last.Wall+(now-m.Heard).Milliseconds())
		}
	}
	if len(clocks) < leastClocks {
		return 0
	}
	slices.Sort(clocks)
	middle := len(clocks) / 2
	if len(clocks)%2 == 1 {
		return clocks[middle]
	}
	return clocks[middle-1] + (clocks[middle]-clocks[middle-1])/2
}

// Passed returns the latest time that the wall clocks of a majority of the voters are
// known to have passed. What cannot be undone waits for it, so that no clock destroys
// anything alone. Only a leader knows it: ok is false on every other node, before a
// new leader has heard its members, while its own clock is not like the others', and
// in the first minutes of a node that votes alone (see lease.Leader).
func (n *Node) Passed() (t time.Time, ok bool) {
	l := n.lead.Load()
	if l == nil || n.skew().Abs() > maxSkew {
		return time.Time{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ms, ok := l.lease.Passed(n.clock.Wall().UnixMilli(), n.started, n.clock.Boot())
	if !ok {
		return time.Time{}, false
	}
	return time.UnixMilli(ms), true
}

// certificateTime returns the time for a certificate. One that is dated by a clock that
// runs ahead would be taken by nobody, and its node could not even ask for another one.
// So it is the median of the members' clocks where there are enough to tell. This node's
// own will do when another member's agrees, or when there is no other voter.
func (l *leadership) certificateTime() (time.Time, error) {
	if ms := l.median(); ms != 0 {
		return time.UnixMilli(ms), nil
	}
	wall, now := l.n.clock.Wall(), l.n.clock.Boot()
	alone, agreed := true, false
	for _, m := range l.known() {
		alone = alone && !m.Voter
		if m.Any && now-m.Heard < lease.Silence {
			other := time.UnixMilli(m.Last.Wall).Add(now - m.Heard)
			agreed = wall.Sub(other).Abs() <= maxSkew
		}
	}
	if !alone && !agreed {
		return time.Time{}, fmt.Errorf("%w: no other clock confirms the time for a certificate", kms.ErrUnavailable)
	}
	return wall, nil
}

// watchBeats hands the leadership over when Raft goes on reaching the members and the
// Beats do not: nobody could serve, and Raft would leave it so. It happens when old
// connections last and new ones cannot be made, because of this node's clock for
// example. The membership's lock is held.
func (l *leadership) watchBeats() {
	now := l.n.clock.Boot()
	voters, heard := 1, 1 // this node
	for _, m := range l.known() {
		if m.Voter {
			voters++
			if now-max(m.Heard, l.members.deaf) < deafPatience {
				heard++
			}
		}
	}
	if 2*heard > voters {
		return
	}
	l.members.deaf = now
	l.n.log.Error("handing the leadership over: too few members answer Beats", "voters", voters, "for", deafPatience)
	l.transfer()
}

// watchSkew hands the leadership over when this node's wall clock, which stamps all
// commands, is not like the others'. The membership's lock is held.
func (l *leadership) watchSkew() {
	l.n.noteMedian(l.median())
	now := l.n.clock.Boot()
	switch skew := l.n.skew(); {
	case skew.Abs() <= maxSkew:
		l.members.skewed = 0
		return
	case l.members.skewed == 0:
		l.members.skewed = now
		return
	case now-l.members.skewed < skewPatience:
		return
	default:
		l.members.skewed = 0
		l.n.log.Error("handing the leadership over: the wall clock differs from the other nodes'", "ahead", skew)
	}
	l.transfer()
}

// transfer gives the leadership to a voter that answers, and if none does to whom Raft
// chooses: it reaches members that the Beats do not.
func (l *leadership) transfer() {
	err := l.bequeath(l.ctx)
	if errors.Is(err, errNoHeir) {
		err = l.n.await(l.ctx, l.n.raft.LeadershipTransfer())
	}
	if err != nil && l.ctx.Err() == nil {
		l.n.log.Error("handing the leadership over", "err", err)
	}
}
