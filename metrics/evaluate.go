package metrics

import (
	"context"
	"fmt"
)

// What an evaluation computes with.
const (
	Neighbours   = 5    // the k of precision, recall, density and coverage
	ManifoldRows = 5000 // the most samples, and as many references, that these four take
	SmallN       = 2000 // fewer samples are warned about
)

// Input is what Evaluate compares. Samples and References are needed; the rest may be left out, and what needs it is null.
type Input struct {
	Samples    Features // of the generated images, more rows than columns
	References Features // of the test images, likewise
	Training   Features // of the training images: for what real images score, and near copies
	Noise      Features // of images of uniform noise, as many as samples

	Classes    []int // [samples] predicted by the feature network
	NumClasses int   // of the feature network; needed with Classes
	Labels     []int // [samples] that were asked for; needs Classes

	Seed uint64 // of the subsets and draws: another one changes the kernel distance within its deviation
}

// Evaluate computes every statistic of the features. The same input has the same result on any number of threads. It takes
// seconds for thousands of rows, and stops when ctx is done.
func Evaluate(ctx context.Context, in Input) (*Result, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	r := &Result{N: in.Samples.N}
	references := fit(in.References)
	distance := func(f Features) (float64, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return FrechetDistance(fit(f), references)
	}
	v, err := distance(in.Samples)
	if err != nil {
		return nil, err
	}
	r.Frechet = Number(v)
	if in.Noise.N > 0 {
		if v, err = distance(in.Noise); err != nil {
			return nil, err
		}
		r.FrechetNoise = Number(v)
	}
	if err := in.real(ctx, r, distance); err != nil {
		return nil, err
	}
	mean, std, err := Kernel(ctx, in.Samples, in.References, in.Seed)
	if err != nil {
		return nil, err
	}
	r.KernelMean, r.KernelStd = Number(mean), Number(std)
	if err := in.manifold(ctx, r); err != nil {
		return nil, err
	}
	if err := in.classes(r); err != nil {
		return nil, err
	}
	if err := in.copies(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (in *Input) check() error {
	s, d := in.Samples, in.Samples.D
	if err := checkPair(s, in.References); err != nil {
		return err
	}
	for _, f := range []struct {
		what string
		Features
		optional bool
	}{{"samples", s, false}, {"references", in.References, false}, {"training images", in.Training, true}, {"noise images", in.Noise, true}} {
		if f.optional && f.N == 0 {
			continue
		}
		if err := checkWith(f.what, f.Features, d); err != nil {
			return err
		}
		if f.N <= d {
			return fmt.Errorf("metrics: %s: %w", f.what, tooFew(f.N, d))
		}
	}
	if in.Classes != nil && len(in.Classes) != s.N {
		return fmt.Errorf("metrics: %d predicted classes for %d samples", len(in.Classes), s.N)
	}
	if in.Labels != nil && len(in.Labels) != s.N {
		return fmt.Errorf("metrics: %d labels for %d samples", len(in.Labels), s.N)
	}
	if in.Labels != nil && in.Classes == nil {
		return fmt.Errorf("metrics: there are labels, but no predicted classes to compare them with")
	}
	return nil
}

// real fills in what real images score, and warns about few samples.
func (in *Input) real(ctx context.Context, r *Result, distance func(Features) (float64, error)) error {
	n := in.Samples.N
	if in.Training.N == 0 {
		r.note("frechet_real is null: it needs the training images")
		if n < SmallN {
			r.note("%d samples are few: Fréchet distances are too large by a part that grows as their number falls; compare only results of the same number", n)
		}
		return nil
	}
	mean, draws, err := frechetReal(ctx, in.Training, in.References, n, in.Seed)
	if err != nil {
		return err
	}
	if draws == 0 {
		r.note("frechet_real is null: there are only %d training images for a draw of %d", in.Training.N, n)
		return nil
	}
	r.FrechetReal = Number(mean)
	if draws < realDraws {
		r.note("frechet_real is the mean of %d instead of %d draws: there are %d training images", draws, realDraws, in.Training.N)
	}
	if n < SmallN {
		all, err := distance(in.Training)
		if err != nil {
			return err
		}
		r.note("%d samples are few: as many real images have a Fréchet distance of %.3g, all %d of them %.3g, so about %.3g is due to the number alone; compare only results of the same number",
			n, mean, in.Training.N, all, max(0, mean-all))
	}
	return nil
}

func (in *Input) manifold(ctx context.Context, r *Result) error {
	n := min(in.Samples.N, in.References.N, ManifoldRows)
	if n <= Neighbours {
		r.note("precision, recall, density and coverage are null: they need %d samples and references", Neighbours+1)
		return nil
	}
	m, err := CompareManifolds(ctx, in.Samples.random(n, in.Seed, sampleSubset), in.References.random(n, in.Seed, referenceSubset), Neighbours)
	if err != nil {
		return err
	}
	r.Precision, r.Recall, r.Density, r.Coverage = Number(m.Precision), Number(m.Recall), Number(m.Density), Number(m.Coverage)
	if n < in.Samples.N && n < ManifoldRows {
		r.note("precision, recall, density and coverage are of %d samples, as there are only so many references", n)
	}
	return nil
}

func (in *Input) classes(r *Result) error {
	if in.Classes == nil {
		return nil
	}
	h, err := histogram(in.Classes, in.NumClasses)
	if err != nil {
		return err
	}
	r.ClassHistogram, r.ClassEntropy = h, Number(entropy(h))
	if in.Labels != nil {
		right := 0
		for i, c := range in.Classes {
			right += count(c == in.Labels[i])
		}
		r.ClassAccuracy = Number(float64(right) / float64(len(in.Labels)))
	}
	return nil
}

func (in *Input) copies(ctx context.Context, r *Result) error {
	if in.Training.N == 0 {
		r.note("near_copies is null: it needs the training images")
		return nil
	}
	c, err := NearCopies(ctx, in.Samples, in.References, in.Training)
	if err != nil {
		return err
	}
	r.NearCopies, r.Copies = Number(c.Share), &c
	if c.Threshold == 0 {
		r.note("near_copies says nothing: a hundredth of the test images have exactly the features of training images")
	}
	return nil
}
