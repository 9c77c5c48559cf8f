package model_test

import (
	"fmt"
	"maps"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsd/kmsd/internal/testkit"
)

// shown is what a node shows of the key.
func (g *importGame) shown(node int, k *importKey) string {
	m := g.c.Must(node, "DescribeKey", obj{"KeyId": k.id})["KeyMetadata"].(obj)
	out := fmt.Sprint(m["KeyState"])
	if m["Enabled"] != (out == enabled) {
		out += " although it is not"
	}
	if end, ends := m["ExpirationModel"]; ends {
		out += fmt.Sprintf(" %v %d", end, millis(m["ValidTo"]))
	}
	for _, e := range g.c.pages(node, "ListKeyRotations", obj{"KeyId": k.id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Limit": 3}, "Rotations") {
		description, _ := e["KeyMaterialDescription"].(string)
		out += fmt.Sprintf("\n%v %v %v %q", e["KeyMaterialId"], e["KeyMaterialState"], e["ImportState"], description)
		if end, ends := e["ExpirationModel"]; ends {
			out += fmt.Sprintf(" %v %d", end, millis(e["ValidTo"]))
		}
		if e["KeyMaterialState"] == "CURRENT" && m["CurrentKeyMaterialId"] != e["KeyMaterialId"] {
			out += " but the key says otherwise"
		}
	}
	return out
}

// diff is how the nodes differ from the model.
func (g *importGame) diff() string {
	for node := range g.c.Nodes {
		got, want := map[string]string{}, map[string]string{}
		for _, k := range g.keys {
			got[k.id], want[k.id] = g.shown(node, k), k.show()
		}
		if !maps.Equal(got, want) {
			return fmt.Sprintf("node %d: -got+want:\n%s", node, cmp.Diff(got, want))
		}
	}
	return ""
}

func (g *importGame) compare() {
	g.t.Helper()
	if diff := g.diff(); diff != "" {
		g.t.Error(diff)
	}
}

// eventually waits for what the leader does by itself.
func (g *importGame) eventually() {
	diff := ""
	if !testkit.Eventually(func() bool { diff = g.diff(); return diff == "" }) {
		g.t.Error(diff)
	}
}

// restart stops a follower and starts it again, after a snapshot.
func (g *importGame) restart() {
	node := (g.c.Leader() + 1) % 3
	if err := g.c.Nodes[node].Snapshot(g.t.Context()); err != nil {
		g.t.Error(err)
	}
	g.c.Stop(node)
	g.c.Start(node)
	g.c.Ready()
	g.eventually()
}
