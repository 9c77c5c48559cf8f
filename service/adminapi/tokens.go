package adminapi

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	runtime "github.com/kmsd/kmsd/wire"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// network reads a network in CIDR notation (RFC 4632, RFC 4291 §2.3) and returns
// its one form: without bits behind the prefix. IPv4 inside IPv6 is refused, since
// the addresses of nodes are compared as IPv4.
func network(text string) (string, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return "", false
	}
	return p.Masked().String(), true
}

func checkNetworks(in *wire.CreateJoinTokenRequest) error {
	for _, text := range in.CIDRs {
		if _, ok := network(text); !ok {
			return invalid("The value " + text + " at 'cidrs' is not a network in CIDR notation.")
		}
	}
	return nil
}

// createJoinToken makes a token. Its text is in the reply and nowhere else: the
// command holds a public key.
func (a *api) createJoinToken(_ context.Context, r *service.Request, in *wire.CreateJoinTokenRequest) (fsm.Args, *wire.CreateJoinTokenResponse, error) {
	uses, ttl := value(in.Uses, wire.DefaultTokenUses), value(in.TTLSeconds, wire.DefaultTokenTTL)
	spec := TokenSpec{Created: r.Now, Expires: r.Now + int64(ttl)*1000, Uses: uint32(uses), CreatedBy: r.Principal.ARN}
	for _, text := range in.CIDRs {
		n, _ := network(text) // checked
		spec.CIDRs = append(spec.CIDRs, n)
	}
	token, err := a.node.NewToken(r.View, spec)
	if err != nil {
		return nil, nil, err
	}
	r.Record.ResponseElements.String("tokenId", token.ID)
	r.Record.ResponseElements.Time("expires", spec.Expires)
	return token.Create, &wire.CreateJoinTokenResponse{
		TokenID: token.ID, Token: runtime.SensitiveString(token.Text), Expires: time.UnixMilli(spec.Expires).UTC(), Uses: uses,
	}, nil
}

func value(given *int, otherwise int) int {
	if given == nil {
		return otherwise
	}
	return *given
}

// repeatJoinToken answers a forward whose first reply was lost on its way between
// nodes, and the text with it.
func repeatJoinToken(_ *service.Request, once *fsm.Once) (*wire.CreateJoinTokenResponse, error) {
	return nil, &kms.Error{Code: kms.CodeInternal,
		Message: "The join token " + cmp.Or(made(once), "of this request") + " was made, but its text was lost on the way. Create another one."}
}

// made is the id that a command has made.
func made(once *fsm.Once) string {
	if len(once.IDs) == 0 {
		return ""
	}
	return once.IDs[0]
}
