package kmsapi

import (
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
)

// Managed makes the AWS managed keys of services.
func Managed(cfg Config) service.MakeManaged {
	a := &api{keyring: cfg.Keyring, materials: cfg.Materials}
	return func(name string, planned *fsm.Key, policy string) (fsm.Args, error) {
		key := *planned
		material, err := a.newMaterial(key.ID, key.Spec, key.Created)
		if err != nil {
			return nil, err
		}
		key.CurrentMaterial = material.ID
		return fsm.CreateManagedKey{Key: key, Material: *material, Policy: policy, Service: name}, nil
	}
}
