package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
)

// Managed says whose calls bring an AWS managed key into being.
type Managed uint8

const (
	// ManagedNever: the alias of a key that is not there is unknown.
	ManagedNever Managed = iota
	// ManagedByService: the first use through the service that the alias names.
	ManagedByService
	// ManagedByAnyone: everybody of the account who would be allowed the call.
	ManagedByAnyone
)

// MakeManaged returns the command that makes the AWS managed key of a service, with the
// policy and everything of the key but its material.
type MakeManaged func(service string, key *fsm.Key, policy string) (fsm.Args, error)

// plannedKey is what an AWS managed key will have that is not there yet.
type plannedKey struct{ service, policy string }

// plan makes up the AWS managed key that the key's alias will name once the call is
// allowed. It reports false where the call brings none into being: there is no such
// service, or the call is not one that does.
func (r *Request) plan(key *Key, rule *keyRule) bool {
	name, ok := strings.CutPrefix(key.Alias, kms.ManagedAliasPrefix)
	account, p := r.Principal.Account, &r.Principal
	through := p.IsService() && p.Service.Name == name
	if !ok || r.hypothesis != nil || rule.managed == ManagedNever || rule.managed == ManagedByService && !through {
		return false
	}
	if _, ok := r.View.ServiceRole(r.View.Meta().OperatorAccount, name); !ok {
		return false
	}
	policy := iam.ManagedKeyPolicy(account, r.Region, name)
	key.planned = &plannedKey{service: name, policy: policy}
	key.Key = &fsm.Key{
		Account: account, Region: r.Region, ID: NewUUID(), Created: r.Now, Description: "Protects what the service " + name + " keeps for this account where no other key is named",
		Spec: kms.SymmetricDefault, Usage: kms.EncryptDecrypt, Origin: kms.OriginKMS, Manager: kms.ManagerAWS, State: kms.Enabled,
		PolicyHash: sha256.Sum256([]byte(policy)), RotationPeriod: fsm.ManagedRotation, NextRotation: r.Now + fsm.ManagedRotation*dayMillis,
	}
	key.ARN, key.named = key.Key.ARN(), kms.AliasARN(r.Region, account, key.Alias)
	return true
}

// keyPolicy is the key's policy.
func (s *Service) keyPolicy(view *fsm.View, key *Key) (*iam.Policy, error) {
	if key.planned != nil {
		return s.compiled(key.planned.policy, key.PolicyHash, iam.KeyPolicy)
	}
	return s.policy(view, key.PolicyHash, iam.KeyPolicy)
}

// plannedKey returns the AWS managed key that the call brings into being, nil for none.
func (r *Request) plannedKey() *Key {
	for i := range r.Keys {
		if r.Keys[i].planned != nil {
			return &r.Keys[i]
		}
	}
	return nil
}

// bringForth has the leader make the AWS managed key that the call is allowed to use and
// the first to use, and starts the call anew from a View that has it. A dry run makes
// none.
func (s *Service) bringForth(ctx context.Context, r *Request, in any) error {
	if r.row.dryRun(in) {
		return errDryRun
	}
	r.leave() // another call has the place meanwhile
	r.firstUse = true
	_, err := s.forward(ctx, r.Call)
	r.firstUse = false
	if err != nil {
		return err
	}
	pool := s.pools.of(r)
	if err := pool.enter(ctx); err != nil {
		return err
	}
	r.pool = pool
	if err := s.reopen(ctx, r); err != nil {
		return err
	}
	r.Record.Resources = nil
	if err := s.check(r, in); err != nil {
		return err
	}
	if r.plannedKey() != nil {
		return kms.ErrUnavailable
	}
	return nil
}

// executeFirstUse makes the AWS managed key that a forwarded read brings into being, and
// leaves the answer to the sender. A key that is there already is as good: of several
// first uses at once all but one find it.
func (s *Service) executeFirstUse(ctx context.Context, c *Call) ([]byte, uint64, error) {
	row := s.rows[rowKey{c.Service, c.Operation}]
	if row == nil || row.Write || row.acts || row.Public {
		return nil, 0, kms.ErrNotLeader // a node of another version knows it
	}
	in, err := row.decode(c.Body)
	if err != nil {
		return nil, 0, kms.ErrNotLeader
	}
	for range maxAttempts {
		r, err := s.begin(ctx, c, row)
		if err != nil {
			return nil, 0, err
		}
		index, err := s.firstUse(ctx, r, in)
		if !errors.Is(err, errConflict) {
			return nil, index, err
		}
	}
	return nil, 0, errThrottled
}

// firstUse decides on the leader what executeFirstUse does. The sender records refusals.
func (s *Service) firstUse(ctx context.Context, r *Request, in any) (index uint64, err error) {
	if err := s.check(r, in); err != nil {
		if settleErr := s.settle(ctx, r); settleErr != nil {
			err = settleErr
		}
		return 0, err
	}
	key := r.plannedKey()
	switch {
	case key == nil:
		return r.View.MaxIndex(), s.settle(ctx, r)
	case s.trail.Healthy() != nil:
		return 0, kms.ErrUnavailable
	}
	args, err := s.makeManaged(key.planned.service, key.Key, key.planned.policy)
	if err != nil {
		return 0, err
	}
	record := ownEvent("CreateKey", key.Key, r.Now)
	record.Details.String("keyId", key.ID)
	record.Details.String("aliasName", key.Alias)
	return s.commitOwn(ctx, r.View, record, args)
}
