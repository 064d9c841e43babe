package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"unstir/internal/hashtest"
	"unstir/nn/kernel"
	"unstir/unet"
)

// The outputs and gradients of the compared models have the bits that AVX2 gave when the file was made, at both levels of
// assembly.
func TestHashes(t *testing.T) {
	if kernel.ThisCPU().Direct {
		t.Skip("UNSTIR_CONV=direct computes other bits")
	}
	defer func(old kernel.Level) {
		if err := kernel.SetLevel(old); err != nil {
			t.Fatal(err)
		}
	}(kernel.ThisCPU().Level)
	for _, level := range []kernel.Level{kernel.AVX2, kernel.AVX512} {
		t.Run(level.String(), func(t *testing.T) {
			if err := kernel.SetLevel(level); err != nil {
				t.Skipf("SKIP: no %v: %v", level, err)
			}
			file := hashtest.Open(t, "hashes.txt")
			for _, name := range []string{"ddpm-cifar10", "mnist", "rgb32"} {
				hashModel(t, file, name)
			}
			file.Close(t)
		})
	}
}

func hashModel(t *testing.T, file *hashtest.File, name string) {
	config := readTOML(t, name)
	info := infos[config.Data.Dataset]
	m, err := unet.New(config.Model, 3)
	if err != nil {
		t.Fatal(err)
	}
	flat := m.Weights()
	r := rand.New(rand.NewPCG(4, 5))
	for i := range flat { // layers that begin with zeros would hide others
		if flat[i] == 0 {
			flat[i] = (2*r.Float32() - 1) / 16
		}
	}
	if m, err = unet.FromFlat(config.Model, m.Params, flat); err != nil {
		t.Fatal(err)
	}
	const images = 2
	size := info.Channels * info.Height * info.Width
	x, target := make([]float32, images*size), make([]float32, images*size)
	for i := range x {
		x[i], target[i] = 2*r.Float32()-1, 2*r.Float32()-1
	}
	steps := []int{10, 700}
	p, err := unet.NewPredictor(m, images, info.Height, info.Width)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(x))
	if err := p.Predict(context.Background(), out, x, steps); err != nil {
		t.Fatal(err)
	}
	file.Check(t, name+", output", out)
	d, err := unet.NewGradient(config.Model, m.Params, slices.Clone(flat), unet.GradientOptions{Slice: images, H: info.Height, W: info.Width, NoDropout: true})
	if err != nil {
		t.Fatal(err)
	}
	loss, err := d.Run(context.Background(), unet.Example{X: x, T: steps, Target: target, Weight: []float64{1, 0.5}}, make([]float64, images))
	if err != nil {
		t.Fatal(err)
	}
	file.Check(t, name+", gradient", []float32{float32(loss)}, d.Grad())
}
