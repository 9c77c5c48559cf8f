package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

// An Identity is what a certificate says about its holder.
type Identity struct {
	ClusterID string // UUID
	NodeID    string // UUID
	// SPKI is the SHA-256 of the DER SubjectPublicKeyInfo (RFC 5280, section
	// 4.1.2.7). It survives renewal of the certificate with the same key.
	SPKI [32]byte
}

// ErrIdentity is returned for a certificate that does not name exactly one node
// of one cluster.
var ErrIdentity = errors.New("the certificate names no node")

var nodePath = regexp.MustCompile(`^/node/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func nodeURI(clusterID, nodeID string) *url.URL {
	return &url.URL{Scheme: "kmsd", Host: clusterID, Path: "/node/" + nodeID}
}

// identify reads the one URI of a node certificate,
// kmsd://<clusterID>/node/<nodeID>. It checks no signature.
func identify(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, fmt.Errorf("%w: %d URIs instead of one", ErrIdentity, len(cert.URIs))
	}
	u := cert.URIs[0]
	m := nodePath.FindStringSubmatch(u.Path)
	if m == nil || !uuid.MatchString(u.Host) || u.String() != nodeURI(u.Host, m[1]).String() {
		return Identity{}, fmt.Errorf("%w: malformed URI", ErrIdentity)
	}
	return Identity{ClusterID: u.Host, NodeID: m[1], SPKI: SPKI(cert)}, nil
}

// SPKI returns the SHA-256 of the certificate's DER SubjectPublicKeyInfo.
func SPKI(cert *x509.Certificate) [32]byte { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }
