package diffusion

import "context"

// Draw is a number of images to sample together, of Dim numbers each: image i of
// a seed is always the same one.
type Draw struct {
	N, Dim   int
	First    int       // number of the first image
	Numbers  []int     // [N] numbers of the images, where they are not First, First+1, ...
	XT       []float32 // [N, Dim] to start from; nil: the x_T of Seed
	Given    []float32 // [N, Dim] images in [-1, 1] for SDEdit and RePaint
	Seed     uint64    // of x_T
	StepSeed uint64    // of the noise that the steps draw
	Inverts  bool      // the sampler makes an x_T, which is not clamped
	Observe  func(Step) error
}

// Sample makes the images [N, Dim], in [-1, 1]: what the sampler leaves beyond is
// clamped, as diffusers' pipelines do. It stops when ctx is done.
func (d Draw) Sample(ctx context.Context, s Sampler, m Model) ([]float32, error) {
	b := &Batch{N: d.N, Dim: d.Dim, First: d.First, Numbers: d.Numbers, X: make([]float64, d.N*d.Dim)}
	for j, v := range d.XT {
		b.X[j] = float64(v)
	}
	for _, v := range d.Given {
		b.Given = append(b.Given, float64(v))
	}
	for i := 0; d.XT == nil && i < d.N; i++ {
		InitialNoise(b.X[i*d.Dim:(i+1)*d.Dim], d.Seed, b.number(i))
	}
	if err := s.Sample(ctx, m, b, NormalNoise(d.StepSeed), d.Observe); err != nil {
		return nil, err
	}
	images := make([]float32, len(b.X))
	for j, v := range b.X {
		if !d.Inverts {
			v = max(-1, min(1, v))
		}
		images[j] = float32(v)
	}
	return images, nil
}
