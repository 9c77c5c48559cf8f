package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire"
)

// maxEcho bounds what an error repeats of a name that the client sent, in bytes.
const maxEcho = 128

// typeXML is the Content-Type of the query protocol's answers.
var typeXML = []string{"text/xml"}

// An api is a version of a query service.
type api struct{ service, version, namespace string }

var queryAPIs = []api{
	{"sts", "2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/"},
	{"iam", "2010-05-08", "https://iam.amazonaws.com/doc/2010-05-08/"},
}

// parameters is a request read as a call of the query protocol.
type parameters struct {
	service string // empty: no query service is meant
	action  string
	version string
	values  url.Values
	broken  bool // the encoding is wrong, or there are too many
}

// queryParameters reads the URL's query and, for a POST, the form. A body is a
// form if it says so or if the credential scope names a query service.
func queryParameters(r *http.Request, body []byte) *parameters {
	p := &parameters{}
	scope := scopeService(r)
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost && (isQueryService(scope) || mediaType(r.Header["Content-Type"]) == "application/x-www-form-urlencoded") {
		raw = joinParameters(raw, string(body))
	}
	p.parse(raw)
	p.action, p.version = p.values.Get("Action"), p.values.Get("Version")
	switch {
	case isQueryService(scope):
		p.service = scope
	case scope == "" && (p.values.Has("Action") || p.values.Has("Version")):
		p.service = serviceOfVersion(p.version)
	}
	return p
}

func joinParameters(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
}

func (p *parameters) parse(raw string) {
	if strings.Count(raw, "&") >= wire.MaxParameters {
		p.broken = true
		return
	}
	var err error
	p.values, err = url.ParseQuery(raw)
	p.broken = err != nil
}

// query tells whether the request is meant for a query service.
func (p *parameters) query() bool { return p.service != "" }

// check finds the operation, or says why there is none.
func (p *parameters) check(b Backend) error {
	switch {
	case p.broken:
		return &kms.Error{Code: kms.CodeQueryMalformedInput, Message: wire.MessageEncoding}
	case p.action == "":
		return &kms.Error{Code: kms.CodeQueryMissingAction, Message: "The request is missing an action or a required parameter."}
	case len(p.values["Action"]) > 1 || p.version != apiOf(p.service).version || !b.Knows(p.service, p.action):
		version := p.version
		if version == "" {
			version = "NO_VERSION_SPECIFIED"
		}
		return &kms.Error{Code: kms.CodeQueryInvalidAction, Message: "Could not find operation " + clip(p.action) + " for version " + clip(version)}
	}
	return nil
}

// encode renders the parameters for the service: sorted by name, without those
// of a presigned URL, among which is the session token.
func (p *parameters) encode() []byte {
	for name := range p.values {
		if len(name) >= 6 && strings.EqualFold(name[:6], "X-Amz-") {
			delete(p.values, name)
		}
	}
	return []byte(p.values.Encode())
}

func clip(s string) string {
	if len(s) > maxEcho {
		return s[:maxEcho]
	}
	return s
}

// scopeService is the service that the credential scope names, in the header or
// the URL; empty if there is none. It proves nothing: it picks the protocol.
func scopeService(r *http.Request) string {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if header := r.Header.Get("Authorization"); header != "" {
		_, credential, _ = strings.Cut(header, "Credential=")
		credential, _, _ = strings.Cut(credential, ",")
	}
	parts := strings.Split(strings.TrimSpace(credential), "/")
	if len(parts) < 5 {
		return ""
	}
	return parts[len(parts)-2]
}

func isQueryService(name string) bool {
	for _, a := range queryAPIs {
		if a.service == name {
			return true
		}
	}
	return false
}

// serviceOfVersion is for calls without a credential scope. STS stands for the
// versions that nobody has: it words the refusal.
func serviceOfVersion(version string) string {
	for _, a := range queryAPIs {
		if a.version == version {
			return a.service
		}
	}
	return queryAPIs[0].service
}

func apiOf(service string) api {
	for _, a := range queryAPIs {
		if a.service == service {
			return a
		}
	}
	return queryAPIs[0]
}

// queryResult wraps the result element that the service made, which may be
// empty.
func queryResult(r route, id string, result []byte) []byte {
	b := make([]byte, 0, len(result)+256)
	return wire.AppendQueryResponse(b, r.operation, apiOf(r.service).namespace, id, result)
}

// queryFailure is the body of an error.
func queryFailure(r route, id string, e *kms.Error) []byte {
	fault := "Sender"
	if kms.Info(e.Code).Fault == kms.FaultServer {
		fault = "Receiver"
	}
	b := []byte(`<ErrorResponse xmlns="` + apiOf(r.service).namespace + `"><Error>`)
	b = wire.AppendElement(b, "Type", &fault)
	b = wire.AppendElement(b, "Code", &e.Code)
	if e.Message != "" {
		b = wire.AppendElement(b, "Message", &e.Message)
	}
	b = wire.AppendEnd(b, "Error")
	b = wire.AppendElement(b, "RequestId", &id)
	return wire.AppendEnd(b, "ErrorResponse")
}

// queryCodes renames the errors that both protocols know.
var queryCodes = map[string]string{
	kms.CodeAccessDenied:          kms.CodeQueryAccessDenied,
	kms.CodeExpiredToken:          kms.CodeQueryExpiredToken,
	kms.CodeIncompleteSignature:   kms.CodeQueryIncompleteSignature,
	kms.CodeInternal:              kms.CodeQueryInternalFailure,
	kms.CodeInvalidSignature:      kms.CodeQuerySignatureDoesNotMatch,
	kms.CodeLimitExceeded:         kms.CodeEntityLimitExceeded,
	kms.CodeMalformedPolicy:       kms.CodeQueryMalformedPolicy,
	kms.CodeMissingAuthentication: kms.CodeQueryMissingAuthentication,
	kms.CodeSerialization:         kms.CodeQueryMalformedInput,
	kms.CodeServiceUnavailable:    kms.CodeQueryServiceUnavailable,
	kms.CodeThrottling:            kms.CodeQueryThrottling,
	kms.CodeUnknownOperation:      kms.CodeQueryInvalidAction,
	kms.CodeUnrecognizedClient:    kms.CodeQueryInvalidClientTokenID,
	kms.CodeValidation:            kms.CodeQueryValidationError,
}

// queryError gives e the code that the query protocol has for it. Codes without
// a counterpart stay.
func queryError(e *kms.Error) *kms.Error {
	if code, ok := queryCodes[e.Code]; ok {
		return &kms.Error{Code: code, Message: e.Message}
	}
	return e
}
