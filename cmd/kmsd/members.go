package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kmsd/kmsd/wire/admin"
)

// statusCmd is "kmsd status". Its exit code tells whether the node serves, so that
// it can be a health check.
type statusCmd struct{ operator }

// Run prints what the node knows of itself.
func (c *statusCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		err = c.answer(std, s)
	} else {
		err = std.table(statusRows(s)...)
	}
	if err == nil && !s.Ready {
		err = errors.New("the node does not serve")
	}
	return err
}

func statusRows(s *admin.GetStatusResponse) [][]string {
	leader := s.LeaderID
	if leader == "" {
		leader = "not known"
	}
	account := s.OperatorAccount
	if account == "" {
		account = "not known"
	}
	tolerance := "not known"
	if s.Quorum != nil {
		tolerance = strconv.Itoa(s.Quorum.FailureTolerance)
	}
	ready := "yes"
	if !s.Ready {
		ready = "no: " + strings.Join(s.NotReady, "; ")
	}
	rows := [][]string{
		{"Ready", ready},
		{"Node", s.NodeID},
		{"Cluster", s.ClusterID},
		{"Operator account", account},
		{"Role", s.Role},
		{"Leader", leader},
		{"Failure tolerance", tolerance},
		{"Term", number(s.Term)},
		{"Applied", number(s.Applied)},
		{"Stable", number(s.Stable)},
		{"Release", s.Release},
		{"Cluster version", fmt.Sprintf("%d (this node supports %d)", s.ClusterVersion, s.SupportedVersion)},
		{"Starts", number(s.Starts)},
		{"Seal", s.Seal},
		{"Disk", fmt.Sprintf("%s of %s free", size(s.DiskFree), size(s.DiskSize))},
		{"Clock", fmt.Sprintf("%+d ms off the members' median", s.WallOffset)},
	}
	if !s.CertificateExpires.IsZero() {
		rows = append(rows, []string{"Certificate until", s.CertificateExpires.UTC().Format(time.RFC3339)})
	}
	if d := s.DestroyedSecrets; d != nil {
		rows = append(rows, []string{"Destroyed secrets", "on the disk, sealed, since " + d.Since.UTC().Format(time.RFC3339)})
	}
	for _, w := range s.Warnings {
		rows = append(rows, []string{"Warning", w})
	}
	return rows
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// size writes bytes for people.
func size(n uint64) string {
	const gib, mib = 1 << 30, 1 << 20
	if n >= 10*gib {
		return number(n/gib) + " GiB"
	}
	return number(n/mib) + " MiB"
}

// membersCmd is "kmsd members".
type membersCmd struct{ operator }

// Run prints the members.
func (c *membersCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	out, err := client.Members(ctx)
	if err != nil {
		return c.outcome(err)
	}
	if c.JSON {
		return c.answer(std, out)
	}
	rows := [][]string{{"ID", "ROLE", "HEALTHY", "ADDRESS", "API", "HEARD", "LAG", "VERSION"}}
	for _, m := range out.Members {
		rows = append(rows, memberRow(&m))
	}
	if err := std.table(rows...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "\n%v.\n", out.Quorum)
	return err
}

func memberRow(m *admin.Member) []string {
	healthy, api, heard, lag := "no", m.APIAddress, "-", "-"
	if m.Healthy {
		healthy = "yes"
	}
	if api == "" {
		api = "-"
	}
	if m.LastContact != nil {
		heard = (time.Duration(*m.LastContact) * time.Millisecond).String() + " ago"
	}
	if m.Lag != nil {
		lag = number(*m.Lag)
	}
	return []string{m.MemberID, m.Role, healthy, m.Address, api, heard, lag, number(uint64(m.Version))}
}

// leaveTimeout outlives a node that leaves after the longest drain.
const leaveTimeout = maxDrain + 70*time.Second

// leaveCmd is "kmsd leave".
type leaveCmd struct {
	operator
	confirmation
	Force bool `help:"Leave even when the others cannot decide anything without this node, or when there are none: every key may be lost."`
}

// Run makes the node leave its cluster.
func (c *leaveCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.patientClient(leaveTimeout)
	if err != nil {
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return c.outcome(err)
	}
	what := fmt.Sprintf("Node %s leaves cluster %s for good: its keys and its log are erased, and it ends.", s.NodeID, s.ClusterID)
	if err := c.ask(std, what); err != nil {
		return err
	}
	// The id is a guard: behind a load balancer another node could take this call.
	if err := client.Leave(ctx, &admin.LeaveClusterRequest{MemberID: &s.NodeID, Force: &c.Force}); err != nil {
		return c.outcome(err)
	}
	return c.done(std, &admin.LeaveClusterResponse{}, "Node "+s.NodeID+" has left the cluster.")
}

// removePeerCmd is "kmsd remove-peer".
type removePeerCmd struct {
	operator
	confirmation
	ID    string `arg:"" help:"The member's id, from kmsd members."`
	Force bool   `help:"Remove even when the others cannot decide anything without it: every key may be lost."`
}

// Run removes another member.
func (c *removePeerCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("Member %s is removed for good: it must be dead. To come back it has to be wiped and joined anew.", c.ID)
	if err := c.ask(std, what); err != nil {
		return err
	}
	if err := client.RemoveMember(ctx, c.ID, c.Force); err != nil {
		return c.outcome(err)
	}
	return c.done(std, &admin.RemoveMemberResponse{}, "Member "+c.ID+" is removed.")
}
