package adminapi

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/kmsd/kmsd/audit"
	"github.com/kmsd/kmsd/fsm"
	"github.com/kmsd/kmsd/service"
	wire "github.com/kmsd/kmsd/wire/admin"
)

// configRows are the operations on the cluster's settings. A retry of SetConfig
// sets the same values again.
func configRows() []*service.Row {
	return []*service.Row{
		service.Op[wire.GetConfigRequest, wire.Settings]{
			Service: wire.ServiceName, Name: "GetConfig", Operator: "kmsd:GetConfig",
			Read: func(_ context.Context, r *service.Request, _ *wire.GetConfigRequest) (*wire.Settings, error) {
				return settings(r.View.Config()), nil
			},
		}.Row(),
		service.Op[wire.SetConfigRequest, wire.Settings]{
			Service: wire.ServiceName, Name: "SetConfig", Operator: "kmsd:SetConfig",
			Check: checkConfig,
			Params: func(in *wire.SetConfigRequest, p *audit.Params) {
				audit.OptInt(p, "keysPerRegion", in.KeysPerRegion)
				audit.OptInt(p, "aliasesPerKey", in.AliasesPerKey)
				p.OptString("throttle", in.Throttle)
				p.Map("rates", rateTexts(in.Rates))
			},
			Write:  setConfig,
			Repeat: func(r *service.Request, _ *fsm.Once) (*wire.Settings, error) { return settings(r.View.Config()), nil },
		}.Row(),
	}
}

// settings renders the settings in force.
func settings(c fsm.Config) *wire.Settings {
	out := &wire.Settings{KeysPerRegion: int(c.KeysPerRegion), AliasesPerKey: int(c.AliasesPerKey), Throttle: wire.ThrottleOff}
	if c.Throttle == nil {
		return out
	}
	rates := c.Throttle.Rates
	out.Throttle = wire.ThrottleCustom
	if c.Throttle.AWS {
		out.Throttle, rates = wire.ThrottleAWS, service.AWSRates()
	}
	out.Rates = make(map[string]wire.Rate, len(rates))
	for _, r := range rates {
		out.Rates[r.Quota] = wire.Rate(r.Milli)
	}
	return out
}

func checkConfig(in *wire.SetConfigRequest) error {
	custom := in.Throttle != nil && *in.Throttle == wire.ThrottleCustom
	switch {
	case in.KeysPerRegion == nil && in.AliasesPerKey == nil && in.Throttle == nil && in.Rates == nil:
		return invalid("The call names no setting.")
	case custom && len(in.Rates) == 0:
		return invalid("The throttle custom needs rates.")
	case !custom && in.Rates != nil:
		return invalid("Rates are for the throttle custom.")
	}
	for _, name := range slices.Sorted(maps.Keys(in.Rates)) {
		rate := in.Rates[name]
		switch {
		case !service.Quota(name).Known():
			return invalid("There is no request quota " + strconv.Quote(name) + ".")
		case rate < wire.MinRate || rate > wire.MaxRate:
			return invalid("The rate of " + name + " must be between " + wire.MinRate.String() + " and " + wire.MaxRate.String() + " requests per second.")
		}
	}
	return nil
}

// setConfig answers with the settings as they will be. The command depends on those
// that it was made from.
func setConfig(_ context.Context, r *service.Request, in *wire.SetConfigRequest) (fsm.Args, *wire.Settings, error) {
	change := fsm.SetConfig{KeysPerRegion: quota(in.KeysPerRegion), AliasesPerKey: quota(in.AliasesPerKey)}
	after := r.View.Config()
	if change.KeysPerRegion != nil {
		after.KeysPerRegion = *change.KeysPerRegion
	}
	if change.AliasesPerKey != nil {
		after.AliasesPerKey = *change.AliasesPerKey
	}
	if in.Throttle != nil {
		change.Throttle = throttle(*in.Throttle, in.Rates)
		after.Throttle = change.Throttle
		if *in.Throttle == wire.ThrottleOff {
			after.Throttle = nil
		}
	}
	return change, settings(after), nil
}

func quota(n *int) *uint32 {
	if n == nil {
		return nil
	}
	v := uint32(*n)
	return &v
}

func throttle(value string, rates map[string]wire.Rate) *fsm.Throttle {
	if value != wire.ThrottleCustom {
		return &fsm.Throttle{AWS: value == wire.ThrottleAWS}
	}
	list := make([]fsm.Rate, 0, len(rates))
	for name, rate := range rates {
		list = append(list, fsm.Rate{Quota: name, Milli: uint32(rate)})
	}
	return fsm.NewThrottle(list)
}

// rateTexts are the rates as the audit record shows them, nil for nil.
func rateTexts(rates map[string]wire.Rate) map[string]string {
	if rates == nil {
		return nil
	}
	out := make(map[string]string, len(rates))
	for name, rate := range rates {
		out[name] = rate.String()
	}
	return out
}
