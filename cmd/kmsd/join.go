package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/cluster/trust"
	"github.com/kmsd/kmsd/kms"
)

// joinCmd is "kmsd join". It runs once on each node but the first, while no server
// runs there. Running it again does no harm.
type joinCmd struct {
	configFile
	Config Config        `embed:""`
	Token  string        `required:"" env:"KMSD_TOKEN" placeholder:"TOKEN" help:"The token that kmsd token create printed. The variable keeps it out of the list of processes."`
	Wait   time.Duration `default:"1m" help:"How long to try while nobody can answer."`
	JSON   bool          `help:"Print JSON."`
	Addrs  []string      `arg:"" name:"address" help:"Cluster addresses of members, HOST:PORT, tried one after the other."`
}

// Validate holds the rules that need more than one flag.
func (c *joinCmd) Validate() error {
	for _, addr := range c.Addrs {
		if err := advertised("address", addr); err != nil {
			return err
		}
	}
	if c.Wait <= 0 {
		return errors.New("--wait must be longer than 0s")
	}
	if _, err := trust.ParseToken(c.Token); err != nil {
		return fmt.Errorf("--token: %w", err)
	}
	return c.Config.validate()
}

// joined is what join prints.
type joined struct {
	Data string `json:"data"`
}

// Run makes this node a member.
func (c *joinCmd) Run(ctx context.Context, std *streams) error {
	sealer, err := c.Config.openSeal(true)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait)
	defer cancel()
	err = cluster.JoinCluster(ctx, cluster.JoinConfig{
		DataDir: c.Config.Data, Seal: sealer, Token: c.Token, Addrs: c.Addrs,
		Advertise: c.Config.Cluster.Advertise, APIAddress: c.Config.API.Advertise, Logger: c.Config.Log.logger(std.err),
	})
	var refusal *kms.Error
	switch {
	case errors.As(err, &refusal):
		return &exitError{exitRefused, fmt.Errorf("joining the cluster: %w", err)}
	case err != nil:
		return fmt.Errorf("joining the cluster: %w", err)
	case c.JSON:
		return std.json(joined{c.Config.Data})
	}
	_, err = fmt.Fprintf(std.out, "%s holds a member of the cluster. Start it with kmsd server.\n", c.Config.Data)
	return err
}
