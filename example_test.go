package unstir_test

import (
	"context"
	"errors"
	"fmt"
	"image/png"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"unstir"
	"unstir/data"
	"unstir/diffusion"
	"unstir/train"
	"unstir/unet"
)

// Draw four digits with the model that is part of the library: no training, no data, no network.
func Example() {
	p, err := unstir.Demo()
	if err != nil {
		log.Fatal(err)
	}
	s, err := p.Sample(context.Background(), unstir.SampleOptions{
		N: 4, Labels: []int{1, 9, 8, 4}, Sampler: "ddim", Steps: 25, Seed: 1,
	})
	if err != nil {
		log.Fatal(err)
	}
	grid, err := s.Grid() // an image.Image
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d images of %dx%dx%d, as a picture of %v pixels\n", s.N, s.C, s.H, s.W, grid.Bounds().Size())
	// Output: 4 images of 1x28x28, as a picture of (62,62) pixels
}

// Load a model and sample from it. The directory may be a run of the diffusion program, one of its checkpoints, or
// a DDPM pipeline of Python's diffusers.
func ExampleOpen() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	s, err := p.Sample(ctx, unstir.SampleOptions{N: 4, Sampler: "ddim", Steps: 10, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d images of %dx%dx%d\n", s.N, s.C, s.H, s.W)
	// Output: 4 images of 3x16x16
}

// imageServer answers every request with an image, a PNG: GET /?seed=7.
type imageServer struct{ pipeline *unstir.Pipeline }

func (s imageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seed, err := strconv.ParseUint(r.FormValue("seed"), 10, 64)
	if err != nil {
		http.Error(w, "seed: a whole number is wanted", http.StatusBadRequest)
		return
	}
	// The request's context stops the sampling when the client goes away.
	samples, err := s.pipeline.Sample(r.Context(), unstir.SampleOptions{N: 1, Sampler: "ddim", Steps: 5, Seed: seed})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	img, err := samples.Image(0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	if err := png.Encode(w, img); err != nil {
		log.Print(err)
	}
}

// A web service that samples for several clients at once: one Pipeline serves them all.
func ExamplePipeline_Sample_httpHandler() {
	p, err := unstir.Open(context.Background(), "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(imageServer{p})
	defer server.Close()

	answers := make([]string, 4)
	var clients sync.WaitGroup
	for i := range answers {
		clients.Go(func() {
			r, err := http.Get(server.URL + "/?seed=" + strconv.Itoa(i))
			if err != nil {
				answers[i] = err.Error()
				return
			}
			defer r.Body.Close()
			img, err := png.Decode(r.Body)
			if err != nil {
				answers[i] = err.Error()
				return
			}
			answers[i] = fmt.Sprint(r.Status, " ", img.Bounds().Size())
		})
	}
	clients.Wait()
	for i, a := range answers {
		fmt.Println(i, a)
	}
	// Output:
	// 0 200 OK (16,16)
	// 1 200 OK (16,16)
	// 2 200 OK (16,16)
	// 3 200 OK (16,16)
}

// Guide samples towards their classes: the model of a class-conditional pipeline is asked with the class and without, and what
// the class changes is exaggerated.
func ExamplePipeline_WithNullClass() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_classes") // a run that was trained with label dropout knows its null class
	if err != nil {
		log.Fatal(err)
	}
	if p, err = p.WithNullClass(2); err != nil {
		log.Fatal(err)
	}
	guidance := &diffusion.Guidance{Weight: 3, Rescale: 0.7, Interval: &diffusion.Interval{Low: 100, High: 900}}
	s, err := p.Sample(ctx, unstir.SampleOptions{N: 2, Labels: []int{0, 1}, Sampler: "ddim", Steps: 5, Guidance: guidance})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.N, "images of the classes", p.Labels())

	guidance.Weight = -1
	var wrong *diffusion.GuidanceError
	if errors.As(p.CheckGuidance(guidance), &wrong) {
		fmt.Println(wrong)
	}
	// Output:
	// 2 images of the classes [0 1]
	// guidance -1: it must be a number from 0 on, such as 2
}

// Make more images than fit in memory: each is handed on as soon as its batch is done. What is missing of a set is
// made by its numbers, with the bits that it would have had.
func ExamplePipeline_SampleEach() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	options := unstir.SampleOptions{N: 3, Numbers: []int{12, 40, 99999}, Sampler: "ddim", Steps: 5, Seed: 1}
	err = p.SampleEach(ctx, options, func(i int, s *unstir.Samples) error {
		img, err := s.Image(0)
		if err != nil {
			return err
		}
		fmt.Println("image", i, "has", img.Bounds().Size(), "pixels") // and would be written to its file
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// image 12 has (16,16) pixels
	// image 40 has (16,16) pixels
	// image 99999 has (16,16) pixels
}

// twoPoints is the exact model of data that are -1 or 1, each as likely as the other: E[x_0 | x_t] is a tanh.
type twoPoints struct{ schedule *diffusion.Schedule }

func (m twoPoints) Predict(_ context.Context, eps, x []float64, t []int) error {
	dim := len(x) / len(t)
	for j, v := range x {
		a := m.schedule.AlphaBar[t[j/dim]]
		x0 := math.Tanh(math.Sqrt(a) * v / (1 - a))
		eps[j] = (v - math.Sqrt(a)*x0) / math.Sqrt(1-a)
	}
	return nil
}

// Anything that predicts can be sampled from: a sampler knows its model as an interface of one method.
func Example_customModel() {
	schedule, err := diffusion.NewSchedule(diffusion.Defaults())
	if err != nil {
		log.Fatal(err)
	}
	sampler, err := diffusion.New("ddpm", schedule, diffusion.Options{Steps: 100})
	if err != nil {
		log.Fatal(err)
	}
	b := &diffusion.Batch{N: 8, Dim: 1, X: make([]float64, 8)}
	for i := range b.X {
		diffusion.InitialNoise(b.X[i:i+1], 1, i)
	}
	if err := sampler.Sample(context.Background(), twoPoints{schedule}, b, diffusion.NormalNoise(1), nil); err != nil {
		log.Fatal(err)
	}
	near := 0
	for _, v := range b.X {
		if math.Abs(math.Abs(v)-1) < 0.05 {
			near++
		}
	}
	fmt.Println(near, "of 8 samples are near -1 or 1")
	// Output: 8 of 8 samples are near -1 or 1
}

// ramps is a dataset that is computed: image i is a ramp of gray values that turns with i.
type ramps struct{}

func (ramps) Info() data.Info {
	return data.Info{Name: "ramps", Source: "computed", Hash: "ramps v1", Count: 16, Channels: 1, Height: 8, Width: 8}
}

func (ramps) Label(int) int { return -1 }

func (ramps) Image(i int, dst []byte) {
	sin, cos := math.Sincos(2 * math.Pi * float64(i) / 16)
	for p := range dst {
		x, y := float64(p%8)-3.5, float64(p/8)-3.5
		dst[p] = uint8(127.5 + 25*(cos*x+sin*y))
	}
}

// Train a model on a dataset of one's own, and sample from the run.
func Example_customDataset() {
	dir, err := os.MkdirTemp("", "unstir-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	model := unet.Defaults()
	model.SampleSize = unet.Size{H: 8, W: 8}
	model.InChannels, model.OutChannels = 1, 1
	model.BlockOutChannels = []int{8, 16}
	model.DownBlockTypes = []string{"DownBlock2D", "AttnDownBlock2D"}
	model.UpBlockTypes = []string{"AttnUpBlock2D", "UpBlock2D"}
	model.LayersPerBlock, model.NormNumGroups = 1, 4

	setup := train.Setup{Seed: 1, Data: ramps{}, Model: model, Scheduler: diffusion.Defaults(), Dir: filepath.Join(dir, "run")}
	setup.Train, setup.EMA, setup.Checkpoint, setup.Preview = train.Defaults()
	setup.Train.Steps, setup.Train.BatchSize, setup.Train.LR, setup.Train.WarmupSteps = 5, 8, 1e-3, 0
	setup.Preview.Every = 0
	trainer, err := train.New(setup)
	if err != nil {
		log.Fatal(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		log.Fatal(err)
	}

	p, err := unstir.Open(context.Background(), setup.Dir)
	if err != nil {
		log.Fatal(err)
	}
	s, err := p.Sample(context.Background(), unstir.SampleOptions{N: 2, Sampler: "ddim", Steps: 5})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("trained for %d steps, sampled %d images of %dx%d\n", p.Source.State.Step, s.N, s.H, s.W)
	// Output: trained for 5 steps, sampled 2 images of 8x8
}

// Encode images, change them where they are noise, and decode.
func ExamplePipeline_Encode() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	_, h, w := p.Shape()
	images := make([]float32, 2*3*h*w) // two gray images, one darker
	for i := range images {
		images[i] = -0.4 + 0.6*float32(i/(3*h*w))
	}
	xT, err := p.Encode(ctx, images, unstir.EncodeOptions{Steps: 5})
	if err != nil {
		log.Fatal(err)
	}
	dim := len(xT.Data) / 2
	walk, err := p.Interpolate(ctx, xT.Data[:dim], xT.Data[dim:], 5, unstir.SampleOptions{
		Steps: 5, Settings: diffusion.Options{Clip: diffusion.ClipNone},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(walk.N, "images from one to the other")
	// Output: 5 images from one to the other
}

// Make images from images: the strength says how much of each is left.
func ExampleEdit() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	c, h, w := p.Shape()
	gray := make([]float32, c*h*w)
	for _, strength := range []float64{0, 0.4} {
		s, err := p.Sample(ctx, unstir.SampleOptions{
			N: 1, Sampler: "ddim", Steps: 10, Edit: &unstir.Edit{Images: gray, Strength: strength},
			OnStep: func(st unstir.SampleStep) error {
				fmt.Printf("strength %v: step %d of %d\n", strength, st.Index+1, st.Total)
				return nil
			},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("strength %v: the image is the one given: %v\n", strength, slices.Equal(s.Data, gray))
	}
	// Output:
	// strength 0: the image is the one given: true
	// strength 0.4: step 1 of 4
	// strength 0.4: step 2 of 4
	// strength 0.4: step 3 of 4
	// strength 0.4: step 4 of 4
	// strength 0.4: the image is the one given: false
}

// Fill a hole in an image, in two ways.
func ExampleInpaint() {
	ctx := context.Background()
	p, err := unstir.Open(ctx, "unet/testdata/unet_tiny")
	if err != nil {
		log.Fatal(err)
	}
	c, h, w := p.Shape()
	gray := make([]float32, c*h*w)
	hole := make([]bool, h*w)
	for i := range hole {
		hole[i] = i/w >= h/2 // the lower half
	}
	s, err := p.Sample(ctx, unstir.SampleOptions{
		N: 2, Sampler: "ddim", Steps: 10, Inpaint: &unstir.Inpaint{Images: gray, Mask: hole, JumpLength: 2, Resample: 3},
	})
	if err != nil {
		log.Fatal(err)
	}
	upper := h / 2 * w // of the first channel
	fmt.Println("what is known stays:", slices.Equal(s.Data[:upper], gray[:upper]))
	fmt.Println("the fillings differ:", !slices.Equal(s.Data[upper:h*w], s.Data[c*h*w+upper:c*h*w+h*w]))
	// Output:
	// what is known stays: true
	// the fillings differ: true
}
