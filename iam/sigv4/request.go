package sigv4

import "net/http"

// Request is an HTTP request exactly as it was received. Nothing may have been
// decoded, normalised or added: the signature covers the original.
type Request struct {
	Method string
	// Path is the path as it stood in the request line, still escaped and without
	// the query string.
	Path string
	// RawQuery is what followed the question mark, still escaped.
	RawQuery string
	// Host is the Host header (HTTP/2: the :authority) with its port, if it had
	// one.
	Host string
	// Header holds all other headers under their canonical names, as net/http
	// delivers them.
	Header http.Header
	// Body is the complete body. The hash that is signed is computed from it,
	// whatever X-Amz-Content-Sha256 says.
	Body []byte
}

// The limits of what is parsed. They leave room for every known client and bound
// the work done before a caller is known.
const (
	maxAuthorization = 8 << 10  // bytes of the Authorization header
	maxQuery         = 16 << 10 // bytes of the query string; session tokens in presigned URLs take about 2 KiB
	maxSignedHeaders = 100      // names
	maxHeaderName    = 128      // bytes of one signed header's name
	maxEcho          = 128      // bytes of a client's value in an error text
)
