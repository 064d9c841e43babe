package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/checkpoints"
)

// withoutPath is an error of the file system without the path, which the message has already.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// labelHelp begins the help of --label.
const labelHelp = "`CLASSES` of a class-conditional model, by name, or by number unless the names are numbers: one, all, or a list such as cat,dog or \"goldfish, Carassius auratus\",3"

// labelsFor are the classes that --label asks for, repeated over n images; nil for a model without classes.
func labelsFor(c *cobra.Command, p *unstir.Pipeline, list string, n int) ([]int, error) {
	set, err := parseLabels(c, p, list)
	return repeated(set, n), err
}

// parseLabels are the classes that --label asks for; nil for a model without classes.
func parseLabels(c *cobra.Command, p *unstir.Pipeline, list string) ([]int, error) {
	conditional, given := p.NumClasses() > 0, c.Flags().Changed("label")
	switch {
	case !conditional && list == "":
		return nil, nil
	case !conditional:
		return nil, usagef("--label %s: the model is not class-conditional; leave it out", list)
	case !given:
		return nil, usagef("--label is missing: the model is class-conditional, with classes %s", p.ClassList(400))
	}
	set, err := p.ParseLabels(list)
	return set, labelUsage(err)
}

// repeated are n labels, those of a set in turn; nil for none.
func repeated(set []int, n int) []int {
	if len(set) == 0 {
		return nil
	}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = set[i%len(set)]
	}
	return labels
}

// labelUsage is what the library says of a label, in the words of a command line.
func labelUsage(err error) error {
	var l *unstir.LabelError
	if errors.As(err, &l) {
		return usagef("--label %q: %s", l.Label, l.Reason)
	}
	return err
}

// runsDir is where runs go unless --out says otherwise.
const runsDir = "runs"

// modelFlags say which model a command is about.
type modelFlags struct {
	model     string
	ema, demo bool
}

func (f *modelFlags) addModelFlags(p *pflag.FlagSet) {
	p.StringVar(&f.model, "model", "", "`DIR` of a run, a checkpoint or a pipeline (default: the newest run in runs)")
	p.BoolVar(&f.demo, "demo", false, demoUsage)
	p.BoolVar(&f.ema, "ema", true, "use the moving average of the weights; --ema=false takes the weights as trained")
}

// open opens the model that the flags name, or the newest run's, and says which it is.
func (f modelFlags) open(c *cobra.Command) (*unstir.Pipeline, error) {
	switch {
	case f.demo && c.Flags().Changed("model"):
		return nil, usagef("--demo is a model of its own: leave --model out")
	case f.demo && !f.ema:
		return nil, usagef("--ema=false: the weights of --demo as trained are not part of the program, only their moving average is")
	case f.demo:
		return openDemo(c)
	}
	return openModel(c, f.model, f.ema)
}

// openModel opens the model named, or the newest run's, and says which it is.
func openModel(c *cobra.Command, path string, ema bool) (*unstir.Pipeline, error) {
	if path == "" {
		run, err := checkpoints.NewestRun(runsDir)
		if err != nil {
			return nil, fmt.Errorf("no model is named, and the newest run cannot be taken: %w; --demo needs none", err)
		}
		path = run
	}
	var options []unstir.OpenOption
	if !ema {
		options = append(options, unstir.WithRawWeights())
	}
	p, err := unstir.Open(c.Context(), path, options...)
	if errors.Is(err, fs.ErrNotExist) && !isDir(path) && !isFile(path) {
		return nil, fmt.Errorf("there is no directory %s; a model is the directory of a run, of a checkpoint or of a diffusers pipeline", path)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range p.Source.Skipped {
		fmt.Fprintf(c.ErrOrStderr(), "skipped a damaged checkpoint: %v\n", s.Err)
	}
	fmt.Fprintf(c.ErrOrStderr(), "model %s\n", p.Source.Dir)
	return p, nil
}
