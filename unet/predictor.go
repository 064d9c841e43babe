package unet

import (
	"context"
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"unstir/nn"
	"unstir/nn/engine"
)

// Predictor runs a model without gradients on batches of up to a fixed size: one graph and one arena. It is
// used by one goroutine at a time; several predictors of one model work side by side.
type Predictor struct {
	model       *Model
	batch, h, w int
	in          inputs
	out         *G.Node
	machine     *engine.Machine
	labels      []int
}

// NewPredictor plans the model for batches of up to batch images of h rows and w columns.
func NewPredictor(m *Model, batch, h, w int) (*Predictor, error) {
	if batch < 1 {
		return nil, fmt.Errorf("unet: a predictor for a batch of %d images; it must be at least 1", batch)
	}
	if err := m.Config.CheckSize(h, w); err != nil {
		return nil, fmt.Errorf("unet: %w", err)
	}
	in, out, _, err := m.build(batch, h, w)
	if err != nil {
		return nil, fmt.Errorf("unet: build the graph: %w", err)
	}
	machine, err := engine.New(G.Nodes{out}, engine.Options{})
	if err != nil {
		return nil, fmt.Errorf("unet: plan the graph: %w", err)
	}
	return &Predictor{model: m, batch: batch, h: h, w: w, in: in, out: out, machine: machine}, nil
}

func (m *Model) build(batch, h, w int) (in inputs, out *G.Node, g *nn.Graph, err error) {
	g = nn.NewGraph(m.Params, m.flat, false, 0)
	g.Filters = m.sharedFilters()
	in, out, err = m.Config.forward(g, batch, h, w, false)
	return in, out, g, err
}

// Batch is the largest number of images that one run takes; Predict cuts longer inputs.
func (p *Predictor) Batch() int { return p.batch }

// Machine is the planned graph, for inspection.
func (p *Predictor) Machine() *engine.Machine { return p.machine }

// SetLabels sets the classes of the images of the next calls, for a class-conditional model.
func (p *Predictor) SetLabels(labels []int) error {
	if p.model.Config.NumClassEmbeds == 0 {
		return errors.New("unet: the model is not class-conditional")
	}
	for i, l := range labels {
		if l < 0 || l >= p.model.Config.NumClassEmbeds {
			return fmt.Errorf("unet: label %d of image %d; the classes are 0 to %d", l, i, p.model.Config.NumClassEmbeds-1)
		}
	}
	p.labels = append(p.labels[:0], labels...)
	return nil
}

// ClearLabels forgets the classes that SetLabels set.
func (p *Predictor) ClearLabels() { p.labels = p.labels[:0] }

// Predict writes the model's output for len(t) images x [n, C, H, W] at timesteps t to out. What it predicts
// (the noise, the image, v) is what it was trained for. It stops between two operations when ctx is done.
func (p *Predictor) Predict(ctx context.Context, out, x []float32, t []int) error {
	c := p.model.Config
	dim, dimOut := c.InChannels*p.h*p.w, c.OutChannels*p.h*p.w
	if len(x) != len(t)*dim || len(out) != len(t)*dimOut {
		return fmt.Errorf("unet: predict %d images: x has %d values and out %d; they must have %d and %d", len(t), len(x), len(out), len(t)*dim, len(t)*dimOut)
	}
	if c.NumClassEmbeds > 0 && len(p.labels) != len(t) {
		return fmt.Errorf("unet: predict %d images with %d labels; set one each with SetLabels", len(t), len(p.labels))
	}
	for first := 0; first < len(t); first += p.batch {
		n := min(p.batch, len(t)-first)
		c.feed(p.in, x[first*dim:(first+n)*dim], t[first:first+n], p.labels[min(first, len(p.labels)):], p.h*p.w)
		if err := p.machine.Run(ctx); err != nil {
			return fmt.Errorf("unet: predict: %w", err)
		}
		nn.ToNCHW(out[first*dimOut:(first+n)*dimOut], p.machine.Value(p.out), n, c.OutChannels, p.h*p.w)
	}
	return nil
}

// feed writes n images x [n, C, H, W], their timesteps and, for a conditional model, their labels to the first n
// places of a graph's inputs.
func (c Config) feed(in inputs, x []float32, t, labels []int, pixels int) {
	n, dim := len(t), c.InChannels*pixels
	data := in.x[:n*dim]
	nn.ToNHWC(data, x, n, c.InChannels, pixels)
	if c.CenterInputSample {
		for i, v := range data {
			data[i] = 2*v - 1
		}
	}
	half := c.BlockOutChannels[0]
	for i, ti := range t {
		nn.Sinusoid(in.time[i*half:(i+1)*half], ti, c.FlipSinToCos, c.FreqShift)
	}
	if in.labels == nil {
		return
	}
	oneHot := in.labels[:n*c.NumClassEmbeds]
	clear(oneHot)
	for i := range t {
		oneHot[i*c.NumClassEmbeds+labels[i]] = 1
	}
}

// Float64 is the predictor for callers that keep their images in float64, as the samplers do.
func (p *Predictor) Float64() *Float64Predictor { return &Float64Predictor{p: p} }

// Float64Predictor rounds its inputs to float32 for the model and widens its outputs.
type Float64Predictor struct {
	p      *Predictor
	x, out []float32
}

// Predict is Predictor.Predict in float64.
func (f *Float64Predictor) Predict(ctx context.Context, out, x []float64, t []int) error {
	f.x, f.out = resize(f.x, len(x)), resize(f.out, len(out))
	for i, v := range x {
		f.x[i] = float32(v)
	}
	if err := f.p.Predict(ctx, f.out, f.x, t); err != nil {
		return err
	}
	for i, v := range f.out {
		out[i] = float64(v)
	}
	return nil
}
