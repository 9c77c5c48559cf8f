package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/kmsd/kmsd/wire/admin"
)

// A clusterSetting is one of the cluster's settings, which are replicated. Its texts
// are the manual: docs/configuration.md is made of them.
type clusterSetting struct {
	name, value, byDefault, help string
	set                          func(in *admin.SetConfigRequest, value string) error
	get                          func(s *admin.Settings) string
}

var clusterSettings = []clusterSetting{
	{
		name: "quota.keys-per-region", value: "1 to 10000000", byDefault: "100000",
		help: "How many customer managed keys an account may have in a Region, in whatever state. Fewer than there are takes none away: CreateKey and EnableKey are refused with LimitExceededException.",
		set: func(in *admin.SetConfigRequest, value string) (err error) {
			in.KeysPerRegion, err = settingNumber(value, admin.MaxKeysPerRegion)
			return err
		},
		get: func(s *admin.Settings) string { return strconv.Itoa(s.KeysPerRegion) },
	},
	{
		name: "quota.aliases-per-key", value: "1 to 100000", byDefault: "50",
		help: "How many aliases a key may have. Beyond it CreateAlias and UpdateAlias are refused with LimitExceededException.",
		set: func(in *admin.SetConfigRequest, value string) (err error) {
			in.AliasesPerKey, err = settingNumber(value, admin.MaxAliasesPerKey)
			return err
		},
		get: func(s *admin.Settings) string { return strconv.Itoa(s.AliasesPerKey) },
	},
	{
		name: "throttle", value: "off, aws or a file", byDefault: "off",
		help: "Whether request rates are bounded: off, not at all; aws, by AWS's figures; or by the figures of a YAML file on the machine of the command, which names quotas and requests per second.",
		set:  setThrottle,
		get:  func(s *admin.Settings) string { return s.Throttle },
	},
}

func settingNumber(value string, most int) (*int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return nil, fmt.Errorf("must be a number from 1 to %d", most)
	}
	return &n, nil
}

func setThrottle(in *admin.SetConfigRequest, value string) (err error) {
	in.Throttle = &value
	if value == admin.ThrottleOff || value == admin.ThrottleAWS {
		return nil
	}
	in.Throttle = new(string)
	*in.Throttle = admin.ThrottleCustom
	if in.Rates, err = readRates(value); err != nil {
		return fmt.Errorf("must be off, aws or a file of request rates: %w", err)
	}
	return nil
}

// readRates reads a file of request rates: a YAML mapping, or a JSON object, of
// quotas to requests per second.
func readRates(path string) (map[string]admin.Rate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("it is longer than %d bytes", maxConfigFile)
	}
	var tree map[string]any
	if err == nil {
		err = yaml.Unmarshal(text, &tree)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	rates := make(map[string]admin.Rate, len(tree))
	for _, quota := range slices.Sorted(maps.Keys(tree)) {
		if rates[quota], err = rateOf(tree[quota]); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, quota, err)
		}
		if rates[quota] < admin.MinRate || rates[quota] > admin.MaxRate {
			return nil, fmt.Errorf("%s: %s: must be from %s to %s requests per second", path, quota, admin.MinRate, admin.MaxRate)
		}
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("%s names no quota", path)
	}
	return rates, nil
}

// rateOf takes the value of a quota in a file.
func rateOf(value any) (admin.Rate, error) {
	switch v := value.(type) {
	case uint64:
		return admin.ParseRate(strconv.FormatUint(v, 10))
	case float64:
		return admin.ParseRate(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return admin.ParseRate("")
}

// configGetCmd is "kmsd config get".
type configGetCmd struct{ operator }

// Run prints the cluster's settings.
func (c *configGetCmd) Run(ctx context.Context, std *streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	s, err := client.Config(ctx)
	if err != nil {
		return c.outcome(err)
	}
	return c.print(std, s)
}

// print prints the settings. Rates of the operator's stand below the throttle; AWS's
// are known.
func (o *operator) print(std *streams, s *admin.Settings) error {
	if o.JSON {
		return o.answer(std, s)
	}
	var rows [][]string
	for _, setting := range clusterSettings {
		rows = append(rows, []string{setting.name, setting.get(s)})
	}
	if s.Throttle == admin.ThrottleCustom {
		for _, quota := range slices.Sorted(maps.Keys(s.Rates)) {
			rows = append(rows, []string{"  " + quota, s.Rates[quota].String()})
		}
	}
	return std.table(rows...)
}

// configSetCmd is "kmsd config set".
type configSetCmd struct {
	operator
	Settings []string `arg:"" name:"setting" placeholder:"NAME=VALUE" help:"${settingsHelp}"`
}

// settingsHelp lists the settings for the help of "kmsd config set".
func settingsHelp() string {
	var list []string
	for _, s := range clusterSettings {
		list = append(list, s.name+"=VALUE ("+s.value+")")
	}
	return "Settings to change, all or none: " + strings.Join(list, ", ") + "."
}

// Run changes the settings and prints all of them.
func (c *configSetCmd) Run(ctx context.Context, std *streams) error {
	in, err := parseSettings(c.Settings)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	s, err := client.SetConfig(ctx, in)
	if err != nil {
		return c.outcome(err)
	}
	return c.print(std, s)
}

// parseSettings reads the arguments of "kmsd config set".
func parseSettings(args []string) (*admin.SetConfigRequest, error) {
	in := new(admin.SetConfigRequest)
	var named []string
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		i := slices.IndexFunc(clusterSettings, func(s clusterSetting) bool { return s.name == name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("the cluster has no setting %q, only %s", name, settingNames())
		case !ok:
			return nil, fmt.Errorf("%s needs a value: %[1]s=VALUE", name)
		case slices.Contains(named, name):
			return nil, fmt.Errorf("%s stands twice", name)
		}
		if err := clusterSettings[i].set(in, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		named = append(named, name)
	}
	return in, nil
}

func settingNames() string {
	var names []string
	for _, s := range clusterSettings {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
