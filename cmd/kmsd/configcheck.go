package main

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// configCmd groups what is about settings: those of a node, which check prints, and
// those of the cluster, which get and set ask a node for.
type configCmd struct {
	Get   configGetCmd   `cmd:"" help:"Print the cluster's settings."`
	Set   configSetCmd   `cmd:"" help:"Change settings of the cluster, for all nodes at once."`
	Check configCheckCmd `cmd:"" help:"Print the configuration in effect, in the form of the configuration file, and tell by the exit code whether a server would accept it: 0 or 2."`
}

// configCheckCmd is "kmsd config check".
type configCheckCmd struct {
	configFile
	Config Config `embed:""`
	JSON   bool   `help:"Print JSON."`
}

// Validate holds the rules of the configuration.
func (c *configCheckCmd) Validate() error { return c.Config.validate() }

// Run prints the configuration.
func (c *configCheckCmd) Run(std *streams) error {
	_, err := c.Config.Attestation.read()
	if err := errors.Join(c.Config.mayUseSeal(), c.Config.TLS.check(), err); err != nil {
		return &exitError{exitUsage, err}
	}
	tree := effective(&c.Config)
	if c.JSON {
		text, err := yaml.MarshalWithOptions(tree, yaml.JSON())
		if err != nil {
			return err
		}
		_, err = std.out.Write(text)
		return err
	}
	text, err := yaml.Marshal(tree)
	if err != nil {
		return err
	}
	_, err = std.out.Write(text)
	return err
}

// effective returns the settings in the form of the file: sections in the order of
// Config. No setting is a secret; a seal that would hold one was refused.
func effective(c *Config) yaml.MapSlice {
	var tree yaml.MapSlice
	for _, s := range settings() {
		value := reflect.ValueOf(c).Elem().FieldByIndex(s.index).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		section, name, nested := strings.Cut(s.key, ".")
		if !nested {
			tree = append(tree, yaml.MapItem{Key: s.key, Value: value})
			continue
		}
		if n := len(tree); n == 0 || tree[n-1].Key != section {
			tree = append(tree, yaml.MapItem{Key: section, Value: yaml.MapSlice{}})
		}
		last := &tree[len(tree)-1]
		last.Value = append(last.Value.(yaml.MapSlice), yaml.MapItem{Key: name, Value: value})
	}
	return tree
}
