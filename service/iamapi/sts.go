// Package iamapi holds the operations of IAM and STS: their rows and what is
// unique to each of them.
//
// Secrets of access keys and session tokens leave a handler in its answer and nowhere
// else: no error and no audit record holds one.
package iamapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	runtime "github.com/kmsd/kmsd/wire"
	wire "github.com/kmsd/kmsd/wire/sts"
)

// Config holds what the operations need beyond the pipeline. All fields are
// required.
type Config struct {
	// Keyring seals the secrets of access keys, and session tokens.
	Keyring *crypto.Keyring
}

type api struct{ keyring *crypto.Keyring }

// Rows returns the operations of IAM and STS that kmsd serves.
func Rows(cfg Config) []*service.Row {
	a := &api{keyring: cfg.Keyring}
	return slices.Concat(
		a.stsRows(),
		userRows(),
		a.accessKeyRows(),
		inlineRows(),
		attachedRows(),
		groupRows(),
		roleRows(),
		policyRows(),
		policyVersionRows(),
		policyListRows(),
		detailRows(),
		absentRows(),
	)
}

func (a *api) stsRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetCallerIdentityRequest, wire.GetCallerIdentityResponse]{
			Service: "sts", Name: "GetCallerIdentity", Open: true, Read: getCallerIdentity,
		}.Row(),
		service.Op[wire.AssumeRoleRequest, wire.AssumeRoleResponse]{
			Service: "sts", Name: "AssumeRole", Open: true, Check: checkAssumeRole, Params: assumeRoleParams, Read: a.assumeRole,
		}.Row(),
		service.Op[wire.GetSessionTokenRequest, wire.GetSessionTokenResponse]{
			Service: "sts", Name: "GetSessionToken", Open: true,
			Check: func(in *wire.GetSessionTokenRequest) error { return checkMFA(in.SerialNumber, in.TokenCode) },
			Params: func(in *wire.GetSessionTokenRequest, p *audit.Params) {
				audit.OptInt(p, "durationSeconds", in.DurationSeconds)
			},
			Read: a.getSessionToken,
		}.Row(),
		service.Op[wire.GetAccessKeyInfoRequest, wire.GetAccessKeyInfoResponse]{
			Service: "sts", Name: "GetAccessKeyInfo", Identity: "sts:GetAccessKeyInfo",
			Params: func(in *wire.GetAccessKeyInfoRequest, p *audit.Params) { p.String("accessKeyId", in.AccessKeyId) },
			Read:   getAccessKeyInfo,
		}.Row(),
	}
}

// getCallerIdentity needs no permission, and no policy can deny it (AWS STS:
// GetCallerIdentity).
func getCallerIdentity(_ context.Context, r *service.Request, _ *wire.GetCallerIdentityRequest) (*wire.GetCallerIdentityResponse, error) {
	p := &r.Principal
	return &wire.GetCallerIdentityResponse{UserId: &p.UniqueID, Account: &p.Account, Arn: &p.ARN}, nil
}

// getAccessKeyInfo answers for long-term access keys of this cluster. AWS reads the
// account out of any id; kmsd's ids hold none.
func getAccessKeyInfo(_ context.Context, r *service.Request, in *wire.GetAccessKeyInfoRequest) (*wire.GetAccessKeyInfoResponse, error) {
	key, ok := r.View.AccessKey(in.AccessKeyId)
	if !ok {
		return nil, invalid("The access key ID is not known to this cluster.")
	}
	return &wire.GetAccessKeyInfoResponse{Account: &key.Account}, nil
}

// The lengths of sessions, in seconds (AWS STS: AssumeRole, GetSessionToken).
const (
	defaultRoleSession = 3600
	maxChainedSession  = 3600
	defaultUserSession = 43200
	maxRootSession     = 3600
)

// checkMFA refuses what needs a device: kmsd has none.
func checkMFA(serial, code *string) error {
	if serial != nil || code != nil {
		return denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	return nil
}

// checkAssumeRole checks what needs no state.
func checkAssumeRole(in *wire.AssumeRoleRequest) error {
	if len(in.ProvidedContexts) > 0 {
		return invalid("ProvidedContexts are not supported.")
	}
	if err := checkMFA(in.SerialNumber, in.TokenCode); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range in.Tags {
		if seen[strings.ToLower(t.Key)] {
			return invalid("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[strings.ToLower(t.Key)] = true
	}
	for _, key := range in.TransitiveTagKeys {
		if !seen[strings.ToLower(key)] {
			return invalid("The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

func assumeRoleParams(in *wire.AssumeRoleRequest, p *audit.Params) {
	p.String("roleArn", in.RoleArn)
	p.String("roleSessionName", in.RoleSessionName)
	audit.OptInt(p, "durationSeconds", in.DurationSeconds)
	p.OptString("policy", in.Policy)
	p.Objects("policyArns", len(in.PolicyArns), func(i int, p *audit.Params) { p.OptString("arn", in.PolicyArns[i].Arn) })
	p.Objects("tags", len(in.Tags), func(i int, p *audit.Params) {
		p.String("key", in.Tags[i].Key)
		p.String("value", in.Tags[i].Value)
	})
	p.Strings("transitiveTagKeys", in.TransitiveTagKeys)
	p.OptString("externalId", in.ExternalId)
	p.OptString("sourceIdentity", in.SourceIdentity)
}

func (a *api) assumeRole(_ context.Context, r *service.Request, in *wire.AssumeRoleRequest) (*wire.AssumeRoleResponse, error) {
	if err := r.CheckAssumes(); err != nil {
		return nil, err
	}
	role, err := authorizeRole(r, in)
	if err != nil {
		return nil, err
	}
	seconds, err := roleSeconds(r, role, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	token := a.newToken(r, seconds)
	token.Type, token.Account, token.Subject, token.Name = kms.PrincipalAssumedRole, role.Account, role.ID, in.RoleSessionName
	token.Tags, token.SourceIdentity, token.From = sessionTags(r, in), sourceIdentity(r, in), cameFrom(r, role)
	if err := r.CheckServiceTags(role, token.Tags); err != nil {
		return nil, err
	}
	packed, err := sessionPolicies(r, role, in, token)
	if err != nil {
		return nil, err
	}
	credentials, err := a.credentials(token)
	if err != nil {
		return nil, err
	}
	out := &wire.AssumeRoleResponse{Credentials: credentials, PackedPolicySize: packed, AssumedRoleUser: &wire.AssumedRoleUser{
		AssumedRoleId: role.ID + ":" + token.Name, Arn: kms.SessionARN(role.Account, role.Name, token.Name),
	}}
	if token.SourceIdentity != "" {
		out.SourceIdentity = &token.SourceIdentity
	}
	recordSession(r, token.AccessKeyID, token.Expires)
	r.Record.ResponseElements.Object("assumedRoleUser", func(p *audit.Params) {
		p.String("assumedRoleId", out.AssumedRoleUser.AssumedRoleId)
		p.String("arn", out.AssumedRoleUser.Arn)
	})
	return out, nil
}

// recordSession shows in the record which credentials were made, without what makes
// them work.
func recordSession(r *service.Request, accessKeyID string, expires int64) {
	r.Record.ResponseElements.Object("credentials", func(p *audit.Params) {
		p.String("accessKeyId", accessKeyID)
		p.Time("expiration", expires)
	})
}

// authorizeRole finds the role and asks its trust policy, and the caller's policies
// where that delegates to them. A role that does not exist is one that nobody may
// assume.
func authorizeRole(r *service.Request, in *wire.AssumeRoleRequest) (*fsm.Identity, error) {
	role, ok := r.Role(in.RoleArn)
	if !ok {
		return nil, r.RoleDenied("sts:AssumeRole", in.RoleArn)
	}
	actions := []string{"sts:AssumeRole"}
	if len(in.Tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if in.SourceIdentity != nil {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	if s := r.Principal.Session; s != nil && s.SourceIdentity != "" && in.SourceIdentity != nil && *in.SourceIdentity != s.SourceIdentity {
		return nil, r.RoleDenied("sts:SetSourceIdentity", in.RoleArn)
	}
	for _, action := range actions {
		if err := r.AuthorizeRole(action, role, func(key string) []string { return roleConditions(in, key) }); err != nil {
			return nil, err
		}
	}
	return role, nil
}

// roleConditions has the condition keys of AssumeRole (AWS STS: "Actions, resources,
// and condition keys for AWS STS").
func roleConditions(in *wire.AssumeRoleRequest, key string) []string {
	switch key {
	case "sts:externalid":
		return optional(in.ExternalId)
	case "sts:rolesessionname":
		return []string{in.RoleSessionName}
	case "sts:sourceidentity":
		return optional(in.SourceIdentity)
	case "sts:transitivetagkeys":
		return in.TransitiveTagKeys
	case "aws:tagkeys":
		keys := make([]string, len(in.Tags))
		for i, t := range in.Tags {
			keys[i] = t.Key
		}
		return keys
	}
	if name, ok := strings.CutPrefix(key, "aws:requesttag/"); ok {
		for _, t := range in.Tags {
			if strings.EqualFold(t.Key, name) {
				return []string{t.Value}
			}
		}
	}
	return nil
}

func optional(s *string) []string {
	if s == nil {
		return nil
	}
	return []string{*s}
}

func roleSeconds(r *service.Request, role *fsm.Identity, sent *int) (int, error) {
	seconds := defaultRoleSession
	if sent != nil {
		seconds = *sent
	}
	switch {
	case r.Principal.RoleID != "" && seconds > maxChainedSession:
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case seconds > int(role.MaxSession):
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return seconds, nil
}

// sessionTags are the tags of a new session: the caller's transitive ones, which
// nothing overrides, and those of the call. What makes a session one of a service never
// goes on: the trust policy of the service's role decides who may say it.
func sessionTags(r *service.Request, in *wire.AssumeRoleRequest) (tags []kms.SessionTag) {
	seen := map[string]bool{}
	if s := r.Principal.Session; s != nil {
		for _, t := range s.Tags {
			if t.Transitive && !isServiceTag(t.Key) {
				seen[strings.ToLower(t.Key)] = true
				tags = append(tags, t)
			}
		}
	}
	transitive := map[string]bool{}
	for _, key := range in.TransitiveTagKeys {
		transitive[strings.ToLower(key)] = true
	}
	for _, t := range in.Tags {
		if !seen[strings.ToLower(t.Key)] {
			tags = append(tags, kms.SessionTag{Key: t.Key, Value: t.Value, Transitive: transitive[strings.ToLower(t.Key)]})
		}
	}
	return tags
}

func isServiceTag(key string) bool {
	return strings.HasPrefix(strings.ToLower(key), kms.ServiceTagPrefix)
}

// cameFrom lists the other accounts whose principals assumed the roles that lead to
// this one: a session ends when an account is closed that it came from.
func cameFrom(r *service.Request, role *fsm.Identity) (accounts []string) {
	if s := r.Principal.Session; s != nil {
		accounts = slices.Clone(s.From)
	}
	if own := r.Principal.Account; own != role.Account && !slices.Contains(accounts, own) {
		accounts = append(accounts, own)
	}
	return accounts
}

func sourceIdentity(r *service.Request, in *wire.AssumeRoleRequest) string {
	if s := r.Principal.Session; s != nil && s.SourceIdentity != "" {
		return s.SourceIdentity
	}
	if in.SourceIdentity != nil {
		return *in.SourceIdentity
	}
	return ""
}

// maxPacked is how much of policies and tags a session may carry, in characters. AWS
// compresses them and keeps its limit to itself; this one is met without.
const maxPacked = 8192

// sessionPolicies puts the session policies into the token, and returns how much of
// the room they and the tags take, in percent; nil if there are none.
func sessionPolicies(r *service.Request, role *fsm.Identity, in *wire.AssumeRoleRequest, token *service.Token) (*int, error) {
	size := 0
	if in.Policy != nil {
		if _, err := iam.Parse(*in.Policy, iam.IdentityPolicy); err != nil {
			return nil, err
		}
		token.Policies = []string{*in.Policy}
		size += len(*in.Policy)
	}
	for _, p := range in.PolicyArns {
		arn := ""
		if p.Arn != nil {
			arn = *p.Arn
		}
		if !r.AttachablePolicy(role.Account, arn) {
			return nil, invalid("The specified policy does not exist: " + arn)
		}
		token.PolicyARNs = append(token.PolicyARNs, arn)
		size += len(arn)
	}
	for _, t := range token.Tags {
		size += len(t.Key) + len(t.Value)
	}
	switch {
	case size > maxPacked:
		return nil, &kms.Error{Code: kms.CodePackedPolicyTooLarge, Message: "Packed policy consumes more than 100% of the space allotted. Please use smaller policy."}
	case size == 0:
		return nil, nil
	}
	return new((size*100 + maxPacked - 1) / maxPacked), nil
}

func (a *api) getSessionToken(_ context.Context, r *service.Request, in *wire.GetSessionTokenRequest) (*wire.GetSessionTokenResponse, error) {
	p := &r.Principal
	if p.Session != nil {
		return nil, denied("Cannot call GetSessionToken with session credentials")
	}
	seconds := defaultUserSession
	if in.DurationSeconds != nil {
		seconds = *in.DurationSeconds
	}
	if p.Type == kms.PrincipalRoot {
		seconds = min(seconds, maxRootSession)
	}
	token := a.newToken(r, seconds)
	token.Type, token.Account, token.Subject, token.By = p.Type, p.Account, p.UniqueID, p.AccessKeyID
	credentials, err := a.credentials(token)
	if err != nil {
		return nil, err
	}
	recordSession(r, token.AccessKeyID, token.Expires)
	return &wire.GetSessionTokenResponse{Credentials: credentials}, nil
}

// newToken starts a token with an access key of its own.
func (a *api) newToken(r *service.Request, seconds int) *service.Token {
	id, secret := service.NewAccessKey("ASIA")
	return &service.Token{AccessKeyID: id, Secret: secret, Issued: r.Now, Expires: r.Now + int64(seconds)*1000, Epoch: r.View.Meta().RestoreEpoch}
}

func (a *api) credentials(token *service.Token) (*wire.Credentials, error) {
	sealed, err := token.Seal(a.keyring)
	if err != nil {
		return nil, err
	}
	return &wire.Credentials{
		AccessKeyId: token.AccessKeyID, SecretAccessKey: runtime.SensitiveString(token.Secret), SessionToken: runtime.SensitiveString(sealed),
		Expiration: new(time.UnixMilli(token.Expires).UTC()),
	}, nil
}

func denied(message string) error { return &kms.Error{Code: kms.CodeAccessDenied, Message: message} }

func invalid(message string) error { return &kms.Error{Code: kms.CodeValidation, Message: message} }
