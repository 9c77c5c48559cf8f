package admin

import (
	"encoding/json"
	"slices"

	"github.com/kmsd/kmsd/wire"
)

// The messages for members that a request may not have. They repeat nothing of
// the request.
const (
	messageUnknown = "Payload holds a member that is not known"
	messageTwice   = "Payload holds a member twice"
)

// member is how one member of a request is read.
type member struct {
	name string
	read func(*wire.Reader)
}

// decode reads a body that may hold the members and no others, each at most once,
// then runs check over what was read.
func decode(body []byte, check func(*wire.Checker), members ...member) error {
	r := wire.NewReader(body)
	var seen []string
	var problem string
	for r.Object(); r.Next(); {
		i := slices.IndexFunc(members, func(m member) bool { return m.name == string(r.Name()) })
		switch {
		case i < 0:
			problem = messageUnknown
			r.Skip()
		case slices.Contains(seen, members[i].name):
			problem = messageTwice
			r.Skip()
		default:
			seen = append(seen, members[i].name)
			members[i].read(&r)
		}
	}
	if err := r.Err(); err != nil {
		return err
	}
	if problem != "" {
		return &wire.SerializationError{Message: problem}
	}
	var c wire.Checker
	check(&c)
	return c.Err()
}

// noCheck is for requests that the reader bounds completely.
func noCheck(*wire.Checker) {}

// appendJSON appends v, a response of this package.
func appendJSON(dst []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("kmsd: encoding an admin response: " + err.Error())
	}
	return append(dst, text...)
}
