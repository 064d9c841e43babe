package unstir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"unstir/diffusion"
	"unstir/nn/kernel"
)

// testImages are n images of testConfig's size, with a negative zero among their values.
func testImages(n int) []float32 {
	x := make([]float32, n*96)
	for i := range x {
		x[i] = float32(math.Sin(float64(i) * 0.37))
	}
	x[5] = float32(math.Copysign(0, -1))
	return x
}

// leftHalf is a mask that fills the left half of testConfig's images.
func leftHalf() []bool {
	mask := make([]bool, 96)
	for i := range mask {
		mask[i] = i%12 < 6
	}
	return mask
}

// edits are the ways to begin with images, for a sampler.
func edits(sampler string) map[string]SampleOptions {
	all := map[string]SampleOptions{"edit": {Edit: &Edit{Images: testImages(3), Strength: 0.6}}}
	if info, _ := diffusion.Find(sampler); diffusion.CanRePaint(info) {
		all["inpaint"] = SampleOptions{Inpaint: &Inpaint{Images: testImages(3), Mask: leftHalf(), Resample: 2}}
	}
	return all
}

// An image that is made from another depends on the seed and on its number, which says from which one: not on the batch,
// nor the threads.
func TestEditedImagesDoNotDependOnTheBatch(t *testing.T) {
	p := testPipeline(t, testConfig())
	defer kernel.SetThreads(kernel.Threads())
	for _, sampler := range diffusion.Names(func(i diffusion.Info) bool { return !i.Inverts }) {
		for what, o := range edits(sampler) {
			o.N, o.Sampler, o.Steps, o.Seed = 8, sampler, 4, 11
			all := mustSample(t, p, o)
			for threads := 1; threads <= 3; threads += 2 {
				kernel.SetThreads(threads)
				some := o
				some.N, some.Batch, some.Numbers = 4, 3, []int{7, 0, 4, 1}
				for i, x := range mustSampleEach(t, p, some) {
					sameImage(t, fmt.Sprintf("%s, %s: image %d on %d threads", sampler, what, i, threads), x, all.Data[i*96:(i+1)*96])
				}
			}
			if slices.Equal(all.Data[:96], all.Data[3*96:4*96]) {
				t.Errorf("%s, %s: two images made from one are the same", sampler, what)
			}
		}
	}
}

// Strength 0 gives the images back, and their order is that of the numbers.
func TestStrengthZeroReturnsTheImages(t *testing.T) {
	p := testPipeline(t, testConfig())
	images := testImages(2)
	o := SampleOptions{N: 3, First: 3, Edit: &Edit{Images: images}}
	s := mustSample(t, p, o)
	for k, i := range []int{1, 0, 1} {
		sameImage(t, fmt.Sprintf("image %d", 3+k), s.Data[k*96:(k+1)*96], images[i*96:(i+1)*96])
	}
	o.Edit.Strength = 0.001
	o.Sampler = "ddim"
	if notes := p.Notes(o); len(notes) != 1 || !strings.Contains(notes[0].Problem, "none of the 50 steps") {
		t.Errorf("strength 0.001 is noted as %v", notes)
	}
}

// The stronger, the less is left of the image.
func TestStrengthIsTheDistanceFromTheImage(t *testing.T) {
	p := testPipeline(t, testConfig())
	images := testImages(3)
	last := 0.0
	for _, strength := range []float64{0.1, 0.4, 0.9} {
		s := mustSample(t, p, SampleOptions{N: 3, Sampler: "ddim", Steps: 10, Edit: &Edit{Images: images, Strength: strength}})
		rms, _ := rmsOf(s.Data, images)
		if rms <= last {
			t.Errorf("strength %v is %.3f away from the image, the one before %.3f", strength, rms, last)
		}
		last = rms
	}
}

// What is known keeps its bits; where nothing is, the samples are those of the sampler alone.
func TestInpaintKeepsWhatIsKnown(t *testing.T) {
	c := testConfig()
	c.InChannels, c.OutChannels = 3, 3
	p := testPipeline(t, c)
	images, mask := testImages(6), leftHalf() // two of three channels
	for _, sampler := range diffusion.Names(diffusion.CanRePaint) {
		o := SampleOptions{N: 4, Sampler: sampler, Steps: 4, Inpaint: &Inpaint{Images: images, Mask: mask, Resample: 2}}
		s := mustSample(t, p, o)
		filled := 0
		for i, v := range s.Data {
			given := images[i%len(images)]
			switch {
			case !mask[i%96] && math.Float32bits(v) != math.Float32bits(given):
				t.Fatalf("%s: value %d is %v, want the bits of %v", sampler, i, v, given)
			case mask[i%96] && v != given:
				filled++
			}
		}
		if filled < len(s.Data)/2*9/10 {
			t.Errorf("%s: %d of %d values were filled", sampler, filled, len(s.Data)/2)
		}

		o.Inpaint.Mask = slices.Repeat([]bool{true}, 96)
		plain := mustSample(t, p, SampleOptions{N: 4, Sampler: sampler, Steps: 4})
		sameImage(t, sampler+", all filled", mustSample(t, p, o).Data, plain.Data)
	}
}

// A sampler that takes the whole schedule takes the paper's 250 steps to fill, unless nothing is known, and others what they
// do.
func TestStepsOfInpaint(t *testing.T) {
	p := testPipeline(t, testConfig())
	everything := slices.Repeat([]bool{true}, 96)
	for _, c := range []struct {
		sampler string
		mask    []bool
		want    int
	}{{"ddpm", leftHalf(), 250}, {"ddpm", everything, 1000}, {"ddim", leftHalf(), 50}, {"ddim", everything, 50}} {
		o := SampleOptions{Sampler: c.sampler, Inpaint: &Inpaint{Images: testImages(1), Mask: c.mask, Resample: 1}}
		s, err := p.NewSampler(o)
		if err != nil || len(s.Timesteps()) != c.want || p.Steps(o) != c.want {
			t.Errorf("%s: %d steps, %v, want %d", c.sampler, len(s.Timesteps()), err, c.want)
		}
	}
	if notes := p.Notes(SampleOptions{Sampler: "ddim", Steps: 5, Inpaint: &Inpaint{Images: testImages(1), Mask: leftHalf()}}); len(notes) != 1 ||
		!strings.Contains(notes[0].Problem, "jump length is 4 in place of 10") {
		t.Errorf("a jump length that does not fit is noted as %v", notes)
	}
}

// What cannot be is refused by type, and the error says what is wrong.
func TestEditRefuses(t *testing.T) {
	p := testPipeline(t, testConfig())
	images, mask := testImages(1), leftHalf()
	beyond, nan := slices.Clone(images), slices.Clone(images)
	beyond[50], nan[7] = 1.5, float32(math.NaN())
	for _, c := range []struct {
		option, want string
		o            SampleOptions
	}{
		{"Edit.Strength", "1.5 is not possible: it must be from 0", SampleOptions{Edit: &Edit{images, 1.5}}},
		{"Edit.Strength", "NaN is not possible", SampleOptions{Edit: &Edit{images, math.NaN()}}},
		{"Edit.Images", "there are 0 values; an image of 1x8x12 has 96", SampleOptions{Edit: &Edit{nil, 0.5}}},
		{"Edit.Images", "there are 95 values", SampleOptions{Edit: &Edit{images[:95], 0.5}}},
		{"Edit.Images", "image 0 has a value 1.5", SampleOptions{Edit: &Edit{beyond, 0.5}}},
		{"Edit.Images", "image 0 has a value NaN", SampleOptions{Edit: &Edit{nan, 0.5}}},
		{"Inpaint", "Edit is set, too", SampleOptions{Edit: &Edit{images, 0.5}, Inpaint: &Inpaint{Images: images, Mask: mask}}},
		{"Inpaint.Images", "image 0 has a value 1.5", SampleOptions{Inpaint: &Inpaint{Images: beyond, Mask: mask}}},
		{"Inpaint.Mask", "it has 95 pixels; an image of 8x12 has 96", SampleOptions{Inpaint: &Inpaint{Images: images, Mask: mask[:95]}}},
		{"Inpaint.Resample", "-1 is not possible: it must be from 1 to 1000", SampleOptions{Inpaint: &Inpaint{Images: images, Mask: mask, Resample: -1}}},
		{"Inpaint.Resample", "1001 is not possible", SampleOptions{Inpaint: &Inpaint{Images: images, Mask: mask, Resample: 1001}}},
		{"Inpaint.Mask", "nothing to fill", SampleOptions{Inpaint: &Inpaint{Images: images, Mask: make([]bool, 96)}}},
	} {
		c.o.N, c.o.Sampler, c.o.Steps = 1, "ddim", 4
		_, err := p.Sample(context.Background(), c.o)
		var wrong *EditError
		if !errors.As(err, &wrong) || wrong.Option != c.option || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want an EditError of %s with %q", err, c.option, c.want)
		}
	}
	var undefined *diffusion.UndefinedError
	if _, err := p.Sample(context.Background(), SampleOptions{N: 1, Sampler: "dpm++2m", Inpaint: &Inpaint{Images: images, Mask: mask}}); !errors.As(err, &undefined) {
		t.Errorf("RePaint with dpm++2m: %v", err)
	}
	var jump *diffusion.JumpLengthError
	if _, err := p.Sample(context.Background(), SampleOptions{N: 1, Sampler: "ddim", Steps: 5, Inpaint: &Inpaint{Images: images, Mask: mask, JumpLength: 5}}); !errors.As(err, &jump) {
		t.Errorf("a jump of all steps: %v", err)
	}
}
