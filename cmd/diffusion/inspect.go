package main

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/nn/engine"
	"unstir/unet"
)

func newInspect() *cobra.Command {
	var plan bool
	var batch int
	var size string
	c := &cobra.Command{
		Use:   "inspect [DIR]",
		Short: "Show what a run, a checkpoint or a pipeline holds",
		Long: `Show a model's parameters by block, its configuration, how far it was trained and on what, and whether every file
of the checkpoint is what its manifest says. Without DIR: the newest run in runs/.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) > 0 {
				dir = args[0]
			}
			if batch < 1 {
				return usagef("--batch %d: it must be at least 1", batch)
			}
			want, err := parseSize(size)
			if err != nil {
				return err
			}
			return runInspect(c, dir, plan, batch, want)
		},
	}
	c.Flags().BoolVar(&plan, "plan", false, "also run the model and list its operations with their time and memory")
	c.Flags().IntVar(&batch, "batch", 16, "images, for --plan")
	c.Flags().StringVar(&size, "size", "", sizeUsage+", for --plan")
	return c
}

func runInspect(c *cobra.Command, dir string, plan bool, batch int, size unet.Size) error {
	p, err := openModel(c, dir, true)
	if err != nil {
		return err
	}
	if plan {
		if p, err = sized(p, size); err != nil {
			return err
		}
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	describeModel(w, p)
	if err := w.Flush(); err != nil {
		return err
	}
	if plan {
		return showPlan(c, p, batch)
	}
	return nil
}

func describeModel(w io.Writer, p *unstir.Pipeline) {
	s, m := p.Source, p.Model().Config
	fmt.Fprintf(w, "directory\t%s\n", s.Dir)
	if s.State == nil {
		fmt.Fprintf(w, "kind\tpipeline without a training state or a manifest\n")
	} else {
		st := s.State
		fmt.Fprintf(w, "manifest\tholds: every file has the size and the SHA-256 that it lists\n")
		fmt.Fprintf(w, "trained\t%d of %d steps, %d images, %.0f s, last loss %.4f\n", st.Step, st.Steps, st.ImagesSeen, st.TrainSeconds, st.Loss)
		fmt.Fprintf(w, "batch\t%d in slices of %d, seed %d\n", st.BatchSize, st.Slice, st.Seed)
		fmt.Fprintf(w, "data\t%s: %d images of %dx%dx%d from %s\n", st.Data.Name, st.Data.Count, st.Data.Channels, st.Data.Height, st.Data.Width, st.Data.Source)
	}
	fmt.Fprintf(w, "weights\t%s\n", s.Weights)
	fmt.Fprintf(w, "images\t%s, any rows and columns divisible by %d\n", imageShape(m), 1<<(m.Levels()-1))
	fmt.Fprintf(w, "model\tchannels %v, %d layers a block, %s / %s\n", m.BlockOutChannels, m.LayersPerBlock, strings.Join(m.DownBlockTypes, " "), strings.Join(m.UpBlockTypes, " "))
	if p.NumClasses() > 0 {
		fmt.Fprintf(w, "classes\t%s\n", p.ClassList(0))
	}
	sc := p.Schedule.Config
	if name := sc.Class.Name; name != "" {
		fmt.Fprintf(w, "scheduler\t%s: sample takes %s unless --sampler says otherwise\n", name, p.DefaultSampler())
	}
	fmt.Fprintf(w, "schedule\t%s, %d timesteps, predicts %s, variance %s, clip_sample %v\n", sc.BetaSchedule, sc.NumTrainTimesteps, sc.PredictionType, sc.VarianceType, sc.ClipSample)
	fmt.Fprintf(w, "\nblock\ttensors\tparameters\n")
	for _, b := range parametersByBlock(p.Model()) {
		fmt.Fprintf(w, "%s\t%d\t%d\n", b.name, b.tensors, b.values)
	}
	fmt.Fprintf(w, "total\t%d\t%d\n", len(p.Model().Params.List), p.Model().Params.Count())
}

// imageShape is the shape of the images that a model was saved with: channels, rows, columns.
func imageShape(m unet.Config) string {
	size := fmt.Sprintf("%dx%dx%d", m.InChannels, m.SampleSize.H, m.SampleSize.W)
	switch {
	case m.SampleSize == unet.Size{}:
		size = fmt.Sprintf("%d channels, sample_size null", m.InChannels)
	case m.CheckSize(m.SampleSize.H, m.SampleSize.W) != nil:
		size += ", which the model does not take"
	}
	if m.OutChannels != m.InChannels {
		size += fmt.Sprintf(", and predicts %d channels", m.OutChannels)
	}
	return size
}

type block struct {
	name            string
	tensors, values int
}

// parametersByBlock adds up the parameters of each part of the model, in the order of the model.
func parametersByBlock(m *unet.Model) []block {
	var list []block
	at := map[string]int{}
	for _, p := range m.Params.List {
		words := strings.Split(p.Name, ".")
		name := words[0]
		if strings.HasSuffix(name, "_blocks") {
			name += "." + words[1]
		}
		i, ok := at[name]
		if !ok {
			i = len(list)
			at[name] = i
			list = append(list, block{name: name})
		}
		list[i].tensors++
		list[i].values += p.Size
	}
	return list
}

// showPlan runs the model a few times and lists its operations, the slowest first.
func showPlan(c *cobra.Command, p *unstir.Pipeline, batch int) error {
	_, h, w := p.Shape()
	q, err := unet.NewPredictor(p.Model(), batch, h, w)
	if err != nil {
		return err
	}
	m := q.Machine()
	const runs = 10
	for i := range runs + 1 {
		if i == 1 {
			m.Profile(true) // the first run also transforms the filters
		}
		if err := m.Run(c.Context()); err != nil {
			return err
		}
	}
	return printPlan(c.OutOrStdout(), m, batch)
}

func printPlan(out io.Writer, m *engine.Machine, batch int) error {
	steps, stats := m.Plan(), m.Stats()
	total := 0.0
	for _, s := range steps {
		total += s.Time.Seconds()
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].Time > steps[j].Time })
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%d operations on %d images: %.2f ms; arena %.2f MB (%.2f MB alive at once, %.2f MB without a plan)\n",
		stats.Steps, batch, 1e3*total, float64(stats.Arena)/1e6, float64(stats.LowerBound)/1e6, float64(stats.Naive)/1e6)
	fmt.Fprintf(tw, "time us\tshare %%\tGFLOP/s\tKB\tshape\toperation\t\n")
	for _, s := range steps {
		rate := ""
		if s.FLOPs > 0 {
			rate = fmt.Sprintf("%.0f", s.FLOPs/s.Time.Seconds()/1e9)
		}
		fmt.Fprintf(tw, "%.1f\t%.1f\t%s\t%.1f\t%v\t%s\t\n", 1e6*s.Time.Seconds(), 100*s.Time.Seconds()/total, rate, float64(s.Bytes)/1e3, s.Shape, s.Op)
	}
	return tw.Flush()
}
