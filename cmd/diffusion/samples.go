package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/npy"
	"unstir/internal/samples"
	"unstir/nn/kernel"
)

// sampleDir makes the images that are missing in a directory of samples, a file each, written as soon as its batch is done.
// The same command goes on where one was cut short, and one for more images extends the set.
func (f sampleFlags) sampleDir(c *cobra.Command, p *unstir.Pipeline, o unstir.SampleOptions, path string) (err error) {
	want, err := f.manifest(p, o)
	if err != nil {
		return err
	}
	dir, err := samples.Open(path, want)
	if err == nil && len(dir.Missing()) > 0 {
		if err := p.Prepare(selectImages(dir.Missing(), o)); err != nil { // before anything is written
			return err
		}
		err = dir.Begin()
	}
	if err != nil {
		err = fmt.Errorf("--out %s: %w", path, err)
		var other *samples.ConflictError
		if errors.As(err, &other) {
			return usage(err)
		}
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for _, note := range dir.Notes {
		fmt.Fprintf(c.ErrOrStderr(), "--out %s: %s\n", path, note)
	}
	if err := fillDir(c, p, o, dir); err != nil {
		return fmt.Errorf("--out %s: %w", path, err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), path)
	return err
}

// fillDir makes the images of o that are missing in the directory.
func fillDir(c *cobra.Command, p *unstir.Pipeline, o unstir.SampleOptions, dir *samples.Dir) error {
	total := o.N
	done := total - len(dir.Missing())
	if done == total {
		fmt.Fprintf(c.ErrOrStderr(), "nothing to do: all %d images are there\n", total)
		return nil
	}
	if done > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "%d of %d images are there\n", done, total)
	}
	ctx := c.Context()
	o = selectImages(dir.Missing(), o)
	const parts = 1000 // of the bar, for each image
	bar := newMeter(c.ErrOrStderr(), o.Sampler, parts*done, parts*total)
	o.OnStep = func(st unstir.SampleStep) error {
		first := done + st.First
		at := parts*first + parts*st.N*(st.Index+1)/st.Total
		bar.set(min(at, parts*total-1), fmt.Sprintf("%d of %d images written, t = %d", first, total, st.T))
		return nil
	}
	written := done
	var failed error // to write
	err := p.SampleEach(ctx, o, func(i int, s *unstir.Samples) error {
		m, err := s.Image(0)
		if err == nil {
			err = dir.Write(i, m)
		}
		if failed = err; err == nil {
			written++
		}
		return err
	})
	if err == nil {
		bar.set(parts*total, fmt.Sprintf("%d of %d images written", total, total))
	}
	bar.done()
	switch {
	case err == nil:
		return dir.Finish()
	case failed != nil:
		err = failed
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	default: // which the same command would meet again
		return fmt.Errorf("%w; %d of %d images are complete", err, written, total)
	}
	return fmt.Errorf("%w; %d of %d images are complete, and the same command goes on from there", err, written, total)
}

// selectImages returns the options for some of the images that o is for.
func selectImages(numbers []int, o unstir.SampleOptions) unstir.SampleOptions {
	if len(numbers) == o.N {
		return o
	}
	all := o
	o.N, o.Numbers, o.Labels, o.XT = len(numbers), numbers, nil, nil
	for _, i := range numbers {
		if all.Labels != nil {
			o.Labels = append(o.Labels, all.Labels[i])
		}
		if all.XT != nil {
			dim := len(all.XT) / all.N
			o.XT = append(o.XT, all.XT[i*dim:(i+1)*dim]...)
		}
	}
	return o
}

// manifest says how the images are made: with every setting that changes one of their pixels, and none that does not.
func (f sampleFlags) manifest(p *unstir.Pipeline, o unstir.SampleOptions) (samples.Manifest, error) {
	settings, err := settingsOf(p, o)
	if err != nil {
		return samples.Manifest{}, err
	}
	twice := slices.Concat(f.classes, f.classes)
	settings.Labels = twice[:period(twice)] // the shortest list that, repeated, gives each image its own label
	m := samples.Manifest{N: o.N, Settings: settings, Origin: samples.Origin{Kernels: kernels()}}
	for _, t := range f.provenance(p, []string{o.Sampler}, o) {
		switch t[0] {
		case "Software":
			m.Origin.Program = t[1]
			continue
		case "model":
			m.Origin.Model = t[1]
		case "weights":
			m.Origin.Weights = t[1]
		}
		m.Texts = append(m.Texts, t)
	}
	m.Texts = append(m.Texts, [2]string{"model SHA-256", settings.Model})
	return m, nil
}

// settingsOf resolves the options, but for the labels.
func settingsOf(p *unstir.Pipeline, o unstir.SampleOptions) (samples.Settings, error) {
	sampler, err := p.NewSampler(o)
	if err != nil {
		return samples.Settings{}, usage(err)
	}
	model, err := p.Hash()
	if err != nil {
		return samples.Settings{}, err
	}
	ch, h, w := p.Shape()
	if o.Guidance != nil {
		o.Settings = o.Guidance.Complete(o.Sampler, o.Settings)
	}
	r := p.Schedule.Resolve(o.Sampler, o.Settings)
	s := samples.Settings{
		Model: model, Channels: ch, Rows: h, Columns: w, TrainTimesteps: p.Schedule.T,
		Sampler: o.Sampler, Steps: p.Steps(o), Spacing: string(r.Spacing), Pairing: string(r.Pairing), Timesteps: sampler.Timesteps(),
		RederiveEps: r.RederiveEps, Variance: r.Variance.String(), Clip: string(r.Clip), Refine: r.Refine,
		FinalSigmaMin: r.FinalSigmaMin, Seed: o.Seed, StepSeed: o.Seed,
	}
	if info, _ := diffusion.Find(o.Sampler); info.Eta {
		if s.Eta = strconv.FormatFloat(r.Eta, 'g', -1, 64); r.SigmaHat {
			s.Eta = "hat"
		}
	}
	if r.LambdaMin != nil {
		s.LambdaMin = strconv.FormatFloat(*r.LambdaMin, 'g', -1, 64)
	}
	s.Guidance, s.GuidanceRescale, s.GuidanceInterval, s.NullClass = guidanceWords(p, o.Guidance)
	if o.StepSeed != nil {
		s.StepSeed = *o.StepSeed
	}
	if o.XT != nil {
		if s.XT, err = hashOf(o.XT, ch, h, w); err != nil {
			return s, err
		}
	}
	if o.Edit != nil {
		s.Strength = strconv.FormatFloat(o.Edit.Strength, 'g', -1, 64)
		s.Given, err = hashOf(o.Edit.Images, ch, h, w)
	}
	if r, ok := sampler.(*diffusion.RePaint); ok {
		s.Mask = hashOfMask(o.Inpaint.Mask)
		s.JumpLength, s.Resample = r.Jumps()
		s.Given, err = hashOf(o.Inpaint.Images, ch, h, w)
	}
	return s, err
}

// hashOf is the SHA-256 of images as the bytes of an .npy file.
func hashOf(x []float32, ch, h, w int) (string, error) {
	hash := sha256.New()
	err := npy.Write(hash, npy.Array[float32]{Shape: []int{len(x) / (ch * h * w), ch, h, w}, Data: x})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// kernels names what decides the last bits of an image: AVX2 and AVX-512 give the same.
func kernels() string {
	name := kernel.ThisCPU().Level.String()
	if kernel.ThisCPU().Level != kernel.Generic {
		name = kernel.AVX2.String()
	}
	if kernel.ThisCPU().Direct {
		name += ", direct convolutions"
	}
	return name
}

// checkChannels refuses images that cannot be shown, before they are made.
func (o *output) checkChannels(p *unstir.Pipeline) error {
	if ch, _, _ := p.Shape(); o.kind != ".npy" && ch != 1 && ch != 3 {
		return usagef("--out %s: the model's images have %d channels, and pictures have 1 (gray) or 3 (RGB); name a .npy file", o.path, ch)
	}
	return nil
}
