package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"unstir/checkpoints"
	"unstir/configs"
	"unstir/featurenet"
	"unstir/internal/atomicfile"
	"unstir/internal/filekind"
	"unstir/internal/htmlreport"
	"unstir/internal/images"
	"unstir/train"
	"unstir/unet"
)

// Files in a run's directory.
const (
	reportName = "report.html"
	evalName   = "eval.json" // the last evaluation of the run's model
	boundName  = "bpd.png"   // the bound's terms by timestep, where that evaluation computed it
)

func newReport() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "report RUN",
		Short: "Write a page about a run",
		Long: `Write one HTML file about a run, whether it is complete or not: its configuration, the curves of its log, its previews
over time, its evaluation (RUN/eval.json), the pictures of samples in its directory, and how to go on. The page refers to
nothing outside of itself and is smaller than 10 MB; what the run does not have, it says.`,
		Example: `  diffusion report runs/mnist
  diffusion report runs/mnist --out mnist.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("which run? name its directory, such as runs/mnist")
			}
			return runReport(c, args[0], out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "`FILE` to write, .html (default RUN/"+reportName+")")
	return c
}

func runReport(c *cobra.Command, dir, out string) error {
	if err := checkRun(dir); err != nil {
		return err
	}
	given := c.Flags().Changed("out")
	switch ext := strings.ToLower(filepath.Ext(out)); {
	case !given:
		out = filepath.Join(dir, reportName)
	case isDir(out):
		return usagef("--out %s: it is a directory; it must be a file, such as %s", out, filepath.Join(out, reportName))
	case ext != ".html" && ext != ".htm":
		return usagef("--out %s: the name of the page must end in .html", out)
	}
	if err := checkFile("--out", out); err != nil {
		if given {
			return usage(err)
		}
		return fmt.Errorf("%w; --out names another place", err)
	}
	page, err := describePage(c.Context(), dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := htmlreport.Write(&b, page); err != nil {
		return err
	}
	if err := atomicfile.Write(out, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }); err != nil {
		return fmt.Errorf("--out %s: %w", out, err)
	}
	fmt.Fprintln(c.OutOrStdout(), out)
	return nil
}

// checkRun tells a run's directory from others.
func checkRun(dir string) error {
	switch run := checkpoints.RunOf(dir); {
	case isFile(filepath.Join(dir, checkpoints.ConfigName)), isFile(train.LogFile(dir)):
		return nil
	case !exists(dir):
		return usagef("%s: there is no such directory", dir)
	case !isDir(dir):
		return usagef("%s: it is not a directory; a run is one", dir)
	case run != "" && isFile(filepath.Join(run, checkpoints.ConfigName)):
		return usagef("%s: it is a checkpoint, and its run is %s", dir, run)
	}
	return usagef("%s: it is not a run, as it has neither %s nor %s", dir, checkpoints.ConfigName, filepath.Base(train.LogFile("")))
}

// pageOf gathers a page: what there is, and a sentence for what there is not.
type pageOf struct {
	htmlreport.Page
	dir     string
	cfg     *configs.Config // nil: it cannot be read
	lines   []train.LogLine
	state   *checkpoints.State // of the newest checkpoint; nil: there is none
	saved   string             // its directory
	classes []string           // names of its classes
}

func describePage(ctx context.Context, dir string) (htmlreport.Page, error) {
	p := &pageOf{dir: dir}
	p.configuration()
	p.log()
	if err := p.checkpoint(ctx); err != nil {
		return p.Page, err
	}
	p.progress()
	p.facts()
	if !p.Classifier {
		p.previews()
		p.evaluation()
		p.samplers()
	}
	p.goingOn()
	p.Made = fmt.Sprintf("Made by diffusion %s on %s. Paths are as seen from ", version(), time.Now().UTC().Format("2006-01-02 15:04 UTC"))
	if cwd, err := os.Getwd(); err == nil {
		p.Made += cwd + "."
	} else {
		p.Made += "the directory that it was made in."
	}
	return p.Page, nil
}

func (p *pageOf) miss(format string, args ...any) {
	p.Missing = append(p.Missing, fmt.Sprintf(format, args...))
}

func (p *pageOf) fact(label, format string, args ...any) {
	p.Facts = append(p.Facts, htmlreport.Fact{Label: label, Value: fmt.Sprintf(format, args...)})
}

// maxReportText bounds a text file that a page is made from.
const maxReportText = 1 << 22

func (p *pageOf) configuration() {
	file := filepath.Join(p.dir, checkpoints.ConfigName)
	if abs, err := filepath.Abs(p.dir); err == nil {
		p.Title = filepath.Base(abs)
	}
	text, err := filekind.ReadFile(file, maxReportText)
	if err != nil {
		p.miss("The configuration cannot be read: %v.", err)
		return
	}
	p.Config = string(text)
	if p.cfg, err = configs.Parse(text, file, nil); err != nil {
		p.cfg = nil
		p.miss("The configuration is not understood: %v.", err)
		return
	}
	p.Title, p.Classifier = p.cfg.Name, p.cfg.IsClassifier()
}

func (p *pageOf) log() {
	var err error
	if p.lines, err = train.ReadLog(train.LogFile(p.dir)); errors.Is(err, fs.ErrNotExist) {
		p.miss("There is no log of the training, and so there are no curves.")
	} else if err != nil {
		p.miss("The log cannot be read, and so there are no curves: %v.", err)
	} else if len(p.lines) == 0 {
		p.miss("The log is empty: no step is done, and so there are no curves.")
	}
	curve := func(name, unit string, log, smooth bool, value func(train.LogLine) float64) {
		c := htmlreport.Curve{Name: name, Unit: unit, Log: log, Smooth: smooth}
		for _, l := range p.lines {
			if v := value(l); !math.IsNaN(v) {
				c.Points = append(c.Points, htmlreport.Point{Step: l.Step, Value: v})
			}
		}
		p.Curves = append(p.Curves, c)
	}
	loss := "mean squared error"
	if p.Classifier {
		loss = "cross-entropy"
		percent := func(share *float64) float64 {
			if share == nil {
				return math.NaN() // not measured at this step
			}
			return 100 * *share
		}
		curve("Test accuracy", "% of the test images", false, false, func(l train.LogLine) float64 { return percent(l.TestAccuracy) })
		curve("Accuracy", "% of the batch", false, true, func(l train.LogLine) float64 { return percent(l.Accuracy) })
	}
	curve("Loss", loss, true, true, func(l train.LogLine) float64 { return l.Loss })
	curve("Gradient norm", "norm before clipping", true, true, func(l train.LogLine) float64 { return l.GradNorm })
	curve("Learning rate", "step size of AdamW", false, false, func(l train.LogLine) float64 { return l.LR })
	curve("Speed", "images a second", false, true, func(l train.LogLine) float64 { return l.ImagesPerSecond })
}

// checkpoint looks at the newest checkpoint that holds. The error is that of the context.
func (p *pageOf) checkpoint(ctx context.Context) error {
	m, err := checkpoints.Load(ctx, p.dir)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, checkpoints.ErrNone):
		p.miss("There is no checkpoint yet: there is nothing to sample from, and nothing to go on with.")
	case err != nil:
		p.miss("No checkpoint can be opened: %v.", err)
	default:
		defer m.Close()
		p.state, p.saved, p.classes = m.State, m.Dir, m.State.Data.Classes
		for _, s := range m.Skipped {
			p.miss("A newer checkpoint is damaged: %v.", s.Err)
		}
	}
	return nil
}

// steps are the last step that is known of, and the length of the run, 0 where that is not known.
func (p *pageOf) steps() (done, of int) {
	if n := len(p.lines); n > 0 {
		done = p.lines[n-1].Step
	}
	if p.state != nil {
		done, of = max(done, p.state.Step), p.state.Steps
	}
	if p.cfg != nil {
		of = p.cfg.Train.Steps
	}
	return done, of
}

func (p *pageOf) progress() {
	done, of := p.steps()
	newest := "there is no checkpoint"
	if p.state != nil {
		newest = fmt.Sprintf("the newest checkpoint is of step %s", counted(p.state.Step))
	}
	switch {
	case of == 0:
		p.Status = fmt.Sprintf("Step %s was reached, of a run whose length is not known; %s.", counted(done), newest)
	case done >= of && p.state != nil && p.state.Step >= of:
		p.Status = fmt.Sprintf("The run is complete: all %s steps are done.", counted(of))
		return
	default:
		p.Status = fmt.Sprintf("The run is not complete: step %s of %s was reached, and %s.", counted(done), counted(of), newest)
	}
	if of > done {
		p.Missing = slices.Insert(p.Missing, 0, fmt.Sprintf("The run is not complete: %s of %s steps are still to be done.", counted(of-done), counted(of)))
	}
}

func (p *pageOf) facts() {
	if n := len(p.lines); n > 0 {
		last := p.lines[n-1]
		recent := p.lines[n-min(n, 11):]
		loss := 0.0
		for _, l := range recent {
			loss += l.Loss / float64(len(recent))
		}
		p.fact("Loss at the end", "%.4f, the mean of %d logged steps", loss, len(recent))
		took := time.Duration(last.Seconds * float64(time.Second))
		p.fact("Training time", "%v", took.Round(time.Second/10))
		p.fact("Images seen", "%s", counted(last.Images))
		if last.Seconds > 0 {
			p.fact("Images a second", "%s on average", counted(int64(math.Round(float64(last.Images)/last.Seconds))))
		}
	}
	if c := p.cfg; c != nil {
		if layout, err := unet.Layout(c.Train.UNet(c.Model)); err == nil && !p.Classifier {
			p.fact("Model", "UNet of %s parameters, channels %v", counted(layout.Count()), c.Model.BlockOutChannels)
		}
		if p.Classifier {
			p.fact("Model", "classifier, channels %v, %d features", c.Classifier.Channels, c.Classifier.Features)
		}
		if !p.Classifier || c.Classifier.Noisy {
			p.fact("Noise", "%s schedule of %s timesteps, predicts %s", c.Scheduler.BetaSchedule, counted(c.Scheduler.NumTrainTimesteps), c.Scheduler.PredictionType)
		}
		p.fact("Batch", "%d images, learning rate %g (%s), EMA %g", c.Train.BatchSize, c.Train.LR, c.Train.LRSchedule, c.EMA.Decay)
		p.fact("Seed", "%d", c.Seed)
	}
	if s := p.state; s != nil {
		if t := s.Test; t != nil {
			p.fact("Test accuracy", "%.2f %% of %s images, after step %s", 100*t.Accuracy, counted(t.Images), counted(t.Step))
		}
		p.fact("Data", "%s: %s images of %dx%dx%d", s.Data.Name, counted(s.Data.Count), s.Data.Channels, s.Data.Height, s.Data.Width)
		if n := len(s.Data.Classes); n > 0 {
			p.fact("Classes", "%d: %s", n, someOf(s.Data.Classes, 20))
		}
		p.fact("Kernels", "%s", s.CPU)
		p.fact("Newest checkpoint", "step %s, written by diffusion %s", counted(s.Step), s.Program)
	}
}

// counted is a whole number for people.
func counted[T int | int64](n T) string { return htmlreport.Number(float64(n)) }

// someOf lists the first of some names.
func someOf(names []string, most int) string {
	list := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

const (
	maxReportPreviews = 12
	maxReportPictures = 8
	maxReportPicture  = 1 << 26 // bytes of a file
)

func (p *pageOf) previews() {
	all, err := train.Previews(p.dir)
	switch {
	case err != nil:
		p.miss("The previews cannot be listed: %v.", err)
	case len(all) == 0 && p.cfg != nil && p.cfg.Preview.Every == 0:
		p.PreviewNote = "There are none: preview.every is 0 in the configuration."
	case len(all) == 0:
		p.PreviewNote = "There are none yet."
	}
	if len(all) == 0 {
		p.miss("There are no previews.")
		return
	}
	shown := min(len(all), maxReportPreviews)
	for i := range shown {
		f := all[i*(len(all)-1)/max(1, shown-1)]
		data, err := filekind.ReadFile(f.Path, maxReportPicture)
		if err != nil {
			p.miss("The preview of step %d cannot be read: %v.", f.Step, err)
			continue
		}
		p.Previews = append(p.Previews, htmlreport.Picture{
			Data: data, Caption: "step " + counted(f.Step),
			Alt: fmt.Sprintf("Grid of images sampled from the moving average of the weights at step %s", counted(f.Step)),
		})
	}
	p.PreviewNote = "Each preview starts from the same noise."
	if s := describeText(p.Previews); s != "" {
		p.PreviewNote += " Sampled by " + s + "."
	}
	if shown < len(all) {
		p.PreviewNote += fmt.Sprintf(" %d of %d previews are shown.", shown, len(all))
	}
}

// describeText is the sampler that the last of some pictures names.
func describeText(list []htmlreport.Picture) string {
	if len(list) == 0 {
		return ""
	}
	texts, err := images.ReadText(bytes.NewReader(list[len(list)-1].Data))
	if err != nil {
		return ""
	}
	return textOf(texts, "sampler")
}

func textOf(texts []images.Text, key string) string {
	for _, t := range texts {
		if t.Key == key {
			return t.Value
		}
	}
	return ""
}

// samplers are the pictures in the run's directory of which sample says how it made them, those of several samplers
// first, and animations that are named samplers.
func (p *pageOf) samplers() {
	files, err := os.ReadDir(p.dir)
	if err != nil {
		p.miss("The run's directory cannot be listed: %v.", err)
	}
	type found struct {
		htmlreport.Picture
		several bool
	}
	var list []found
	for _, f := range files {
		ext := strings.ToLower(filepath.Ext(f.Name()))
		path := filepath.Join(p.dir, f.Name())
		animation := ext == ".gif" && strings.HasPrefix(f.Name(), "samplers")
		if !f.Type().IsRegular() || ext != ".png" && !animation {
			continue
		}
		data, err := filekind.ReadFile(path, maxReportPicture)
		if err != nil {
			continue
		}
		picture := htmlreport.Picture{Data: data, Caption: f.Name(), Alt: "Samples while they are drawn, " + f.Name()}
		names := ""
		if !animation {
			texts, err := images.ReadText(bytes.NewReader(data))
			if names = textOf(texts, "sampler"); err != nil || names == "" || !isPNG(data) {
				continue // the plot of the loss, or someone else's
			}
			picture.Alt = "Samples by " + strings.ReplaceAll(names, ",", ", ")
			picture.Caption = f.Name() + ": " + describeSamples(names, texts)
		}
		list = append(list, found{picture, animation || strings.Contains(names, ",")})
	}
	slices.SortStableFunc(list, func(a, b found) int {
		return cmp.Compare(fmt.Sprint(b.several), fmt.Sprint(a.several))
	})
	for _, f := range list[:min(len(list), maxReportPictures)] {
		p.Samplers = append(p.Samplers, f.Picture)
	}
	if len(list) == 0 {
		p.NoSamplers = "There is no picture of samples in the run's directory."
		if p.state != nil {
			p.NoSamplers += " A command below makes one."
		}
		p.miss("There is no picture of samplers side by side.")
	}
}

func isPNG(data []byte) bool {
	_, err := png.DecodeConfig(bytes.NewReader(data))
	return err == nil
}

// describeSamples says how samples were made, as far as it is known: "ddpm, 1000 steps; ddim, 50 steps; seed 3".
func describeSamples(names string, texts []images.Text) string {
	var parts []string
	for name := range strings.SplitSeq(names, ",") {
		if steps := textOf(texts, "steps "+name); steps != "" {
			name += ", " + steps + " steps"
		}
		parts = append(parts, name)
	}
	for _, key := range []string{"training step", "label", "guidance", "seed"} {
		if v := textOf(texts, key); v != "" {
			parts = append(parts, key+" "+v)
		}
	}
	return strings.Join(parts, "; ")
}

// goingOn lists what can be done next.
func (p *pageOf) goingOn() {
	add := func(purpose, format string, args ...any) {
		p.Commands = append(p.Commands, htmlreport.Command{Purpose: purpose, Line: "diffusion " + fmt.Sprintf(format, args...)})
	}
	run := quote(p.dir)
	done, of := p.steps()
	if p.state == nil || p.state.Step < of {
		add("Train to the end, from the newest checkpoint:", "train --out %s --resume auto", run)
	} else {
		add("Train for twice as long:", "train --out %s --resume auto --steps %d", run, 2*max(done, of))
	}
	if p.state != nil && !p.Classifier {
		label := ""
		if p.cfg != nil && p.cfg.Model.NumClassEmbeds > 0 {
			label = " --label all"
		}
		add("Draw samples:", "sample --model %s --sampler ddim%s", run, label)
		add("Compare samplers side by side, for this page:", "sample --model %s --compare ddpm,ddim --n %s%s --out %s", run,
			strconv.Itoa(max(8, min(20, len(p.classes)))), label, quote(filepath.Join(p.dir, "samplers.png")))
		p.commandOfEval(add, run)
		add("Take the model to Python's diffusers:", "export --model %s --out %s", run, quote(filepath.Base(p.Title)+"-pipeline"))
	}
	add("Make this page again:", "report %s", run)
	if isFile(train.EventFile(p.dir)) {
		p.Commands = append(p.Commands, htmlreport.Command{Purpose: "Follow the run in TensorBoard:", Line: "tensorboard --logdir " + run})
	}
}

// commandOfEval adds the command that evaluates the run's model. Only for some images the program has a classifier of its own.
func (p *pageOf) commandOfEval(add func(purpose, format string, args ...any), run string) {
	if d := p.state.Data; featurenet.HasEmbedded(d.Name) && d.Channels == 1 && d.Height == 28 && d.Width == 28 {
		add("Compare samples with test images, in figures for this page:", "eval --model %s --sampler ddim", run)
		return
	}
	add("Compare samples with test images, in figures for this page, by the run of a classifier of such images, CLASSIFIER:",
		"eval --model %s --sampler ddim --classifier CLASSIFIER", run)
}
