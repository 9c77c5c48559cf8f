package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// The protocol kmsd-rpc/1: on one connection, requests and replies alternate.
//
//	request  length 4 ‖ kind 1 ‖ time left in ms 4 ‖ body
//	reply    length 4 ‖ status 1 ‖ body
//
// Integers are big-endian. The length counts what follows it.
const (
	// maxFrame bounds what follows the length, in bytes. A call is at most a
	// request's 256 KiB with its identifiers, a reply is smaller.
	maxFrame    = 1 << 20
	requestHead = 1 + 4
	replyHead   = 1
)

// errFrame is returned when a peer breaks the protocol. The connection is closed.
var errFrame = errors.New("malformed frame")

type rpcKind uint8

const (
	kindBeat    rpcKind = 1
	kindForward rpcKind = 2
	// What a member asks of the leader: see leadAnswer.
	kindHello   rpcKind = 3
	kindRenew   rpcKind = 4
	kindRenewed rpcKind = 5
	kindAdmit   rpcKind = 6
	kindRemove  rpcKind = 7
	kindMembers rpcKind = 8
	kindGoodbye rpcKind = 9
)

type rpcStatus uint8

const (
	statusOK          rpcStatus = 0
	statusNotLeader   rpcStatus = 1 // the body is the leader's ID, if it is known
	statusUnavailable rpcStatus = 2
	statusUnknown     rpcStatus = 3
	statusError       rpcStatus = 4 // a kms.Error: length of code 1 ‖ code ‖ message
	statusFailed      rpcStatus = 5 // anything else; the text stays where it happened
)

// maxTimeLeft is the longest time that a request may ask for.
const maxTimeLeft = time.Minute

func writeRequest(w io.Writer, kind rpcKind, left time.Duration, body []byte) error {
	if len(body) > maxFrame-requestHead {
		return fmt.Errorf("a request of %d bytes: %w", len(body), errFrame)
	}
	buf := make([]byte, 0, 4+requestHead+len(body))
	buf = binary.BigEndian.AppendUint32(buf, uint32(requestHead+len(body)))
	buf = append(buf, byte(kind))
	buf = binary.BigEndian.AppendUint32(buf, uint32(min(max(left, 0), maxTimeLeft).Milliseconds()))
	_, err := w.Write(append(buf, body...))
	return err
}

func readRequest(r io.Reader) (kind rpcKind, left time.Duration, body []byte, err error) {
	frame, err := readFrame(r, requestHead)
	if err != nil {
		return 0, 0, nil, err
	}
	left = time.Duration(binary.BigEndian.Uint32(frame[1:])) * time.Millisecond
	if left > maxTimeLeft {
		return 0, 0, nil, fmt.Errorf("%w: time left", errFrame)
	}
	return rpcKind(frame[0]), left, frame[requestHead:], nil
}

func writeReply(w io.Writer, status rpcStatus, body []byte) error {
	if len(body) > maxFrame-replyHead {
		return fmt.Errorf("a reply of %d bytes: %w", len(body), errFrame)
	}
	buf := make([]byte, 0, 4+replyHead+len(body))
	buf = binary.BigEndian.AppendUint32(buf, uint32(replyHead+len(body)))
	buf = append(buf, byte(status))
	_, err := w.Write(append(buf, body...))
	return err
}

func readReply(r io.Reader) (rpcStatus, []byte, error) {
	frame, err := readFrame(r, replyHead)
	if err != nil {
		return 0, nil, err
	}
	return rpcStatus(frame[0]), frame[replyHead:], nil
}

// readFrame reads one frame of at least least bytes. It checks the length before
// it allocates.
func readFrame(r io.Reader, least uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < least || n > maxFrame {
		return nil, fmt.Errorf("%w: length %d", errFrame, n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, fmt.Errorf("reading a frame: %w", err)
	}
	return frame, nil
}
