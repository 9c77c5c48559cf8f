package httpapi

import (
	"mime"
	"net/http"
	"strings"

	"github.com/kmsd/kmsd/kms"
)

// protocol is how a request is answered.
type protocol uint8

const (
	protocolJSON protocol = iota
	protocolQuery
	// protocolNone is that of requests that are no call at all: 404.
	protocolNone
)

// route is the operation that a request asks for.
type route struct {
	protocol  protocol
	service   string
	operation string
	input     []byte // Call.Body
	label     string // the operation for metrics: from a closed set
}

// targets names the JSON services by the prefix of X-Amz-Target.
var targets = map[string]string{"TrentService": "kms"}

var errUnknownOperation = &kms.Error{Code: kms.CodeUnknownOperation}

// resolve finds the protocol and the operation: by X-Amz-Target; else by the
// service in the credential scope; else by Version and Action, for calls that
// are not signed. A GET that is none of these is answered 404.
func (x *exchange) resolve() error {
	if target, ok := x.r.Header["X-Amz-Target"]; ok && x.r.Method == http.MethodPost {
		return x.resolveTarget(target)
	}
	asked := queryParameters(x.r, x.body)
	if !asked.query() {
		if x.r.Method == http.MethodGet {
			x.route.protocol = protocolNone
		}
		return errUnknownOperation
	}
	x.route.protocol = protocolQuery
	x.route.service = asked.service
	x.route.operation = asked.action
	if err := asked.check(x.server.cfg.Backend); err != nil {
		return err
	}
	x.route.label = asked.action
	x.route.input = asked.encode()
	return nil
}

// resolveTarget takes the value of X-Amz-Target apart. A repeated header names no
// operation.
func (x *exchange) resolveTarget(target []string) error {
	if len(target) != 1 || !jsonType(x.r.Header["Content-Type"]) {
		return errUnknownOperation
	}
	prefix, operation, _ := strings.Cut(target[0], ".")
	service, ok := targets[prefix]
	if !ok || !x.server.cfg.Backend.Knows(service, operation) {
		return errUnknownOperation
	}
	x.route.service, x.route.operation, x.route.label = service, operation, operation
	x.route.input = x.body
	return nil
}

// jsonType tells whether a request with X-Amz-Target may have this Content-Type:
// awsJson 1.1 or 1.0 or plain JSON, with any parameters, or none at all. The
// others are protocols that KMS does not speak.
func jsonType(values []string) bool {
	if len(values) == 0 {
		return true
	}
	switch mediaType(values) {
	case "application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json":
		return true
	}
	return false
}

// mediaType is the one Content-Type in lower case, without parameters.
func mediaType(values []string) string {
	if len(values) != 1 {
		return ""
	}
	if values[0] == typeJSON[0] {
		return values[0]
	}
	t, _, err := mime.ParseMediaType(values[0])
	if err != nil && err != mime.ErrInvalidMediaParameter {
		return ""
	}
	return t
}
