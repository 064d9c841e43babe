package unstir

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"unstir/diffusion"
	"unstir/internal/leaktest"
	"unstir/unet"
)

// request is one call of a client of a service, and what the call gives where nobody else is served.
type request struct {
	name string
	call func(context.Context, func() error) ([]float32, error) // the function is called after each step
	want []float32
}

// requests are calls that share predictors: of several batch sizes, samplers, images and classes.
func requests(t *testing.T, p *Pipeline) []request {
	t.Helper()
	sample := func(o SampleOptions) func(context.Context, func() error) ([]float32, error) {
		return func(ctx context.Context, step func() error) ([]float32, error) {
			o := o
			o.OnStep = func(SampleStep) error { return step() }
			s, err := p.Sample(ctx, o)
			if err != nil {
				return nil, err
			}
			return s.Data, nil
		}
	}
	x := make([]float32, 2*8*12)
	for i := range x {
		x[i] = float32(i%7)/4 - 0.75
	}
	list := []request{
		{name: "ddpm", call: sample(SampleOptions{N: 2, Steps: 4, Seed: 1, Labels: []int{0, 2}})},
		{name: "ddim in batches", call: sample(SampleOptions{N: 3, Sampler: "ddim", Steps: 5, Seed: 2, Batch: 2, Labels: []int{1, 1, 0}})},
		{name: "noisy ddim", call: sample(SampleOptions{N: 1, First: 9, Sampler: "ddim", Steps: 5, Seed: 2, Labels: []int{2},
			Settings: diffusion.Options{Eta: 1}})},
		{name: "dpm++2m", call: sample(SampleOptions{N: 4, Sampler: "dpm++2m", Steps: 4, Labels: []int{0, 1, 2, 0}})},
		{name: "heun", call: sample(SampleOptions{N: 2, Sampler: "heun", Steps: 3, Seed: 5, Labels: []int{2, 2}})},
		{name: "encode", call: func(ctx context.Context, step func() error) ([]float32, error) {
			s, err := p.Encode(ctx, x, EncodeOptions{Steps: 3, Refine: 1, Labels: []int{1, 0}, OnStep: func(SampleStep) error { return step() }})
			if err != nil {
				return nil, err
			}
			return s.Data, nil
		}},
		{name: "predict", call: func(ctx context.Context, step func() error) ([]float32, error) {
			if err := step(); err != nil {
				return nil, err
			}
			return p.Predict(ctx, x, []int{10, 900}, []int{0, 2})
		}},
	}
	for i := range list {
		want, err := list[i].call(context.Background(), func() error { return nil })
		if err != nil {
			t.Fatalf("%s: %v", list[i].name, err)
		}
		list[i].want = want
	}
	return list
}

// A service samples for many clients from one Pipeline, and clients go away at any moment: by their context, by a
// deadline, by an error of their observer. Everyone else gets what they would get alone, a call that is cut short
// says why, and afterwards no goroutine is left and no more predictors than the pipeline keeps.
func TestManyClientsThatGoAway(t *testing.T) {
	c := testConfig()
	c.NumClassEmbeds = 3
	p := testPipeline(t, c)
	list := requests(t, p)
	before := runtime.NumGoroutine() // the kernels' workers are there by now

	clients, calls := 24, 12
	if testing.Short() {
		clients, calls = 8, 4
	}
	gone := errors.New("the client has gone")
	var finished, cut atomic.Int64
	errs := make(chan error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range calls {
				q := list[r.IntN(len(list))]
				ctx, cancel := context.WithCancel(context.Background())
				how, after := r.IntN(4), r.IntN(5)
				if how == 2 {
					ctx, cancel = context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
				}
				got, err := q.call(ctx, func() error {
					if after--; after >= 0 {
						return nil
					}
					switch how {
					case 0:
						cancel()
					case 1:
						return gone
					}
					return nil
				})
				cancel()
				switch {
				case err == nil && !slices.Equal(got, q.want):
					errs <- fmt.Errorf("client %d: %s gave other values than alone", i, q.name)
					return
				case err == nil:
					finished.Add(1)
				case errors.Is(err, context.Canceled) && how == 0, errors.Is(err, gone) && how == 1,
					errors.Is(err, context.DeadlineExceeded) && how == 2:
					cut.Add(1)
				default:
					errs <- fmt.Errorf("client %d: %s: %w", i, q.name, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	t.Logf("%d calls finished, %d were cut short", finished.Load(), cut.Load())
	if finished.Load() == 0 || cut.Load() == 0 {
		t.Error("the test shows nothing: all calls finished, or none did")
	}
	if n := len(p.idle); n > maxIdle {
		t.Errorf("the pipeline keeps %d predictors, more than %d", n, maxIdle)
	}
	leaktest.Goroutines(t, before)
	for _, q := range list { // the predictors that calls were cut short on are as good as new
		got, err := q.call(context.Background(), func() error { return nil })
		if err != nil || !slices.Equal(got, q.want) {
			t.Errorf("%s afterwards: error %v, or other values", q.name, err)
		}
	}
}

// A caller that sets labels never leaves them to the next one.
func TestNoLabelsAreLeftBehind(t *testing.T) {
	c := testConfig()
	c.NumClassEmbeds = 3
	p := testPipeline(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := p.Sample(ctx, SampleOptions{N: 2, Steps: 3, Labels: []int{1, 2}, OnStep: func(SampleStep) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	q, err := p.predictor(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Predict(context.Background(), make([]float32, 2*96), make([]float32, 2*96), []int{1, 2}); err == nil {
		t.Error("a predictor from the pipeline has the labels of the call before")
	}
}

// Pipelines of one process do not disturb each other, not even while one is opened and given up.
func TestPipelinesSideBySide(t *testing.T) {
	want := map[int][]float32{}
	config := func(i int) unet.Config {
		c := testConfig()
		c.SampleSize = unet.Size{H: 4 + 4*(i%2), W: 8}
		return c
	}
	o := SampleOptions{N: 2, Sampler: "ddim", Steps: 3}
	for i := range 2 {
		want[i] = mustSample(t, testPipeline(t, config(i)), o).Data
	}
	before := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 8 {
		p := testPipeline(t, config(i))
		wg.Go(func() {
			s, err := p.Sample(context.Background(), o)
			if err != nil || !slices.Equal(s.Data, want[i%2]) {
				t.Errorf("pipeline %d: error %v, or other values than alone", i, err)
			}
		})
	}
	wg.Wait()
	leaktest.Goroutines(t, before)
}
