package service

import (
	"strings"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// key returns what rule i resolves to in the View. Request quotas, which come
// first, may have asked for it already.
func (r *Request) key(i int, in any) (*Key, error) {
	for ; r.resolved <= i; r.resolved++ {
		r.keys[r.resolved], r.keyErrs[r.resolved] = r.resolve(&r.row.keys[r.resolved], in)
	}
	return &r.keys[i], r.keyErrs[i]
}

// resolve finds the key that a rule speaks of (AWS: "Key identifiers (KeyId)").
// A key that the caller may not know of, or that does not exist where existence
// must not be told, comes back without a record: authorisation refuses it.
func (r *Request) resolve(rule *keyRule, in any) (Key, error) {
	switch {
	case rule.retires != nil:
		return r.resolveGrant(rule, in)
	case rule.related != nil:
		return r.resolveRelated(rule, in)
	}
	return r.resolveKey(rule, in)
}

func (r *Request) resolveKey(rule *keyRule, in any) (Key, error) {
	id := rule.id(in)
	var key Key
	if rule.blob != nil {
		key.Blob, key.BlobErr = crypto.ParseBlob(rule.blob(in))
	}
	switch {
	case id == "" && rule.blob != nil:
		return r.resolveBlob(key, rule.blob(in))
	case id == "" && rule.optional:
		return Key{}, nil
	}
	if strings.HasPrefix(id, "arn:") {
		return key, r.resolveARN(&key, rule, id)
	}
	if strings.HasPrefix(id, kms.AliasPrefix) {
		if !rule.aliases {
			return Key{}, invalidKeyID(id)
		}
		return key, r.resolveAlias(&key, rule, r.Principal.Account, id)
	}
	if !kms.ValidKeyID(id) {
		return Key{}, invalidKeyID(id)
	}
	return key, r.resolveID(&key, id)
}

// resolveRelated finds the key of the first key's set in another Region.
func (r *Request) resolveRelated(rule *keyRule, in any) (Key, error) {
	first, err := r.key(0, in)
	if err != nil || first.Key == nil {
		return Key{}, err
	}
	arn := kms.KeyARN(rule.related(in), first.Account, first.ID)
	rec, ok := r.View.Key(rule.related(in), first.ID)
	if !ok {
		return Key{}, keyNotFound(arn)
	}
	return Key{Key: rec, ARN: arn}, nil
}

// resolveBlob finds the key that a ciphertext names.
func (r *Request) resolveBlob(key Key, blob []byte) (Key, error) {
	key.byBlob = true
	if key.BlobErr != nil {
		crypto.DummyDecrypt(nil, blob)
		return Key{}, &kms.Error{Code: kms.CodeInvalidCiphertext}
	}
	if rec, ok := r.View.Key(r.Region, key.Blob.KeyID); ok {
		key.Key, key.ARN = rec, kms.KeyARN(rec.Region, rec.Account, rec.ID)
	}
	return key, nil
}

// resolveID finds a key of the caller's account. A ciphertext that names the same
// key id lets the caller name a foreign key by its id alone (AWS: Decrypt); if
// authorisation refuses that, the answer is that of a key that does not exist.
func (r *Request) resolveID(key *Key, id string) error {
	key.byID = true
	rec, ok := r.View.Key(r.Region, id)
	if !ok || (rec.Account != r.Principal.Account && (key.BlobErr != nil || key.Blob.KeyID != id)) {
		return keyNotFound(kms.KeyARN(r.Region, r.Principal.Account, id))
	}
	key.Key, key.ARN = rec, kms.KeyARN(rec.Region, rec.Account, rec.ID)
	return nil
}

func (r *Request) resolveARN(key *Key, rule *keyRule, id string) error {
	arn, ok := kms.ParseARN(id)
	keyID, isKey := strings.CutPrefix(arn.Resource, "key/")
	isAlias := strings.HasPrefix(arn.Resource, kms.AliasPrefix)
	switch {
	case !ok || arn.Service != "kms" || !kms.ValidAccount(arn.Account) || !(isKey || isAlias):
		return &kms.Error{Code: kms.CodeInvalidArn, Message: "Invalid arn " + id}
	case arn.Region != r.Region || arn.Partition != kms.Partition:
		return &kms.Error{Code: kms.CodeNotFound, Message: "Invalid arn " + arn.Region}
	case isAlias && !rule.aliases:
		return &kms.Error{Code: kms.CodeInvalidArn, Message: "Invalid arn " + id}
	case isAlias:
		return r.resolveAlias(key, rule, arn.Account, arn.Resource)
	}
	rec, ok := r.View.Key(r.Region, keyID)
	if ok && rec.Account == arn.Account {
		key.Key, key.ARN = rec, id
		return nil
	}
	if arn.Account == r.Principal.Account {
		return keyNotFound(id)
	}
	key.ARN = id
	return nil
}

func (r *Request) resolveAlias(key *Key, rule *keyRule, account, name string) error {
	key.Alias = name
	arn := kms.AliasARN(r.Region, account, name)
	if account != r.Principal.Account {
		key.named = arn
	}
	if alias, ok := r.View.Alias(account, r.Region, name); ok {
		rec, ok := r.View.Key(r.Region, alias.KeyID)
		if !ok {
			panic("kmsd: alias without a key")
		}
		key.Key, key.ARN = rec, kms.KeyARN(rec.Region, rec.Account, rec.ID)
		return nil
	}
	switch {
	case account != r.Principal.Account:
		key.ARN = arn
	case !r.plan(key, rule):
		return aliasNotFound(arn)
	}
	return nil
}

func invalidKeyID(id string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "Invalid keyId '" + id + "'"}
}

func keyNotFound(arn string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "Key '" + arn + "' does not exist"}
}

func aliasNotFound(arn string) error {
	return &kms.Error{Code: kms.CodeNotFound, Message: "Alias " + arn + " is not found."}
}
