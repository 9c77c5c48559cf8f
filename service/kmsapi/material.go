package kmsapi

import (
	"context"
	"fmt"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// MaterialPurpose is the purpose under which the material of keys is sealed.
const MaterialPurpose = "kmsd/material/v1"

// materialName binds sealed material to its key and its id.
func materialName(keyID, materialID string) string { return keyID + "/" + materialID }

// newMaterial draws new material for a key and seals it.
func (a *api) newMaterial(keyID string, spec kms.KeySpec, now int64) (*fsm.Material, error) {
	secret, public, err := newSecret(spec)
	if err != nil {
		return nil, err
	}
	defer crypto.Wipe(secret)
	id := crypto.MaterialID(keyID, secret)
	sealed, err := a.keyring.Seal(MaterialPurpose, materialName(keyID, id), secret)
	if err != nil {
		return nil, fmt.Errorf("sealing key material: %w", err)
	}
	return &fsm.Material{KeyID: keyID, ID: id, Created: now, Sealed: sealed, Public: public}, nil
}

// newSecret makes a key of any spec. Only asymmetric ones have a public key.
func newSecret(spec kms.KeySpec) (secret, public []byte, err error) {
	if spec == kms.SymmetricDefault {
		return crypto.NewMaterial(), nil, nil
	}
	return crypto.GenerateKey(spec)
}

// making runs what makes a key of the spec, as heavy work where that takes long. A call
// that uses another key as well gets the handle to it before: its View grows old
// meanwhile, and the key may be destroyed.
func making[T any](ctx context.Context, r *service.Request, spec kms.KeySpec, work func() (T, error)) (T, error) {
	switch spec {
	case kms.RSA2048, kms.RSA3072, kms.RSA4096:
		return service.Heavy(ctx, r, work)
	}
	return work()
}

// current returns the record of a usable key's material.
func current(r *service.Request, key *service.Key) *fsm.Material {
	rec, ok := r.View.Material(key.MaterialOwner(), key.CurrentMaterial)
	if !ok {
		panic("kmsd: usable key without material")
	}
	return rec
}

// material returns a handle to one generation of a symmetric key's material; ok is
// false when the key has no such generation.
func (a *api) material(r *service.Request, key *service.Key, materialID string) (h *crypto.Handle[*crypto.Material], ok bool, err error) {
	rec, ok := r.View.Material(key.MaterialOwner(), materialID)
	if !ok || !rec.Present() {
		return nil, false, nil
	}
	h, err = crypto.Cached(a.materials, cacheKey(rec), func() (*crypto.Material, error) {
		secret, err := a.unseal(rec)
		if err != nil {
			return nil, err
		}
		return crypto.OpenMaterial(rec.KeyID, secret)
	})
	return h, true, err
}

// currentMaterial returns a handle to the material that a usable symmetric key encrypts
// with.
func (a *api) currentMaterial(r *service.Request, key *service.Key) (*crypto.Handle[*crypto.Material], error) {
	h, ok, err := a.material(r, key, key.CurrentMaterial)
	if err == nil && !ok {
		panic("kmsd: usable key without material")
	}
	return h, err
}

// privateKey returns a handle to an asymmetric key's private key.
func (a *api) privateKey(r *service.Request, key *service.Key) (*crypto.Handle[*crypto.PrivateKey], error) {
	rec, spec := current(r, key), key.Spec
	return crypto.Cached(a.materials, cacheKey(rec), func() (*crypto.PrivateKey, error) {
		secret, err := a.unseal(rec)
		if err != nil {
			return nil, err
		}
		return crypto.OpenPrivateKey(spec, secret, rec.Public)
	})
}

// publicKey returns a handle to an asymmetric key's public key. No secret is opened
// for it.
func (a *api) publicKey(r *service.Request, key *service.Key) (*crypto.Handle[*crypto.PublicKey], error) {
	rec, spec := current(r, key), key.Spec
	cached := cacheKey(rec)
	cached.Public = true
	return crypto.Cached(a.materials, cached, func() (*crypto.PublicKey, error) {
		return crypto.ParsePublicKey(spec, rec.Public)
	})
}

// macKey returns a handle to an HMAC key.
func (a *api) macKey(r *service.Request, key *service.Key) (*crypto.Handle[*crypto.MACKey], error) {
	rec, spec := current(r, key), key.Spec
	return crypto.Cached(a.materials, cacheKey(rec), func() (*crypto.MACKey, error) {
		secret, err := a.unseal(rec)
		if err != nil {
			return nil, err
		}
		return crypto.OpenMACKey(spec, secret)
	})
}

func cacheKey(rec *fsm.Material) crypto.MaterialKey {
	return crypto.MaterialKey{KeyID: rec.KeyID, MaterialID: rec.ID, ModIndex: rec.ModIndex}
}

// unseal opens sealed material, which the caller owns.
func (a *api) unseal(rec *fsm.Material) ([]byte, error) {
	return a.keyring.Open(MaterialPurpose, materialName(rec.KeyID, rec.ID), rec.Sealed)
}
