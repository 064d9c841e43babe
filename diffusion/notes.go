package diffusion

import (
	"fmt"
	"math"
	"strings"
)

// Note is a warning about a sampler's settings: no error, but the images will
// show it.
type Note struct {
	Problem string // what happens
	Steps   []int  // the nearest numbers of steps, below and above, without the problem; may be empty
	Next    bool   // Options.Pairing = PairNext helps
}

// Text is the note in one line. option is how the user sets PairNext, such as
// "--pairing next"; "" where it cannot be set.
func (n Note) Text(option string) string {
	var helps []string
	switch len(n.Steps) {
	case 1:
		helps = append(helps, fmt.Sprintf("take %d steps", n.Steps[0]))
	case 2:
		helps = append(helps, fmt.Sprintf("take %d or %d steps", n.Steps[0], n.Steps[1]))
	}
	if n.Next && option != "" {
		helps = append(helps, option+", which draws clean images with any number of steps")
	}
	if len(helps) == 0 {
		return n.Problem
	}
	return n.Problem + "; " + strings.Join(helps, ", or ")
}

// String is Text for users of this package.
func (n Note) String() string { return n.Text("Options.Pairing = PairNext") }

// The limits above which Notes speaks. Noise is measured as the angle phi of
// x_t = cos(phi) x_0 + sin(phi) eps, alphaBar = cos(phi)^2, which goes from 0,
// the data, to pi/2, pure noise. What the steps leave out of that arc stays in
// the images as noise of about that standard deviation, where the images'
// range is from -1 to 1: measured, 0.6 to 0.9 of it, for steps that leave out
// 4 to 50 % of the arc.
const (
	arcLimit = 0.05 // 6 of 255 gray levels
	// A sampler that draws as much noise as ddpm forgets where it began: this
	// share of what is missing at the beginning is seen.
	forgetful = 0.2
	// Leading begins a stride below T by definition: up to this share of T,
	// that is as expected.
	usualStart = 0.1
)

// walk is what a sampler's steps do to the noise, from the noise down, for
// Notes: of each step the alphaBar where it begins and where it ends.
type walk struct {
	ts         []int
	begin, end []float64
	last       float64 // alphaBar that the run is meant to end at
	noisy      float64 // share of ddpm's noise that the steps draw, 0 to 1
	noised     bool    // the run begins with the noise of its first timestep, wherever that lies
}

// walker is a sampler whose steps Notes can compare with each other.
type walker interface{ walk() walk }

// critic is a sampler that knows of more. run names the run.
type critic interface {
	critique(run string) string // what the images will show; "" where nothing is wrong
}

func critique(s Sampler, run string) string {
	if c, ok := s.(critic); ok {
		return c.critique(run)
	}
	return ""
}

// Notes says what the images will show of the settings of the sampler that New
// makes of the same arguments: steps that overlap or leave a gap in the noise
// between them (see PairStride), a list of timesteps that begins too far below the
// pure noise x_T, or a step that is too large for the sampler's order.
// It decides by the schedule's noise levels. It is empty with PairNext, with the
// usual numbers of steps, and where New returns an error.
func Notes(name string, s *Schedule, o Options) []Note {
	sampler, err := New(name, s, o)
	if err != nil {
		return nil
	}
	return s.notes(sampler, name, o)
}

// notes are Notes of a sampler of that name and options.
func (s *Schedule) notes(sampler Sampler, name string, o Options) []Note {
	if o.Steps == 0 {
		o.Steps = len(o.Timesteps)
	}
	if sp := find(name); sp.resolve != nil {
		o = sp.resolve(s, o)
	}
	var notes []Note
	if w, ok := sampler.(walker); ok {
		walk := w.walk()
		if problem := s.mismatch(name, walk, o); problem != "" {
			notes = append(notes, Note{problem, s.tiling(name, o), o.Timesteps == nil})
		}
		if first := walk.ts[0]; s.Config.RescaleZeroSNR && first < s.T-1 && o.LambdaMin == nil && !walk.noised {
			notes = append(notes, Note{fmt.Sprintf("the model has rescale_betas_zero_snr, for runs that begin at pure noise, t = %d, but %s begins at t = %d: dark and bright images come out paler",
				s.T-1, settings(name, s, o), first), nil, o.Timesteps == nil})
		}
	}
	if problem := critique(sampler, settings(name, s, o)); problem != "" {
		notes = append(notes, Note{problem, s.tiling(name, o), true})
	}
	return notes
}

// settings names a run.
func settings(name string, s *Schedule, o Options) string {
	if o.Timesteps != nil {
		return fmt.Sprintf("%s with this list of %d timesteps", name, len(o.Timesteps))
	}
	return fmt.Sprintf("%s with %d steps and spacing %s", name, o.Steps, s.spacing(o))
}

// phi is the angle of alphaBar.
func phi(alphaBar float64) float64 { return math.Acos(math.Sqrt(alphaBar)) }

// arcs measures what a walk leaves out of the noise's arc: above its first
// step, between its steps, and below its last.
func (s *Schedule) arcs(w walk, o Options) (above, between, below float64) {
	n := len(w.ts)
	if o.LambdaMin == nil && !w.noised {
		first := w.ts[0]
		if o.Timesteps == nil && s.spacing(o) == Leading {
			stride := s.T
			if n > 1 {
				stride = first - w.ts[1]
			}
			stride = max(1, min(stride, int(usualStart*float64(s.T))))
			first = min(first+stride-1, s.T-1)
		}
		above = phi(s.AlphaBar[s.T-1]) - phi(s.AlphaBar[first])
		above *= 1 - (1-forgetful)*w.noisy
	}
	for k := range n - 1 {
		between += math.Abs(phi(w.end[k]) - phi(w.begin[k+1]))
	}
	return above, between, phi(w.end[n-1]) - phi(w.last)
}

// mismatch says where the noise of a sampler's steps does not fit together;
// "" where that does not matter.
func (s *Schedule) mismatch(name string, w walk, o Options) string {
	above, between, below := s.arcs(w, o)
	total := above + between + below
	if total <= arcLimit {
		return ""
	}
	result := "the images keep noise"
	if find(name).Inverts {
		result = "x_T has less than the noise of N(0, I)"
	}
	var what []string
	if above > total/4 {
		what = append(what, fmt.Sprintf("covers the timesteps up to t = %d of %d, though x_T is pure noise", w.ts[0], s.T-1))
	}
	if between > total/4 {
		what = append(what, fmt.Sprintf("pairs each timestep with the one %d below, though the next of its list lies %.3g below on average",
			s.T/o.Steps, float64(w.ts[0]-w.ts[len(w.ts)-1])/float64(len(w.ts)-1)))
	}
	if below > total/4 {
		what = append(what, fmt.Sprintf("ends above the data, its last timestep being t = %d", w.ts[len(w.ts)-1]))
	}
	return fmt.Sprintf("%s %s: %s", settings(name, s, o), strings.Join(what, " and "), result)
}

// tiling is the nearest numbers of steps below and above the options' whose
// strides tile the schedule and that leave nothing to note.
func (s *Schedule) tiling(name string, o Options) []int {
	if o.Timesteps != nil {
		return nil
	}
	more := 0 // strides that the list has beyond its steps
	if s.spacing(o) != Trailing {
		more = find(name).extra
	}
	fits := func(steps int) bool {
		if s.T%(steps+more) != 0 {
			return false
		}
		o := o
		o.Steps = steps
		sampler, err := New(name, s, o)
		if err != nil {
			return false
		}
		w, ok := sampler.(walker)
		return (!ok || s.mismatch(name, w.walk(), o) == "") && critique(sampler, "") == ""
	}
	var found []int
	for steps := o.Steps - 1; steps > 1; steps-- { // a single step is no advice
		if fits(steps) {
			found = append(found, steps)
			break
		}
	}
	for steps := o.Steps + 1; steps <= s.T; steps++ {
		if fits(steps) {
			return append(found, steps)
		}
	}
	return found
}

// walkOf is the walk of a list whose steps end where the next begins, and the
// last as the sampler means it.
func (s *Schedule) walkOf(path []transition) walk {
	w := walk{ts: calls(path), last: 1}
	for _, p := range path {
		w.begin, w.end = append(w.begin, s.AlphaBar[p.t]), append(w.end, s.alphaBarAt(p.prev))
	}
	return w
}
