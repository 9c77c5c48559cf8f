package clients_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAccounts does what docs/accounts.md says, in its order, on the cluster that
// docs/operations.md makes, with the AWS CLI.
func TestAccounts(t *testing.T) {
	s := newSite(t)
	operations := openDocument(t, filepath.Join("..", "..", "docs", "operations.md"))
	for _, section := range []string{"Prepare each machine", "The first node", "The second and the third node", "The load balancer"} {
		operations.run(t, s, section)
	}
	d := openDocument(t, filepath.Join("..", "..", "docs", "accounts.md"))
	root := s.localize(s.hosts["admin"], "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	wantShown(t, d.run(t, s, "Administrators"), `(?s)"arn:aws:iam::123456789012:user/ada".*123456789012 +Active`)
	wantShown(t, d.run(t, s, "Put the root key away"), `"arn:aws:iam::123456789012:user/ada"`)
	s.refuses(t, "admin", root+" aws --endpoint-url https://kms.example.com sts get-caller-identity", `\(InvalidClientTokenId\)`)
	d.run(t, s, "Operators who cannot use keys")

	wantShown(t, d.run(t, s, "Make an account"), `"arn:aws:iam::222233334444:user/olga"`)
	s.refuses(t, "orders", "./kmsd account list --endpoint https://kms.example.com",
		`^kmsd: AccessDeniedException: User: arn:aws:iam::222233334444:user/olga is not authorized to perform: kmsd:ListAccounts on resource: `+
			`arn:aws:kmsd::123456789012:cluster/[0-9a-f-]{36} because no identity-based policy allows the kmsd:ListAccounts action\n$`)
	wantShown(t, d.run(t, s, "Use a key of another account"), `"arn:aws:iam::333344445555:root"(?s:.*)an order$`)
	records := d.run(t, s, "What the records show")
	wantShown(t, records, `"userIdentity":\{"type":"AWSAccount","principalId":"AIDA[A-Z2-7]{17}","accountId":"333344445555"\}`)
	if strings.Contains(records, "rita") {
		t.Errorf("the owner's records name the user:\n%s", records)
	}

	wantShown(t, d.run(t, s, "Close an account"), `222233334444 +Active .*\n333344445555 +Closed `)
	s.refuses(t, "reports", "aws --endpoint-url https://kms.example.com sts get-caller-identity", `\(InvalidClientTokenId\)`)
	wantShown(t, d.run(t, s, "When the root key is needed again"), `"arn:aws:iam::222233334444:user/olga"`)
	d.finish(t)
}

// refuses runs a command that must fail and say why.
func (s *site) refuses(t *testing.T, host, command, why string) {
	t.Helper()
	wantShown(t, s.run(t, host, "a refusal", "! "+command+" 2>&1\n"), why)
}

func wantShown(t *testing.T, shown, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(shown) {
		t.Errorf("the commands show\n%s\nwant %s", shown, pattern)
	}
}
