package httpapi

import (
	"context"
	"strings"

	"github.com/kmsd/kmsd/iam/sigv4"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire/admin"
	"github.com/kmsd/kmsd/wire/iam"
)

// caller is who sent a request, proven, and the session that proved it.
type caller struct {
	session   Session
	principal kms.Principal
	token     kms.SessionToken
	region    string
}

// authenticate proves the signature. The form and the scope are judged before a
// Session is opened, because no state decides them. Everything after has read
// state: a refusal then waits for the Session's gate, so that nobody learns of a
// credential before every node knows it.
func (x *exchange) authenticate(ctx context.Context) (*caller, error) {
	dialect := sigv4.JSON
	if x.route.protocol == protocolQuery {
		dialect = sigv4.Query
	}
	req := &sigv4.Request{
		Method: x.r.Method, Path: x.r.URL.EscapedPath(), RawQuery: x.r.URL.RawQuery,
		Host: x.r.Host, Header: x.r.Header, Body: x.body,
	}
	sig, err := sigv4.Parse(req, dialect)
	if err != nil {
		return nil, err
	}
	if err := sig.CheckScope(x.route.service, x.server.regionsFor(x.route.service, x.r.Host)); err != nil {
		return nil, err
	}
	session, err := x.server.cfg.Backend.Open(ctx)
	if err != nil {
		return nil, undone(err)
	}
	principal, err := x.verify(session, sig, req)
	if err != nil {
		if unsettled := session.Settle(ctx); unsettled != nil {
			return nil, undone(unsettled)
		}
		return nil, err
	}
	region := sig.Region
	if x.route.service == iam.ServiceName {
		region = globalRegion
	}
	return &caller{session: session, principal: principal, token: kms.SessionToken(sig.SessionToken), region: region}, nil
}

// verify checks the signature by the secret that the session knows. An unknown
// access key costs as much time as a wrong signature.
func (x *exchange) verify(session Session, sig *sigv4.Signature, req *sigv4.Request) (kms.Principal, error) {
	now := x.server.cfg.Now()
	secret, principal, ok := session.Secret(sig.AccessKeyID, kms.SessionToken(sig.SessionToken))
	if !ok {
		return kms.Principal{}, x.server.cfg.Verifier.Dummy(sig, req, now)
	}
	if err := x.server.cfg.Verifier.Verify(sig, req, secret, now); err != nil {
		return kms.Principal{}, err
	}
	return principal, nil
}

// globalRegion stands for calls that belong to no Region, as CloudTrail and
// aws:RequestedRegion show those of IAM.
const globalRegion = "us-east-1"

// regionsFor says which Regions a credential for service may be scoped to, when
// the client addressed host: IAM and the admin API belong to none and take any, and a
// host name with a Region binds the scope to it. AWS's IAM takes us-east-1 alone, but
// clients that were told an endpoint sign for the Region that they are set to.
func (s *Server) regionsFor(service, host string) func(string) bool {
	switch service {
	case iam.ServiceName, admin.ServiceName:
		return kms.ValidRegion
	}
	bound := hostRegion(service, host)
	if bound == "" {
		return s.cfg.Regions
	}
	return func(region string) bool { return region == bound && s.cfg.Regions(region) }
}

// hostRegion is the Region in a host name like kms.eu-west-1.amazonaws.com or
// kms-fips.us-east-1.api.aws; empty for every other form.
func hostRegion(service, host string) string {
	first, rest, _ := strings.Cut(strings.ToLower(host), ".")
	region, domain, _ := strings.Cut(rest, ".")
	if (first != service && first != service+"-fips") || domain == "" || !kms.ValidRegion(region) {
		return ""
	}
	return region
}
