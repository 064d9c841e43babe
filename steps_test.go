package unstir

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"unstir/diffusion"
)

// The library says what a number of steps leaves in the images, and its encodings pair timesteps as its samples do.
func TestStepsThatDoNotTileTheSchedule(t *testing.T) {
	p := trainedPipeline(t)
	o := SampleOptions{Sampler: "ddim", Steps: p.Schedule.T * 3 / 5, Settings: diffusion.Options{Spacing: diffusion.Trailing}}
	if notes := p.Notes(o); len(notes) != 1 || !strings.Contains(fmt.Sprint(notes[0]), "the images keep noise; take ") {
		t.Errorf("%d steps of %d: %v", o.Steps, p.Schedule.T, notes)
	}
	o.Settings.Pairing = diffusion.PairNext
	if notes := p.Notes(o); len(notes) != 0 {
		t.Errorf("with pairing next: %v", notes)
	}
	if notes := p.Notes(SampleOptions{Sampler: "ddim", Steps: p.Schedule.T + 1}); len(notes) != 0 {
		t.Errorf("of steps that are refused: %v", notes)
	}

	x, labels := trainImages(t, 4)
	const steps = 60
	e, err := p.Encode(context.Background(), x, EncodeOptions{Steps: steps, Labels: labels, Pairing: diffusion.PairNext})
	if err != nil {
		t.Fatal(err)
	}
	back := func(pairing diffusion.Pairing) float64 {
		rms, _ := rmsOf(mustSample(t, p, SampleOptions{
			N: len(labels), Sampler: "ddim", Steps: steps, XT: e.Data, Labels: labels,
			Settings: diffusion.Options{Clip: diffusion.ClipNone, Pairing: pairing},
		}).Data, x)
		return rms
	}
	if next, stride := back(diffusion.PairNext), back(diffusion.PairStride); !(next < 2/255.0 && next < stride) {
		t.Errorf("encoded with pairing next, the images come back off by %.2g with it and by %.2g without", next, stride)
	}
}

// A schedule of any length has a number of steps that fits each sampler.
func TestDefaultStepsFitAnySchedule(t *testing.T) {
	for _, T := range []int{2, 3, 7, 10, 50, 51, 1000} {
		for _, offset := range []int{0, 1} {
			c := diffusion.Defaults()
			c.NumTrainTimesteps, c.StepsOffset, c.BetaSchedule = T, offset, "squaredcos_cap_v2"
			s, err := diffusion.NewSchedule(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range diffusion.Names(nil) {
				if T == 2 && offset > 0 && strings.HasPrefix(name, "dpm++") { // no step fits its list
					continue
				}
				if _, err := diffusion.New(name, s, diffusion.Options{Steps: s.DefaultSteps(name)}); err != nil {
					t.Errorf("T = %d, steps_offset %d, %s: %v", T, offset, name, err)
				}
			}
		}
	}
}
