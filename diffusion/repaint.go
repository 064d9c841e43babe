package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// RePaint fills holes in images: Lugmayr et al., "RePaint: Inpainting using
// Denoising Diffusion Probabilistic Models", 2022, algorithm 1. Where m is 1 the
// image x_0 is known:
//
//	x_T ~ N(0, I)
//	for t = T, ..., 1:
//	    for u = 1, ..., U:
//	        eps ~ N(0, I) if t > 1, else eps = 0
//	        x_{t-1}^known   = sqrt(alphaBar_{t-1}) x_0 + sqrt(1-alphaBar_{t-1}) eps
//	        x_{t-1}^unknown = a step of the sampler from x_t
//	        x_{t-1} = m x_{t-1}^known + (1-m) x_{t-1}^unknown
//	        if u < U and t > 1:
//	            x_t ~ N(sqrt(1-beta_{t-1}) x_{t-1}, beta_{t-1} I)
//
// The last line goes back up by diffusion, so that the filling is drawn again
// from an x_t that has seen what is known of x_{t-1}. As in the paper's appendix
// and in diffusers it goes back by several steps at once: wherever the steps that
// are left are a multiple of JumpLength, and fewer than S - JumpLength of the S,
// the run goes JumpLength steps back, Resample - 1 times.
//
// The paper's sampler is ddpm; ddim is diffusers' form, and any sampler will do
// whose step needs x_t alone. A step ends at the sampler's own alphaBar, and the
// way up leads from one to the next by q(x_t | x_s) = N(sqrt(alphaBar_t /
// alphaBar_s) x_s, (1 - alphaBar_t/alphaBar_s) I), for steps over any distance.
// One draw serves both as the eps of the known numbers and as the step's noise of
// the others, which have none in common.
//
// The images are the batch's Given, x_T is its X, and what is known comes out as
// it was given, bit for bit.
type RePaint struct {
	sampler divisible
	fill    []bool
	plain   bool        // everything is filled
	parts   []divisible // each of the sampler's steps
	end     []float64   // alphaBar after it
	moves   []move
	jump    int // JumpLength
	runs    int // Resample
	total   int // moves that are steps
}

// move is a step of the sampler, or of q.
type move struct {
	step     int     // of the sampler's; -1: of q
	from, to float64 // alphaBar, of a step of q
}

// RePaintOptions are the settings of RePaint.
type RePaintOptions struct {
	// Fill has an entry for each number of an image: true where it is filled,
	// false where it is known. At least one is true; where all are, there is
	// nothing to agree with, and the run is the sampler's own.
	Fill []bool

	JumpLength int // 1 to S-1, for S steps; 0: the paper's 10, or S-1 where that is less
	Resample   int // times that each stretch is run, 1: once, without going back; 0: the paper's 10
}

// The paper's settings of RePaint.
const (
	DefaultJumpLength = 10
	DefaultResample   = 10
)

// MaxResample bounds the moves of a run.
const MaxResample = 1000

// JumpLengthError is the error of a JumpLength that does not fit the steps.
type JumpLengthError struct{ JumpLength, Steps int }

func (e *JumpLengthError) Error() string {
	if e.Steps == 1 {
		return fmt.Sprintf("jump length %d does not fit a single step, from which there is nothing to go back to", e.JumpLength)
	}
	return fmt.Sprintf("jump length %d does not fit %d steps: it must be from 1 to %d", e.JumpLength, e.Steps, e.Steps-1)
}

// CanRePaint tells whether RePaint is defined for a sampler.
func CanRePaint(i Info) bool { return !i.Inverts && !i.Multistep }

// NewRePaint wraps the sampler that New makes of the same arguments. The error of
// a sampler that inverts, or whose steps need more than x_t, is an
// *UndefinedError, and that of a jump length that does not fit a *JumpLengthError.
func NewRePaint(name string, s *Schedule, o Options, r RePaintOptions) (*RePaint, error) {
	d, err := newDivisible("RePaint", name, s, o, "whose steps need more than x_t", CanRePaint)
	if err != nil {
		return nil, err
	}
	p := &RePaint{sampler: d, fill: slices.Clone(r.Fill), plain: !slices.Contains(r.Fill, false)}
	begin, end := d.levels()
	steps := len(begin)
	jump, resample := r.JumpLength, r.Resample
	if jump == 0 {
		jump = min(DefaultJumpLength, max(1, steps-1))
	}
	if resample == 0 {
		resample = DefaultResample
	}
	switch {
	case !slices.Contains(r.Fill, true):
		return nil, errors.New("repaint: nothing is to be filled")
	case resample < 1 || resample > MaxResample:
		return nil, fmt.Errorf("repaint: resample = %d is not possible: it must be from 1 to %d", resample, MaxResample)
	case r.JumpLength < 0 || r.JumpLength >= steps && r.JumpLength > 0:
		return nil, &JumpLengthError{r.JumpLength, steps}
	}
	for k := range begin {
		p.parts = append(p.parts, d.part(k, k+1))
	}
	p.end, p.jump, p.runs = end, jump, resample
	p.plan(begin)
	return p, nil
}

// plan lists the moves.
func (p *RePaint) plan(begin []float64) {
	steps := len(begin)
	back := make([]int, steps) // times that the run went back from so many steps before the end
	for k := 0; k < steps; k++ {
		p.moves = append(p.moves, move{step: k})
		p.total++
		left := steps - 1 - k
		if left%p.jump != 0 || left >= steps-p.jump || back[left] == p.runs-1 {
			continue
		}
		back[left]++
		from := p.end[k]
		for range p.jump {
			p.moves = append(p.moves, move{-1, from, begin[k]})
			from = begin[k]
			k--
		}
	}
}

// Jumps are the options JumpLength and Resample with the defaults filled in.
func (p *RePaint) Jumps() (length, resample int) { return p.jump, p.runs }

// RePaintNotes are the Notes of what NewRePaint makes of the same arguments. A
// jump length that was left to it and had to be reduced is one, too.
func RePaintNotes(name string, s *Schedule, o Options, r RePaintOptions) []Note {
	p, err := NewRePaint(name, s, o, r)
	if err != nil {
		return nil
	}
	notes := Notes(name, s, o)
	if steps := len(p.parts); r.JumpLength == 0 && steps <= DefaultJumpLength && r.Resample != 1 && !p.plain {
		problem := fmt.Sprintf("the jump length is %d in place of %d, to fit %d steps", p.jump, DefaultJumpLength, steps)
		if steps == 1 {
			problem = "from a single step there is nothing to go back to: the filling is drawn once"
		}
		notes = append(notes, Note{Problem: problem})
	}
	return notes
}

// Timesteps is where the model is called, in order.
func (p *RePaint) Timesteps() []int {
	if p.plain {
		return p.sampler.Timesteps()
	}
	var ts []int
	for _, m := range p.moves {
		if m.step >= 0 {
			ts = append(ts, p.parts[m.step].Timesteps()...)
		}
	}
	return ts
}

// Sample replaces b.X, x_T, by b.Given with its holes filled; see Sampler. The
// observer sees the steps of the sampler.
func (p *RePaint) Sample(ctx context.Context, m Model, b *Batch, z Noise, observe func(Step) error) error {
	switch {
	case len(p.fill) != b.Dim:
		return fmt.Errorf("repaint: a mask of %d numbers does not fit images of %d", len(p.fill), b.Dim)
	case p.plain:
		return p.sampler.Sample(ctx, m, b, z, observe)
	case len(b.Given) != len(b.X):
		return fmt.Errorf("repaint: a batch of %d numbers begins with images of %d", len(b.X), len(b.Given))
	case z == nil:
		return errors.New("repaint: it draws noise, and there is no source of it")
	}
	eps := make([]float64, b.Dim)
	index := 0
	for k, mv := range p.moves {
		noise := func(dst []float64, image, _ int) { z(dst, image, k) }
		if mv.step < 0 {
			mv.diffuse(b, noise, eps)
			continue
		}
		var st Step
		err := p.parts[mv.step].Sample(ctx, m, b, noise, func(of Step) error {
			st = of
			return nil
		})
		alphaBar := p.end[mv.step]
		if k == len(p.moves)-1 {
			alphaBar = 1 // wherever the sampler ends
		}
		p.restore(b, alphaBar, noise, eps)
		if st.Index, st.Total = index, p.total; err == nil && observe != nil {
			err = observe(st)
		}
		if err != nil {
			return fmt.Errorf("repaint: step %d of %d: %w", index+1, p.total, err)
		}
		index++
	}
	return nil
}

// diffuse is a step of q.
func (m move) diffuse(b *Batch, z Noise, eps []float64) {
	ratio := m.to / m.from
	for i := range b.N {
		x := b.X[i*b.Dim : (i+1)*b.Dim]
		z(eps, b.number(i), 0)
		combine(x, math.Sqrt(ratio), x, math.Sqrt(1-ratio), eps)
	}
}

// restore puts what is known into the batch, noised to alphaBar.
func (p *RePaint) restore(b *Batch, alphaBar float64, z Noise, eps []float64) {
	for i := range b.N {
		x, given := b.X[i*b.Dim:(i+1)*b.Dim], b.Given[i*b.Dim:(i+1)*b.Dim]
		known := given // without noise also in its bits: a sum has no negative zero
		if alphaBar < 1 {
			known = eps
			z(eps, b.number(i), 0)
			combine(known, math.Sqrt(alphaBar), given, math.Sqrt(1-alphaBar), eps)
		}
		for j, fill := range p.fill {
			if !fill {
				x[j] = known[j]
			}
		}
	}
}
