package attestation

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/kms"
)

// Object identifiers of a CMS EnvelopedData.
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} // RFC 5652 §4
	oidEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3} // RFC 5652 §6.1
	oidOAEP          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7} // RFC 4055 §4.1
	oidMGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidAES256CBC     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42} // RFC 3565 §4.1
)

// envelopedVersion is the version of an EnvelopedData and of its recipient whose key is
// named by the subjectKeyIdentifier (RFC 5652 §6.1, §6.2.1).
const envelopedVersion = 2

// contentKeySize is the length of an AES-256 key, in bytes.
const contentKeySize = 32

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content envelopedData `asn1:"explicit,tag:0"`
}

type envelopedData struct {
	Version    int
	Recipients []keyTransRecipient `asn1:"set"`
	Content    encryptedContent
}

type keyTransRecipient struct {
	Version   int
	KeyID     []byte `asn1:"tag:0"`
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

type encryptedContent struct {
	Type      asn1.ObjectIdentifier
	Algorithm pkix.AlgorithmIdentifier
	Content   []byte `asn1:"tag:0"`
}

// oaepSHA256 is RSAES-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 4055 §4.1).
var oaepSHA256 = func() pkix.AlgorithmIdentifier {
	hash := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	return pkix.AlgorithmIdentifier{Algorithm: oidOAEP, Parameters: asn1.RawValue{FullBytes: marshal(struct {
		Hash pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
		Mask pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
	}{hash, pkix.AlgorithmIdentifier{Algorithm: oidMGF1, Parameters: asn1.RawValue{FullBytes: marshal(hash)}}})}}
}()

// marshal encodes a value of which this package knows that it can be encoded.
func marshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil {
		panic("kmsd: encoding DER: " + err.Error())
	}
	return der
}

// Seal encrypts for whom the document is of: a CMS EnvelopedData in DER, with a key of
// AES-256-CBC under RSAES-OAEP with SHA-256 (RFC 5652 §6). It is not authenticated, as
// AWS's is not: what carries it there must be. The plaintext stays the caller's.
func (d *Document) Seal(plaintext []byte) ([]byte, error) {
	key, iv := crypto.Random(contentKeySize), crypto.Random(aes.BlockSize)
	defer crypto.Wipe(key)
	wrapped, err := d.key.Encrypt(kms.RSAESOAEPSHA256, key)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	content := padded(plaintext)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(content, content)
	return marshal(contentInfo{oidEnvelopedData, envelopedData{
		Version:    envelopedVersion,
		Recipients: []keyTransRecipient{{envelopedVersion, keyID(d.key.DER()), oaepSHA256, wrapped}},
		Content:    encryptedContent{oidData, pkix.AlgorithmIdentifier{Algorithm: oidAES256CBC, Parameters: asn1.RawValue{FullBytes: marshal(iv)}}, content},
	}}), nil
}

// padded returns the plaintext with the padding of RFC 5652 §6.3, in memory of its own.
func padded(plaintext []byte) []byte {
	n := aes.BlockSize - len(plaintext)%aes.BlockSize
	out := make([]byte, len(plaintext)+n)
	copy(out, plaintext)
	for i := len(plaintext); i < len(out); i++ {
		out[i] = byte(n)
	}
	return out
}

// keyID is the subjectKeyIdentifier of a public key: the SHA-1 of its bits (RFC 5280
// §4.2.1.2), which only finds the key.
func keyID(spki []byte) []byte {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) > 0 {
		panic("kmsd: a public key that was read before is none")
	}
	sum := sha1.Sum(info.PublicKey.Bytes)
	return sum[:]
}
