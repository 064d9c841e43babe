package engine

import (
	"fmt"

	G "gorgonia.org/gorgonia"
)

// CheckHashes fails when two nodes of a graph have the same 32-bit hash. Gorgonia's tape machine takes such
// nodes for one and silently computes something else; this Machine does not, but the two must agree.
func CheckHashes(g *G.ExprGraph) error {
	seen := make(map[uint32]*G.Node, len(g.AllNodes()))
	for _, n := range g.AllNodes() {
		if other, ok := seen[n.Hashcode()]; ok && other != n {
			return fmt.Errorf("engine: nodes %v (%q) and %v (%q) share the hash %08x", other, other.Name(), n, n.Name(), n.Hashcode())
		}
		seen[n.Hashcode()] = n
	}
	return nil
}
