package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/checkpoints"
	"unstir/nn"
	"unstir/unet"
)

func newInspect() *cobra.Command {
	var f planFlags
	var plan bool
	m := modelFlags{ema: true}
	c := &cobra.Command{
		Use:   "inspect [DIR]",
		Short: "Show what a run, a checkpoint or a pipeline holds",
		Long: `Show a model's parameters by block, its configuration, how far it was trained and on what, and whether every file
of the checkpoint is what its manifest says; of a classifier, as a configuration with [classifier] trains, the accuracy on
the test images too. Without DIR: the newest run of a diffusion model in runs/.

--plan also runs the model on noise and lists its operations in the order in which they run, each with its algorithm on
this machine, its shortest time in up to ten runs after a first, and its rate; then the sums of each algorithm. A
convolution's shape, the same in its three passes, is that of its images (NHWC), its output channels and its filter; its
rate counts the operations of its definition, of which Winograd's algorithms save most.`,
		Example: "  diffusion inspect --plan --batch 1\n  diffusion inspect --plan --train --json plan.json runs/mnist",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				m.model = args[0]
			}
			if m.demo && len(args) > 0 {
				return usagef("--demo is a model of its own: leave %s out", args[0])
			}
			if !plan {
				for _, flag := range []string{"train", "json"} {
					if c.Flags().Changed(flag) {
						return usagef("--%s is for --plan", flag)
					}
				}
			}
			if err := f.check(c); err != nil {
				return err
			}
			return runInspect(c, m, plan, f)
		},
	}
	p := c.Flags()
	p.BoolVar(&m.demo, "demo", false, demoUsage)
	p.BoolVar(&plan, "plan", false, "also run the model and list its operations with their algorithms and time")
	p.BoolVar(&f.train, "train", false, "for --plan: the operations of training on a micro-batch, those of the gradients among them")
	p.IntVar(&f.batch, "batch", 0, "for --plan: images (default 16, or with --train those of the run's micro-batches)")
	p.StringVar(&f.size, "size", "", sizeUsage+", for --plan")
	p.StringVar(&f.json, "json", "", "for --plan: also write the operations as JSON to a `FILE`, or only that to standard output, for -")
	return c
}

func runInspect(c *cobra.Command, m modelFlags, plan bool, f planFlags) error {
	size, err := parseSize(f.size)
	if err != nil {
		return err
	}
	p, err := m.open(c)
	if errors.Is(err, unstir.ErrClassifier) {
		return inspectClassifier(c, m.model, plan)
	}
	if err != nil {
		return err
	}
	if plan {
		if p, err = sized(p, size); err != nil {
			return err
		}
	}
	if f.json != "-" {
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		describeModel(w, p, m.demo)
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if plan {
		return f.show(c, p)
	}
	return nil
}

// inspectClassifier shows what a classifier's run or checkpoint holds.
func inspectClassifier(c *cobra.Command, dir string, plan bool) error {
	if plan {
		return usagef("--plan: %s is a classifier; only the plans of diffusion models are listed", dir)
	}
	m, err := unstir.OpenClassifier(c.Context(), dir)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	config, st := m.Model.Config, m.Source.State
	fmt.Fprintf(w, "directory\t%s\n", m.Source.Dir)
	fmt.Fprintf(w, "kind\tclassifier of %d classes\n%s", config.Classes, manifestHolds)
	describeState(w, st)
	if t := st.Test; t == nil {
		fmt.Fprintf(w, "test accuracy\tnot measured\n")
	} else {
		fmt.Fprintf(w, "test accuracy\t%.2f %% of %d images, after step %d\n", 100*t.Accuracy, t.Images, t.Step)
	}
	fmt.Fprintf(w, "weights\t%s\n", m.Source.Weights)
	fmt.Fprintf(w, "images\t%dx%dx%d\n", config.InChannels, config.Height, config.Width)
	fmt.Fprintf(w, "model\tchannels %v, %d features\n", config.Channels, config.Features)
	if config.Noisy {
		sc := m.Schedule.Config
		fmt.Fprintf(w, "noise\t%s, %d timesteps\n", sc.BetaSchedule, sc.NumTrainTimesteps)
	}
	describeParameters(w, m.Model.Params)
	return w.Flush()
}

// manifestHolds is what opening a checkpoint has found.
const manifestHolds = "manifest\tholds: every file has the size and the SHA-256 that it lists\n"

// describeState shows how far a checkpoint was trained and on what.
func describeState(w io.Writer, st *checkpoints.State) {
	fmt.Fprintf(w, "trained\t%d of %d steps, %d images, %.0f s, last loss %.4f\n", st.Step, st.Steps, st.ImagesSeen, st.TrainSeconds, st.Loss)
	fmt.Fprintf(w, "batch\t%d in slices of %d, seed %d\n", st.BatchSize, st.Slice, st.Seed)
	fmt.Fprintf(w, "data\t%s: %d images of %dx%dx%d from %s\n", st.Data.Name, st.Data.Count, st.Data.Channels, st.Data.Height, st.Data.Width, st.Data.Source)
}

func describeParameters(w io.Writer, p *nn.Params) {
	fmt.Fprintf(w, "\nblock\ttensors\tparameters\n")
	for _, b := range parametersByBlock(p) {
		fmt.Fprintf(w, "%s\t%d\t%d\n", b.name, b.tensors, b.values)
	}
	fmt.Fprintf(w, "total\t%d\t%d\n", len(p.List), p.Count())
}

func describeModel(w io.Writer, p *unstir.Pipeline, demo bool) {
	s, m := p.Source, p.Model().Config
	switch {
	case demo:
		fmt.Fprintf(w, "kind\tdemo, part of the program\n")
		describeState(w, s.State)
	case s.State == nil:
		fmt.Fprintf(w, "directory\t%s\nkind\tpipeline without a training state or a manifest\n", s.Dir)
	default:
		fmt.Fprintf(w, "directory\t%s\n%s", s.Dir, manifestHolds)
		describeState(w, s.State)
	}
	fmt.Fprintf(w, "weights\t%s\n", s.Weights)
	fmt.Fprintf(w, "images\t%s, any rows and columns divisible by %d\n", imageShape(m), 1<<(m.Levels()-1))
	fmt.Fprintf(w, "model\tchannels %v, %d layers a block, %s / %s\n", m.BlockOutChannels, m.LayersPerBlock, strings.Join(m.DownBlockTypes, " "), strings.Join(m.UpBlockTypes, " "))
	if p.NumClasses() > 0 {
		fmt.Fprintf(w, "classes\t%s\n", p.ClassList(0))
	}
	if _, ok := p.NullClass(); ok {
		fmt.Fprintf(w, "guidance\tyes: trained with label dropout\n")
	}
	sc := p.Schedule.Config
	if name := sc.Class.Name; name != "" {
		fmt.Fprintf(w, "scheduler\t%s: sample takes %s unless --sampler says otherwise\n", name, p.DefaultSampler())
	}
	fmt.Fprintf(w, "schedule\t%s, %d timesteps, predicts %s, variance %s, clip_sample %v\n", sc.BetaSchedule, sc.NumTrainTimesteps, sc.PredictionType, sc.VarianceType, sc.ClipSample)
	describeParameters(w, p.Model().Params)
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
func parametersByBlock(params *nn.Params) []block {
	var list []block
	at := map[string]int{}
	for _, p := range params.List {
		words := strings.Split(p.Name, ".")
		name := words[0]
		if strings.HasSuffix(name, "_blocks") || name == "levels" {
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
