package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"unstir"
)

// provenance is written into PNG files: what made them.
func (f sampleFlags) provenance(p *unstir.Pipeline, samplers []string, o unstir.SampleOptions) [][2]string {
	weights := "ema"
	switch {
	case p.Source.State == nil:
		weights = "as stored"
	case p.Source.Raw:
		weights = "raw"
	}
	_, h, w := p.Shape()
	kv := [][2]string{
		{"Software", "unstir " + version()},
		{"model", filepath.ToSlash(p.Source.Dir)},
		{"weights", weights},
		{"sampler", strings.Join(samplers, ",")},
		{"size", fmt.Sprintf("%dx%d", h, w)},
	}
	for _, s := range samplers {
		kv = append(kv, [2]string{"steps " + s, strconv.Itoa(p.Steps(optionsFor(s, o)))})
	}
	if st := p.Source.State; st != nil {
		kv = append(kv, [2]string{"training step", strconv.Itoa(st.Step)}, [2]string{"data", st.Data.Name})
	}
	if f.noise != "" {
		kv = append(kv, [2]string{"x_T", filepath.Base(f.noise)})
	}
	if f.init.given() {
		kv = append(kv, [2]string{"init", filepath.Base(f.init.path)}, [2]string{"strength", f.init.strength})
	}
	if f.fill.on {
		s, err := p.NewSampler(optionsFor(samplers[0], o))
		if err == nil {
			kv = append(kv, f.fill.texts(s)...)
		}
	}
	kv = append(kv, [2]string{"seed", strconv.FormatUint(f.seed, 10)})
	if o.StepSeed != nil {
		kv = append(kv, [2]string{"step seed", strconv.FormatUint(*o.StepSeed, 10)})
	}
	given := [][2]string{{"eta", f.eta}, {"variance", f.variance}, {"clip", f.clip}, {"spacing", f.spacing}, {"pairing", f.pairing}, {"label", f.label}}
	for _, s := range append(given, guidanceTexts(p, o.Guidance)...) {
		if s[1] != "" {
			kv = append(kv, s)
		}
	}
	if f.rederive {
		kv = append(kv, [2]string{"rederive eps", "true"})
	}
	for i := range kv { // a PNG's texts have to be UTF-8, and a path need not be
		kv[i][1] = strings.ToValidUTF8(kv[i][1], "\uFFFD")
	}
	return kv
}
