package kmsapi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/internal/testkit"
)

var mrkPattern = regexp.MustCompile(`^mrk-[0-9a-f]{32}$`)

// TestCreateMultiRegionKey makes a primary of every spec that AWS has (behaviour of
// CreateKey with MultiRegion).
func TestCreateMultiRegionKey(t *testing.T) {
	t.Parallel()
	s := testkit.Start(t)
	for _, body := range []string{
		`{"MultiRegion":true}`,
		`{"MultiRegion":true,"KeySpec":"HMAC_256","KeyUsage":"GENERATE_VERIFY_MAC"}`,
		`{"MultiRegion":true,"KeySpec":"ECC_NIST_P256","KeyUsage":"SIGN_VERIFY"}`,
		`{"MultiRegion":true,"KeySpec":"ML_DSA_44","KeyUsage":"SIGN_VERIFY"}`,
		`{"MultiRegion":true,"KeySpec":"ML_KEM_768","KeyUsage":"ENCAPSULATE_DECAPSULATE"}`,
	} {
		m := s.Must(t, "CreateKey", body)["KeyMetadata"].(obj)
		id := m["KeyId"].(string)
		if !mrkPattern.MatchString(id) || m["MultiRegion"] != true || m["KeyState"] != "Enabled" {
			t.Errorf("%s: got %v", body, m)
		}
		want := strings.ReplaceAll(`{"MultiRegionKeyType":"PRIMARY","PrimaryKey":{"Arn":"$ARN","Region":"us-east-1"},"ReplicaKeys":[]}`, "$ARN", testkit.ARN(id))
		wantJSON(t, m["MultiRegionConfiguration"], want)
		wantJSON(t, metadata(t, s, id)["MultiRegionConfiguration"], want)
	}
}
