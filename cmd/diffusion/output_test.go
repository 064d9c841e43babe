package main

import (
	"testing"

	"unstir"
	"unstir/diffusion"
)

// Whatever the number of steps, every frame of a walk shows a step, in order, and the last frame the last one.
func TestEveryFrameOfAWalkIsShown(t *testing.T) {
	for _, total := range []int{1, 2, 50, 59, 60, 61, 100, 250, 997, 1000} {
		o := &output{kind: ".gif"}
		k := o.begin("ddpm", 1, 1, 1, 1)
		for i := range total {
			v := []float64{float64(i + 1)}
			k.step(unstir.SampleStep{Step: diffusion.Step{Index: i, Total: total, X: v, X0: v}, N: 1})
		}
		if want := min(total, maxFrames); len(k.x) != want {
			t.Errorf("%d steps: %d frames, want %d", total, len(k.x), want)
		}
		last := 0.0
		for f, x := range k.x {
			if x[0] <= last || k.x0[f][0] != x[0] {
				t.Fatalf("%d steps: frame %d shows step %v after %v", total, f, x[0], last)
			}
			last = x[0]
		}
		if last != float64(total) {
			t.Errorf("%d steps: the last frame shows step %v", total, last)
		}
	}
}
