package unstir

import (
	"flag"
	"image"
	"image/png"
	"math"
	"os"
	"slices"
	"testing"

	"unstir/diffusion"
	"unstir/internal/images"
)

var updateDemo = flag.Bool("update", false, "write testdata/demo.png instead of comparing with it")

// demoDigits are a digit of each class, drawn in few steps.
var demoDigits = SampleOptions{N: 10, Sampler: "ddim", Steps: 10, Seed: 4, Labels: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}

func demoPipeline(t *testing.T) *Pipeline {
	t.Helper()
	p, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The demo draws the digits of a committed picture, at every level of the CPU: kernels differ by 3e-5 in [-1, 1], which is
// less than a gray level, so that rounding may change a pixel by one.
func TestDemoDrawsItsDigits(t *testing.T) {
	s, err := demoPipeline(t).Sample(t.Context(), demoDigits)
	if err != nil {
		t.Fatal(err)
	}
	grid, err := s.Grid()
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/demo.png"
	if *updateDemo {
		if err := images.WritePNG(name, grid, nil); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	a, ok := grid.(*image.Gray)
	b, isGray := want.(*image.Gray)
	if !ok || !isGray || a.Bounds() != b.Bounds() {
		t.Fatalf("the grid is a %T of %v, the file's a %T of %v", grid, grid.Bounds(), want, want.Bounds())
	}
	for i, v := range a.Pix {
		if d := math.Abs(float64(v) - float64(b.Pix[i])); d > 1 {
			t.Fatalf("pixel (%d, %d) is %d, want %d", i%a.Stride, i/a.Stride, v, b.Pix[i])
		}
	}
}

// The demo is a plain pipeline: its directory, opened by name, draws the same bits. It knows its classes.
func TestDemoIsAPipeline(t *testing.T) {
	p := demoPipeline(t)
	q, err := Open(t.Context(), "demo/pipeline")
	if err != nil {
		t.Fatal(err)
	}
	hash, err := p.Hash()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := q.Hash(); err != nil || other != hash {
		t.Errorf("the demo has the hash %s, its directory %s (%v)", hash, other, err)
	}
	o := SampleOptions{N: 2, Sampler: "ddim", Steps: 2, Seed: 1, Labels: []int{3, 7}}
	a, err := p.Sample(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Sample(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Data, b.Data) {
		t.Error("the demo's directory draws other digits")
	}
	if l, err := p.ParseLabels("7, 3"); err != nil || !slices.Equal(l, []int{7, 3}) || p.NumClasses() != 10 {
		t.Errorf("the labels of 7 and 3 are %v of %d (%v)", l, p.NumClasses(), err)
	}
	if _, h, w := p.Shape(); h != 28 || w != 28 || p.Source.Dir != "demo" || p.Source.State.Step != 6000 {
		t.Errorf("images of %dx%d, source %+v", h, w, p.Source)
	}
}

// The demo is evaluated with nothing but the library.
func TestEvaluateDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures 10,000 images")
	}
	e, err := Evaluate(t.Context(), EvaluateOptions{
		Pipeline: demoPipeline(t), Sample: SampleOptions{N: 200, Sampler: "ddim", Steps: 10, Settings: diffusion.Options{Eta: 1}}, Open: offline(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := e.Result; *r.Dataset != "mnist" || *r.ModelStep != 6000 || *r.ClassAccuracy < 0.9 || *r.Frechet > 4**r.FrechetReal || *r.ClassEntropy < 2.25 {
		t.Errorf("%s", r.Table())
	}
}
