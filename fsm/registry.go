package fsm

import (
	"errors"
	"fmt"

	"github.com/kmsd/kmsd/kms"
)

// The reasons for which a machine stops. Result.Fatal wraps one of them.
var (
	// ErrUnknownCommand is returned for a type and version that this build does
	// not know.
	ErrUnknownCommand = errors.New("fsm: unknown command")
	// ErrUndecodable is returned for bytes that are not the one encoding of a
	// valid command, or of a valid snapshot.
	ErrUndecodable = errors.New("fsm: cannot decode")
	// ErrInconsistent is returned when a command, an index or a snapshot
	// contradicts the state or itself.
	ErrInconsistent = errors.New("fsm: inconsistent")
	// ErrDiverged is returned when a HashCheck shows that this machine's state
	// differs from the leader's.
	ErrDiverged = errors.New("fsm: this node's state differs from the leader's")
)

// A cluster version is a set of commands. The leader proposes a command only when
// every member supports the version that brought it, so that none meets a command
// that it does not know. This build can be a member of the clusters whose version
// lies between these two.
const (
	OldestVersion uint32 = 1
	NewestVersion uint32 = 1
)

// An entry of the registry: how one version of one command is opened and
// applied.
type entry struct {
	since uint32 // the cluster version that brought it
	// open decodes a body and checks it. The arguments are of the registered
	// type.
	open func(body []byte) (*Meta, Args, error)
	// apply decides the command: it reads through the transaction and collects
	// changes in it, or refuses. It returns a fatal error only for a state that
	// must not exist.
	apply func(*txn, Args) (*kms.Error, error)
}

type registryKey struct {
	t Type
	v uint8
}

type registry struct {
	// since is the cluster version that brings what is registered next.
	since    uint32
	versions map[registryKey]entry
}

func (r *registry) find(t Type, v uint8) (entry, bool) {
	e, ok := r.versions[registryKey{t, v}]
	return e, ok
}

// argsOf is the pointer to an argument struct.
type argsOf[A any] interface {
	*A
	Args
}

// register enters a command. It panics when the pair is taken, and when this build
// does not support the cluster version that brings it.
func register[A any, P argsOf[A]](r *registry, t Type, v uint8, apply func(*txn, *A) (*kms.Error, error)) {
	if _, ok := r.find(t, v); ok {
		panic(fmt.Sprintf("kmsd: command type %d version %d registered twice", t, v))
	}
	if r.since == 0 || r.since > NewestVersion {
		panic(fmt.Sprintf("kmsd: command type %d version %d comes with cluster version %d, this build supports up to %d", t, v, r.since, NewestVersion))
	}
	if r.versions == nil {
		r.versions = map[registryKey]entry{}
	}
	r.versions[registryKey{t, v}] = entry{
		since: r.since,
		open: func(body []byte) (*Meta, Args, error) {
			var b struct {
				_    struct{} `cbor:",toarray"`
				Meta Meta
				Args A
			}
			if err := decode(body, &b); err != nil {
				return nil, nil, err
			}
			args := P(&b.Args)
			if err := errors.Join(b.Meta.check(), args.check()); err != nil {
				return nil, nil, fmt.Errorf("%w: %w", ErrInconsistent, err)
			}
			return &b.Meta, args, nil
		},
		apply: func(t *txn, args Args) (*kms.Error, error) { return apply(t, args.(P)) },
	}
}

// Since returns the cluster version that brought the command's type and version.
// For those that this build does not know it is one that no cluster has.
func (c Command) Since() uint32 {
	if e, ok := commands.find(c.Type, c.Version); ok {
		return e.since
	}
	return ^uint32(0)
}

// commands holds every command that this build can apply, in any year: an entry
// is added for a new version and never taken away. What comes after a release
// raises NewestVersion, and since above the entries.
var commands = func() *registry {
	r := new(registry)
	r.since = 1
	register(r, TypeGenesis, 1, genesis)
	register(r, TypeLeaderOpen, 1, leaderOpen)
	register(r, TypeHashCheck, 1, hashCheck)
	register(r, TypeCreateKey, 1, createKey)
	register(r, TypeSetKeyState, 1, setKeyState)
	register(r, TypeCreateAlias, 1, createAlias)
	register(r, TypeUpdateAlias, 1, updateAlias)
	register(r, TypeDeleteAlias, 1, deleteAlias)
	register(r, TypePruneAudit, 1, pruneAudit)
	register(r, TypeTokenCreate, 1, tokenCreate)
	register(r, TypeTokenDelete, 1, tokenDelete)
	register(r, TypeNodeAdmit, 1, nodeAdmit)
	register(r, TypeNodeRenew, 1, nodeRenew)
	register(r, TypeNodeRenewed, 1, nodeRenewed)
	register(r, TypeNodeHello, 1, nodeHello)
	register(r, TypeNodeRemove, 1, nodeRemove)
	register(r, TypeSetAuthority, 1, setAuthority)
	register(r, TypeSetGossipKeys, 1, setGossipKeys)
	register(r, TypeResetRootCredential, 1, resetRootCredential)
	register(r, TypeVersionBump, 1, versionBump)
	register(r, TypeScheduleKeyDeletion, 1, scheduleKeyDeletion)
	register(r, TypeCancelKeyDeletion, 1, cancelKeyDeletion)
	register(r, TypeDeleteKey, 1, deleteKey)
	register(r, TypeSetKeyDescription, 1, setKeyDescription)
	register(r, TypeTagKey, 1, tagKey)
	register(r, TypeUntagKey, 1, untagKey)
	register(r, TypeSetKeyRotation, 1, setKeyRotation)
	register(r, TypeRotateKeyOnDemand, 1, rotateKeyOnDemand)
	register(r, TypeRotateKey, 1, rotateKey)
	register(r, TypeRecordUsage, 1, recordUsage)
	register(r, TypeSetConfig, 1, setConfig)
	register(r, TypeCreateIdentity, 1, createIdentity)
	register(r, TypeSetIdentity, 1, setIdentity)
	register(r, TypeDeleteIdentity, 1, deleteIdentity)
	register(r, TypeCreateManagedPolicy, 1, createManagedPolicy)
	register(r, TypeSetManagedPolicy, 1, setManagedPolicy)
	register(r, TypeDeleteManagedPolicy, 1, deleteManagedPolicy)
	register(r, TypeCreateAccessKey, 1, createAccessKey)
	register(r, TypeSetAccessKeyStatus, 1, setAccessKeyStatus)
	register(r, TypeDeleteAccessKey, 1, deleteAccessKey)
	register(r, TypeCreateAccount, 1, createAccount)
	register(r, TypeCloseAccount, 1, closeAccount)
	register(r, TypePutKeyPolicy, 1, putKeyPolicy)
	register(r, TypeRecordCredentials, 1, recordCredentials)
	register(r, TypeCreateGrant, 1, createGrant)
	register(r, TypeDeleteGrant, 1, deleteGrant)
	register(r, TypeImportKeyMaterial, 1, importKeyMaterial)
	register(r, TypeDeleteImportedKeyMaterial, 1, deleteImportedKeyMaterial)
	register(r, TypeDeleteExpiredKeyMaterial, 1, deleteExpiredKeyMaterial)
	register(r, TypeRotateImportedKey, 1, rotateImportedKey)
	register(r, TypeReplicateKey, 1, replicateKey)
	register(r, TypeUpdatePrimaryRegion, 1, updatePrimaryRegion)
	register(r, TypeCreateManagedKey, 1, createManagedKey)
	return r
}()
