package kms

import (
	"errors"
	"net/http"
)

// Error is an answer that a client receives: a code of the table below and, for
// most codes, a message. Its identity is the code: it survives being forwarded
// from one node to another because the code travels.
type Error struct {
	Code string
	// Message is the text for the client. It is empty for the errors that AWS
	// answers without a message member.
	Message string
}

// Error returns "Code: Message", or the bare code.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Is makes errors.Is match on the code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// The codes that kmsd answers. Codes that only the query protocol (IAM, STS)
// uses stand at the end.
const (
	CodeAccessDenied          = "AccessDeniedException"
	CodeAlreadyExists         = "AlreadyExistsException"
	CodeConflict              = "ConflictException"
	CodeDependencyTimeout     = "DependencyTimeoutException"
	CodeDisabled              = "DisabledException"
	CodeDryRun                = "DryRunOperationException"
	CodeExpiredImportToken    = "ExpiredImportTokenException"
	CodeExpiredToken          = "ExpiredTokenException"
	CodeIncompleteSignature   = "IncompleteSignatureException"
	CodeIncorrectKeyMaterial  = "IncorrectKeyMaterialException"
	CodeIncorrectKey          = "IncorrectKeyException"
	CodeInternal              = "KMSInternalException"
	CodeInvalidAliasName      = "InvalidAliasNameException"
	CodeInvalidArn            = "InvalidArnException"
	CodeInvalidCiphertext     = "InvalidCiphertextException"
	CodeInvalidGrantID        = "InvalidGrantIdException"
	CodeInvalidGrantToken     = "InvalidGrantTokenException"
	CodeInvalidImportToken    = "InvalidImportTokenException"
	CodeInvalidKeyUsage       = "InvalidKeyUsageException"
	CodeInvalidMarker         = "InvalidMarkerException"
	CodeInvalidSignature      = "InvalidSignatureException"
	CodeInvalidState          = "KMSInvalidStateException"
	CodeKMSInvalidMac         = "KMSInvalidMacException"
	CodeKMSInvalidSignature   = "KMSInvalidSignatureException"
	CodeKeyUnavailable        = "KeyUnavailableException"
	CodeLimitExceeded         = "LimitExceededException"
	CodeMalformedPolicy       = "MalformedPolicyDocumentException"
	CodeMissingAuthentication = "MissingAuthenticationTokenException"
	CodeNotAuthorized         = "NotAuthorizedException"
	CodeNotFound              = "NotFoundException"
	CodeRequestTooLarge       = "RequestEntityTooLargeException"
	CodeSerialization         = "SerializationException"
	CodeServiceUnavailable    = "ServiceUnavailableException"
	CodeTag                   = "TagException"
	CodeThrottling            = "ThrottlingException"
	CodeUnknownOperation      = "UnknownOperationException"
	CodeUnrecognizedClient    = "UnrecognizedClientException"
	CodeUnsupportedOperation  = "UnsupportedOperationException"
	CodeValidation            = "ValidationException"

	// CodeQuorum and CodeTokenInvalid are kmsd's own: AWS has neither members nor
	// join tokens.
	CodeQuorum       = "QuorumAtRiskException"
	CodeTokenInvalid = "InvalidJoinTokenException"

	CodeCustomKeyStoreNotFound     = "CustomKeyStoreNotFoundException"
	CodeCustomKeyStoreInvalidState = "CustomKeyStoreInvalidStateException"

	CodeNoSuchEntity           = "NoSuchEntity"
	CodeEntityAlreadyExists    = "EntityAlreadyExists"
	CodeDeleteConflict         = "DeleteConflict"
	CodeEntityLimitExceeded    = "LimitExceeded"
	CodeConcurrentModification = "ConcurrentModification"
	CodeInvalidInput           = "InvalidInput"
	CodePackedPolicyTooLarge   = "PackedPolicyTooLarge"
	CodePolicyNotAttachable    = "PolicyNotAttachable"
	CodeUnmodifiableEntity     = "UnmodifiableEntity"

	// The names that the query protocol has for errors of the JSON services.
	CodeQueryAccessDenied          = "AccessDenied"
	CodeQueryExpiredToken          = "ExpiredToken"
	CodeQueryIncompleteSignature   = "IncompleteSignature"
	CodeQueryInternalFailure       = "InternalFailure"
	CodeQueryInvalidAction         = "InvalidAction"
	CodeQueryInvalidClientTokenID  = "InvalidClientTokenId"
	CodeQueryMalformedInput        = "MalformedInput"
	CodeQueryMalformedPolicy       = "MalformedPolicyDocument"
	CodeQueryMissingAction         = "MissingAction"
	CodeQueryMissingAuthentication = "MissingAuthenticationToken"
	CodeQueryServiceUnavailable    = "ServiceUnavailable"
	CodeQuerySignatureDoesNotMatch = "SignatureDoesNotMatch"
	CodeQueryThrottling            = "Throttling"
	CodeQueryValidationError       = "ValidationError"
)

// A Fault says whose mistake an error is: it decides the query protocol's
// <Type> and whether the error is logged.
type Fault uint8

// The faults.
const (
	FaultClient Fault = iota
	FaultServer
)

// A CodeInfo is a row of the error table.
type CodeInfo struct {
	Status int // HTTP status
	Fault  Fault
	// CapitalMessage tells that the JSON body spells the member "Message", as the
	// service framework's own errors do, instead of "message".
	CapitalMessage bool
}

var codes = map[string]CodeInfo{
	CodeAccessDenied:          {http.StatusBadRequest, FaultClient, true},
	CodeAlreadyExists:         {http.StatusBadRequest, FaultClient, false},
	CodeConflict:              {http.StatusBadRequest, FaultClient, false},
	CodeDependencyTimeout:     {http.StatusInternalServerError, FaultServer, false},
	CodeDisabled:              {http.StatusBadRequest, FaultClient, false},
	CodeDryRun:                {http.StatusBadRequest, FaultClient, false},
	CodeExpiredImportToken:    {http.StatusBadRequest, FaultClient, false},
	CodeExpiredToken:          {http.StatusBadRequest, FaultClient, false},
	CodeIncompleteSignature:   {http.StatusBadRequest, FaultClient, false},
	CodeIncorrectKeyMaterial:  {http.StatusBadRequest, FaultClient, false},
	CodeIncorrectKey:          {http.StatusBadRequest, FaultClient, false},
	CodeInternal:              {http.StatusInternalServerError, FaultServer, false},
	CodeInvalidAliasName:      {http.StatusBadRequest, FaultClient, false},
	CodeInvalidArn:            {http.StatusBadRequest, FaultClient, false},
	CodeInvalidCiphertext:     {http.StatusBadRequest, FaultClient, false},
	CodeInvalidGrantID:        {http.StatusBadRequest, FaultClient, false},
	CodeInvalidGrantToken:     {http.StatusBadRequest, FaultClient, false},
	CodeInvalidImportToken:    {http.StatusBadRequest, FaultClient, false},
	CodeInvalidKeyUsage:       {http.StatusBadRequest, FaultClient, false},
	CodeInvalidMarker:         {http.StatusBadRequest, FaultClient, false},
	CodeInvalidSignature:      {http.StatusBadRequest, FaultClient, false},
	CodeInvalidState:          {http.StatusBadRequest, FaultClient, false},
	CodeKMSInvalidMac:         {http.StatusBadRequest, FaultClient, false},
	CodeKMSInvalidSignature:   {http.StatusBadRequest, FaultClient, false},
	CodeKeyUnavailable:        {http.StatusInternalServerError, FaultServer, false},
	CodeLimitExceeded:         {http.StatusBadRequest, FaultClient, false},
	CodeMalformedPolicy:       {http.StatusBadRequest, FaultClient, false},
	CodeMissingAuthentication: {http.StatusBadRequest, FaultClient, false},
	CodeNotAuthorized:         {http.StatusBadRequest, FaultClient, false},
	CodeNotFound:              {http.StatusBadRequest, FaultClient, false},
	CodeRequestTooLarge:       {http.StatusRequestEntityTooLarge, FaultClient, false},
	CodeSerialization:         {http.StatusBadRequest, FaultClient, true},
	CodeServiceUnavailable:    {http.StatusServiceUnavailable, FaultServer, false},
	CodeTag:                   {http.StatusBadRequest, FaultClient, false},
	CodeThrottling:            {http.StatusBadRequest, FaultClient, false},
	CodeUnknownOperation:      {http.StatusBadRequest, FaultClient, false},
	CodeUnrecognizedClient:    {http.StatusBadRequest, FaultClient, false},
	CodeUnsupportedOperation:  {http.StatusBadRequest, FaultClient, false},
	CodeValidation:            {http.StatusBadRequest, FaultClient, false},

	CodeQuorum:       {http.StatusBadRequest, FaultClient, false},
	CodeTokenInvalid: {http.StatusBadRequest, FaultClient, false},

	CodeCustomKeyStoreNotFound:     {http.StatusBadRequest, FaultClient, false},
	CodeCustomKeyStoreInvalidState: {http.StatusBadRequest, FaultClient, false},

	CodeNoSuchEntity:           {http.StatusNotFound, FaultClient, false},
	CodeEntityAlreadyExists:    {http.StatusConflict, FaultClient, false},
	CodeDeleteConflict:         {http.StatusConflict, FaultClient, false},
	CodeEntityLimitExceeded:    {http.StatusConflict, FaultClient, false},
	CodeConcurrentModification: {http.StatusConflict, FaultClient, false},
	CodeInvalidInput:           {http.StatusBadRequest, FaultClient, false},
	CodePackedPolicyTooLarge:   {http.StatusBadRequest, FaultClient, false},
	CodePolicyNotAttachable:    {http.StatusBadRequest, FaultClient, false},
	CodeUnmodifiableEntity:     {http.StatusBadRequest, FaultClient, false},

	CodeQueryAccessDenied:          {http.StatusForbidden, FaultClient, false},
	CodeQueryExpiredToken:          {http.StatusForbidden, FaultClient, false},
	CodeQueryIncompleteSignature:   {http.StatusBadRequest, FaultClient, false},
	CodeQueryInternalFailure:       {http.StatusInternalServerError, FaultServer, false},
	CodeQueryInvalidAction:         {http.StatusBadRequest, FaultClient, false},
	CodeQueryInvalidClientTokenID:  {http.StatusForbidden, FaultClient, false},
	CodeQueryMalformedInput:        {http.StatusBadRequest, FaultClient, false},
	CodeQueryMalformedPolicy:       {http.StatusBadRequest, FaultClient, false},
	CodeQueryMissingAction:         {http.StatusBadRequest, FaultClient, false},
	CodeQueryMissingAuthentication: {http.StatusForbidden, FaultClient, false},
	CodeQueryServiceUnavailable:    {http.StatusServiceUnavailable, FaultServer, false},
	CodeQuerySignatureDoesNotMatch: {http.StatusForbidden, FaultClient, false},
	CodeQueryThrottling:            {http.StatusBadRequest, FaultClient, false},
	CodeQueryValidationError:       {http.StatusBadRequest, FaultClient, false},
}

// Info returns the table's row for a code. A code that the table lacks is a
// programming error of this repository; it is answered as an internal fault.
func Info(code string) CodeInfo {
	if info, ok := codes[code]; ok {
		return info
	}
	return CodeInfo{Status: http.StatusInternalServerError, Fault: FaultServer}
}

// Codes returns every code of the table.
func Codes() []string {
	out := make([]string, 0, len(codes))
	for c := range codes {
		out = append(out, c)
	}
	return out
}

// AsError returns err as the answer for the client, and whether it was one
// already. Anything else becomes KMSInternalException with a bland message: the
// caller logs err, once.
func AsError(err error) (*Error, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e, true
	}
	return &Error{Code: CodeInternal, Message: "The request was rejected because an internal exception occurred. The request can be retried."}, false
}

// The conditions between the packages that serve a call and the cluster below
// them.
var (
	// ErrNotLeader is returned when a write reached a node that does not lead.
	// Nothing was proposed.
	ErrNotLeader = errors.New("kmsd: this node is not the leader")
	// ErrUnavailable is returned when a node cannot prove that its state is
	// fresh, or when no leader could be reached. Nothing was proposed.
	ErrUnavailable = errors.New("kmsd: the node cannot serve now")
	// ErrOutcomeUnknown is returned when a write was proposed and nobody can say
	// whether it took effect.
	ErrOutcomeUnknown = errors.New("kmsd: the outcome of the write is unknown")
)
