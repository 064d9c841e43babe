// Command samplers compares the samplers on one model: it evaluates each with several numbers of steps, and draws one
// image of each class, or ten, by each from the same noise.
//
//	go run ./scripts/samplers -model runs/mnist-classes -picture docs/images/samplers.png
//
// The table goes to stdout in Markdown. Each row's result is kept in -results, one JSON object a line, and a row that is
// there is not made again: a cut run goes on.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"io/fs"
	"log"
	"os"
	"os/signal"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/images"
	"unstir/metrics"
)

// row is a sampler with its settings.
type row struct {
	Name     string
	Sampler  string
	Settings diffusion.Options
	Steps    []int
}

// rows are what is compared. A thousand steps are run with eta 0 and 1 only: they cost as much as all other rows together. Heun's first step fails from the almost
// pure noise of trailing spacing, which the class-conditional presets have.
var rows = []row{
	{"DDPM", "ddpm", diffusion.Options{}, []int{10, 20, 50, 100, 1000}},
	{"DDIM, eta 0", "ddim", diffusion.Options{}, []int{10, 20, 50, 100, 1000}},
	{"DDIM, eta 0.5", "ddim", diffusion.Options{Eta: 0.5}, []int{10, 20, 50, 100}},
	{"DDIM, eta 1", "ddim", diffusion.Options{Eta: 1}, []int{10, 20, 50, 100, 1000}},
	{"DPM-Solver++ (2M)", "dpm++2m", diffusion.Options{}, []int{10, 20}},
	{"Heun, leading", "heun", diffusion.Options{Spacing: diffusion.Leading}, []int{10, 20}},
}

// result is one line of the file of results.
type result struct {
	Name        string  `json:"name"`
	Steps       int     `json:"steps"`
	Evaluations int     `json:"evaluations"` // of the model, for each image
	FrechetOf   float64 `json:"frechet_ratio"`
	*metrics.Result
}

func main() {
	log.SetFlags(0)
	model := flag.String("model", "runs/mnist-classes", "run, checkpoint or pipeline")
	n := flag.Int("n", 2000, "samples of a row")
	many := flag.Int("n-1000", 500, "samples of a row of 1000 steps")
	results := flag.String("results", "samplers.jsonl", "file of the rows that are done")
	picture := flag.String("picture", "samplers.png", "picture to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p, err := unstir.Open(ctx, *model)
	if err != nil {
		log.Fatal(err)
	}
	if err := draw(ctx, p, *picture); err != nil {
		log.Fatal(err)
	}
	if err := evaluate(ctx, p, *results, *n, *many); err != nil {
		log.Fatal(err)
	}
}

// evaluate makes the rows that are missing in the file, and prints the table.
func evaluate(ctx context.Context, p *unstir.Pipeline, file string, n, many int) error {
	done, err := read(file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Println("| sampler | steps | model evaluations | samples | Fréchet distance | of real images' | coverage | class accuracy | ms per image |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, w := range rows {
		for _, steps := range w.Steps {
			r, ok := done[fmt.Sprint(w.Name, steps)]
			if !ok {
				count := n
				if steps == 1000 {
					count = many
				}
				if r, err = one(ctx, p, w, steps, count); err != nil {
					return fmt.Errorf("%s, %d steps: %w", w.Name, steps, err)
				}
				if err := json.NewEncoder(f).Encode(r); err != nil {
					return err
				}
			}
			fmt.Printf("| %s | %d | %d | %d | %.3g | %.2f× | %.3f | %s | %.3g |\n", r.Name, r.Steps, r.Evaluations, r.N,
				*r.Frechet, r.FrechetOf, *r.Coverage, share(r.ClassAccuracy), 1000 / *r.ImagesPerS)
		}
	}
	return nil
}

func share(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *v)
}

// read reads the results of an earlier run, if there are any.
func read(file string) (map[string]result, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	done := map[string]result{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		done[fmt.Sprint(r.Name, r.Steps)] = r
	}
	return done, lines.Err()
}

// one evaluates a row with one number of steps.
func one(ctx context.Context, p *unstir.Pipeline, w row, steps, n int) (result, error) {
	o := unstir.SampleOptions{N: n, Sampler: w.Sampler, Steps: steps, Settings: w.Settings}
	sampler, err := p.NewSampler(o)
	if err != nil {
		return result{}, err
	}
	evaluations := len(sampler.Timesteps())
	o.OnStep = func(s unstir.SampleStep) error {
		fmt.Fprintf(os.Stderr, "\r%s, %d steps: image %d of %d   ", w.Name, steps, s.First+s.N, n)
		return nil
	}
	e, err := unstir.Evaluate(ctx, unstir.EvaluateOptions{Pipeline: p, Sample: o})
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return result{}, err
	}
	if e.Frechet == nil || e.FrechetReal == nil || e.Coverage == nil || e.ImagesPerS == nil {
		return result{}, errors.New("there are no real images to compare with")
	}
	return result{w.Name, steps, evaluations, *e.Frechet / *e.FrechetReal, e.Result}, nil
}

// draw draws the same ten images by each sampler, its numbers of steps below one another, with at most 100 steps.
func draw(ctx context.Context, p *unstir.Pipeline, file string) error {
	const n = 10
	var panels []images.Panel
	for _, steps := range []int{10, 20, 50, 100} {
		for _, w := range rows {
			var m image.Image = image.NewGray(image.Rect(0, 0, 1, 1)) // an empty place in the table
			label := ""
			for _, s := range w.Steps {
				if s != steps {
					continue
				}
				o := unstir.SampleOptions{N: n, Sampler: w.Sampler, Steps: steps, Settings: w.Settings}
				if k := p.NumClasses(); k > 0 {
					for i := range n {
						o.Labels = append(o.Labels, i%k)
					}
				}
				samples, err := p.Sample(ctx, o)
				if err != nil {
					return fmt.Errorf("%s, %d steps: %w", w.Name, steps, err)
				}
				list := make([]image.Image, n)
				for i := range list {
					if list[i], err = samples.Image(i); err != nil {
						return err
					}
				}
				if m, err = images.Grid(list, images.GridOptions{Cols: 5, Padding: 1}); err != nil {
					return err
				}
				label = fmt.Sprintf("%s, %d", w.Name, steps)
			}
			panels = append(panels, images.Panel{Label: label, Image: m})
		}
	}
	m, err := images.Panels(panels, images.PanelOptions{Cols: len(rows), Padding: 6, Background: 255})
	if err != nil {
		return err
	}
	return images.WritePNG(file, m, nil)
}
