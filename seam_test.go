package unstir

import (
	"math"
	"slices"
	"testing"

	"unstir/data"
	"unstir/nn/kernel"
)

// What is filled into digits goes on from what is around it: the mean step from a kept pixel to the filled one beside it is at
// most 1.2 times that from there to the next one inside, and without going back it is more. scripts/steering measures it for more
// images and masks.
func TestFillingsFitWhatIsAroundThem(t *testing.T) {
	if testing.Short() || kernel.ThisCPU().Level == kernel.Generic {
		t.Skip("it evaluates the model 2,760 times")
	}
	const n, side = 12, 28
	set, err := data.Open(t.Context(), data.Config{Dataset: data.MNIST10K}, offline(t))
	if err != nil {
		t.Fatal(err)
	}
	o := SampleOptions{N: n, Sampler: "ddim", Steps: 25}
	fill := &Inpaint{Mask: make([]bool, side*side)}
	pixels := make([]byte, side*side)
	for i := range n {
		set.Image(i, pixels)
		for _, v := range pixels {
			fill.Images = append(fill.Images, float32(v)/127.5-1)
		}
		o.Labels = append(o.Labels, set.Label(i))
	}
	for i := range fill.Mask {
		fill.Mask[i] = i/side >= side/2 // the lower half
	}
	o.Inpaint = fill
	p := demoPipeline(t)
	ratio := func(resample int) float64 {
		fill.Resample = resample
		s := mustSample(t, p, o)
		var seam, inside float64
		for image := range slices.Chunk(s.Data, side*side) {
			for x := range side {
				kept, first, second := image[(side/2-1)*side+x], image[side/2*side+x], image[(side/2+1)*side+x]
				seam += math.Abs(float64(kept - first))
				inside += math.Abs(float64(first - second))
			}
		}
		return seam / inside
	}
	once, often := ratio(1), ratio(0)
	t.Logf("the seam is %.3f times the step inside, and %.3f without going back", often, once)
	if often > 1.2 || once < often+0.1 {
		t.Errorf("the seam is %.3f times the step inside, want at most 1.2, and %.3f without going back", often, once)
	}
}
