package nn

import (
	"errors"
	"math"
	"testing"
)

// smallTraining is a network of two layers with dropout, whose loss reads its batch from x and target [n, 2, 2, 3].
func smallTraining(slice, n int) (graph TrainingGraph, fill func(first, m int)) {
	const dim = 2 * 2 * 3
	x, target := noise(n*dim, 1), noise(n*dim, 2)
	var in [3][]float32
	build := func(g *Graph) (TrainingLoss, error) {
		images, want, weight := g.Input("x", slice, 2, 2, 3), g.Input("target", slice, 2, 2, 3), g.Input("weight", slice)
		g.WantGrad(images)
		h := g.Root().In("a").Conv(images, 4, ConvOptions{Size: 3, Pad: Same})
		h = g.Root().Dropout(h, 0.3)
		out := g.Root().In("b").Conv(h, 3, ConvOptions{})
		in = [3][]float32{Data(images), Data(want), Data(weight)}
		return TrainingLoss{Loss: g.Root().In("loss").SquaredError(out, want, weight, nil)}, g.Err()
	}
	c := NewCollector()
	build(c)
	weights := make([]float32, c.Params().Len())
	c.Params().Initialize(weights, 3)
	fill = func(first, m int) {
		copy(in[0], x[first*dim:(first+m)*dim])
		copy(in[1], target[first*dim:(first+m)*dim])
		clear(in[2])
		for i := range m {
			in[2][i] = 1 / float32(n*dim)
		}
	}
	return TrainingGraph{Params: c.Params(), Weights: weights, Slice: slice, Dropout: true, Build: build}, fill
}

// The memory that is computed is the memory that is allocated.
func TestForeseenTrainingMemoryIsWhatIsTaken(t *testing.T) {
	for i, slice := range []int{1, 2, 5} {
		batch := []int{1, 9, 5}[i]
		graph, fill := smallTraining(slice, batch)
		foreseen, err := TrainingMemory(graph, batch)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewTraining(graph)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Run(t.Context(), batch, 1, 1, fill, nil); err != nil {
			t.Fatal(err)
		}
		taken := int64(d.Machine().Stats().Arena) + 4*int64(len(d.part))
		for _, sum := range d.sum.sums {
			taken += 4 * int64(len(sum))
		}
		if foreseen != taken {
			t.Errorf("slices of %d in a batch of %d: %d bytes were computed, %d allocated", slice, batch, foreseen, taken)
		}
	}
}

// A batch has the same loss and gradient in slices of any length, up to rounding: dropout's masks are the images' own.
func TestMicroBatchesAgree(t *testing.T) {
	const n = 7
	var loss [2]float64
	var grad [2][]float32
	for i, slice := range []int{3, 7} {
		graph, fill := smallTraining(slice, n)
		d, err := NewTraining(graph)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		if loss[i], err = d.Run(t.Context(), n, 4, 5, fill, func(first, m int) { seen += m }); err != nil {
			t.Fatal(err)
		}
		grad[i] = d.Grad()
		if seen != n {
			t.Errorf("slices of %d: %d images were done, of %d", slice, seen, n)
		}
	}
	if math.Abs(loss[0]/loss[1]-1) > 1e-6 {
		t.Errorf("the loss is %v in slices of 3 and %v in one", loss[0], loss[1])
	}
	for j, v := range grad[1] {
		if math.Abs(float64(grad[0][j]-v)) > 1e-6 {
			t.Fatalf("value %d of the gradient is %v in slices of 3 and %v in one", j, grad[0][j], v)
		}
	}
}

// A graph whose hashes collide is built again, and a failure that another attempt cannot mend is returned at once.
func TestATrainingGraphIsBuiltAgainWhereHashesCollide(t *testing.T) {
	for _, c := range []struct {
		err   error
		fails int // times
		calls int
		ok    bool
	}{{ErrHashCollision, 2, 3, true}, {ErrHashCollision, 9, attempts, false}, {errors.New("other"), 1, 1, false}} {
		graph, _ := smallTraining(2, 2)
		build, calls := graph.Build, 0
		graph.Build = func(g *Graph) (TrainingLoss, error) {
			if calls++; calls <= c.fails {
				return TrainingLoss{}, c.err
			}
			return build(g)
		}
		if _, err := NewTraining(graph); (err == nil) != c.ok || calls != c.calls || err != nil && !errors.Is(err, c.err) {
			t.Errorf("%v %d times: %d calls, error %v", c.err, c.fails, calls, err)
		}
	}
}

func TestAMicroBatchHasImages(t *testing.T) {
	graph, _ := smallTraining(1, 1)
	graph.Slice = 0
	if _, err := NewTraining(graph); err == nil {
		t.Error("no error for slices of 0 images")
	}
}
