package iamapi_test

import (
	"strings"
	"testing"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/testkit"
)

func TestAbsentFeatures(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	s.NewIdentity(t, fsm.KindUser, testkit.Account, "bob")
	alice, _ := s.NewUser(t, testkit.Account, "alice")
	const none = "NoSuchEntity: Login Profile for User bob cannot be found."
	for _, c := range []struct{ op, want, resource string }{
		{"ListMFADevices", "<ListMFADevicesResult><MFADevices></MFADevices>" + truncated + "</ListMFADevicesResult>", "user bob"},
		{"ListSSHPublicKeys", "<ListSSHPublicKeysResult><SSHPublicKeys></SSHPublicKeys>" + truncated + "</ListSSHPublicKeysResult>", "user bob"},
		{"ListSigningCertificates", "<ListSigningCertificatesResult><Certificates></Certificates>" + truncated + "</ListSigningCertificatesResult>", "user bob"},
		{"ListServiceSpecificCredentials", "<ListServiceSpecificCredentialsResult><ServiceSpecificCredentials></ServiceSpecificCredentials>" + truncated + "</ListServiceSpecificCredentialsResult>", "user bob"},
		{"GetLoginProfile", none, "user bob"},
		{"DeleteLoginProfile", none, "user bob"},
		{"ListVirtualMFADevices", "<ListVirtualMFADevicesResult><VirtualMFADevices></VirtualMFADevices>" + truncated + "</ListVirtualMFADevicesResult>", "arn:aws:iam::111122223333:mfa/"},
		{"ListAccountAliases", "<ListAccountAliasesResult><AccountAliases></AccountAliases>" + truncated + "</ListAccountAliasesResult>", "*"},
	} {
		walk(t, s, []step{{c.op, p("UserName", "bob"), c.want}})
		if strings.HasPrefix(c.resource, "user") {
			walk(t, s, []step{{c.op, p("UserName", "nobody"), "NoSuchEntity: The user with name nobody cannot be found."}})
		}
		refused := "AccessDeniedException: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: iam:" + c.op + " on resource: " + c.resource +
			" because no identity-based policy allows the iam:" + c.op + " action"
		if got := ask(t, s, alice, c.op, "UserName", "bob"); got != refused {
			t.Errorf("%s:\ngot  %s\nwant %s", c.op, got, refused)
		}
	}
	got := ask(t, s, testkit.Root, "GetAccountSummary")
	for key, want := range map[string]string{"Users": "2", "Groups": "0", "Roles": "0", "Policies": "0", "AccessKeysPerUserQuota": "2", "PolicySizeQuota": "6144", "AccountAccessKeysPresent": "1"} {
		if !strings.Contains(got, "<entry><key>"+key+"</key><value>"+want+"</value></entry>") {
			t.Errorf("%s is not %s in %s", key, want, got)
		}
	}
}
