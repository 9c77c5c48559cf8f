package admin

import (
	"errors"
	"strconv"
	"strings"

	"github.com/kmsd/kmsd/wire"
)

// The values of the setting throttle.
const (
	// ThrottleOff: request rates are not bounded.
	ThrottleOff = "off"
	// ThrottleAWS: AWS's figures are in force.
	ThrottleAWS = "aws"
	// ThrottleCustom: figures of the operator's are in force; a quota without one is
	// not bounded.
	ThrottleCustom = "custom"
)

// The bounds of the cluster's settings.
const (
	MaxKeysPerRegion = 10_000_000
	MaxAliasesPerKey = 100_000
	MaxRates         = 256
	maxQuotaName     = 64 // bytes
	// MinRate is one request in 100 seconds, MaxRate a million a second.
	MinRate Rate = 10
	MaxRate Rate = 1_000_000_000
)

// Rate is a request rate, in thousandths of a request per second. Its text and its
// JSON are requests per second: 0.25, 5, 10000.
type Rate int64

// perSecond is one request per second.
const perSecond = 1000

// String returns requests per second, without needless zeros.
func (r Rate) String() string { return strconv.FormatFloat(float64(r)/perSecond, 'f', -1, 64) }

// ParseRate reads requests per second: digits, and up to three more behind a point.
func ParseRate(text string) (Rate, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := whole + (fraction + "000")[:max(3, len(fraction))]
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || whole == "" || strings.HasSuffix(text, ".") || len(fraction) > 3 {
		return 0, errors.New("a rate is a number of requests per second, such as 5 or 0.25, with at most three digits behind the point")
	}
	return Rate(n), nil
}

// MarshalJSON returns a number.
func (r Rate) MarshalJSON() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalJSON takes what MarshalJSON returns.
func (r *Rate) UnmarshalJSON(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// GetConfigRequest is GET /v1/config: the cluster's settings.
type GetConfigRequest struct{}

// SetConfigRequest is PUT /v1/config: what is nil stays as it is.
type SetConfigRequest struct {
	// KeysPerRegion bounds the customer managed keys of an account in a Region: 1
	// to 10,000,000.
	KeysPerRegion *int `json:"keysPerRegion,omitempty"`
	// AliasesPerKey bounds the aliases of a key: 1 to 100,000.
	AliasesPerKey *int    `json:"aliasesPerKey,omitempty"`
	Throttle      *string `json:"throttle,omitempty"` // off, aws or custom
	// Rates are by quota; only with the throttle custom. At most 256, under names of
	// at most 64 bytes; decoding bounds no figure.
	Rates map[string]Rate `json:"rates,omitempty"`
}

// Settings are the cluster's settings in force: the answer to GetConfig and to
// SetConfig.
type Settings struct {
	KeysPerRegion int    `json:"keysPerRegion"`
	AliasesPerKey int    `json:"aliasesPerKey"`
	Throttle      string `json:"throttle"`
	// Rates are the request rates in force, by quota, also when they are AWS's.
	Rates map[string]Rate `json:"rates,omitempty"`
}

var (
	ruleKeysPerRegion = wire.IntRule{Min: 1, Max: MaxKeysPerRegion}
	ruleAliasesPerKey = wire.IntRule{Min: 1, Max: MaxAliasesPerKey}
	ruleThrottle      = wire.TextRule{Values: []string{ThrottleOff, ThrottleAWS, ThrottleCustom}}
)

// Decode implements wire.Request.
func (v *GetConfigRequest) Decode(body []byte) error { return decode(body, noCheck) }

// Decode implements wire.Request.
func (v *SetConfigRequest) Decode(body []byte) error {
	var problem string
	err := decode(body,
		func(c *wire.Checker) {
			c.Int("keysPerRegion", v.KeysPerRegion, &ruleKeysPerRegion)
			c.Int("aliasesPerKey", v.AliasesPerKey, &ruleAliasesPerKey)
			c.OptionalText("throttle", v.Throttle, &ruleThrottle)
		},
		member{"keysPerRegion", func(r *wire.Reader) { v.KeysPerRegion = r.Int() }},
		member{"aliasesPerKey", func(r *wire.Reader) { v.AliasesPerKey = r.Int() }},
		member{"throttle", func(r *wire.Reader) { v.Throttle = r.OptionalText() }},
		member{"rates", func(r *wire.Reader) { v.Rates, problem = readRates(r) }},
	)
	if err == nil && problem != "" {
		err = &wire.SerializationError{Message: problem}
	}
	return emptied(v, err)
}

// readRates reads an object of numbers, at most MaxRates. It returns nil for null.
func readRates(r *wire.Reader) (rates map[string]Rate, problem string) {
	if !r.Object() {
		return nil, ""
	}
	rates = map[string]Rate{}
	for r.Next() {
		name := string(r.Name())
		n := r.Thousandths()
		_, twice := rates[name]
		switch {
		case twice:
			problem = messageTwice
		case len(name) > maxQuotaName:
			problem = messageLongName
		case n == nil:
			problem = messageNullRate
		case len(rates) == MaxRates:
			problem = messageTooManyRates
		default:
			rates[name] = Rate(*n)
		}
	}
	return rates, problem
}

const (
	messageLongName     = "Payload holds a quota whose name is too long"
	messageNullRate     = "Payload holds a rate that is null"
	messageTooManyRates = "Payload holds too many rates"
)

// AppendJSON implements wire.Response.
func (v *Settings) AppendJSON(dst []byte) []byte { return appendJSON(dst, v) }
