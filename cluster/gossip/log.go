package gossip

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// maxLine bounds a line of the library's log, which quotes what peers sent.
const maxLine = 512 // bytes

// A logWriter takes the library's log, whose lines begin with their level. Debug
// lines are dropped; nothing there is worse than a warning, because nothing depends
// on gossip. Anyone who reaches the port may cause lines, so their rate is bounded.
type logWriter struct {
	log        *slog.Logger
	rate       *bucket
	suppressed atomic.Int64
	silent     atomic.Bool
}

func newLogWriter(l *slog.Logger) *logWriter {
	return &logWriter{log: l, rate: newBucket(logRate, logBurst)}
}

func (w *logWriter) logger() *log.Logger { return log.New(w, "", 0) }

// Write implements io.Writer: one call per line.
func (w *logWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelWarn, strings.TrimSpace(string(line[:min(len(line), maxLine)]))
	if rest, ok := strings.CutPrefix(text, "["); ok {
		var name string
		name, text, _ = strings.Cut(rest, "]")
		switch name {
		case "DEBUG":
			return len(line), nil
		case "INFO":
			level = slog.LevelInfo
		}
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "memberlist: ")
	if strings.HasPrefix(text, "Binding to public address without encryption") {
		return len(line), nil // the transport encrypts
	}
	w.emit(level, text)
	return len(line), nil
}

func (w *logWriter) emit(level slog.Level, text string) {
	switch {
	case w.silent.Load():
	case !w.rate.allow(time.Now()):
		w.suppressed.Add(1)
	default:
		attrs := []slog.Attr{slog.String("text", text)}
		if n := w.suppressed.Swap(0); n > 0 {
			attrs = append(attrs, slog.Int64("suppressed", n))
		}
		w.log.LogAttrs(context.Background(), level, "gossip", attrs...)
	}
}
