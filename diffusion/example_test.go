package diffusion_test

import (
	"context"
	"fmt"
	"math"

	"unstir/diffusion"
)

// oneImage is the exact model of a data set that holds a single image: it
// knows x_0, so the noise in x_t is what is left.
type oneImage struct {
	schedule *diffusion.Schedule
	x0       []float64
}

func (m oneImage) Predict(_ context.Context, eps, x []float64, t []int) error {
	for j, v := range x {
		i, k := j/len(m.x0), j%len(m.x0)
		a := m.schedule.AlphaBar[t[i]]
		eps[j] = (v - math.Sqrt(a)*m.x0[k]) / math.Sqrt(1-a)
	}
	return nil
}

// Two samples from ten steps of DDIM.
func ExampleNew() {
	schedule, err := diffusion.NewSchedule(diffusion.Defaults())
	if err != nil {
		fmt.Println(err)
		return
	}
	sampler, err := diffusion.New("ddim", schedule, diffusion.Options{Steps: 10, Spacing: diffusion.Trailing})
	if err != nil {
		fmt.Println(err)
		return
	}

	model := oneImage{schedule, []float64{-0.5, 0.1, 0.25}}
	batch := diffusion.Batch{N: 2, Dim: 3, X: make([]float64, 6)}
	for i := range batch.N {
		diffusion.InitialNoise(batch.X[i*batch.Dim:(i+1)*batch.Dim], 42, i)
	}
	if err := sampler.Sample(context.Background(), model, &batch, diffusion.NormalNoise(42), nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", batch.X)
	// Output: [-0.50 0.10 0.25 -0.50 0.10 0.25]
}
