package kms_test

import (
	"testing"

	"github.com/kmsd/kmsd/wire"
	"github.com/kmsd/kmsd/wire/kms"
)

const benchARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func BenchmarkEncrypt(b *testing.B) {
	body := []byte(`{"KeyId":"` + benchARN + `","Plaintext":"` + bytes(32) + `","EncryptionContext":{"purpose":"test"},"EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`)
	out := kms.EncryptResponse{CiphertextBlob: make([]byte, 180), KeyId: new(benchARN), EncryptionAlgorithm: "SYMMETRIC_DEFAULT"}
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var in kms.EncryptRequest
		if err := in.Decode(body); err != nil {
			b.Fatal(err)
		}
		buffer = out.AppendJSON(buffer[:0])
	}
}

func BenchmarkDecrypt(b *testing.B) {
	body := []byte(`{"CiphertextBlob":"` + bytes(180) + `","EncryptionContext":{"purpose":"test"}}`)
	out := kms.DecryptResponse{KeyId: new(benchARN), Plaintext: make(wire.Sensitive, 32), EncryptionAlgorithm: "SYMMETRIC_DEFAULT", KeyMaterialId: new(letters(64))}
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		var in kms.DecryptRequest
		if err := in.Decode(body); err != nil {
			b.Fatal(err)
		}
		buffer = out.AppendJSON(buffer[:0])
	}
}

func BenchmarkLongPolicy(b *testing.B) {
	body := []byte(`{"KeyId":"k","Policy":"` + letters(131072) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		var in kms.PutKeyPolicyRequest
		if err := in.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
