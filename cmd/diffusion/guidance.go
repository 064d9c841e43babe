package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"unstir"
	"unstir/diffusion"
)

// guidanceFlags are those of classifier-free guidance.
type guidanceFlags struct {
	weight, rescale, interval string
	null                      int
}

// guidanceNames are the flags' names.
var guidanceNames = []string{"guidance", "guidance-rescale", "guidance-interval", "null-class"}

func (g *guidanceFlags) add(p *pflag.FlagSet) {
	p.StringVar(&g.weight, "guidance", "", "classifier-free guidance of this `WEIGHT`: 1 is none (the default), more is more like the class, 0 is without the class; for models trained with train.label_dropout")
	p.StringVar(&g.rescale, "guidance-rescale", "", "with --guidance: the `SHARE`, 0 to 1, in which what it does to the contrast is undone (default 0)")
	p.StringVar(&g.interval, "guidance-interval", "", "with --guidance: the timesteps where it works, `LO,HI`, such as 100,800 (default all)")
	p.IntVar(&g.null, "null-class", 0, "with --guidance, for a pipeline that was not trained here: the `INDEX` of the class that stands for none")
}

// parse is what the flags say, nil where there is no guidance.
func (g guidanceFlags) parse(c *cobra.Command) (*diffusion.Guidance, error) {
	if !c.Flags().Changed("guidance") {
		if flag := firstGiven(c, guidanceNames...); flag != "" {
			return nil, usagef("--%s has no meaning without --guidance", flag)
		}
		return nil, nil
	}
	guidance, err := diffusion.ParseGuidance(g.weight, g.rescale, g.interval)
	if err != nil {
		return nil, guidanceUsage(err)
	}
	return &guidance, nil
}

// guide is the pipeline with the null class that the flags name, which guidance must fit.
func (g guidanceFlags) guide(c *cobra.Command, p *unstir.Pipeline, guidance *diffusion.Guidance) (*unstir.Pipeline, error) {
	if c.Flags().Changed("null-class") {
		var err error
		if p, err = p.WithNullClass(g.null); err != nil {
			return nil, guidanceUsage(err)
		}
	}
	err := guidanceUsage(p.CheckGuidance(guidance))
	if _, ok := p.NullClass(); err != nil && !ok && p.Source.State == nil && p.NumClasses() > 0 {
		err = usagef("%w; --null-class INDEX names it, and one that has none must be trained with label dropout, as train.label_dropout does", err)
	}
	return p, err
}

// guidanceUsage is what the library says of guidance, in the words of a command line.
func guidanceUsage(err error) error {
	var g *diffusion.GuidanceError
	if errors.As(err, &g) {
		return usagef("--%w", g)
	}
	return err
}

// guidanceWords are the settings of guidance as samples.json and pictures have them: all are empty where it changes nothing, and
// each where it is left to its default or follows from the model.
func guidanceWords(p *unstir.Pipeline, g *diffusion.Guidance) (weight, rescale, interval, null string) {
	if g == nil || g.Idle() {
		return "", "", "", ""
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if g.Rescale != 0 {
		rescale = number(g.Rescale)
	}
	if label, ok := p.NullClass(); ok && p.Source.State == nil {
		null = strconv.Itoa(label)
	}
	return number(g.Weight), rescale, g.Interval.String(), null
}

// guidanceTexts are guidanceWords with their names.
func guidanceTexts(p *unstir.Pipeline, g *diffusion.Guidance) [][2]string {
	weight, rescale, interval, null := guidanceWords(p, g)
	return [][2]string{{"guidance", weight}, {"guidance rescale", rescale}, {"guidance interval", interval}, {"null class", null}}
}
