package train

import (
	"testing"

	"unstir/internal/alloctest"
	"unstir/nn/kernel"
)

// After the first, a step's gradient and its update allocate nothing, on one thread or several.
func TestUpdateDoesNotAllocate(t *testing.T) {
	f := trainFixtures(t)[0]
	tr, e := f.trainer(t, len(f.batch(t, 0).T), true), f.batch(t, 0)
	step := func() {
		if err := update(tr, e); err != nil {
			t.Fatal(err)
		}
	}
	step()
	defer kernel.SetThreads(kernel.Threads())
	for _, threads := range []int{1, 2} {
		kernel.SetThreads(threads)
		if got := alloctest.Count(5, step); got > 0 {
			t.Errorf("%d threads: 5 steps made %d allocations", threads, got)
		}
	}
}
