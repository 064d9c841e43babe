package unstir

import (
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/checkpoints"
	"unstir/data"
	"unstir/diffusion"
	"unstir/internal/images"
	"unstir/train"
)

// The null class of a model is no class: neither counted, listed nor found, by number or in all.
func TestTheNullClassIsNoClass(t *testing.T) {
	p := guidablePipeline(t)
	if null, ok := p.NullClass(); !ok || null != 2 {
		t.Errorf("the null class is %d, %t", null, ok)
	}
	if n, list, names := p.NumClasses(), p.Labels(), p.Classes(); n != 2 || !slices.Equal(list, []int{0, 1}) || len(names) != 2 {
		t.Errorf("there are %d classes: %v, %v", n, list, names)
	}
	if l, err := p.ParseLabels("all"); err != nil || !slices.Equal(l, []int{0, 1}) {
		t.Errorf("all classes are %v, %v", l, err)
	}
	_, err := p.Label("2")
	var bad *LabelError
	if !errors.As(err, &bad) || bad.Reason != "the classes are 0 to 1: dark, bright" {
		t.Errorf("error %v", err)
	}
	// Without names too: the data need not have any.
	bare := *p.Source.State
	bare.Data.Classes = nil
	unnamed := &Pipeline{Source: Source{State: &bare}, Schedule: p.Schedule, model: p.model, h: p.h, w: p.w, null: p.null}
	if n, list := unnamed.NumClasses(), unnamed.ClassList(0); n != 2 || list != "0 to 1" {
		t.Errorf("without names there are %d classes: %s", n, list)
	}
	if _, err := unnamed.Sample(t.Context(), SampleOptions{N: 1}); err == nil || !strings.Contains(err.Error(), "a label from 0 to 1") {
		t.Errorf("error %v", err)
	}
	same, err := p.ForSize(16, 16)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := same.NullClass(); !ok {
		t.Error("at another size the model has no null class")
	}
}

// The null class of a pipeline is what the caller says, wherever it lies among the others.
func TestWithNullClass(t *testing.T) {
	c := testConfig()
	c.NumClassEmbeds = 4
	p := testPipeline(t, c)
	guidance := &diffusion.Guidance{Weight: 2}
	for null, want := range map[int]struct {
		labels []int
		words  string
	}{
		0: {[]int{1, 2, 3}, "1 to 3"}, 2: {[]int{0, 1, 3}, "0 to 3 but 2"}, 3: {[]int{0, 1, 2}, "0 to 2"},
	} {
		q, err := p.WithNullClass(null)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.Labels(); !slices.Equal(got, want.labels) || q.NumClasses() != 3 || q.ClassList(0) != want.words {
			t.Errorf("null class %d: %d classes %v, %s", null, q.NumClasses(), got, q.ClassList(0))
		}
		for l := range 5 {
			if _, err := q.Label(fmt.Sprint(l)); (err == nil) != slices.Contains(want.labels, l) {
				t.Errorf("null class %d: label %d: %v", null, l, err)
			}
		}
		o := SampleOptions{N: 2, Sampler: "ddim", Steps: 3, Labels: want.labels[:2], Guidance: guidance}
		guided := mustSample(t, q, o).Data
		o.Guidance = nil
		if slices.Equal(guided, mustSample(t, q, o).Data) {
			t.Errorf("null class %d: guidance changes nothing", null)
		}
	}
	if n, list := p.NumClasses(), p.ClassList(0); n != 4 || list != "0 to 3" {
		t.Errorf("the pipeline itself has %d classes now: %s", n, list)
	}
}

// A preview of a run with label dropout shows the classes in turn, and never the null class, also where classes have no names.
func TestPreviewsShowClassesOnly(t *testing.T) {
	named, err := shades()
	if err != nil {
		t.Fatal(err)
	}
	info := named.Info()
	pixels, labels := make([]byte, info.Count*64), make([]int, info.Count)
	for i := range labels {
		named.Image(i, pixels[i*64:(i+1)*64])
		labels[i] = named.Label(i)
	}
	set, err := data.NewMemory(data.Info{Name: "shades", Channels: 1, Height: 8, Width: 8}, pixels, labels)
	if err != nil {
		t.Fatal(err)
	}
	tc, ema, ckpt, preview := train.Defaults()
	tc.Steps, tc.BatchSize, tc.LR, tc.LabelDropout = 10, 12, 6e-3, 0.5
	preview.Every, preview.Images, preview.Steps = 10, 6, 4
	run := filepath.Join(t.TempDir(), "run")
	tr, err := train.New(train.Setup{
		Seed: 3, Data: set, Model: classConfig(), Scheduler: diffusion.Defaults(),
		Train: tc, EMA: ema, Checkpoint: ckpt, Preview: preview, Dir: run, ConfigTOML: []byte("name = \"shades\"\n"), Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	s := mustSample(t, p, SampleOptions{N: 6, Sampler: "ddim", Steps: 4, Seed: 3, Labels: turns(6)})
	list, err := images.FromNCHW(s.Data, 6, 1, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(run, "previews", "step-00000010.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shown, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	scale := shown.Bounds().Dx() / (4*(8+2) + 2)
	want, err := images.Grid(list, images.GridOptions{Cols: 4, Padding: 2, Scale: scale})
	if err != nil {
		t.Fatal(err)
	}
	if shown.Bounds() != want.Bounds() {
		t.Fatalf("the preview is %v, want %v: two pairs of classes wide", shown.Bounds(), want.Bounds())
	}
	for y := range want.Bounds().Dy() {
		for x := range want.Bounds().Dx() {
			if color.GrayModel.Convert(shown.At(x, y)) != color.GrayModel.Convert(want.At(x, y)) {
				t.Fatalf("the preview's pixel (%d, %d) is not that of the classes in turn", x, y)
			}
		}
	}
}

// A state that names another null class than the model's last embedding is refused.
func TestANullClassThatIsNotTheLast(t *testing.T) {
	p := guidablePipeline(t)
	if st := p.Source.State; st.NullClass == nil || *st.NullClass != p.Model().Config.NumClassEmbeds-1 {
		t.Errorf("the null class is %v of %d embeddings", st.NullClass, p.Model().Config.NumClassEmbeds)
	}
	for null, want := range map[int]bool{2: true, 1: false, 3: false} {
		err := checkNullClass(&checkpoints.State{NullClass: &null}, p.Model().Config)
		if (err == nil) != want {
			t.Errorf("null class %d of 3 embeddings: %v", null, err)
		}
	}
}
