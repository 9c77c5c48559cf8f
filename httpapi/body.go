package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/kmsd/kmsd/kms"
)

// firstBuffer bounds what a mere Content-Length makes the node allocate, in
// bytes. What is larger grows with the bytes that have come.
const firstBuffer = 64 << 10

// readBody reads the whole body before anything looks at the request. When it
// cannot, it answers itself, closes the connection and reports false: 413 with an
// empty body above maxBody, else SerializationException, for a body that ended
// early, took longer than bodyTimeout or is framed wrongly.
func (x *exchange) readBody() bool {
	if x.r.ContentLength > maxBody {
		x.refuseSize()
		return false
	}
	if x.r.Body == http.NoBody {
		return true
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every ResponseWriter of tests can
	body, err := readAll(http.MaxBytesReader(x.w, x.r.Body, maxBody), x.r.ContentLength)
	next := time.Time{}
	if err != nil {
		next = time.Now() // net/http would wait for the rest of the body
	}
	_ = control.SetReadDeadline(next)
	var large *http.MaxBytesError
	switch {
	case err == nil:
		x.body = body
		return true
	case errors.As(err, &large):
		x.refuseSize()
	default:
		x.w.Header()["Connection"] = closing
		x.fail(&kms.Error{Code: kms.CodeSerialization})
	}
	return false
}

// readAll is io.ReadAll with a first buffer of the announced size.
func readAll(r io.Reader, announced int64) ([]byte, error) {
	b := make([]byte, 0, min(max(announced, 511), firstBuffer)+1)
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// refuseSize answers a body that is too large: no content, and the end of the
// connection, whose rest nobody reads.
func (x *exchange) refuseSize() {
	x.observe(kms.CodeRequestTooLarge)
	h := x.w.Header()
	h["Connection"] = closing
	h["x-amzn-ErrorType"] = []string{kms.CodeRequestTooLarge}
	x.write(http.StatusRequestEntityTooLarge, typeJSON, nil)
}
