package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/internal/atomicfile"
	"unstir/internal/machine"
	"unstir/internal/rng"
	"unstir/nn/engine"
	"unstir/nn/kernel"
	"unstir/unet"
)

// planFlags are those of inspect --plan.
type planFlags struct {
	train      bool
	batch      int
	size, json string
}

// plannedOp is an operation of a plan in JSON.
type plannedOp struct {
	Op        string  `json:"op"`
	Pass      string  `json:"pass"`
	Shape     string  `json:"shape"`
	Algorithm string  `json:"algorithm"`
	TimeUS    float64 `json:"time_us"`
	GFLOPS    float64 `json:"gflops"` // 10^9 operations a second; 0 for what is bound by memory

	flops float64
}

func (f planFlags) check(c *cobra.Command) error {
	if c.Flags().Changed("batch") && f.batch < 1 {
		return usagef("--batch %d: it must be at least 1", f.batch)
	}
	if c.Flags().Changed("json") && f.json == "" {
		return usagef("--json is empty: name a file, or - for standard output")
	}
	if f.json != "" && f.json != "-" {
		if isDir(f.json) {
			return usagef("--json %s: it is a directory", f.json)
		}
		if err := checkFile("--json", f.json); err != nil {
			return usage(err)
		}
	}
	return nil
}

// show runs the model's plan and prints it.
func (f planFlags) show(c *cobra.Command, p *unstir.Pipeline) error {
	run, m, images, err := f.prepare(c, p)
	if err != nil {
		return err
	}
	if err := profile(m, run); err != nil {
		return err
	}
	ops := plannedOps(m.Plan())
	if f.json == "-" {
		return writeOps(c.OutOrStdout(), ops)
	}
	if f.json != "" {
		if err := atomicfile.Write(f.json, func(w io.Writer) error { return writeOps(w, ops) }); err != nil {
			return fmt.Errorf("--json %s: %w", f.json, withoutPath(err))
		}
	}
	return f.print(c.OutOrStdout(), ops, m.Stats(), images)
}

// prepare plans the model and returns what runs it once, on noise, and the number of images of a run.
func (f planFlags) prepare(c *cobra.Command, p *unstir.Pipeline) (run func() error, m *engine.Machine, images int, err error) {
	images = f.batch
	model := p.Model()
	_, h, w := p.Shape()
	if images == 0 {
		images = 16
		if f.train {
			images = unet.DefaultSlice(model.Config, h, w)
			if s := p.Source.State; s != nil {
				images = s.Slice
			}
		}
	}
	in, out := images*model.Config.InChannels*h*w, images*model.Config.OutChannels*h*w
	labels := benchLabels(p.NumClasses(), images)
	t := make([]int, images)
	for i := range t {
		t[i] = i * 7 % p.Schedule.T
	}
	if f.train {
		weights := model.Weights()
		options := unet.GradientOptions{Slice: images, H: h, W: w}
		if err := fitImages(images, func(n int) (int64, error) {
			o := options
			o.Slice = n
			return unet.GradientMemory(model.Config, model.Params, weights, o, n)
		}); err != nil {
			return nil, nil, 0, err
		}
		g, err := unet.NewGradient(model.Config, model.Params, weights, options)
		if err != nil {
			return nil, nil, 0, err
		}
		e := unet.Example{X: noise(in, 0), Target: noise(out, 1), T: t, Labels: labels}
		return func() error { _, err := g.Run(c.Context(), e, nil); return err }, g.Machine(), images, nil
	}
	if err := fitImages(images, func(n int) (int64, error) { return unet.PredictorMemory(model, n, h, w) }); err != nil {
		return nil, nil, 0, err
	}
	q, err := unet.NewPredictor(model, images, h, w)
	if err != nil {
		return nil, nil, 0, err
	}
	if labels != nil {
		if err := q.SetLabels(labels); err != nil {
			return nil, nil, 0, err
		}
	}
	x, y := noise(in, 0), make([]float32, out)
	return func() error { return q.Predict(c.Context(), y, x, t) }, q.Machine(), images, nil
}

// fitImages is machine.Fit with an error that names the number of images.
func fitImages(n int, need func(n int) (int64, error)) error {
	err := machine.Fit(n, need)
	var short *machine.Shortage
	if errors.As(err, &short) && short.Fits > 0 {
		return fmt.Errorf("%d images: %w; --batch %d fits", n, err, short.Fits)
	}
	if err != nil {
		return fmt.Errorf("%d images: %w", n, err)
	}
	return nil
}

// noise is n numbers of the standard normal distribution.
func noise(n int, draw uint64) []float32 {
	x := make([]float32, n)
	rng.Normal(x, 0, rng.InitialNoise, draw, 0)
	return x
}

// profile times the steps of a machine in up to ten runs of it, fewer where they take long. The first, which also packs what is
// packed once, does not count.
func profile(m *engine.Machine, run func() error) error {
	if err := run(); err != nil {
		return err
	}
	m.Profile(true)
	const runs, enough = 10, 10 * time.Second
	start := time.Now()
	for i := 0; i < runs && (i < 2 || time.Since(start) < enough); i++ {
		if err := run(); err != nil {
			return err
		}
	}
	return nil
}

// plannedOps are the steps of a profiled plan on this machine.
func plannedOps(steps []engine.StepInfo) []plannedOp {
	threads, cpu := kernel.Threads(), kernel.ThisCPU()
	ops := make([]plannedOp, len(steps))
	for i, s := range steps {
		ops[i] = plannedOp{
			Op: s.Op, Pass: s.Pass.String(), Shape: s.Operands(), Algorithm: s.Algorithm(threads, cpu),
			TimeUS: 1e6 * s.Time.Seconds(), GFLOPS: rate(s.FLOPs, s.Time.Seconds()), flops: s.FLOPs,
		}
	}
	return ops
}

// rate is in 10^9 operations a second; 0 where the clock is too coarse for the time.
func rate(flops, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return flops / seconds / 1e9
}

func writeOps(w io.Writer, ops []plannedOp) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(ops)
}

// sumOps adds up the operations of each pass by each algorithm, the slowest first, and all of them. Op is how many they are.
func sumOps(ops []plannedOp) (sums []plannedOp, total plannedOp) {
	at, count := map[string]int{}, []int{}
	for _, op := range ops {
		key := op.Pass + ": " + op.Algorithm
		i, ok := at[key]
		if !ok {
			i = len(sums)
			at[key] = i
			sums, count = append(sums, plannedOp{Pass: op.Pass, Algorithm: op.Algorithm}), append(count, 0)
		}
		count[i]++
		for _, sum := range []*plannedOp{&sums[i], &total} {
			sum.TimeUS += op.TimeUS
			sum.flops += op.flops
		}
	}
	total.GFLOPS = rate(total.flops, total.TimeUS/1e6)
	for i := range sums {
		sums[i].Op = fmt.Sprint(count[i])
		sums[i].GFLOPS = rate(sums[i].flops, sums[i].TimeUS/1e6)
	}
	sort.SliceStable(sums, func(i, j int) bool { return sums[i].TimeUS > sums[j].TimeUS })
	return sums, total
}

// print prints the operations, and then their sums.
func (f planFlags) print(out io.Writer, ops []plannedOp, stats engine.Stats, images int) error {
	use := "sampling"
	if f.train {
		use = "training"
	}
	sums, total := sumOps(ops)
	cpu := kernel.ThisCPU()
	fmt.Fprintf(out, "\n%s: %d operations on %d images: %.2f ms, %.0f GFLOP/s; arena %.2f MB (%.2f MB alive at once, %.2f MB without a plan)\n%s: %v, %d threads, %d KB of second-level cache\n\n",
		use, len(ops), images, total.TimeUS/1e3, total.GFLOPS, float64(stats.Arena)/1e6, float64(stats.LowerBound)/1e6, float64(stats.Naive)/1e6,
		machine.CPU(), cpu.Level, kernel.Threads(), cpu.L2>>10)
	const head = "  time us\tshare %\tGFLOP/s\t"
	numbers := func(op plannedOp) string {
		share, gflops := 0.0, ""
		if total.TimeUS > 0 {
			share = 100 * op.TimeUS / total.TimeUS
		}
		if op.GFLOPS > 0 {
			gflops = fmt.Sprintf("%.0f", op.GFLOPS)
		}
		return fmt.Sprintf("%9.1f\t%7.1f\t%7s\t", op.TimeUS, share, gflops)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%soperation\tpass\tshape\talgorithm\n", head)
	for _, op := range ops {
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", numbers(op), op.Op, op.Pass, op.Shape, op.Algorithm)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%soperations\tpass\talgorithm\n", head)
	for _, sum := range sums {
		fmt.Fprintf(w, "%s%10s\t%s\t%s\n", numbers(sum), sum.Op, sum.Pass, sum.Algorithm)
	}
	return w.Flush()
}
