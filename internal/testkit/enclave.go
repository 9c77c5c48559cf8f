package testkit

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kmsd/kmsd/crypto/attestation"
)

// Enclave stands for a Nitro enclave and the certification authorities above it. Its
// fields may be changed before it signs.
type Enclave struct {
	// Chain are the certificates in DER, the root first, the enclave's last.
	Chain [][]byte
	// Signer is the key of the last certificate, Key what the enclave decrypts with.
	Signer *ecdsa.PrivateKey
	Key    *rsa.PrivateKey
}

// EnclaveConfig tells what an enclave's certificates are like. The zero value of a field
// stands for what AWS's are like: of P-384, the last one not a CA's.
type EnclaveConfig struct {
	From, To time.Time      // of all certificates: required
	Curve    elliptic.Curve // of the last certificate's key, at most P-384
	IsCA     bool           // of the last certificate
	Usage    x509.KeyUsage  // of the last certificate's key
}

// enclaveKey is made once: it takes long.
var enclaveKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewEnclave returns an enclave whose certificates are valid from an hour before a time
// until a day after it.
func NewEnclave(t testing.TB, at time.Time) *Enclave {
	t.Helper()
	return NewEnclaveWith(t, EnclaveConfig{From: at.Add(-time.Hour), To: at.Add(24 * time.Hour)})
}

// NewEnclaveWith is NewEnclave with other certificates.
func NewEnclaveWith(t testing.TB, cfg EnclaveConfig) *Enclave {
	t.Helper()
	key, err := enclaveKey()
	check(t, err)
	e := &Enclave{Key: key}
	var above *x509.Certificate
	for i, name := range []string{"aws.nitro-enclaves", "zone", "instance", "enclave"} {
		last := name == "enclave"
		curve := elliptic.P384()
		if last && cfg.Curve != nil {
			curve = cfg.Curve
		}
		own, err := ecdsa.GenerateKey(curve, rand.Reader)
		check(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name, Organization: []string{"Amazon"}}, NotBefore: cfg.From, NotAfter: cfg.To,
			BasicConstraintsValid: true, IsCA: !last || cfg.IsCA, KeyUsage: x509.KeyUsageCertSign,
		}
		if last {
			template.KeyUsage = cmp.Or(cfg.Usage, x509.KeyUsageDigitalSignature)
		}
		issuer, signer := above, e.Signer
		if issuer == nil {
			issuer, signer = template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, own.Public(), signer)
		check(t, err)
		above, err = x509.ParseCertificate(der)
		check(t, err)
		e.Chain, e.Signer = append(e.Chain, der), own
	}
	return e
}

// RootPEM is the root's certificate as operators configure it.
func (e *Enclave) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Chain[0]})
}

// Roots are what trusts the enclave.
func (e *Enclave) Roots(t testing.TB) *attestation.Roots {
	t.Helper()
	roots, err := attestation.ParseRoots(e.RootPEM())
	check(t, err)
	return roots
}

// Statement is what the enclave says of itself at a time: PCR 0 is 48 bytes of 0xa0, PCR
// 8 of 0xa8.
func (e *Enclave) Statement(t testing.TB, at time.Time) map[string]any {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(e.Key.Public())
	check(t, err)
	last := len(e.Chain) - 1
	return map[string]any{
		"module_id": "i-0123456789abcdef0-enc0123456789abcdef", "digest": "SHA384", "timestamp": at.UnixMilli(),
		"pcrs":        map[int][]byte{0: repeat(0xa0, 48), 8: repeat(0xa8, 48)},
		"certificate": e.Chain[last], "cabundle": e.Chain[:last], "public_key": public, "user_data": nil, "nonce": nil,
	}
}

func repeat(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}

// Document is a signed document with the statement of a time.
func (e *Enclave) Document(t testing.TB, at time.Time) []byte {
	t.Helper()
	return e.Sign(t, e.Statement(t, at))
}

// Sign returns a statement, whose CBOR is signed, as an untagged COSE_Sign1.
func (e *Enclave) Sign(t testing.TB, statement any) []byte {
	t.Helper()
	payload, err := cbor.Marshal(statement)
	check(t, err)
	return e.SignPayload(t, payload)
}

// SignPayload is Sign for a statement that is encoded already.
func (e *Enclave) SignPayload(t testing.TB, payload []byte) []byte {
	t.Helper()
	protected := []byte{0xa1, 0x01, 0x38, 0x22} // {1: -35}, which is ES384
	signed, err := cbor.Marshal([]any{"Signature1", protected, []byte{}, payload})
	check(t, err)
	digest := sha512.Sum384(signed)
	r, s, err := ecdsa.Sign(rand.Reader, e.Signer, digest[:])
	check(t, err)
	const size = 48 // that of P-384
	signature := append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	out, err := cbor.Marshal([]any{protected, map[int]any{}, payload, signature})
	check(t, err)
	return out
}

// cms is an EnvelopedData with one recipient (RFC 5652 §6.1), in its ContentInfo (§3).
type cms struct {
	Type    asn1.ObjectIdentifier
	Content struct {
		Version    int
		Recipients []struct {
			Version   int
			KeyID     []byte `asn1:"tag:0"`
			Algorithm pkix.AlgorithmIdentifier
			Key       []byte
		} `asn1:"set"`
		Encrypted struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   []byte `asn1:"tag:0"`
		}
	} `asn1:"explicit,tag:0"`
}

// Open decrypts what was encrypted for the enclave.
func (e *Enclave) Open(t testing.TB, ciphertext []byte) []byte {
	t.Helper()
	var m cms
	if rest, err := asn1.Unmarshal(ciphertext, &m); err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes behind the CMS, %v", len(rest), err)
	}
	to := m.Content.Recipients[0]
	if got := fmt.Sprint(m.Type, m.Content.Version, to.Version, to.Algorithm.Algorithm, m.Content.Encrypted.Type, m.Content.Encrypted.Algorithm.Algorithm); got !=
		"1.2.840.113549.1.7.3 2 2 1.2.840.113549.1.1.7 1.2.840.113549.1.7.1 2.16.840.1.101.3.4.1.42" { // envelopedData, versions, RSAES-OAEP, data, AES-256-CBC
		t.Fatalf("the CMS is %s", got)
	}
	key, err := rsa.DecryptOAEP(sha256.New(), nil, e.Key, to.Key, nil)
	check(t, err)
	block, err := aes.NewCipher(key)
	check(t, err)
	content := m.Content.Encrypted.Content
	cipher.NewCBCDecrypter(block, m.Content.Encrypted.Algorithm.Parameters.Bytes).CryptBlocks(content, content)
	padding := int(content[len(content)-1])
	if padding < 1 || padding > aes.BlockSize {
		t.Fatalf("the padding is %d", padding)
	}
	for _, b := range content[len(content)-padding:] {
		if int(b) != padding {
			t.Fatalf("the padding is %x", content[len(content)-padding:])
		}
	}
	return content[:len(content)-padding]
}
