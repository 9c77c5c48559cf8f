package integration_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// TestChangesDecideAtOnce changes through one node what a caller may do, and asks the
// other nodes with the very next call, without retries: as soon as a change was
// acknowledged, all of them decide by it. Each node changes once.
func TestChangesDecideAtOnce(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	for name, decide := range map[string]func(*change){
		"key policy": changeKeyPolicy, "inline policy": changeInlinePolicy, "attached policy": changeAttachedPolicy,
		"group": changeGroup, "boundary": changeBoundary, "access key": changeAccessKey, "user": changeUser,
		"user's session": changeUserSession, "trust policy": changeTrust, "role": changeRole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for by := range c.nodes {
				decide(newChange(t, c, by))
			}
		})
	}
}

const (
	account       = "123456789012"
	administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
	onlyIAM       = "arn:aws:iam::aws:policy/IAMFullAccess"
)

// setKeyPolicy keeps the default policy's statement and may add one on the user.
func (d *change) setKeyPolicy(what, effect string) {
	d.t.Helper()
	own := ""
	if effect != "" {
		own = `,{"Effect":"` + effect + `","Principal":{"AWS":"` + d.user + `"},"Action":"kms:Encrypt","Resource":"*"}`
	}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"kms:*","Resource":"*"}` + own + `]}`
	_, err := d.kms.PutKeyPolicy(d.t.Context(), &kms.PutKeyPolicyInput{KeyId: &d.key, Policy: &text})
	d.done("PutKeyPolicy "+what, err)
}

func changeKeyPolicy(d *change) {
	encrypt := d.encrypt(d.login)
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
	d.setKeyPolicy("that allows", "Allow")
	d.everywhere("", encrypt)
	d.setKeyPolicy("that denies", "Deny")
	d.everywhere(d.refused(d.user, deniedByResource), encrypt)
	d.setKeyPolicy("that allows again", "Allow")
	d.everywhere("", encrypt)
	d.setKeyPolicy("without the user", "")
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
}

// putInline gives the user an inline policy, in place of the one that it has.
func (d *change) putInline(effect string) {
	d.t.Helper()
	_, err := d.iam.PutUserPolicy(d.t.Context(), &iam.PutUserPolicyInput{UserName: &d.name, PolicyName: &d.name, PolicyDocument: statement(effect)})
	d.done("PutUserPolicy of "+effect, err)
}

func (d *change) deleteInline() {
	d.t.Helper()
	_, err := d.iam.DeleteUserPolicy(d.t.Context(), &iam.DeleteUserPolicyInput{UserName: &d.name, PolicyName: &d.name})
	d.done("DeleteUserPolicy", err)
}

func changeInlinePolicy(d *change) {
	encrypt := d.encrypt(d.login)
	d.putInline("Allow")
	d.everywhere("", encrypt)
	d.putInline("Deny")
	d.everywhere(d.refused(d.user, deniedByIdentity), encrypt)
	d.putInline("Allow")
	d.everywhere("", encrypt)
	d.deleteInline()
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
}

func changeAttachedPolicy(d *change) {
	encrypt, arn := d.encrypt(d.login), aws.String(administrator)
	_, err := d.iam.AttachUserPolicy(d.t.Context(), &iam.AttachUserPolicyInput{UserName: &d.name, PolicyArn: arn})
	d.done("AttachUserPolicy", err)
	d.everywhere("", encrypt)
	_, err = d.iam.DetachUserPolicy(d.t.Context(), &iam.DetachUserPolicyInput{UserName: &d.name, PolicyArn: arn})
	d.done("DetachUserPolicy", err)
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
}

// changeGroup changes who is in a group, and what a group may do that the user is in.
func changeGroup(d *change) {
	ctx, encrypt := d.t.Context(), d.encrypt(d.login)
	put := &iam.PutGroupPolicyInput{GroupName: &d.name, PolicyName: &d.name, PolicyDocument: statement("Allow")}
	add := &iam.AddUserToGroupInput{GroupName: &d.name, UserName: &d.name}
	_, err := d.iam.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: &d.name})
	d.done("CreateGroup", err)
	_, err = d.iam.PutGroupPolicy(ctx, put)
	d.done("PutGroupPolicy on another's group", err)
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
	_, err = d.iam.AddUserToGroup(ctx, add)
	d.done("AddUserToGroup", err)
	d.everywhere("", encrypt)
	_, err = d.iam.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: &d.name, UserName: &d.name})
	d.done("RemoveUserFromGroup", err)
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
	_, err = d.iam.AddUserToGroup(ctx, add)
	d.done("AddUserToGroup again", err)
	d.everywhere("", encrypt)
	_, err = d.iam.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: &d.name, PolicyName: &d.name})
	d.done("DeleteGroupPolicy", err)
	d.everywhere(d.refused(d.user, noIdentityPolicy), encrypt)
	_, err = d.iam.PutGroupPolicy(ctx, put)
	d.done("PutGroupPolicy", err)
	d.everywhere("", encrypt)
}

func changeBoundary(d *change) {
	encrypt := d.encrypt(d.login)
	d.putInline("Allow")
	for range 2 {
		_, err := d.iam.PutUserPermissionsBoundary(d.t.Context(), &iam.PutUserPermissionsBoundaryInput{UserName: &d.name, PermissionsBoundary: aws.String(onlyIAM)})
		d.done("PutUserPermissionsBoundary", err)
		d.everywhere(d.refused(d.user, noBoundary), encrypt)
		_, err = d.iam.DeleteUserPermissionsBoundary(d.t.Context(), &iam.DeleteUserPermissionsBoundaryInput{UserName: &d.name})
		d.done("DeleteUserPermissionsBoundary", err)
		d.everywhere("", encrypt)
	}
}

// setAccessKey switches the user's access key.
func (d *change) setAccessKey(to types.StatusType) {
	d.t.Helper()
	_, err := d.iam.UpdateAccessKey(d.t.Context(), &iam.UpdateAccessKeyInput{UserName: &d.name, AccessKeyId: d.keyID, Status: to})
	d.done("UpdateAccessKey to "+string(to), err)
}

func (d *change) deleteAccessKey() {
	d.t.Helper()
	_, err := d.iam.DeleteAccessKey(d.t.Context(), &iam.DeleteAccessKeyInput{UserName: &d.name, AccessKeyId: d.keyID})
	d.done("DeleteAccessKey", err)
}

// deleteUser deletes the user, of whom nothing may hang any more.
func (d *change) deleteUser() {
	d.t.Helper()
	_, err := d.iam.DeleteUser(d.t.Context(), &iam.DeleteUserInput{UserName: &d.name})
	d.done("DeleteUser", err)
}

// valid and gone ask KMS and STS about a credential whose owner may encrypt.
func (d *change) valid(login aws.CredentialsProvider) {
	d.t.Helper()
	d.everywhere("", d.encrypt(login))
	d.everywhere("", d.identify(login))
}

func (d *change) gone(login aws.CredentialsProvider) {
	d.t.Helper()
	d.everywhere(goneForKMS, d.encrypt(login))
	d.everywhere(goneForSTS, d.identify(login))
}

func changeAccessKey(d *change) {
	d.everywhere("", d.identify(d.login))
	d.putInline("Allow")
	d.valid(d.login)
	d.setAccessKey(types.StatusTypeInactive)
	d.gone(d.login)
	d.setAccessKey(types.StatusTypeActive)
	d.valid(d.login)
	d.deleteAccessKey()
	d.gone(d.login)
}

// changeUser deletes a user that a key policy names: another one of that name has none
// of its rights.
func changeUser(d *change) {
	first, exists := d.login, func(node int) error {
		client := iam.New(iam.Options{
			BaseEndpoint: &d.c.nodes[node].endpoint, Region: "us-east-1", Credentials: d.c.credentials(), Retryer: aws.NopRetryer{},
		})
		_, err := client.GetUser(d.t.Context(), &iam.GetUserInput{UserName: &d.name})
		return err
	}
	d.setKeyPolicy("that allows", "Allow")
	d.valid(first)
	d.everywhere("", exists)
	d.deleteAccessKey()
	d.deleteUser()
	d.everywhere("NoSuchEntity: The user with name "+d.name+" cannot be found.", exists)
	d.gone(first)
	d.createUser()
	d.everywhere(d.refused(d.user, noIdentityPolicy), d.encrypt(d.login))
	d.everywhere("", exists)
	d.gone(first)
}

// session is a temporary credential.
func session(c *ststypes.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// changeUserSession ends a session that the user's access key has asked for, with the
// access key and with the user.
func changeUserSession(d *change) {
	d.putInline("Allow")
	made, err := d.sts(d.by, d.login, patient()).GetSessionToken(d.t.Context(), &sts.GetSessionTokenInput{})
	d.done("GetSessionToken", err)
	login := session(made.Credentials)
	d.valid(login)
	d.deleteInline()
	d.everywhere(d.refused(d.user, noIdentityPolicy), d.encrypt(login))
	d.putInline("Allow")
	d.valid(login)
	d.setAccessKey(types.StatusTypeInactive)
	d.gone(login)
	d.setAccessKey(types.StatusTypeActive)
	d.valid(login)
	d.deleteInline()
	d.deleteAccessKey()
	d.gone(login)
	d.deleteUser()
	d.gone(login)
	d.createUser()
	d.gone(login)
}

// createRole makes a role that trusts the user, and may encrypt.
func (d *change) createRole() (arn *string) {
	d.t.Helper()
	made, err := d.iam.CreateRole(d.t.Context(), &iam.CreateRoleInput{RoleName: &d.name, AssumeRolePolicyDocument: trusting(d.user)})
	d.done("CreateRole", err)
	d.putRolePolicy()
	return made.Role.Arn
}

func (d *change) putRolePolicy() {
	d.t.Helper()
	_, err := d.iam.PutRolePolicy(d.t.Context(), &iam.PutRolePolicyInput{RoleName: &d.name, PolicyName: &d.name, PolicyDocument: statement("Allow")})
	d.done("PutRolePolicy", err)
}

func (d *change) deleteRolePolicy() {
	d.t.Helper()
	_, err := d.iam.DeleteRolePolicy(d.t.Context(), &iam.DeleteRolePolicyInput{RoleName: &d.name, PolicyName: &d.name})
	d.done("DeleteRolePolicy", err)
}

// changeTrust names and leaves out the user in a role's trust policy. A policy that
// trusts the account leaves it to the user's, who has none.
func changeTrust(d *change) {
	role := d.createRole()
	assume := func(node int) error {
		_, err := d.sts(node, d.login, aws.NopRetryer{}).AssumeRole(d.t.Context(), &sts.AssumeRoleInput{RoleArn: role, RoleSessionName: &d.name})
		return err
	}
	d.everywhere("", assume)
	for range 2 {
		_, err := d.iam.UpdateAssumeRolePolicy(d.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &d.name, PolicyDocument: trusting(account)})
		d.done("UpdateAssumeRolePolicy without the user", err)
		d.everywhere("AccessDenied: User: "+d.user+" is not authorized to perform: sts:AssumeRole on resource: "+*role, assume)
		_, err = d.iam.UpdateAssumeRolePolicy(d.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: &d.name, PolicyDocument: trusting(d.user)})
		d.done("UpdateAssumeRolePolicy with the user", err)
		d.everywhere("", assume)
	}
}

// changeRole changes what a role's living sessions may do, and ends them with the role.
func changeRole(d *change) {
	role := d.createRole()
	made, err := d.sts(d.by, d.login, patient()).AssumeRole(d.t.Context(), &sts.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("living")})
	d.done("AssumeRole", err)
	login, arn := session(made.Credentials), "arn:aws:sts::"+account+":assumed-role/"+d.name+"/living"
	d.valid(login)
	d.deleteRolePolicy()
	d.everywhere(d.refused(arn, noIdentityPolicy), d.encrypt(login))
	d.putRolePolicy()
	d.valid(login)
	d.deleteRolePolicy()
	_, err = d.iam.DeleteRole(d.t.Context(), &iam.DeleteRoleInput{RoleName: &d.name})
	d.done("DeleteRole", err)
	d.gone(login)
	d.createRole()
	d.gone(login)
}
