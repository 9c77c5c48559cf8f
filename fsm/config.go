package fsm

// AWS's resource quotas (AWS: "Resource quotas"), which stand unless the
// replicated settings say otherwise.
const (
	DefaultKeysPerRegion = 100_000
	DefaultAliasesPerKey = 50
)

// Config are the replicated settings. A quota of 0 stands for its default.
type Config struct {
	Versioned
	// KeysPerRegion bounds the customer managed keys of one account in one
	// Region, in whatever state.
	KeysPerRegion uint32 `cbor:"1,keyasint,omitempty"`
	// AliasesPerKey bounds the aliases of one key.
	AliasesPerKey uint32 `cbor:"2,keyasint,omitempty"`
}

func (*Config) appendID(dst []byte) []byte { return append(dst, "config"...) }

// config returns the settings in force.
func (r *root) config() Config {
	var c Config
	if rec, ok := r.get(tableConfig, "config").(*Config); ok {
		c = *rec
	}
	if c.KeysPerRegion == 0 {
		c.KeysPerRegion = DefaultKeysPerRegion
	}
	if c.AliasesPerKey == 0 {
		c.AliasesPerKey = DefaultAliasesPerKey
	}
	return c
}
