package unstir

import (
	"context"
	"math"
	"strings"
	"testing"

	"unstir/diffusion"
)

// trainImages are the images of shades in [-1, 1], with their labels.
func trainImages(t *testing.T, n int) (x []float32, labels []int) {
	t.Helper()
	set, err := shades()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	for i := range n {
		set.Image(i, buf)
		for _, v := range buf {
			x = append(x, float32(v)/127.5-1)
		}
		labels = append(labels, set.Label(i))
	}
	return x, labels
}

func rmsOf(a, b []float32) (rms, largest float64) {
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		rms += d * d
		largest = math.Max(largest, d)
	}
	return math.Sqrt(rms / float64(len(a))), largest
}

// A training image that is encoded and decoded by DDIM in as many steps comes back within one of 255 gray levels
// in the mean, in few steps too if they are refined; without refinement it takes many steps.
func TestEncodeThenDecodeReturnsTheImage(t *testing.T) {
	p := trainedPipeline(t)
	x, labels := trainImages(t, 4)
	back := func(o EncodeOptions) []float32 {
		o.Labels = labels
		e, err := p.Encode(context.Background(), x, o)
		if err != nil {
			t.Fatal(err)
		}
		return mustSample(t, p, SampleOptions{
			N: len(labels), Sampler: "ddim", Steps: o.Steps, XT: e.Data, Labels: labels,
			Settings: diffusion.Options{Clip: diffusion.ClipNone},
		}).Data
	}
	for _, c := range []struct {
		o            EncodeOptions
		rms, largest float64
	}{
		{EncodeOptions{Steps: 50}, 2 / 255.0, 0.08},
		{EncodeOptions{Steps: 20, Refine: 6}, 2 / 255.0, 0.08},
		{EncodeOptions{Steps: 20, Refine: -1}, 0.3, 2},
	} {
		rms, largest := rmsOf(back(c.o), x)
		t.Logf("%d steps, refine %d: rms error %.2g, largest %.2g", c.o.Steps, c.o.Refine, rms, largest)
		if !(rms <= c.rms && largest <= c.largest) {
			t.Errorf("%d steps, refine %d: rms error %.2g, largest %.2g; at most %.2g and %.2g", c.o.Steps, c.o.Refine, rms, largest, c.rms, c.largest)
		}
	}
}

// An encoding does not depend on the batch either.
func TestEncodingDoesNotDependOnTheBatch(t *testing.T) {
	p := trainedPipeline(t)
	x, labels := trainImages(t, 5)
	all, err := p.Encode(context.Background(), x, EncodeOptions{Steps: 4, Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	one, err := p.Encode(context.Background(), x[3*64:4*64], EncodeOptions{Steps: 4, Labels: labels[3:4]})
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, "image 3", one.Data, all.part(3))
}

func TestEncodeRefuses(t *testing.T) {
	p := testPipeline(t, testConfig())
	if _, err := p.Encode(context.Background(), make([]float32, 95), EncodeOptions{}); err == nil || !strings.Contains(err.Error(), "an image of 1x8x12 has 96") {
		t.Errorf("error %v, want one that names the image's size", err)
	}
}

// Slerp begins and ends at its arguments, keeps the norm of vectors of one norm and goes at constant speed; between
// vectors of one direction it is the straight line.
func TestSlerp(t *testing.T) {
	p := testPipeline(t, testConfig())
	a, b := p.InitialNoise(1, 0), p.InitialNoise(2, 0)
	norm := func(x []float32) float64 {
		s := 0.0
		for _, v := range x {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s)
	}
	angle := func(x, y []float32) float64 {
		s := 0.0
		for i, v := range x {
			s += float64(v) * float64(y[i])
		}
		return math.Acos(s / norm(x) / norm(y))
	}
	scale := float32(norm(a) / norm(b))
	for i := range b {
		b[i] *= scale
	}
	dst := make([]float32, len(a))
	whole := angle(a, b)
	for _, u := range []float64{0, 0.1, 0.25, 0.5, 0.9, 1} {
		if err := Slerp(dst, a, b, u); err != nil {
			t.Fatal(err)
		}
		if got := norm(dst); math.Abs(got/norm(a)-1) > 1e-6 {
			t.Errorf("u = %g: the norm is %g, want %g", u, got, norm(a))
		}
		if u > 0 {
			if got := angle(a, dst); math.Abs(got-u*whole) > 1e-3 {
				t.Errorf("u = %g: %g from the start, want %g", u, got, u*whole)
			}
		}
		if end := map[float64][]float32{0: a, 1: b}[u]; end != nil {
			if _, largest := rmsOf(dst, end); largest > 1e-6 {
				t.Errorf("u = %g is off its end by %g", u, largest)
			}
		}
	}
	for i, v := range a {
		b[i] = 2 * v
	}
	if err := Slerp(dst, a, b, 0.25); err != nil || math.Abs(norm(dst)/norm(a)-1.25) > 1e-6 {
		t.Errorf("along one direction: error %v, norm %g of %g", err, norm(dst), norm(a))
	}
	for i, v := range a {
		b[i] = -v
	}
	if err := Slerp(dst, a, b, 0.5); err == nil {
		t.Error("opposite directions have no arc, and there is no error")
	}
	if err := Slerp(dst, a, b[1:], 0.5); err == nil {
		t.Error("vectors of different lengths are accepted")
	}
}

// A walk begins and ends at the images of its ends.
func TestInterpolate(t *testing.T) {
	p := trainedPipeline(t)
	o := SampleOptions{Steps: 10, Labels: []int{1}}
	walk, err := p.Interpolate(context.Background(), p.InitialNoise(1, 0), p.InitialNoise(2, 0), 5, o)
	if err != nil {
		t.Fatal(err)
	}
	if walk.N != 5 {
		t.Fatalf("%d images, want 5", walk.N)
	}
	o.N, o.Sampler = 1, "ddim"
	for i, seed := range map[int]uint64{0: 1, 4: 2} {
		o.Seed = seed
		if _, largest := rmsOf(walk.part(i), mustSample(t, p, o).Data); largest > 1e-3 {
			t.Errorf("frame %d is off the image of seed %d by %g", i, seed, largest)
		}
	}
	if _, err := p.Interpolate(context.Background(), p.InitialNoise(1, 0), p.InitialNoise(2, 0), 1, o); err == nil {
		t.Error("one frame is no walk, and there is no error")
	}
}

// With a label for each end, the frames of each half are those of a walk of that end's class.
func TestInterpolateBetweenClasses(t *testing.T) {
	p := trainedPipeline(t)
	walk := func(labels ...int) (*Samples, error) {
		return p.Interpolate(context.Background(), p.InitialNoise(1, 0), p.InitialNoise(2, 0), 5, SampleOptions{Steps: 10, Labels: labels})
	}
	var walks [3]*Samples
	for i, labels := range [][]int{{0}, {1}, {0, 1}} {
		var err error
		if walks[i], err = walk(labels...); err != nil {
			t.Fatal(err)
		}
	}
	for i, from := range []int{0, 0, 0, 1, 1} { // the middle frame is as near to either end
		if _, largest := rmsOf(walks[2].part(i), walks[from].part(i)); largest > 1e-5 {
			t.Errorf("frame %d is off that of class %d by %g", i, from, largest)
		}
		if _, largest := rmsOf(walks[0].part(i), walks[1].part(i)); largest < 1e-2 {
			t.Errorf("frame %d differs by %g between the classes: the test shows nothing", i, largest)
		}
	}
	if _, err := walk(0, 1, 0); err == nil {
		t.Error("three labels are too many, and there is no error")
	}
}

// The score of the model's own guess: -eps / sqrt(1 - alphaBar), whatever the model predicts.
func TestScore(t *testing.T) {
	for _, predicts := range []string{diffusion.Epsilon, diffusion.SampleX0, diffusion.VPrediction} {
		p := testPipeline(t, testConfig())
		c := p.Schedule.Config
		c.PredictionType = predicts
		var err error
		if p.Schedule, err = diffusion.NewSchedule(c); err != nil {
			t.Fatal(err)
		}
		x := append(p.InitialNoise(1, 0), p.InitialNoise(1, 1)...)
		ts := []int{10, 700}
		out, err := p.Predict(context.Background(), x, ts, nil)
		if err != nil {
			t.Fatal(err)
		}
		score, err := p.Score(context.Background(), x, ts, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			alphaBar := p.Schedule.AlphaBar[ts[i/96]]
			a, s := math.Sqrt(alphaBar), math.Sqrt(1-alphaBar)
			xi, oi := float64(x[i]), float64(out[i])
			eps := map[string]float64{
				diffusion.Epsilon: oi, diffusion.SampleX0: (xi - a*oi) / s, diffusion.VPrediction: a*oi + s*xi,
			}[predicts]
			if want := -eps / s; math.Abs(float64(score[i])-want) > 1e-4*(1+math.Abs(want)) {
				t.Fatalf("%s: score %d is %g, want %g", predicts, i, score[i], want)
			}
		}
	}
}
