package winograd

import (
	"slices"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

// A thread without a panel computes another's, with that one's transformed filter.
func TestThreadTakesBlocksOfAnothersPanel(t *testing.T) {
	if cpu.This().Direct {
		t.Skip("direct convolutions only")
	}
	defer parallel.SetThreads(parallel.Threads())
	parallel.SetThreads(2)
	s := same3x3(1, 6, 48, 64, 72)
	r := kerneltest.Rand(4)
	x, w, y := kerneltest.Randoms(r, s.H*s.W*s.C), kerneltest.Randoms(r, 9*s.C*s.K), make([]float32, s.H*s.W*s.K)
	g := NewPanels(New(s, F4, false, false, 2, cpu.This()))
	scratch := kerneltest.Scratch(g.Scratch())
	g.Run(y, x, w, nil, nil, nil, scratch)
	want := slices.Clone(y)
	clear(y)
	u, _, _ := g.space(0)
	for c := 0; c < g.src; c += packChannels {
		g.packSome(0, u, 1, c)
	}
	g.work[0].panel = 1
	g.work[0].block.Store(0)
	g.doPanels(1, 0)
	for i, y := range y {
		if k := i % s.K; k/gemm.PanelWidth != 1 && y != 0 || k/gemm.PanelWidth == 1 && y != want[i] {
			t.Fatalf("y[%d] of channel %d is %v, with all panels %v", i, k, y, want[i])
		}
	}
}

// The parts of a turned filter that are fetched ahead are all of a panel's rows, once each.
func TestFetchedPartsOfTurnedFilter(t *testing.T) {
	for _, n := range []int{9, 16, 36, 5 * 64, 2000} {
		g := &Panels{Conv: &Conv{src: 7, dst: 75, filter: make([]float32, 9*7*75)}}
		for panel := range 3 {
			for i := range n {
				for k := range g.turnedPart(panel, i, n) {
					g.turnedPart(panel, i, n)[k]++
				}
			}
		}
		for i, x := range g.filter {
			if x != 1 {
				t.Fatalf("%d parts: float %d is fetched %v times", n, i, x)
			}
		}
	}
}
