package audit

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Params is a JSON object under construction: request parameters, response
// elements or additional event data. Members appear in the order of the calls.
// The zero value holds no member and stands for an absent object. A Params
// belongs to one goroutine; a copy shares its storage, so only one of the two
// may be extended.
//
// Names are lowerCamelCase forms of the API's names. Values are whatever the
// caller sent: the builder escapes them.
type Params struct {
	buf []byte // "{" and members, without the closing brace; nil when absent
}

// paramsSize is the first allocation of a Params: enough for the parameters of a
// cryptographic call with a small encryption context.
const paramsSize = 256

// String adds a string, also when it is empty.
func (p *Params) String(name, value string) { p.buf = appendString(p.name(name), value) }

// OptString adds *value, or nothing when value is nil.
func (p *Params) OptString(name string, value *string) {
	if value != nil {
		p.String(name, *value)
	}
}

// Int adds a number.
func (p *Params) Int(name string, value int64) {
	p.buf = strconv.AppendInt(p.name(name), value, 10)
}

// OptInt adds *value to p, or nothing when value is nil.
func OptInt[T ~int | ~int32 | ~int64](p *Params, name string, value *T) {
	if value != nil {
		p.Int(name, int64(*value))
	}
}

// Bool adds a boolean.
func (p *Params) Bool(name string, value bool) { p.buf = strconv.AppendBool(p.name(name), value) }

// OptBool adds *value, or nothing when value is nil.
func (p *Params) OptBool(name string, value *bool) {
	if value != nil {
		p.Bool(name, *value)
	}
}

// Time adds a time, in milliseconds since 1970, as CloudTrail's English text.
func (p *Params) Time(name string, ms int64) {
	p.buf = append(appendTime(append(p.name(name), '"'), ms), '"')
}

// Strings adds a list of strings, or nothing when list is nil.
func (p *Params) Strings(name string, list []string) {
	if list == nil {
		return
	}
	p.buf = append(p.name(name), '[')
	for i, s := range list {
		p.separate(i)
		p.buf = appendString(p.buf, s)
	}
	p.buf = append(p.buf, ']')
}

// Map adds a map of strings sorted by key, or nothing when m is nil.
func (p *Params) Map(name string, m map[string]string) {
	if m == nil {
		return
	}
	p.Object(name, func(p *Params) {
		if len(m) == 1 {
			for k, v := range m {
				p.String(k, v)
			}
			return
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			p.String(k, m[k])
		}
	})
}

// Object adds an object whose members fill adds to the Params it is given.
func (p *Params) Object(name string, fill func(*Params)) {
	p.buf = append(p.name(name), '{')
	fill(p)
	p.buf = append(p.buf, '}')
}

// Objects adds a list of n objects: fill adds the members of the i-th to the
// Params it is given. It adds nothing when n is zero.
func (p *Params) Objects(name string, n int, fill func(i int, p *Params)) {
	if n == 0 {
		return
	}
	p.buf = append(p.name(name), '[')
	for i := range n {
		p.separate(i)
		p.buf = append(p.buf, '{')
		fill(i, p)
		p.buf = append(p.buf, '}')
	}
	p.buf = append(p.buf, ']')
}

// Empty tells whether nothing was added.
func (p *Params) Empty() bool { return p.buf == nil }

// name starts a member and returns the buffer to append its value to.
func (p *Params) name(name string) []byte {
	if p.buf == nil {
		p.buf = append(make([]byte, 0, paramsSize), '{')
	}
	return appendName(p.buf, name)
}

func (p *Params) separate(i int) {
	if i > 0 {
		p.buf = append(p.buf, ',')
	}
}

// TimeText returns CloudTrail's form of a time inside request parameters and
// response elements, such as "Aug 10, 2022, 10:38:27 PM" (UTC). The argument is
// in milliseconds since 1970.
func TimeText(ms int64) string { return string(appendTime(nil, ms)) }

func appendTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, "Jan 2, 2006, 3:04:05 PM")
}
