package diffusion

import (
	"fmt"
	"strings"
)

// divisible is a sampler whose steps can be run apart, for methods that wrap
// samplers: that begin at a later step, or repeat some.
type divisible interface {
	Sampler
	walker
	// part is the sampler of steps from to to-1 alone. It counts its steps, and
	// the noise that they draw, from 0.
	part(from, to int) divisible
	// levels are the alphaBar's at which each step begins and ends.
	levels() (begin, end []float64)
}

// UndefinedError is the error of a method that is not defined for a sampler.
type UndefinedError struct {
	Method  string   // such as RePaint
	Sampler string   // its name
	Reason  string   // why not
	Defined []string // names of the samplers that it is defined for
}

func (e *UndefinedError) Error() string {
	return fmt.Sprintf("%s is not defined for %s, %s; it is defined for %s", e.Method, e.Sampler, e.Reason, strings.Join(e.Defined, ", "))
}

// newDivisible is New for a method that is defined for the samplers that do not
// invert and that has accepts, which rejects others for reason.
func newDivisible(method, name string, s *Schedule, o Options, reason string, has func(Info) bool) (divisible, error) {
	sampler, err := New(name, s, o)
	if err != nil {
		return nil, err
	}
	info, _ := Find(name)
	d, ok := sampler.(divisible)
	if ok && has(info) {
		return d, nil
	}
	if info.Inverts {
		reason = "which turns images into noise"
	}
	return nil, &UndefinedError{method, name, reason, Names(func(i Info) bool { return !i.Inverts && has(i) })}
}
