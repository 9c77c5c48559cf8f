package fsm

import (
	"bytes"
	"errors"
	"fmt"
)

// Type is a command's number in the log. Numbers are append-only and never
// reused.
type Type uint16

// The commands.
const (
	TypeGenesis     Type = 1
	TypeLeaderOpen  Type = 2
	TypeHashCheck   Type = 3
	TypeCreateKey   Type = 4
	TypeSetKeyState Type = 5
	TypeCreateAlias Type = 6
	TypeUpdateAlias Type = 7
	TypeDeleteAlias Type = 8
	TypePruneAudit  Type = 9
	TypeTokenCreate Type = 10
	TypeTokenDelete Type = 11
	TypeNodeAdmit   Type = 12
	TypeNodeRenew   Type = 13
	TypeNodeRenewed Type = 14
	TypeNodeHello   Type = 15
	TypeNodeRemove  Type = 16

	TypeSetAuthority        Type = 17
	TypeSetGossipKeys       Type = 18
	TypeResetRootCredential Type = 19
	TypeVersionBump         Type = 20
	TypeScheduleKeyDeletion Type = 21
	TypeCancelKeyDeletion   Type = 22
	TypeDeleteKey           Type = 23
	TypeSetKeyDescription   Type = 24
	TypeTagKey              Type = 25
	TypeUntagKey            Type = 26
	TypeSetKeyRotation      Type = 27
	TypeRotateKeyOnDemand   Type = 28
	TypeRotateKey           Type = 29
	TypeRecordUsage         Type = 30
	TypeSetConfig           Type = 31

	TypeCreateIdentity      Type = 32
	TypeSetIdentity         Type = 33
	TypeDeleteIdentity      Type = 34
	TypeCreateManagedPolicy Type = 35
	TypeSetManagedPolicy    Type = 36
	TypeDeleteManagedPolicy Type = 37
	TypeCreateAccessKey     Type = 38
	TypeSetAccessKeyStatus  Type = 39
	TypeDeleteAccessKey     Type = 40
	TypeCreateAccount       Type = 41
	TypeCloseAccount        Type = 42
	TypePutKeyPolicy        Type = 43
	TypeRecordCredentials   Type = 44

	TypeCreateGrant Type = 45
	TypeDeleteGrant Type = 46

	TypeImportKeyMaterial         Type = 50
	TypeDeleteImportedKeyMaterial Type = 51
	TypeDeleteExpiredKeyMaterial  Type = 52
	TypeRotateImportedKey         Type = 53

	TypeReplicateKey        Type = 55
	TypeUpdatePrimaryRegion Type = 56

	TypeCreateManagedKey Type = 60
)

const (
	// MaxBody bounds a command's body, in bytes. A sealed log entry is at most
	// 256 KiB; the rest is left for its envelope.
	MaxBody = 256<<10 - 1<<10
	// maxRequestID bounds a request id, in bytes: with the identifiers that a
	// command makes, an entry of the once table stays below 256 bytes.
	maxRequestID = 64
)

// ErrTooLarge is returned by NewCommand for a body longer than MaxBody.
var ErrTooLarge = errors.New("fsm: command too large")

// ReqKey identifies one request of a client over all its retries and forwards.
// The zero value means that the command needs no protection against a second
// application.
type ReqKey [16]byte

// Command is an opened log entry.
type Command struct {
	Type    Type
	Version uint8
	ReqKey  ReqKey
	Body    []byte // deterministic CBOR of the array [Meta, arguments]
}

// Meta is the first part of every command's body.
type Meta struct {
	// Time is the leader's wall clock, in milliseconds since 1970. The machine's
	// time is the greatest that an applied command carried.
	Time int64 `cbor:"1,keyasint"`
	// RequestID is the client's request, at most 64 bytes; empty for internal
	// commands.
	RequestID string `cbor:"2,keyasint,omitempty"`
	// Reads are the preconditions: the read set of the View that the decision
	// was made from.
	Reads []Read `cbor:"3,keyasint,omitempty"`
	// Audit is the complete CloudTrail record of success, made by the leader; nil
	// for internal commands.
	Audit []byte `cbor:"4,keyasint,omitempty"`
	// Recorded are log indexes whose audit records are known to be durable: apply
	// drops them from the pending-audit table, whatever becomes of the command
	// itself, because that knowledge does not depend on it.
	Recorded []uint64 `cbor:"5,keyasint,omitempty"`
}

// Read is one precondition: the record was at ModIndex, or absent (0), when it
// was read.
type Read struct {
	_        struct{} `cbor:",toarray"`
	Table    uint8
	ID       string
	ModIndex uint64
}

// Args are the arguments of one command. The argument types of this package
// implement it, each for one command.
type Args interface {
	// command returns the type and version that the arguments belong to.
	command() (Type, uint8)
	// check refuses arguments that no state could accept. It runs before a
	// command is made and again before it is applied; its errors quote nothing.
	check() error
}

// NewCommand makes the command that carries meta and args. It fails when the
// arguments are inconsistent, when the body is longer than MaxBody, and when
// Apply could not decode what was encoded (text that is not UTF-8): a command
// that would stop every node must not reach the log.
func NewCommand(key ReqKey, meta Meta, args Args) (Command, error) {
	t, v := args.command()
	var buf bytes.Buffer
	encode(&buf, [2]any{&meta, args})
	cmd := Command{Type: t, Version: v, ReqKey: key, Body: buf.Bytes()}
	if len(cmd.Body) > MaxBody {
		return Command{}, fmt.Errorf("%w: command %d is %d bytes long, more than %d", ErrTooLarge, t, len(cmd.Body), MaxBody)
	}
	entry, ok := commands.find(t, v)
	if !ok {
		return Command{}, fmt.Errorf("%w: type %d version %d", ErrUnknownCommand, t, v)
	}
	if _, _, err := entry.open(cmd.Body); err != nil {
		return Command{}, fmt.Errorf("making command %d: %w", t, err)
	}
	return cmd, nil
}

func (m *Meta) check() error {
	switch {
	case m.Time < 0:
		return errors.New("negative time")
	case len(m.RequestID) > maxRequestID:
		return errors.New("request id too long")
	}
	for _, r := range m.Reads {
		if _, ok := collectionOf(r.Table); !ok {
			return errors.New("precondition on an unknown table")
		}
	}
	return nil
}
