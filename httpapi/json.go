package httpapi

import (
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/wire"
)

// typeJSON is the Content-Type of every awsJson answer, whichever JSON type the
// request named.
var typeJSON = []string{"application/x-amz-json-1.1"}

// jsonFailure is the body of an error. The table of errors says how the code
// spells the message's member; an empty message is absent.
func jsonFailure(e *kms.Error) []byte {
	b := wire.AppendString([]byte(`{"__type":`), e.Code)
	if e.Message != "" {
		name := `,"message":`
		if kms.Info(e.Code).CapitalMessage {
			name = `,"Message":`
		}
		b = wire.AppendString(append(b, name...), e.Message)
	}
	return append(b, '}')
}
