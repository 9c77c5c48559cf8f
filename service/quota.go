package service

import (
	"slices"
	"strings"

	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/kms"
)

// Quota names a request quota: the calls that are counted together, per account
// and Region (AWS: "Request quotas"). Most belong to one operation and have its
// name. Key pairs for data are counted by their spec:
// "GenerateDataKeyPair.RSA_2048".
type Quota string

// kmsService is AWS's name of the service whose operations have quotas.
const kmsService = "kms"

// The quotas that operations share.
const (
	QuotaSymmetric Quota = "symmetric"
	QuotaRSA       Quota = "rsa"
	QuotaECC       Quota = "ecc" // and SM2
	QuotaMLDSA     Quota = "ml-dsa"
)

// awsRates are AWS's figures in thousandths of a request per second (AWS:
// "Request quotas for each AWS KMS API operation"; the shared one of symmetric
// keys differs by Region, this is the one of most). The quota of a custom key
// store, which is counted per store, is not among them.
var awsRates = func() map[Quota]uint32 {
	rates := map[Quota]uint32{}
	for _, row := range []struct {
		milli  uint32
		quotas string
	}{
		{10_000_000, "symmetric"},
		{1_000_000, "rsa ecc ml-dsa"},
		{2_000_000, "DescribeKey GetPublicKey ListResourceTags"},
		{1_000_000, "GetKeyPolicy GetKeyRotationStatus"},
		{500_000, "ListAliases ListKeys"},
		{100_000, "ListGrants ListKeyPolicies ListKeyRotations ListRetirableGrants"},
		{50_000, "CreateGrant"},
		{30_000, "RetireGrant RevokeGrant"},
		{15_000, "DeleteAlias EnableKeyRotation PutKeyPolicy ScheduleKeyDeletion"},
		{10_000, "TagResource"},
		{5_000, "CancelKeyDeletion ConnectCustomKeyStore CreateAlias CreateCustomKeyStore CreateKey DeleteCustomKeyStore DeleteImportedKeyMaterial " +
			"DescribeCustomKeyStores DisableKey DisableKeyRotation DisconnectCustomKeyStore EnableKey ImportKeyMaterial ReplicateKey " +
			"RotateKeyOnDemand UntagResource UpdateAlias UpdateCustomKeyStore UpdateKeyDescription UpdatePrimaryRegion"},
		{25_000, "GenerateDataKeyPair.ECC_NIST_P256 GenerateDataKeyPair.ECC_SECG_P256K1 GenerateDataKeyPair.SM2"},
		{10_000, "GenerateDataKeyPair.ECC_NIST_P384"},
		{5_000, "GenerateDataKeyPair.ECC_NIST_P521"},
		{1_000, "GenerateDataKeyPair.RSA_2048"},
		{500, "GenerateDataKeyPair.RSA_3072"},
		{100, "GenerateDataKeyPair.RSA_4096"},
		{250, "GetParametersForImport"},
	} {
		for name := range strings.FieldsSeq(row.quotas) {
			rates[Quota(name)] = row.milli
		}
	}
	return rates
}()

// AWSRates returns AWS's figures, sorted by quota.
func AWSRates() []fsm.Rate {
	rates := make([]fsm.Rate, 0, len(awsRates))
	for quota, milli := range awsRates {
		rates = append(rates, fsm.Rate{Quota: string(quota), Milli: milli})
	}
	return fsm.NewThrottle(rates).Rates
}

// Known tells whether kmsd has the quota.
func (q Quota) Known() bool { return awsRates[q] != 0 }

// slow tells whether cryptography with a key of the spec takes many times as long as with
// others: from a third of a millisecond to several of one processor.
func slow(spec kms.KeySpec) bool {
	switch QuotaOfKey(spec) {
	case QuotaRSA, QuotaMLDSA:
		return true
	}
	return spec == kms.ECCNistP384 || spec == kms.ECCNistP521
}

// QuotaOfKey is the shared quota of the cryptographic operations that keys of
// several types have, by the key's spec. Keys of other types, and those that are
// not found, count as symmetric.
func QuotaOfKey(spec kms.KeySpec) Quota {
	for _, row := range []struct {
		prefix string
		quota  Quota
	}{{"RSA_", QuotaRSA}, {"ECC_", QuotaECC}, {"SM2", QuotaECC}, {"ML_DSA_", QuotaMLDSA}} {
		if strings.HasPrefix(string(spec), row.prefix) {
			return row.quota
		}
	}
	return QuotaSymmetric
}

// QuotaOfPair is the quota of the operations that make data key pairs, by the spec of the
// pair; "" for those that AWS publishes no figure of.
func QuotaOfPair(spec string) Quota {
	if q := Quota("GenerateDataKeyPair." + spec); q.Known() {
		return q
	}
	return ""
}

// charge is a request that counts towards a quota in a Region.
type charge struct {
	quota  Quota
	region string
}

// maxCharges is what a call counts as at most: ReplicateKey is one request in its own
// Region and two in another.
const maxCharges = 3

// charges lists what the call counts as, and notes whether it is slow. What the local
// operator asks of AWS's services is refused, and counts nowhere.
func (r *Request) charges(in any) []charge {
	if r.Principal.Type == kms.PrincipalLocalOperator {
		return nil
	}
	list := r.chargesHere(in)
	region, quotas := r.row.there(in)
	for _, q := range quotas {
		list = append(list, charge{q, region})
	}
	return list
}

// chargesHere lists what the call counts as in its own Region: each quota once.
func (r *Request) chargesHere(in any) []charge {
	list := r.counted[:0]
	switch {
	case r.row.quotaFor != nil:
		if q := r.row.quotaFor(in); q != "" {
			return append(list, charge{q, r.Region})
		}
		return nil
	case r.row.quotaOf == nil && r.row.quota != "":
		return append(list, charge{r.row.quota, r.Region})
	case r.row.quotaOf == nil:
		return nil
	}
	for i := range r.row.keys {
		var spec kms.KeySpec
		if key, err := r.key(i, in); err == nil && key.Key != nil {
			spec = key.Spec
		}
		r.slow = r.slow || slow(spec)
		if c := (charge{r.row.quotaOf(spec), r.Region}); !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}
