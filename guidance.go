package unstir

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"unstir/diffusion"
	"unstir/unet"
)

// NullClass is the null class of a model that was trained to do without the class now and then: the label of an image whose class
// is not said. It is the last of the model's class embeddings where train.label_dropout made it, or what WithNullClass says;
// ok is false where there is none.
func (p *Pipeline) NullClass() (label int, ok bool) {
	if p.null == nil {
		return 0, false
	}
	return *p.null, true
}

// WithNullClass is the pipeline with a null class, for a class-conditional model whose files do not name it, such as a pipeline of
// diffusers. It shares the model's weights with p. The error wraps a *diffusion.GuidanceError: the model has another null
// class, or is known to have none, or has no class embedding of that index.
func (p *Pipeline) WithNullClass(label int) (*Pipeline, error) {
	wrong := func(reason string, args ...any) error {
		return guidanceError("null-class", label, reason, args...)
	}
	classes := p.model.Config.NumClassEmbeds
	switch null, known := p.NullClass(); {
	case known && label == null:
		return p, nil
	case known:
		return nil, wrong("this model's is %d, and need not be given", null)
	case classes == 0:
		return nil, wrong("the model is not class-conditional")
	case p.Source.State != nil:
		return nil, wrong("the model was trained without one, as train.label_dropout was 0")
	case classes == 1:
		return nil, wrong("the model has no class beside it")
	case label < 0 || label >= classes:
		return nil, wrong("the model's class embeddings are 0 to %d", classes-1)
	}
	return &Pipeline{Source: p.Source, Schedule: p.Schedule, model: p.model, configs: p.configs, h: p.h, w: p.w, null: &label}, nil
}

func guidanceError(option string, value any, reason string, args ...any) error {
	return fmt.Errorf("unstir: %w", &diffusion.GuidanceError{Option: option, Value: fmt.Sprint(value), Reason: fmt.Sprintf(reason, args...)})
}

// CheckGuidance finds what is wrong with guidance, nil for none, of this model. The error wraps a *diffusion.GuidanceError.
func (p *Pipeline) CheckGuidance(g *diffusion.Guidance) error {
	if g == nil {
		return nil
	}
	if err := g.Validate(p.Schedule.T); err != nil {
		return fmt.Errorf("unstir: %w", err)
	}
	if _, ok := p.NullClass(); ok || g.Idle() {
		return nil
	}
	reason := "the model does not say which of its class embeddings is the null class"
	switch {
	case p.model.Config.NumClassEmbeds == 0:
		reason = "the model is not class-conditional, and there is no class to guide it to: train one with model.num_class_embeds and train.label_dropout"
	case p.Source.State != nil:
		reason = "the model was not trained to do without the class: train one with train.label_dropout, such as 0.1"
	}
	return guidanceError("guidance", g.Weight, "%s", reason)
}

// evaluator is what evaluates the model in one call of Sample.
type evaluator struct {
	batch int             // images that are sampled together
	one   *unet.Predictor // of as many images; nil: there is always guidance
	both  *unet.Predictor // of twice as many, by their classes and by the null class; nil: there is no guidance
}

// evaluator takes the predictors for a call that evaluates the model at the timesteps and keeps so many images beside the batch.
func (p *Pipeline) evaluator(o SampleOptions, timesteps []int, kept int) (*evaluator, error) {
	one, both, batch := true, false, defaultBatch
	if g := o.Guidance; g != nil && !g.Idle() {
		if one, both = g.Calls(timesteps); both {
			batch = defaultBatch / 2
		}
	}
	e := &evaluator{batch: min(cmp.Or(o.Batch, batch), o.N)}
	var per []int
	if one {
		per = append(per, 1)
	}
	if both {
		per = append(per, 2)
	}
	qs, err := p.predictors(e.batch, e.batch+kept, per...)
	if err != nil {
		return nil, err
	}
	if both {
		e.both = qs[len(qs)-1]
	}
	if one {
		e.one = qs[0]
	}
	return e, nil
}

// free gives the evaluator's predictors back.
func (p *Pipeline) free(e *evaluator) {
	p.release(e.both)
	p.release(e.one)
}

// modelFor is what a sampler sees, for a batch of images of these classes; they are nil for a model without classes.
func (p *Pipeline) modelFor(e *evaluator, o SampleOptions, labels []int) (diffusion.Model, error) {
	if g := o.Guidance; g != nil && !g.Idle() {
		null, _ := p.NullClass()
		m := &conditioned{one: e.one, both: e.both, labels: slices.Concat(labels, slices.Repeat([]int{null}, len(labels)))}
		return g.Guide(m), nil
	}
	if labels != nil {
		if err := e.one.SetLabels(labels); err != nil {
			return nil, err
		}
	}
	return e.one.Float64(), nil
}

// conditioned is a class-conditional model as guidance asks it, of one batch of images.
type conditioned struct {
	one, both *unet.Predictor
	labels    []int // [2n] of the images, and n times the null class
	x, out    []float32
	t         []int
}

// Predict is by the images' classes.
func (m *conditioned) Predict(ctx context.Context, out, x []float64, t []int) error {
	return m.run(ctx, m.one, m.labels[:len(t)], x, t, out)
}

// PredictNull is by the null class.
func (m *conditioned) PredictNull(ctx context.Context, out, x []float64, t []int) error {
	return m.run(ctx, m.one, m.labels[len(t):], x, t, out)
}

// PredictBoth is by the images' classes, and by the null class, in one batch.
func (m *conditioned) PredictBoth(ctx context.Context, out, null, x []float64, t []int) error {
	return m.run(ctx, m.both, m.labels, x, t, out, null)
}

// run predicts once for each of outs from the same images; labels has the classes of them all.
func (m *conditioned) run(ctx context.Context, q *unet.Predictor, labels []int, x []float64, t []int, outs ...[]float64) error {
	m.x, m.out, m.t = m.x[:0], slices.Grow(m.out[:0], len(outs)*len(x))[:len(outs)*len(x)], m.t[:0]
	for range outs {
		for _, v := range x {
			m.x = append(m.x, float32(v))
		}
		m.t = append(m.t, t...)
	}
	if err := q.SetLabels(labels); err != nil {
		return err
	}
	if err := q.Predict(ctx, m.out, m.x, m.t); err != nil {
		return err
	}
	for k, out := range outs {
		for i, v := range m.out[k*len(x) : (k+1)*len(x)] {
			out[i] = float64(v)
		}
	}
	return nil
}
