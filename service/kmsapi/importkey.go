package kmsapi

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/kms"
)

func (a *api) importRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetParametersForImportRequest, wire.GetParametersForImportResponse]{
			Service: serviceName, Name: "GetParametersForImport",
			Keys: []service.KeyRule[wire.GetParametersForImportRequest]{{
				ID: func(in *wire.GetParametersForImportRequest) string { return in.KeyId }, Action: "kms:GetParametersForImport",
				Origin: kms.OriginExternal, States: service.Importable,
				Conditions: func(in *wire.GetParametersForImportRequest, key string) []string {
					if v := parameter(key, "kms:wrappingalgorithm", in.WrappingAlgorithm); v != nil {
						return v
					}
					return parameter(key, "kms:wrappingkeyspec", in.WrappingKeySpec)
				},
			}},
			Check: checkWrapping,
			Params: func(in *wire.GetParametersForImportRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.String("wrappingAlgorithm", in.WrappingAlgorithm)
				p.String("wrappingKeySpec", in.WrappingKeySpec)
			},
			Read: a.getParametersForImport,
		}.Row(),
		service.Op[wire.ImportKeyMaterialRequest, wire.ImportKeyMaterialResponse]{
			Service: serviceName, Name: "ImportKeyMaterial", Once: true,
			Keys: []service.KeyRule[wire.ImportKeyMaterialRequest]{{
				ID: func(in *wire.ImportKeyMaterialRequest) string { return in.KeyId }, Action: "kms:ImportKeyMaterial",
				Origin: kms.OriginExternal, States: service.Importing, Conditions: importConditions,
			}},
			CheckAt: checkExpiration, Params: importParams,
			Write: a.importKeyMaterial, Repeat: importedKeyMaterial,
		}.Row(),
		service.Op[wire.DeleteImportedKeyMaterialRequest, wire.DeleteImportedKeyMaterialResponse]{
			Service: serviceName, Name: "DeleteImportedKeyMaterial",
			Keys: []service.KeyRule[wire.DeleteImportedKeyMaterialRequest]{{
				ID: func(in *wire.DeleteImportedKeyMaterialRequest) string { return in.KeyId }, Action: "kms:DeleteImportedKeyMaterial",
				Origin: kms.OriginExternal, States: service.Erasable,
			}},
			Params: func(in *wire.DeleteImportedKeyMaterialRequest, p *audit.Params) {
				p.String("keyId", in.KeyId)
				p.OptString("keyMaterialId", in.KeyMaterialId)
			},
			Write: deleteImportedKeyMaterial,
		}.Row(),
	}
}

// checkWrapping refuses what AWS has switched off, or has in China only.
func checkWrapping(in *wire.GetParametersForImportRequest) error {
	switch {
	case in.WrappingAlgorithm == "RSAES_PKCS1_V1_5" || in.WrappingAlgorithm == "SM2PKE":
		return unsupported("WrappingAlgorithm " + in.WrappingAlgorithm + " is not supported in this region")
	case in.WrappingKeySpec == "SM2":
		return unsupported("WrappingKeySpec SM2 is not supported in this region")
	}
	return nil
}

// checkWraps refuses a wrapping that the key's material is too long for (AWS: "Select a
// wrapping algorithm").
func checkWraps(key *service.Key, in *wire.GetParametersForImportRequest) error {
	direct := strings.HasPrefix(in.WrappingAlgorithm, "RSAES_OAEP_")
	long := strings.HasPrefix(string(key.Spec), "RSA_") ||
		key.Spec == kms.ECCNistP521 && in.WrappingKeySpec == string(kms.RSA2048)
	if direct && long {
		return unsupported("WrappingAlgorithm " + in.WrappingAlgorithm + " with WrappingKeySpec " + in.WrappingKeySpec +
			" is not supported for key material of KeySpec " + string(key.Spec) + ".")
	}
	return nil
}

// wrappingKey is a key pair that material is encrypted with on its way.
type wrappingKey struct{ private, public []byte }

func (a *api) getParametersForImport(ctx context.Context, r *service.Request, in *wire.GetParametersForImportRequest) (*wire.GetParametersForImportResponse, error) {
	key := &r.Keys[0]
	if err := checkWraps(key, in); err != nil {
		return nil, err
	}
	spec := kms.KeySpec(in.WrappingKeySpec)
	pair, err := making(ctx, r, spec, func() (pair wrappingKey, err error) {
		pair.private, pair.public, err = crypto.GenerateKey(spec)
		return pair, err
	})
	if err != nil {
		return nil, err
	}
	defer crypto.Wipe(pair.private)
	token := importToken{Spec: string(spec), Algorithm: in.WrappingAlgorithm, Expires: r.Now + dayMillis, Private: pair.private}
	sealed, err := token.seal(a.keyring, key.ARN)
	if err != nil {
		return nil, err
	}
	return &wire.GetParametersForImportResponse{
		KeyId: &key.ARN, ImportToken: sealed, PublicKey: pair.public, ParametersValidTo: new(time.UnixMilli(token.Expires).UTC()),
	}, nil
}

const (
	materialExpires = "KEY_MATERIAL_EXPIRES"
	materialStays   = "KEY_MATERIAL_DOES_NOT_EXPIRE"

	newKeyMaterial      = "NEW_KEY_MATERIAL"
	existingKeyMaterial = "EXISTING_KEY_MATERIAL"
	// maxValidity bounds how long material is valid, in milliseconds (AWS:
	// ImportKeyMaterial, ValidTo).
	maxValidity = 365 * dayMillis
)

// expiration is what answers show of a material's end, 0 for none.
func expiration(validTo int64) (model string, at *time.Time) {
	if validTo == 0 {
		return materialStays, nil
	}
	return materialExpires, new(time.UnixMilli(validTo).UTC())
}

// checkExpiration checks the model of expiry, which is KEY_MATERIAL_EXPIRES by default,
// and the date. now is in milliseconds since 1970.
func checkExpiration(in *wire.ImportKeyMaterialRequest, now int64) error {
	stays := in.ExpirationModel == materialStays
	switch at := validTo(in); {
	case !stays && in.ValidTo == nil:
		return invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case stays && in.ValidTo != nil:
		return invalid("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
	case stays:
		return nil
	case at <= now:
		return invalid("The validTo date must be in the future.")
	case at > now+maxValidity:
		return invalid("The validTo date must be within 365 days.")
	}
	return nil
}

// validTo is when the material expires, in milliseconds since 1970, or 0.
func validTo(in *wire.ImportKeyMaterialRequest) int64 {
	if in.ValidTo == nil {
		return 0
	}
	return in.ValidTo.UnixMilli()
}

func importConditions(in *wire.ImportKeyMaterialRequest, key string) []string {
	switch {
	case key == "kms:expirationmodel" && in.ExpirationModel != "":
		return []string{in.ExpirationModel}
	case key == "kms:validto" && in.ValidTo != nil:
		return []string{strconv.FormatInt(in.ValidTo.Unix(), 10)}
	}
	return nil
}

func importParams(in *wire.ImportKeyMaterialRequest, p *audit.Params) {
	p.String("keyId", in.KeyId)
	if in.ValidTo != nil {
		p.Time("validTo", in.ValidTo.UnixMilli())
	}
	for _, member := range []struct{ name, value string }{{"expirationModel", in.ExpirationModel}, {"importType", in.ImportType}} {
		if member.value != "" {
			p.String(member.name, member.value)
		}
	}
	p.OptString("keyMaterialId", in.KeyMaterialId)
	p.OptString("keyMaterialDescription", in.KeyMaterialDescription)
}

var errIncorrectMaterial = &kms.Error{Code: kms.CodeIncorrectKeyMaterial}

func (a *api) importKeyMaterial(_ context.Context, r *service.Request, in *wire.ImportKeyMaterialRequest) (fsm.Args, *wire.ImportKeyMaterialResponse, error) {
	key := &r.Keys[0]
	secret, public, err := a.unwrap(key, in, max(r.Now, r.View.Time()))
	if err != nil {
		return nil, nil, err
	}
	defer crypto.Wipe(secret)
	id := crypto.MaterialID(key.ID, secret)
	fresh, err := checkImportType(r, key, in, id)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := a.keyring.Seal(MaterialPurpose, materialName(key.ID, id), secret)
	if err != nil {
		return nil, nil, fmt.Errorf("sealing key material: %w", err)
	}
	return fsm.ImportKeyMaterial{
		Account: key.Account, Region: key.Region, KeyID: key.ID, Description: in.KeyMaterialDescription, New: fresh,
		Material: fsm.Material{KeyID: key.ID, ID: id, Created: r.Now, Sealed: sealed, Public: public, ValidTo: validTo(in)},
	}, answerImport(r, key.ARN, id), nil
}

func answerImport(r *service.Request, arn, materialID string) *wire.ImportKeyMaterialResponse {
	r.Record.ResponseElements.String("keyId", arn)
	r.Record.ResponseElements.String("keyMaterialId", materialID)
	return &wire.ImportKeyMaterialResponse{KeyId: &arn, KeyMaterialId: &materialID}
}

// importedKeyMaterial answers an ImportKeyMaterial that was applied before.
func importedKeyMaterial(r *service.Request, once *fsm.Once) (*wire.ImportKeyMaterialResponse, error) {
	if len(once.IDs) != 2 {
		return nil, fmt.Errorf("kmsd: exactly-once entry of ImportKeyMaterial has %d ids", len(once.IDs))
	}
	k, ok := r.View.Key(r.Region, once.IDs[0])
	if !ok {
		return nil, kms.ErrOutcomeUnknown
	}
	r.Record.Resources = []audit.Resource{{Account: k.Account, ARN: k.ARN()}}
	return answerImport(r, k.ARN(), once.IDs[1]), nil
}

// unwrap returns the key that the call brings, which the caller wipes. Errors:
// InvalidImportTokenException, ExpiredImportTokenException, InvalidCiphertextException
// and IncorrectKeyMaterialException, in this order.
func (a *api) unwrap(key *service.Key, in *wire.ImportKeyMaterialRequest, now int64) (secret, public []byte, err error) {
	token, err := openImportToken(a.keyring, key.ARN, in.ImportToken)
	if err != nil {
		return nil, nil, err
	}
	defer crypto.Wipe(token.Private)
	if now > token.Expires {
		return nil, nil, &kms.Error{Code: kms.CodeExpiredImportToken}
	}
	material, err := crypto.UnwrapMaterial(kms.KeySpec(token.Spec), token.Private, kms.WrappingAlgorithm(token.Algorithm), in.EncryptedKeyMaterial)
	if err != nil {
		return nil, nil, &kms.Error{Code: kms.CodeInvalidCiphertext}
	}
	defer crypto.Wipe(material)
	if secret, public, err = crypto.ImportKey(key.Spec, material); err != nil {
		return nil, nil, errIncorrectMaterial
	}
	return secret, public, nil
}

// checkImportType compares the material with those that the key has, and tells whether
// it is a new one. Only symmetric encryption keys can have several.
func checkImportType(r *service.Request, key *service.Key, in *wire.ImportKeyMaterialRequest, id string) (fresh bool, err error) {
	if key.Spec != kms.SymmetricDefault && (in.ImportType != "" || in.KeyMaterialId != nil || in.KeyMaterialDescription != nil) {
		return false, unsupported("ImportType, KeyMaterialId and KeyMaterialDescription are valid only for symmetric encryption keys.")
	}
	fresh = in.ImportType == newKeyMaterial || in.ImportType != existingKeyMaterial && key.CurrentMaterial == ""
	if in.ImportType == newKeyMaterial && key.Replica {
		return false, refuseReplica(key.Key)
	}
	have, ok := r.View.Material(key.MaterialOwner(), id)
	switch {
	case in.ImportType == newKeyMaterial && in.KeyMaterialId != nil:
		return false, invalid("KeyMaterialId is not valid with the ImportType NEW_KEY_MATERIAL.")
	case in.KeyMaterialId != nil && *in.KeyMaterialId != id, ok && have.ID != id, ok == fresh:
		return false, errIncorrectMaterial
	case fresh && key.PendingMaterial != "":
		return false, &kms.Error{Code: kms.CodeInvalidState, Message: key.ARN + " already has key material pending rotation."}
	}
	return fresh, nil
}

// deleteImportedKeyMaterial deletes a material, by default the current one. One that is
// not there is as good as deleted.
func deleteImportedKeyMaterial(_ context.Context, r *service.Request, in *wire.DeleteImportedKeyMaterialRequest) (fsm.Args, *wire.DeleteImportedKeyMaterialResponse, error) {
	key := &r.Keys[0]
	id := key.CurrentMaterial
	if in.KeyMaterialId != nil {
		id = *in.KeyMaterialId
	}
	out := &wire.DeleteImportedKeyMaterialResponse{KeyId: &key.ARN}
	r.Record.ResponseElements.String("keyId", key.ARN)
	if id != "" {
		out.KeyMaterialId = &id
		r.Record.ResponseElements.String("keyMaterialId", id)
	}
	return fsm.DeleteImportedKeyMaterial{Account: key.Account, Region: key.Region, KeyID: key.ID, MaterialID: id}, out, nil
}
