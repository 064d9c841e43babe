package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"unstir/internal/npy"
)

type predictFlags struct {
	modelFlags
	x, t, out, label string
	threads          int
}

func newPredict() *cobra.Command {
	var f predictFlags
	c := &cobra.Command{
		Use:     "predict --model DIR --x FILE.npy --t T --out FILE.npy",
		Short:   "Run the model once",
		Long:    "Run the model on images x_t [N, C, H, W] from a .npy file, of any size that the model takes, at one timestep or at\none each, counted from 0, and write what it predicts.",
		Example: "  diffusion predict --model runs/mnist --x xt.npy --t 500 --out eps.npy",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runPredict(c, f) },
	}
	p := c.Flags()
	f.addModelFlags(p)
	p.StringVar(&f.x, "x", "", "images: a .npy `FILE` of float32 [N, C, H, W]")
	p.StringVar(&f.t, "t", "", "`TIMESTEP`, or one for each image: 10 or 10,500,999")
	p.StringVar(&f.out, "out", "", "the prediction: a .npy `FILE`")
	p.StringVar(&f.label, "label", "", labelHelp+"; repeated over the images")
	p.IntVar(&f.threads, "threads", 0, "threads; 0: as many as the system allows")
	return c
}

func runPredict(c *cobra.Command, f predictFlags) error {
	if err := setThreads(f.threads); err != nil {
		return err
	}
	for _, need := range []struct{ flag, value, want string }{
		{"x", f.x, "a .npy file of images"}, {"t", f.t, "a timestep, or one for each image"}, {"out", f.out, "a .npy file to write"},
	} {
		if need.value == "" {
			return usagef("--%s is missing: %s", need.flag, need.want)
		}
	}
	if !strings.EqualFold(filepath.Ext(f.out), ".npy") {
		return usagef("--out %s: the name must end in .npy", f.out)
	}
	if err := checkFile("--out", f.out); err != nil {
		return usage(err)
	}
	p, err := f.open(c)
	if err != nil {
		return err
	}
	x, p, err := readSized("--x", f.x, p)
	if err != nil {
		return err
	}
	t, err := timesteps(f.t, x.Shape[0], p.Schedule.T)
	if err != nil {
		return err
	}
	labels, err := labelsFor(c, p, f.label, x.Shape[0])
	if err != nil {
		return err
	}
	out, err := p.Predict(c.Context(), x.Data, t, labels)
	if err != nil {
		return err
	}
	_, h, w := p.Shape()
	shape := []int{x.Shape[0], p.Model().Config.OutChannels, h, w}
	if err := npy.WriteFile(f.out, npy.Array[float32]{Shape: shape, Data: out}); err != nil {
		return fmt.Errorf("--out %s: %w", f.out, err)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
	return err
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
			return nil, usagef("--t %.60q: a timestep is a whole number from 0 to %d", words[i%len(words)], T-1)
		}
		t[i] = v
	}
	return t, nil
}
