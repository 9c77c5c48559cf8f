package iamapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/iam"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/iam"
)

// firstVersion is the id of a policy's first version. Ids count up and never come back
// (AWS IAM: "Versioning IAM policies").
const firstVersion = "v1"

func policyVersionRows() []*service.Row {
	return []*service.Row{
		iamRow("CreatePolicyVersion", service.Op[wire.CreatePolicyVersionRequest, wire.CreatePolicyVersionResponse]{
			Once: true, Resource: onPolicy(func(in *wire.CreatePolicyVersionRequest) string { return in.PolicyArn }),
			Params: func(in *wire.CreatePolicyVersionRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.String("policyDocument", in.PolicyDocument)
				p.OptBool("setAsDefault", in.SetAsDefault)
			},
			Write: createPolicyVersion, Repeat: repeatPolicyVersion,
		}),
		iamRow("GetPolicyVersion", service.Op[wire.GetPolicyVersionRequest, wire.GetPolicyVersionResponse]{
			Resource: onPolicy(func(in *wire.GetPolicyVersionRequest) string { return in.PolicyArn }),
			Params: func(in *wire.GetPolicyVersionRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.String("versionId", in.VersionId)
			},
			Read: getPolicyVersion,
		}),
		iamRow("ListPolicyVersions", service.Op[wire.ListPolicyVersionsRequest, wire.ListPolicyVersionsResponse]{
			Resource: onPolicy(func(in *wire.ListPolicyVersionsRequest) string { return in.PolicyArn }),
			Params: func(in *wire.ListPolicyVersionsRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				pager{marker: in.Marker, maxItems: in.MaxItems}.record(p)
			},
			Read: listPolicyVersions,
		}),
		iamRow("SetDefaultPolicyVersion", service.Op[wire.SetDefaultPolicyVersionRequest, service.None]{
			Resource: onPolicy(func(in *wire.SetDefaultPolicyVersionRequest) string { return in.PolicyArn }),
			Params: func(in *wire.SetDefaultPolicyVersionRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.String("versionId", in.VersionId)
			},
			Write: setDefaultPolicyVersion,
		}),
		iamRow("DeletePolicyVersion", service.Op[wire.DeletePolicyVersionRequest, service.None]{
			Once: true, Resource: onPolicy(func(in *wire.DeletePolicyVersionRequest) string { return in.PolicyArn }),
			Params: func(in *wire.DeletePolicyVersionRequest, p *audit.Params) {
				p.String("policyArn", in.PolicyArn)
				p.String("versionId", in.VersionId)
			},
			Write: deletePolicyVersion,
		}),
	}
}

func createPolicyVersion(_ context.Context, r *service.Request, in *wire.CreatePolicyVersionRequest) (fsm.Args, *wire.CreatePolicyVersionResponse, error) {
	p, err := ownPolicy(r, in.PolicyArn)
	if err == nil {
		err = checkDocument(in.PolicyDocument)
	}
	if err != nil {
		return nil, nil, err
	}
	version := fsm.PolicyVersion{ID: fmt.Sprint("v", p.Made+1), Hash: sha256.Sum256([]byte(in.PolicyDocument)), Created: r.Now}
	isDefault := in.SetAsDefault != nil && *in.SetAsDefault
	command := changedPolicy(p, func(p *fsm.ManagedPolicy) {
		p.Versions = append(slices.Clone(p.Versions), version)
		p.Made++
		p.Updated = r.Now
		if isDefault {
			p.Default = version.ID
		}
	})
	command.Texts = []string{in.PolicyDocument}
	return command, createdVersion(r, &version, isDefault), nil
}

func repeatPolicyVersion(r *service.Request, once *fsm.Once) (*wire.CreatePolicyVersionResponse, error) {
	p, err := madePolicy(r, once, 4)
	if err != nil {
		return nil, err
	}
	version, ok := p.Version(once.IDs[2])
	if !ok {
		return nil, noSuchVersion(p.ARN(), once.IDs[2])
	}
	return createdVersion(r, &version, version.ID == once.IDs[3]), nil
}

// createdVersion is the answer for a new version, which the record shows, too.
func createdVersion(r *service.Request, v *fsm.PolicyVersion, isDefault bool) *wire.CreatePolicyVersionResponse {
	r.Record.ResponseElements.Object("policyVersion", func(p *audit.Params) {
		p.String("versionId", v.ID)
		p.Bool("isDefaultVersion", isDefault)
		p.Time("createDate", v.Created)
	})
	return &wire.CreatePolicyVersionResponse{PolicyVersion: &wire.PolicyVersion{VersionId: &v.ID, IsDefaultVersion: &isDefault, CreateDate: at(v.Created)}}
}

// shownVersion is a version as lists show it: without its document (AWS IAM:
// PolicyVersion).
func shownVersion(p *fsm.ManagedPolicy, v fsm.PolicyVersion) wire.PolicyVersion {
	return wire.PolicyVersion{VersionId: &v.ID, IsDefaultVersion: new(v.ID == p.Default), CreateDate: at(v.Created)}
}

// fullVersion is a version with its document.
func fullVersion(r *service.Request, p *fsm.ManagedPolicy, v fsm.PolicyVersion) wire.PolicyVersion {
	shown := shownVersion(p, v)
	shown.Document = new(percentEncoded(versionText(r, p, v)))
	return shown
}

// versionText is the text of a version of a policy, the account's or AWS's.
func versionText(r *service.Request, p *fsm.ManagedPolicy, v fsm.PolicyVersion) string {
	if managed, ok := iam.AWSManaged(p.ARN()); ok {
		return managed.Text
	}
	return text(r, v.Hash)
}

// policyVersion returns a version of the policy. Errors: NoSuchEntity.
func policyVersion(p *fsm.ManagedPolicy, id string) (fsm.PolicyVersion, error) {
	v, ok := p.Version(id)
	if !ok {
		return v, noSuchVersion(p.ARN(), id)
	}
	return v, nil
}

func noSuchVersion(arn, id string) error {
	return noSuch("Policy " + arn + " version " + id + " does not exist or is not attachable.")
}

func getPolicyVersion(_ context.Context, r *service.Request, in *wire.GetPolicyVersionRequest) (*wire.GetPolicyVersionResponse, error) {
	p, err := managedPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	v, err := policyVersion(p, in.VersionId)
	if err != nil {
		return nil, err
	}
	return &wire.GetPolicyVersionResponse{PolicyVersion: new(fullVersion(r, p, v))}, nil
}

// versionPlace is where a version stands in a list: the newest come first.
func versionPlace(v fsm.PolicyVersion) string {
	n, _ := strconv.ParseUint(strings.TrimPrefix(v.ID, "v"), 10, 32)
	return fmt.Sprintf("%010d", math.MaxUint32-n)
}

// newestFirst returns a policy's versions in the order of lists.
func newestFirst(p *fsm.ManagedPolicy) []fsm.PolicyVersion {
	return slices.SortedFunc(slices.Values(p.Versions), func(a, b fsm.PolicyVersion) int { return cmp.Compare(versionPlace(a), versionPlace(b)) })
}

func listPolicyVersions(_ context.Context, r *service.Request, in *wire.ListPolicyVersionsRequest) (*wire.ListPolicyVersionsResponse, error) {
	p, err := managedPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	page, err := pageOf(pager{list: "ListPolicyVersions " + p.ID, marker: in.Marker, maxItems: in.MaxItems}, p.Versions, versionPlace,
		func(v fsm.PolicyVersion) wire.PolicyVersion { return shownVersion(p, v) })
	if err != nil {
		return nil, err
	}
	return &wire.ListPolicyVersionsResponse{Versions: page.items, IsTruncated: page.truncated, Marker: page.marker}, nil
}

func setDefaultPolicyVersion(_ context.Context, r *service.Request, in *wire.SetDefaultPolicyVersionRequest) (fsm.Args, *service.None, error) {
	p, err := ownPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, nil, err
	}
	if _, err := policyVersion(p, in.VersionId); err != nil {
		return nil, nil, err
	}
	return changedPolicy(p, func(p *fsm.ManagedPolicy) { p.Default = in.VersionId }), nil, nil
}

func deletePolicyVersion(_ context.Context, r *service.Request, in *wire.DeletePolicyVersionRequest) (fsm.Args, *service.None, error) {
	p, err := ownPolicy(r, in.PolicyArn)
	if err != nil {
		return nil, nil, err
	}
	if _, err := policyVersion(p, in.VersionId); err != nil {
		return nil, nil, err
	}
	if in.VersionId == p.Default {
		return nil, nil, &kms.Error{Code: kms.CodeDeleteConflict, Message: "Cannot delete the default version of a policy."}
	}
	return changedPolicy(p, func(p *fsm.ManagedPolicy) {
		p.Versions = slices.DeleteFunc(slices.Clone(p.Versions), func(v fsm.PolicyVersion) bool { return v.ID == in.VersionId })
	}), nil, nil
}
