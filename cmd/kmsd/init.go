package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/kmsd/kmsd/cluster"
	kmscrypto "github.com/kmsd/kmsd/crypto"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/internal/apitls"
	"github.com/kmsd/kmsd/internal/durable"
	"github.com/kmsd/kmsd/internal/failpoint"
	"github.com/kmsd/kmsd/kms"
	"github.com/kmsd/kmsd/service"
)

// initCmd is "kmsd init". It runs once, on the first node, while no server runs.
type initCmd struct {
	configFile
	Config  Config `embed:""`
	Account string `placeholder:"ID" help:"The operator account, 12 digits. Its root user may do everything. Default: random."`
	JSON    bool   `help:"Print JSON."`
}

// Validate holds the rules that need more than one flag.
func (c *initCmd) Validate() error {
	if c.Account != "" && !kms.ValidAccount(c.Account) {
		return errors.New("--account must be 12 digits")
	}
	return c.Config.validate()
}

// caFileName is where init leaves the API CA in the data directory.
const caFileName = "api-ca.pem"

// A founding is what init prints. The secrets in it are kept nowhere else in clear.
type founding struct {
	ClusterID         string `json:"clusterId"`
	NodeID            string `json:"nodeId"`
	Account           string `json:"accountId"`
	AccessKeyID       string `json:"accessKeyId"`
	SecretAccessKey   string `json:"secretAccessKey"`
	RecoveryIdentity  string `json:"recoveryIdentity"`
	RecoveryRecipient string `json:"recoveryRecipient"`
	CAFile            string `json:"apiCaFile"`
}

// Run makes a cluster of one node.
func (c *initCmd) Run(ctx context.Context, std *streams) error {
	if err := c.found(ctx, std); err != nil {
		return fmt.Errorf("making the cluster: %w", err)
	}
	return nil
}

// announced is after the credentials were printed, and before they are worth anything.
var announced = failpoint.New("credentials printed")

func (c *initCmd) found(ctx context.Context, std *streams) error {
	// Before the seal, which makes a file.
	if err := mustBeEmpty(c.Config.Data); err != nil {
		return err
	}
	sealer, err := c.Config.openSeal(true)
	if err != nil {
		return err
	}
	recovery, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("making the recovery key pair: %w", err)
	}
	root, now := newCredential(), time.Now()
	out := &founding{
		Account: c.Account, AccessKeyID: root.id, SecretAccessKey: root.secret,
		RecoveryIdentity: recovery.String(), RecoveryRecipient: recovery.Recipient().String(),
		CAFile: filepath.Join(c.Config.Data, caFileName),
	}
	if out.Account == "" {
		out.Account = service.NewAccountID()
	}
	var ca []byte
	_, err = cluster.Init(ctx, cluster.InitConfig{
		Nodes: []cluster.InitNode{{
			DataDir: c.Config.Data, Seal: sealer, Advertise: c.Config.Cluster.Advertise, APIAddress: c.Config.API.Advertise,
		}},
		Now: now,
		Genesis: func(g *fsm.Genesis, keyring *kmscrypto.Keyring) error {
			g.RecoveryRecipient = out.RecoveryRecipient
			ca = apitls.EncodePEM(g.Authority.API.Cert)
			return addOperator(g, keyring, out.Account, root, now)
		},
		Announce: func(f *cluster.Founded) error {
			out.ClusterID, out.NodeID = f.ClusterID, f.NodeIDs[0]
			if err := durable.WriteFile(out.CAFile, ca); err != nil {
				return err
			}
			return c.announce(std, out)
		},
	})
	if err != nil {
		return fmt.Errorf("%w. Remove %s and run kmsd init again; a credential that was printed is worth nothing", err, c.Config.Data)
	}
	return nil
}

// announce prints the credentials. Only after that may a node start in the directory:
// they are kept nowhere else.
func (c *initCmd) announce(std *streams, f *founding) error {
	show := c.show
	if c.JSON {
		show = func(std *streams, f *founding) error { return std.json(f) }
	}
	if err := show(std, f); err != nil {
		return fmt.Errorf("printing the credentials: %w", err)
	}
	announced.Hit("")
	return nil
}

// show prints the founding for people.
func (c *initCmd) show(std *streams, f *founding) error {
	path, _ := c.Config.sealPath() // checked by Validate
	var b strings.Builder
	fmt.Fprintf(&b, "Cluster %s is made. %s holds its first node, %s.\n\n", f.ClusterID, c.Config.Data, f.NodeID)
	fmt.Fprintf(&b, "Keep these: they are shown this once.\n\n")
	fmt.Fprintf(&b, "  operator account    %s\n", f.Account)
	fmt.Fprintf(&b, "  access key id       %s\n", f.AccessKeyID)
	fmt.Fprintf(&b, "  secret access key   %s\n", f.SecretAccessKey)
	fmt.Fprintf(&b, "  recovery identity   %s\n\n", f.RecoveryIdentity)
	fmt.Fprintf(&b, "The access key is the operator account's root user. The recovery identity is for the day\n"+
		"when every seal is lost: keep it offline. Who has it and a backup has every key.\n\n")
	fmt.Fprintf(&b, "The key file of this node's seal is %s; without it the node does not start.\n", path)
	fmt.Fprintf(&b, "The API CA, for AWS_CA_BUNDLE, is %s.\n\n", f.CAFile)
	fmt.Fprintf(&b, "Start the node with kmsd server. For each other node, make a token with kmsd token create,\n"+
		"give it to kmsd join --token TOKEN %s there, and start kmsd server.\n", c.Config.Cluster.Advertise)
	_, err := std.out.Write([]byte(b.String()))
	return err
}
