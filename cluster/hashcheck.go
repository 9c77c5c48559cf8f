package cluster

import (
	"time"

	"github.com/kmsd/kmsd/fsm"
)

// hashEvery is how often the leader has all nodes compare their states.
const hashEvery = 10 * time.Minute

// checkHashes proposes a HashCheck at intervals while this node leads. It carries
// the digest of the state after the one before; a node whose own digest differs
// stops there.
func (l *leadership) checkHashes() {
	ticker := time.NewTicker(l.n.cfg.hooks.hash)
	defer ticker.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.checkHash(); err != nil {
			l.n.log.Warn("comparing the nodes' states", "err", err)
		}
	}
}

func (l *leadership) checkHash() error {
	index, digest := l.n.machine.Check()
	cmd, err := fsm.NewCommand(fsm.ReqKey{}, l.n.meta(), &fsm.HashCheck{PrevIndex: index, PrevDigest: digest})
	if err != nil {
		return err
	}
	_, _, err = l.n.Propose(l.ctx, cmd)
	return err
}
