package integration_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// The load of TestReadYourWrites.
const (
	writers = 4
	rounds  = 10 // of each writer; seven writes each
)

// TestReadYourWrites writes through a random node and reads at once through every
// node: each answer must know of the write.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	c := shared.get(t)
	nodes := c.everyKMS(newRegion())
	var wg sync.WaitGroup
	for i := range writers {
		seed := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			for range rounds {
				if !(&writer{t: t, c: c, nodes: nodes, rand: seed}).round() {
					return
				}
			}
		})
	}
	wg.Wait()
}

// A writer does one round.
type writer struct {
	t        *testing.T
	c        *cluster
	nodes    []*kms.Client
	rand     *rand.Rand
	failures int
}

func (w *writer) any() *kms.Client { return w.nodes[w.rand.IntN(len(w.nodes))] }

// wrote reports a write that failed.
func (w *writer) wrote(what string, err error) {
	if err != nil {
		w.failures++
		w.t.Errorf("%s: %v", what, err)
	}
}

// everywhere runs check on every node, starting anywhere.
func (w *writer) everywhere(after string, check func(*kms.Client) (ok bool, err error)) {
	for i, at := range w.rand.Perm(len(w.nodes)) {
		ok, err := check(w.nodes[at])
		if !ok && strings.Contains(w.c.stderr.String(), passedOver) {
			w.c.settle(w.t)
			ok, err = check(w.nodes[at])
		}
		if !ok {
			w.failures++
			w.t.Errorf("after %s, node %d, asked as number %d, does not know: %v", after, at, i, err)
		}
	}
}

// round makes a key and an alias and changes both. It reports whether all was well.
func (w *writer) round() bool {
	first, second := w.createKey(), w.createKey()
	if first == "" || second == "" {
		return false
	}
	alias := aws.String("alias/round/" + first)
	_, err := w.any().CreateAlias(w.t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: &first})
	w.wrote("CreateAlias", err)
	w.everywhere("CreateAlias", w.encryptsUnder(alias, first))
	_, err = w.any().UpdateAlias(w.t.Context(), &kms.UpdateAliasInput{AliasName: alias, TargetKeyId: &second})
	w.wrote("UpdateAlias", err)
	w.everywhere("UpdateAlias", w.encryptsUnder(alias, second))
	_, err = w.any().DisableKey(w.t.Context(), &kms.DisableKeyInput{KeyId: &second})
	w.wrote("DisableKey", err)
	w.everywhere("DisableKey", func(n *kms.Client) (bool, error) {
		_, err := n.Encrypt(w.t.Context(), &kms.EncryptInput{KeyId: alias, Plaintext: []byte("x")})
		return typed[*types.DisabledException](err), err
	})
	_, err = w.any().EnableKey(w.t.Context(), &kms.EnableKeyInput{KeyId: &second})
	w.wrote("EnableKey", err)
	w.everywhere("EnableKey", w.encryptsUnder(alias, second))
	_, err = w.any().DeleteAlias(w.t.Context(), &kms.DeleteAliasInput{AliasName: alias})
	w.wrote("DeleteAlias", err)
	w.everywhere("DeleteAlias", func(n *kms.Client) (bool, error) {
		_, err := n.DescribeKey(w.t.Context(), &kms.DescribeKeyInput{KeyId: alias})
		return typed[*types.NotFoundException](err), err
	})
	return w.failures == 0
}

// createKey makes a key that every node describes at once.
func (w *writer) createKey() string {
	made, err := w.any().CreateKey(w.t.Context(), &kms.CreateKeyInput{})
	if w.wrote("CreateKey", err); err != nil {
		return ""
	}
	id := *made.KeyMetadata.KeyId
	w.everywhere("CreateKey", func(n *kms.Client) (bool, error) {
		got, err := n.DescribeKey(w.t.Context(), &kms.DescribeKeyInput{KeyId: &id})
		return err == nil && *got.KeyMetadata.Arn == *made.KeyMetadata.Arn, err
	})
	return id
}

// encryptsUnder checks that an alias stands for a key.
func (w *writer) encryptsUnder(alias *string, keyID string) func(*kms.Client) (bool, error) {
	return func(n *kms.Client) (bool, error) {
		out, err := n.Encrypt(w.t.Context(), &kms.EncryptInput{KeyId: alias, Plaintext: []byte("x")})
		if err != nil {
			return false, err
		}
		arn := *out.KeyId
		return len(arn) > len(keyID) && arn[len(arn)-len(keyID):] == keyID, nil
	}
}
