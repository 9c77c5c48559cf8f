package cluster_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsd/kmsd/cluster"
	"github.com/kmsd/kmsd/crypto/seal"
)

// BenchmarkView is what each request pays for the proof of freshness: one reading
// of the boot clock, and the view itself.
func BenchmarkView(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "node")
	s := seal.NewMemory()
	_, err := cluster.Init(b.Context(), cluster.InitConfig{Nodes: []cluster.InitNode{{DataDir: dir, Seal: s}}, Now: time.Now(), Genesis: genesis})
	if err != nil {
		b.Fatal(err)
	}
	n, err := cluster.Open(b.Context(), cluster.Config{
		DataDir: dir, Seal: s, ListenAddr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
		Resolve: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close(b.Context())
	n.Serve(cluster.Handlers{})
	for n.Ready() != nil {
		if _, err := n.View(b.Context()); err == nil {
			break
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := n.View(b.Context()); err != nil {
				b.Error(err)
			}
		}
	})
}
