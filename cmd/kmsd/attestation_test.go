package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/kmsd/kmsd/internal/testkit"
)

// TestServerKnowsItsRoots holds that a server believes the documents that lead to its
// configured root, and none without one.
func TestServerKnowsItsRoots(t *testing.T) {
	t.Parallel()
	n, e := newTestNode(t, ""), testkit.NewEnclave(t, time.Now())
	n.init()
	file := filepath.Join(n.dir, "roots.pem")
	if err := os.WriteFile(file, e.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	random := func() (*awskms.GenerateRandomOutput, error) {
		return n.kms().GenerateRandom(t.Context(), &awskms.GenerateRandomInput{NumberOfBytes: aws.Int32(24), Recipient: &types.RecipientInfo{
			AttestationDocument: e.Document(t, time.Now()), KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256,
		}})
	}
	n.serve("--attestation-roots", file)
	got, err := random()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Plaintext) != 0 || len(e.Open(t, got.CiphertextForRecipient)) != 24 {
		t.Errorf("got %d bytes for the caller", len(got.Plaintext))
	}
	n.end()
	n.serve()
	_, err = random()
	if failure := smithy.APIError(nil); !errors.As(err, &failure) || failure.ErrorCode() != "ValidationException" || !strings.Contains(failure.ErrorMessage(), "no root certificate of attestation documents is configured") {
		t.Errorf("got %v", err)
	}
}
