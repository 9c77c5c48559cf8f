package cluster

import (
	"bytes"
	"context"

	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/fsm"
)

// After every removal the authority of the nodes and the key of gossip are replaced,
// since the removed node knew them. Each step is one command, and the state alone
// says which is next, so that any leader goes on with it:
//
//	announced   Next is set before the removal, as a reminder
//	made        Next is made anew after the removal, and so is a gossip key
//	in use      every member trusts Next durably: it becomes Current, and the new
//	            gossip key the primary one. Members renew their certificates at once
//	done        every member's certificate is of Current: nothing else is trusted
//
// A member that is away holds the rotation up until it returns or is removed: it
// could not recognise the others otherwise.

// announceRotation makes the state remember that a rotation is due.
func (l *leadership) announceRotation(ctx context.Context) error {
	view := l.n.machine.View()
	a := view.Authority()
	if a == nil || a.Next != nil {
		return nil
	}
	return l.makeNext(ctx, view, a)
}

// rotate makes the next step. more tells that it did something.
func (l *leadership) rotate(ctx context.Context) (more bool, err error) {
	view := l.n.machine.View()
	a, g := view.Authority(), view.GossipKeys()
	switch {
	case a == nil || g == nil:
		return false, nil
	case a.Next != nil && !l.members.nextFresh:
		if err := l.addGossipKey(ctx, view, g); err != nil {
			return false, err
		}
		view = l.n.machine.View() // with that change
		if err := l.makeNext(ctx, view, view.Authority()); err != nil {
			return false, err
		}
		l.members.nextFresh = true
		l.n.log.Info("the next authority is made; every member must trust it")
		return true, nil
	case a.Next != nil:
		return l.useNext(ctx, view, a, g)
	case len(a.Trusted) > 1:
		return l.dropOld(ctx, view, a, g)
	}
	return false, nil
}

// makeNext makes a new next authority in the place of one that was not in use.
func (l *leadership) makeNext(ctx context.Context, view *fsm.View, a *fsm.Authority) error {
	made, err := trust.NewAuthority(l.n.clusterID, l.n.clock.Wall())
	if err != nil {
		return err
	}
	next, err := sealAuthority(l.n.keyring, made)
	if err != nil {
		return err
	}
	set := fsm.Authority{Current: a.Current, API: a.API, Next: &next, Trusted: [][]byte{a.Current.Cert, next.Cert}}
	for _, cert := range a.Trusted[1:] {
		if a.Next == nil || !bytes.Equal(cert, a.Next.Cert) {
			set.Trusted = append(set.Trusted, cert)
		}
	}
	_, err = l.n.decide(ctx, &fsm.SetAuthority{Authority: set}, view.Reads())
	return err
}

// addGossipKey makes every node read what is written with a new key. It is written
// with the present one still.
func (l *leadership) addGossipKey(ctx context.Context, view *fsm.View, g *fsm.GossipKeys) error {
	key, err := newGossipKey(l.n.keyring)
	if err != nil {
		return err
	}
	set := fsm.GossipKeys{Keys: [][]byte{key, g.Keys[g.Primary]}, Primary: 1}
	_, err = l.n.decide(ctx, &fsm.SetGossipKeys{GossipKeys: set}, view.Reads())
	return err
}

// useNext makes the next authority the one that issues, once every member trusts it.
func (l *leadership) useNext(ctx context.Context, view *fsm.View, a *fsm.Authority, g *fsm.GossipKeys) (bool, error) {
	if !l.allTrust(view, a.ModIndex) {
		return false, nil
	}
	if len(g.Keys) > 1 && g.Primary != 0 {
		if _, err := l.n.decide(ctx, &fsm.SetGossipKeys{GossipKeys: fsm.GossipKeys{Keys: g.Keys}}, view.Reads()); err != nil {
			return false, err
		}
		return true, nil
	}
	set := fsm.Authority{Current: *a.Next, API: a.API, Trusted: [][]byte{a.Next.Cert}}
	for _, cert := range a.Trusted {
		if !bytes.Equal(cert, a.Next.Cert) {
			set.Trusted = append(set.Trusted, cert)
		}
	}
	if _, err := l.n.decide(ctx, &fsm.SetAuthority{Authority: set}, view.Reads()); err != nil {
		return false, err
	}
	l.n.log.Info("the new authority issues certificates; every member renews its own")
	return true, nil
}

// allTrust tells whether every member trusts the authorities of the record at index,
// so that the next start will, too.
func (l *leadership) allTrust(view *fsm.View, index uint64) bool {
	told := map[string]uint64{l.n.id: l.n.trusts.Load()}
	for _, m := range l.known() {
		told[m.ID] = m.Last.Authority
	}
	for _, r := range view.Nodes() {
		if told[r.ID] < index {
			return false
		}
	}
	return true
}

// dropOld makes the current authority the only one, once every member's certificate
// is of it.
func (l *leadership) dropOld(ctx context.Context, view *fsm.View, a *fsm.Authority, g *fsm.GossipKeys) (bool, error) {
	current, err := trust.CertificateSPKI(a.Current.Cert)
	if err != nil {
		return false, err
	}
	for _, r := range view.Nodes() {
		if r.CertIssuer != current {
			return false, nil
		}
	}
	if len(g.Keys) > 1 {
		set := fsm.GossipKeys{Keys: [][]byte{g.Keys[g.Primary]}}
		_, err := l.n.decide(ctx, &fsm.SetGossipKeys{GossipKeys: set}, view.Reads())
		return err == nil, err
	}
	set := fsm.Authority{Current: a.Current, API: a.API, Trusted: [][]byte{a.Current.Cert}}
	if _, err := l.n.decide(ctx, &fsm.SetAuthority{Authority: set}, view.Reads()); err != nil {
		return false, err
	}
	l.n.log.Info("the old authority is not trusted any more")
	return true, nil
}
