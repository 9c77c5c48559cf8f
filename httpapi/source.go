package httpapi

import (
	"crypto/tls"
	"net/http"
	"net/netip"

	"github.com/kmsd/kmsd/kms"
)

// maxInvocationID bounds amz-sdk-invocation-id, in bytes. SDKs send 36.
const maxInvocationID = 128

// sourceOf says where the request came from: the peer of the connection, or the
// client that a trusted proxy named before the connection's first byte, never what
// a header of HTTP claims.
func sourceOf(r *http.Request) kms.Source {
	s := kms.Source{UserAgent: r.UserAgent(), Referer: r.Referer(), Host: r.Host, IP: r.RemoteAddr}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		s.IP = peer.Addr().Unmap().WithZone("").String()
	}
	if r.TLS != nil {
		s.TLSVersion, s.TLSCipher = tlsVersion(r.TLS.Version), tlsCipher(r.TLS.CipherSuite)
	}
	return s
}

// invocationID is the SDK's name for the call. One that no SDK would send counts
// as none.
func invocationID(h http.Header) string {
	values := h["Amz-Sdk-Invocation-Id"]
	if len(values) != 1 || len(values[0]) > maxInvocationID {
		return ""
	}
	return values[0]
}

// tlsVersion names a version as CloudTrail's tlsDetails does.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "TLSv1.3"
	case tls.VersionTLS12:
		return "TLSv1.2"
	}
	return tls.VersionName(v)
}

// tlsCiphers are the TLS 1.2 suites under their OpenSSL names, which CloudTrail
// prints. Those of TLS 1.3 have one name only.
var tlsCiphers = map[uint16]string{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
}

func tlsCipher(id uint16) string {
	if name, ok := tlsCiphers[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}
