package fsm

import (
	"cmp"
	"errors"
	"slices"

	"github.com/kmsd/kmsd/kms"
)

// AWS's resource quotas (AWS: "Resource quotas"), which stand unless the
// replicated settings say otherwise, and what a setting may raise them to.
const (
	DefaultKeysPerRegion = 100_000
	DefaultAliasesPerKey = 50
	MaxKeysPerRegion     = 10_000_000
	MaxAliasesPerKey     = 100_000
)

// Config are the replicated settings. A quota of 0 stands for its default.
type Config struct {
	Versioned
	// KeysPerRegion bounds the customer managed keys of one account in one
	// Region, in whatever state.
	KeysPerRegion uint32 `cbor:"1,keyasint,omitempty"`
	// AliasesPerKey bounds the aliases of one key.
	AliasesPerKey uint32 `cbor:"2,keyasint,omitempty"`
	// Throttle are the request rates; nil for none.
	Throttle *Throttle `cbor:"3,keyasint,omitempty"`
}

func (*Config) appendID(dst []byte) []byte { return append(dst, configID...) }

const configID = "config"

// Throttle bounds the rates of requests. The state only keeps the figures: nodes
// count requests, and know what the quotas' names mean. The zero value bounds
// nothing.
type Throttle struct {
	// AWS tells that AWS's figures are in force, as each node knows them. There
	// are no Rates then.
	AWS bool `cbor:"1,keyasint,omitempty"`
	// Rates are figures of the operator's, sorted by quota. A quota that is not
	// among them is not bounded.
	Rates []Rate `cbor:"2,keyasint,omitempty"`
}

// Rate bounds the requests that count towards one quota.
type Rate struct {
	_     struct{} `cbor:",toarray"`
	Quota string
	// Milli is the figure in thousandths of a request per second.
	Milli uint32
}

const (
	// MinRate and MaxRate bound a Rate's figure, in thousandths of a request per
	// second: one request in 100 seconds, a million a second.
	MinRate = 10
	MaxRate = 1_000_000_000
	// maxRates bounds the list.
	maxRates = 256
	// maxQuotaName bounds a quota's name, in bytes.
	maxQuotaName = 64
)

func (t *Throttle) off() bool { return !t.AWS && len(t.Rates) == 0 }

// same compares two settings of the request rates, either of which may be nil.
func (t *Throttle) same(u *Throttle) bool {
	if t == nil || u == nil {
		return t == u
	}
	return t.AWS == u.AWS && slices.Equal(t.Rates, u.Rates)
}

func (t *Throttle) check() error {
	switch {
	case t.AWS && len(t.Rates) > 0:
		return errors.New("request rates that are AWS's and others at once")
	case len(t.Rates) > maxRates:
		return errors.New("too many request rates")
	}
	for i, r := range t.Rates {
		switch {
		case r.Quota == "" || len(r.Quota) > maxQuotaName:
			return errors.New("a request rate of no quota")
		case r.Milli < MinRate || r.Milli > MaxRate:
			return errors.New("a request rate out of range")
		case i > 0 && t.Rates[i-1].Quota >= r.Quota:
			return errors.New("request rates that are not sorted")
		}
	}
	return nil
}

// NewThrottle returns the request rates that bound the quotas, in any order, to
// the figures.
func NewThrottle(rates []Rate) *Throttle {
	sorted := slices.SortedFunc(slices.Values(rates), func(a, b Rate) int { return cmp.Compare(a.Quota, b.Quota) })
	return &Throttle{Rates: sorted}
}

// inForce returns the settings with their defaults.
func (c *Config) inForce() Config {
	out := *c
	if out.KeysPerRegion == 0 {
		out.KeysPerRegion = DefaultKeysPerRegion
	}
	if out.AliasesPerKey == 0 {
		out.AliasesPerKey = DefaultAliasesPerKey
	}
	return out
}

// config returns the settings in force.
func (r *root) config() Config {
	if r.settings == nil {
		return (&Config{}).inForce()
	}
	return r.settings.inForce()
}

// Config returns the settings in force, quotas without a setting at their
// defaults.
func (v *View) Config() Config {
	if rec, ok := v.get(tableConfig, configID).(*Config); ok {
		return rec.inForce()
	}
	return (&Config{}).inForce()
}

// Throttle returns the request rates, nil for none, and the log index since which
// they stand, or that of a later change to other settings. No answer speaks of
// them and no command depends on them: they leave read set and MaxIndex alone.
// The pointer stays the same until the rates change or a snapshot is restored.
func (v *View) Throttle() (t *Throttle, since uint64) {
	if v.root.settings == nil {
		return nil, 0
	}
	return v.root.settings.Throttle, v.root.settings.ModIndex
}

// SetConfig changes settings. What is nil stays as it is. A quota below what is in
// use takes nothing away: it only refuses more.
type SetConfig struct {
	KeysPerRegion *uint32 `cbor:"1,keyasint,omitempty"`
	AliasesPerKey *uint32 `cbor:"2,keyasint,omitempty"`
	// Throttle replaces the request rates; the zero Throttle ends them.
	Throttle *Throttle `cbor:"3,keyasint,omitempty"`
}

func (SetConfig) command() (Type, uint8) { return TypeSetConfig, 1 }

func (c SetConfig) check() error {
	switch {
	case c.KeysPerRegion == nil && c.AliasesPerKey == nil && c.Throttle == nil:
		return errors.New("a change of no setting")
	case outside(c.KeysPerRegion, MaxKeysPerRegion) || outside(c.AliasesPerKey, MaxAliasesPerKey):
		return errors.New("a quota out of range")
	case c.Throttle != nil:
		return c.Throttle.check()
	}
	return nil
}

func outside(quota *uint32, most uint32) bool { return quota != nil && (*quota == 0 || *quota > most) }

func setConfig(t *txn, c *SetConfig) (*kms.Error, error) {
	had := new(Config)
	if t.state.settings != nil {
		had = t.state.settings
	}
	changed := *had
	if c.KeysPerRegion != nil {
		changed.KeysPerRegion = *c.KeysPerRegion
	}
	if c.AliasesPerKey != nil {
		changed.AliasesPerKey = *c.AliasesPerKey
	}
	if c.Throttle != nil {
		changed.setThrottle(c.Throttle)
	}
	if changed != *had {
		t.put(tableConfig, &changed)
	}
	return nil, nil
}

// setThrottle replaces the request rates, unless they are the same: what was
// counted under them then stands.
func (c *Config) setThrottle(t *Throttle) {
	if t.off() {
		t = nil
	}
	if !t.same(c.Throttle) {
		c.Throttle = t
	}
}
