package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"unstir"
)

// demoUsage describes --demo.
const demoUsage = "use the model that is part of the program, which draws digits: no training, no data, no network"

// What --demo draws unless flags say otherwise: four digits of each class, in about a second. The noise of eta = 1 corrects
// what a step has got wrong: more of the digits are read as their label.
const (
	demoSampler = "ddim"
	demoSteps   = 25
	demoEta     = "1"
	demoImages  = 40
)

// openDemo opens the model that is part of the program, and says so.
func openDemo(c *cobra.Command) (*unstir.Pipeline, error) {
	p, err := unstir.Demo()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.ErrOrStderr(), "model %s, which is part of the program\n", p.Source.Dir)
	return p, nil
}

// demoDefaults sets the flags that are not given to what --demo draws, n images. A walk that begins with an image, or with its
// encoding, is left without noise.
func (f *sampleFlags) demoDefaults(c *cobra.Command, n int) {
	if !f.demo {
		return
	}
	given := c.Flags().Changed
	if !given("sampler") && f.compare == "" {
		f.sampler = demoSampler
	}
	if f.sampler == demoSampler && !given("eta") && f.noise == "" && !f.init.given() && !f.fill.on {
		f.eta = demoEta
	}
	if !given("steps") {
		f.steps = demoSteps
	}
	if !given("n") {
		f.n = n
	}
}
