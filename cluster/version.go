package cluster

import (
	"context"
	"fmt"

	"github.com/kmsd/kmsd/cluster/lease"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// versions are the cluster versions that a build supports, and when commands came.
type versions struct {
	oldest, newest uint32
	since          func(fsm.Command) uint32
}

// ofBuild is what this build supports.
var ofBuild = versions{fsm.OldestVersion, fsm.NewestVersion, fsm.Command.Since}

func (n *Node) versions() *versions { return &n.cfg.hooks.versions }

// clusterVersion returns the version of the applied state, 0 before the first
// command.
func (n *Node) clusterVersion() uint32 {
	if meta := n.machine.View().Meta(); meta != nil {
		return meta.ClusterVersion
	}
	return 0
}

// errNotYet is the answer to a command that some member would not know. Nothing was
// proposed, and another attempt can succeed once all members run the new release:
// whoever forwards the call does not wait for that.
var errNotYet = &kms.Error{
	Code:    kms.CodeServiceUnavailable,
	Message: "The cluster is being upgraded. The request can be served when every node runs the new release. Nothing was done.",
}

// mayPropose refuses a command that came with a later cluster version than the
// state has. The version never goes down, so that what is checked before a command
// is proposed still holds where the command stands in the log.
func (n *Node) mayPropose(cmd fsm.Command) error {
	if n.versions().since(cmd) > n.clusterVersion() {
		return errNotYet
	}
	return nil
}

// raiseVersion raises the cluster version to what every member supports. config is
// Raft's configuration, which names the same members as the state. A member counts
// by what it has just said itself: who is away holds the version up, since nobody
// knows which release it will come back with.
func (l *leadership) raiseVersion(ctx context.Context, config map[string]bool) (more bool, err error) {
	common := l.n.versions().newest
	now, heard := l.n.clock.Boot(), 0
	for _, m := range l.known() {
		if _, ok := config[m.ID]; !ok {
			continue
		}
		if !m.Any || now-m.Heard >= lease.Silence {
			return false, nil
		}
		common = min(common, uint32(m.Last.Version))
		heard++
	}
	if heard != len(config)-1 || common <= l.n.clusterVersion() {
		return false, nil
	}
	if _, err := l.n.decide(ctx, &fsm.VersionBump{Version: common}, nil); err != nil {
		return false, fmt.Errorf("raising the cluster version to %d: %w", common, err)
	}
	l.n.log.Info("every member supports the cluster version", "version", common)
	return true, nil
}

// tooNew returns the error of a node whose state, of this version, another release
// has to serve: this build does not know what may come.
func (v *versions) tooNew(version uint32) error {
	if version <= v.newest {
		return nil
	}
	return fmt.Errorf("the cluster has version %d, this build supports up to %d: install a newer release", version, v.newest)
}

// tooOld is tooNew's counterpart for a build that has given up the cluster's
// version.
func (v *versions) tooOld(version uint32) error {
	if version >= v.oldest {
		return nil
	}
	return fmt.Errorf("the cluster has version %d, this build supports no version before %d: install an older release", version, v.oldest)
}
