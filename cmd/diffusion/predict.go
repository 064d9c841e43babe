package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"unstir/internal/npy"
)

type predictFlags struct {
	model, x, t, out, label string
	ema                     bool
	threads                 int
}

func newPredict() *cobra.Command {
	var f predictFlags
	c := &cobra.Command{
		Use:     "predict --model DIR --x FILE.npy --t T --out FILE.npy",
		Short:   "Run the model once",
		Long:    "Run the model on images x_t [N, C, H, W] from a .npy file, at one timestep or at one each, counted from 0, and\nwrite what it predicts.",
		Example: "  diffusion predict --model runs/mnist --x xt.npy --t 500 --out eps.npy",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runPredict(c, f) },
	}
	p := c.Flags()
	p.StringVar(&f.model, "model", "", "run, checkpoint or pipeline `DIR`ectory (default: the newest run in runs/)")
	p.BoolVar(&f.ema, "ema", true, "use the moving average of the weights")
	p.StringVar(&f.x, "x", "", "images: a .npy `FILE` of float32 [N, C, H, W]")
	p.StringVar(&f.t, "t", "", "timestep, or one for each image: 10 or 10,500,999")
	p.StringVar(&f.out, "out", "", "the prediction: a .npy `FILE`")
	p.StringVar(&f.label, "label", "", "classes for a class-conditional model, repeated over the images")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	for _, name := range []string{"x", "t", "out"} {
		_ = c.MarkFlagRequired(name) // fails only for a flag that does not exist
	}
	return c
}

func runPredict(c *cobra.Command, f predictFlags) error {
	if err := setThreads(f.threads); err != nil {
		return err
	}
	if !strings.HasSuffix(f.out, ".npy") {
		return usagef("--out %s: it must end in .npy", f.out)
	}
	p, err := openModel(c.Context(), f.model, f.ema)
	if err != nil {
		return err
	}
	ch, h, w := p.Shape()
	x, err := npy.ReadFile[float32](f.x)
	if err == nil {
		err = x.CheckShape(-1, ch, h, w)
	}
	if err != nil {
		return fmt.Errorf("--x: %w", err)
	}
	t, err := timesteps(f.t, x.Shape[0], p.Schedule.T)
	if err != nil {
		return err
	}
	labels, err := labelsFor(p, f.label, x.Shape[0])
	if err != nil {
		return err
	}
	out, err := p.Predict(c.Context(), x.Data, t, labels)
	if err != nil {
		return err
	}
	shape := []int{x.Shape[0], p.Model().Config.OutChannels, h, w}
	if err := npy.WriteFile(f.out, npy.Array[float32]{Shape: shape, Data: out}); err != nil {
		return err
	}
	fmt.Println(f.out)
	return nil
}

// timesteps reads --t: one timestep for all n images, or n.
func timesteps(list string, n, T int) ([]int, error) {
	words := strings.Split(list, ",")
	if len(words) != 1 && len(words) != n {
		return nil, usagef("--t has %d timesteps for %d images; give one, or one each", len(words), n)
	}
	t := make([]int, n)
	for i := range t {
		v, err := strconv.Atoi(strings.TrimSpace(words[i%len(words)]))
		if err != nil || v < 0 || v >= T {
			return nil, usagef("--t %q: a timestep is a whole number from 0 to %d", words[i%len(words)], T-1)
		}
		t[i] = v
	}
	return t, nil
}
