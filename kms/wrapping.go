package kms

// WrappingAlgorithm says how imported key material is encrypted on its way (AWS:
// GetParametersForImport, WrappingAlgorithm).
type WrappingAlgorithm string

// The wrapping algorithms. AWS's RSAES_PKCS1_V1_5, which it has switched off, and SM2PKE
// are not among them.
const (
	WrapOAEPSHA1   WrappingAlgorithm = "RSAES_OAEP_SHA_1"
	WrapOAEPSHA256 WrappingAlgorithm = "RSAES_OAEP_SHA_256"
	WrapAESSHA1    WrappingAlgorithm = "RSA_AES_KEY_WRAP_SHA_1"
	WrapAESSHA256  WrappingAlgorithm = "RSA_AES_KEY_WRAP_SHA_256"
)

// Imports tells whether keys of the spec can have imported material (AWS: "Importing key
// material").
func (s KeySpec) Imports() bool {
	switch s {
	case MLDSA44, MLDSA65, MLDSA87, MLKEM512, MLKEM768, MLKEM1024:
		return false
	}
	return true
}
