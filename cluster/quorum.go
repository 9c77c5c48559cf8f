package cluster

// Quorum says what the cluster can lose.
type Quorum struct {
	Voters  int
	Healthy int // voters that answer, serve and keep up
	Needed  int // voters that must agree: a majority
	// FailureTolerance is how many more voters may fail before the cluster stops: it
	// neither writes nor reads then until they are back.
	FailureTolerance int
}

// QuorumOf returns what the members, as the leader sees them, amount to.
func QuorumOf(members []MemberStatus) Quorum {
	var q Quorum
	for _, m := range members {
		if m.Role != RoleLeader && m.Role != RoleVoter {
			continue
		}
		q.Voters++
		if m.Healthy {
			q.Healthy++
		}
	}
	q.Needed = q.Voters/2 + 1
	q.FailureTolerance = max(0, q.Healthy-q.Needed)
	return q
}

// toleranceGauge is the failure tolerance on the leader, -1 elsewhere.
func (n *Node) toleranceGauge() float64 {
	l := n.lead.Load()
	if l == nil || !l.isOpen() {
		return -1
	}
	members, err := l.memberStatus()
	if err != nil {
		return -1
	}
	return float64(QuorumOf(members).FailureTolerance)
}
