package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newRaftLogger makes Raft log through log. What Raft calls debug is dropped: it
// is a line per connection and election step; and what it says while the node
// stops, when its connections end under it.
func newRaftLogger(log *slog.Logger, stopping func() bool) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	l.RegisterSink(&raftSink{log, stopping})
	return l
}

// A raftSink is used by its pointer: it is a key of a map.
type raftSink struct {
	log      *slog.Logger
	stopping func() bool
}

// Accept implements hclog.SinkAdapter.
func (s *raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	var l slog.Level
	switch {
	case s.stopping():
		return
	case level >= hclog.Error:
		l = slog.LevelError
	case level == hclog.Warn:
		l = slog.LevelWarn
	case level == hclog.Info:
		l = slog.LevelInfo
	default:
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				args[i] = fmt.Sprintf(format, f[1:]...)
			}
		}
	}
	s.log.Log(context.Background(), l, "raft: "+msg, args...)
}
