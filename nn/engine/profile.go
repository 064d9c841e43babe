package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"unstir/nn/kernel"
)

// StepInfo describes one step of a plan.
type StepInfo struct {
	Op     string
	Pass   kernel.Pass // a gradient that is no convolution's is BackwardData, that of weights beside it included
	Shape  []int       // of the result
	Convs  []kernel.ConvShape
	Method string        // of what is no convolution, or what to add of one
	FLOPs  float64       // 0 for memory-bound work; of a convolution, those of its definition, whatever its algorithm
	Time   time.Duration // the shortest of the profiled runs
}

// Algorithm is how the step is computed on a machine by so many threads: what kernel.Choose says of its convolutions, or else
// its method.
func (s StepInfo) Algorithm(threads int, c kernel.CPU) string {
	if len(s.Convs) == 0 {
		return s.Method
	}
	var names []string
	for _, shape := range s.Convs {
		names = append(names, kernel.Choose(shape, s.Pass, threads, c).String())
	}
	name := strings.Join(slices.Compact(names), " + ")
	if s.Method != "" {
		name += ", " + s.Method
	}
	return name
}

// Operands is the shape of the step's convolutions, or else that of its result.
func (s StepInfo) Operands() string {
	var shapes []string
	for _, shape := range s.Convs {
		shapes = append(shapes, shape.String())
	}
	if len(shapes) > 0 {
		return strings.Join(shapes, " + ")
	}
	if len(s.Shape) == 0 {
		return "1"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Shape), "[]"), " ", "x")
}

// Profile switches the timing of steps on or off; on starts anew.
func (m *Machine) Profile(on bool) {
	m.times = nil
	if on {
		m.times = make([]time.Duration, len(m.steps))
	}
}

// Plan lists the steps in the order in which they run. By-products are not among them: they are written by the steps that they
// belong to.
func (m *Machine) Plan() []StepInfo {
	var out []StepInfo
	for i, s := range m.steps {
		if s.kind == storeExtra {
			continue
		}
		info := StepInfo{Op: "add gradients", Pass: kernel.BackwardData, Shape: s.node.Shape(), Method: "add"}
		if s.op != nil {
			info.Op, info.Pass, info.Convs, info.Method, info.FLOPs = s.op.Name, s.op.Pass, s.op.Convs, s.op.Method, s.op.FLOPs
		}
		if m.times != nil {
			info.Time = m.times[i]
		}
		out = append(out, info)
	}
	return out
}
