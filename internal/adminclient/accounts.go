package adminclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/kmsd/kmsd/wire/admin"
)

// CreateAccount makes an account; with an empty id the cluster draws one. The secret of
// its root user is shown as a token is.
func (c *Client) CreateAccount(ctx context.Context, accountID string) (*admin.RootCredential, error) {
	in := &admin.CreateAccountRequest{}
	if accountID != "" {
		in.AccountID = &accountID
	}
	out := new(admin.RootCredential)
	return out, c.do(ctx, call{method: http.MethodPost, path: "/v1/accounts", body: in, changes: true}, out)
}

// Accounts lists all accounts, sorted by id.
func (c *Client) Accounts(ctx context.Context) (*admin.ListAccountsResponse, error) {
	all := &admin.ListAccountsResponse{Accounts: []admin.Account{}}
	query := url.Values{}
	for {
		var page admin.ListAccountsResponse
		if err := c.do(ctx, call{method: http.MethodGet, path: "/v1/accounts", query: query}, &page); err != nil {
			return nil, err
		}
		all.Accounts = append(all.Accounts, page.Accounts...)
		if page.NextMarker == "" {
			return all, nil
		}
		query.Set("marker", page.NextMarker)
	}
}

// CloseAccount ends an account for good.
func (c *Client) CloseAccount(ctx context.Context, accountID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/accounts/", segment: accountID, changes: true}, nil)
}
