package admin

import (
	"time"

	"github.com/kmsd/kmsd/wire"
)

// AccountsPage is how many accounts ListAccounts returns at once.
const AccountsPage = 1000

// CreateAccountRequest is POST /v1/accounts: an account with a root user and its first
// access key.
type CreateAccountRequest struct {
	// AccountID is its id, 12 digits; nil lets the cluster draw a free one.
	AccountID *string `json:"accountId,omitempty"`
}

// ListAccountsRequest is GET /v1/accounts?marker=…: the accounts of the cluster, the
// closed ones, too.
type ListAccountsRequest struct {
	// Marker is the NextMarker of the page before; nil for the first one.
	Marker *string `json:"marker,omitempty"`
}

// CloseAccountRequest is DELETE /v1/accounts/{accountId}: the account ends for good.
type CloseAccountRequest struct {
	AccountID string `json:"accountId"` // 12 digits
}

// The values of Account.Status.
const (
	AccountActive = "Active"
	AccountClosed = "Closed"
)

// Account is an account of the cluster.
type Account struct {
	AccountID string    `json:"accountId"`
	Status    string    `json:"status"`
	Created   time.Time `json:"created"`
}

// ListAccountsResponse holds up to AccountsPage accounts, in ascending order of their
// ids.
type ListAccountsResponse struct {
	Accounts []Account `json:"accounts"`
	// NextMarker gets the next page; empty on the last one.
	NextMarker string `json:"nextMarker,omitempty"`
}

// CloseAccountResponse means that the account is closed.
type CloseAccountResponse struct{}

// Decode implements wire.Request.
func (v *CreateAccountRequest) Decode(body []byte) error {
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.OptionalText("accountId", v.AccountID, &ruleAccountID) },
		member{"accountId", func(r *wire.Reader) { v.AccountID = r.OptionalText() }},
	))
}

// Decode implements wire.Request.
func (v *ListAccountsRequest) Decode(body []byte) error {
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.OptionalText("marker", v.Marker, &ruleAccountID) },
		member{"marker", func(r *wire.Reader) { v.Marker = r.OptionalText() }},
	))
}

// Decode implements wire.Request.
func (v *CloseAccountRequest) Decode(body []byte) error {
	v.AccountID = wire.Absent
	return emptied(v, decode(body,
		func(c *wire.Checker) { c.RequiredText("accountId", &v.AccountID, &ruleAccountID) },
		member{"accountId", func(r *wire.Reader) { v.AccountID = r.Text() }},
	))
}

// AppendJSON implements wire.Response.
func (v *ListAccountsResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }

// AppendJSON implements wire.Response.
func (v *CloseAccountResponse) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }
