package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/checkpoints/safetensors"
	"unstir/data"
	"unstir/internal/golden"
	"unstir/unet"
)

// trainFixture is the manifest of a recorded training run; testdata/README.md describes it.
type trainFixture struct {
	*golden.Fixture
	Settings struct {
		UNet         string     `json:"unet"` // directory of config.json and the initial weights
		Steps        int        `json:"steps"`
		LR           float64    `json:"lr"`
		Betas        [2]float64 `json:"betas"`
		Eps          float64    `json:"eps"`
		WeightDecay  float64    `json:"weight_decay"`
		EMADecay     float64    `json:"ema_decay"`
		BatchPerStep bool       `json:"batch_per_step"` // x_t, t and noise have a batch for each step
	} `json:"settings"`
	Final    map[string]map[string]finalTensor `json:"tensors_final"`
	Measured struct {
		Loss     float64 `json:"loss_max_rel"`
		GradNorm float64 `json:"grad_norm_max_rel"`
	} `json:"tolerance_measured"` // how far the reference's run in float32 is off; 0: not said
}

// finalTensor describes a tensor after the last step.
type finalTensor struct {
	SumSq  float64   `json:"sumsq"`
	First4 []float64 `json:"first4"`
	F32    float64   `json:"f32_vs_f64_max_abs"` // the largest error of the reference's own run in float32
}

// UnmarshalJSON leaves out the entries that are plain numbers.
func (f *finalTensor) UnmarshalJSON(text []byte) error {
	type plain finalTensor
	if len(text) > 0 && text[0] != '{' {
		return nil
	}
	return json.Unmarshal(text, (*plain)(f))
}

func trainFixtures(t *testing.T) []*trainFixture {
	t.Helper()
	var out []*trainFixture
	for _, f := range golden.Find(t, func(keys map[string]json.RawMessage) bool { return keys["tensors_final"] != nil }, "testdata") {
		g := &trainFixture{Fixture: f}
		f.Decode(t, g)
		out = append(out, g)
	}
	return out
}

// trainer starts a run at the fixture's weights. Nothing of it is written anywhere.
func (f *trainFixture) trainer(t *testing.T, slice int, warmup bool) *Trainer {
	t.Helper()
	s := f.Settings
	dir := filepath.Join(f.Dir, filepath.FromSlash(s.UNet))
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := unet.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := safetensors.Open(filepath.Join(dir, "diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, err := unet.Load(config, func(name string, _ []int, dst []float32) error { return r.ReadFloat32(name, dst) })
	if err != nil {
		t.Fatal(err)
	}
	tr := &Trainer{params: m.Params, weights: m.Weights(), ema: m.Weights(), optimizer: newOptimizer(AdamW, m.Params)}
	tr.expAvg, tr.expAvgSq = make([]float32, len(tr.weights)), make([]float32, len(tr.weights))
	tr.Train, _, _, _ = Defaults()
	tr.Train.Steps, tr.Train.LR, tr.Train.WeightDecay, tr.Train.GradClip = s.Steps, s.LR, s.WeightDecay, 0
	tr.Train.Beta1, tr.Train.Beta2, tr.Train.Eps = s.Betas[0], s.Betas[1], s.Eps
	tr.EMA = EMAConfig{Decay: s.EMADecay, Warmup: warmup}
	h, w := f.Sides(t, "x_t")
	gradient, err := unet.NewGradient(config, tr.params, tr.weights, unet.GradientOptions{Slice: slice, H: h, W: w})
	if err != nil {
		t.Fatal(err)
	}
	tr.task = &recorded{denoising: &denoising{gradient: gradient}}
	return tr
}

// recorded trains on recorded examples instead of those that are made of data.
type recorded struct {
	*denoising
	example unet.Example
}

func (r *recorded) run(ctx context.Context, _ *data.Batch, perImage []float64) (result, error) {
	loss, err := r.gradient.Run(ctx, r.example, perImage)
	return result{loss: loss}, err
}

// update does a step on a recorded example.
func update(tr *Trainer, e unet.Example) error {
	tr.task.(*recorded).example = e
	return tr.update(context.Background(), nil)
}

// batch is the example of step n = 0, 1, ...; past the last one it is the last step's.
func (f *trainFixture) batch(t *testing.T, n int) unet.Example {
	t.Helper()
	e := unet.Example{X: f.Float32s(t, "x_t"), Target: f.Float32s(t, "noise"), T: f.Ints(t, "t")}
	if f.Has("labels") {
		e.Labels = f.Ints(t, "labels")
	}
	if s := f.Settings.Steps; f.Settings.BatchPerStep {
		n = min(n, s-1)
		e = unet.Example{X: part(e.X, n, s), Target: part(e.Target, n, s), T: part(e.T, n, s), Labels: part(e.Labels, n, s)}
	}
	return e
}

// part is part n of s parts of one length.
func part[V any](list []V, n, s int) []V {
	d := len(list) / s
	return list[n*d : (n+1)*d]
}

// A run from recorded weights through recorded batches has the reference's losses, gradient norms, weights and
// moving averages, by both definitions of the average: of constant decay, and with diffusers' warm-up.
func TestGoldenTraining(t *testing.T) {
	for _, f := range trainFixtures(t) {
		t.Run(f.Name(), func(t *testing.T) {
			plain := f.run(t, false)
			f.compareFinal(t, "param", plain, plain.weights)
			f.compareFinal(t, "ema", plain, plain.ema)
			warm := f.run(t, true)
			sameBits(t, "the weights of both runs", plain.weights, warm.weights)
			f.compareFinal(t, "ema_diffusers", warm, warm.ema)
		})
	}
}

// run does the fixture's steps and compares each loss, and the loss of one more.
func (f *trainFixture) run(t *testing.T, warmup bool) *Trainer {
	t.Helper()
	losses, norms := f.Floats(t, "loss_f64"), f.Floats(t, "grad_norm_f64")
	tr := f.trainer(t, len(f.batch(t, 0).T), warmup)
	var worstLoss, worstNorm float64
	for n := range f.Settings.Steps {
		if err := update(tr, f.batch(t, n)); err != nil {
			t.Fatal(err)
		}
		worstLoss = math.Max(worstLoss, math.Abs(tr.last.Loss/losses[n]-1))
		worstNorm = math.Max(worstNorm, math.Abs(tr.last.GradNorm/norms[n]-1))
	}
	if len(losses) > f.Settings.Steps {
		loss, err := tr.task.(*recorded).gradient.Run(context.Background(), f.batch(t, f.Settings.Steps), nil)
		if err != nil {
			t.Fatal(err)
		}
		worstLoss = math.Max(worstLoss, math.Abs(loss/losses[f.Settings.Steps]-1))
	}
	if warmup {
		return tr // the same losses as without
	}
	t.Logf("%d steps: losses within %.2g, gradient norms within %.2g, relative", f.Settings.Steps, worstLoss, worstNorm)
	own := golden.Tolerance(7, 20) // times the reference's own error: some runs make much more of it than others
	if limit := max(golden.Tolerance(5e-6, 4e-5), own*f.Measured.Loss); !(worstLoss <= limit) {
		t.Errorf("a loss is off by %.2g, more than %g", worstLoss, limit)
	}
	if limit := max(golden.Tolerance(3e-5, 1.5e-4), own*f.Measured.GradNorm); !(worstNorm <= limit) {
		t.Errorf("a gradient's norm is off by %.2g, more than %g", worstNorm, limit)
	}
	return tr
}

// finalLimits bound the errors of one kind of weights after the last step: of all values as root mean square, of each,
// and of a tensor's sum of squares, relative.
type finalLimits struct{ rms, each, sumSq float64 }

// limitsOf a kind of weights. The average of constant decay has moved little from its start, and its error with it.
func limitsOf(kind string) finalLimits {
	if kind == "ema" {
		return finalLimits{rms: 4e-7, each: 4e-6, sumSq: golden.Tolerance(1.2e-6, 3e-6)}
	}
	return finalLimits{rms: golden.Tolerance(1.5e-6, 2e-6), each: 1.5e-5, sumSq: golden.Tolerance(6e-6, 1.5e-5)}
}

// compareFinal compares one kind of weights after the last step: the stored tensors, the first elements of all
// tensors, and the sums of squares of all. Where a gradient is near zero, AdamW turns its rounding error into a step: in
// a tensor where that happens to the reference in float32, too, an element may be off as far. The gradient of to_k.bias
// is zero but for rounding, of which Adam makes small random steps.
func (f *trainFixture) compareFinal(t *testing.T, kind string, tr *Trainer, flat []float32) {
	t.Helper()
	limits := limitsOf(kind)
	var sum, worst, worstSumSq float64
	var worstName, worstSumSqName string
	compared := 0
	for _, p := range tr.params.Tensors(flat) {
		want, ok := f.Final[p.Name][kind]
		if !ok || len(want.First4) == 0 {
			t.Fatalf("%s says nothing about %s of %s", f.Dir, kind, p.Name)
		}
		if strings.HasSuffix(p.Name, "to_k.bias") {
			continue
		}
		got := make([]float32, size(p.Shape))
		p.Fill(got)
		values := want.First4
		if name := kind + "." + p.Name; f.Has(name) {
			values = f.Floats(t, name)
		}
		for i, v := range values {
			d := float64(got[i]) - v
			sum += d * d
			if !(math.Abs(d) <= worst) {
				worst, worstName = math.Abs(d), p.Name
			}
			if limit := max(limits.each, want.F32); !(math.Abs(d) <= limit) {
				t.Errorf("%s: element %d of %s is off by %.2g, more than %g", kind, i, p.Name, d, limit)
			}
		}
		compared += len(values)
		sumSq := 0.0
		for _, v := range got {
			sumSq += float64(v) * float64(v)
		}
		if e := math.Abs(sumSq/want.SumSq - 1); !(e <= worstSumSq) {
			worstSumSq, worstSumSqName = e, p.Name
		}
	}
	rms := math.Sqrt(sum / float64(compared))
	t.Logf("%s: %d values: rms error %.2g, largest %.2g (%s); sums of squares within %.2g (%s)",
		kind, compared, rms, worst, worstName, worstSumSq, worstSumSqName)
	if !(rms <= limits.rms) {
		t.Errorf("%s: rms error %.2g, more than %g", kind, rms, limits.rms)
	}
	if !(worstSumSq <= limits.sumSq) {
		t.Errorf("%s: the sum of squares of %s is off by %.2g, more than %g", kind, worstSumSqName, worstSumSq, limits.sumSq)
	}
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
