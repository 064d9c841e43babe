package engine

import (
	"fmt"
	"time"
)

// StepInfo describes one step of a plan.
type StepInfo struct {
	Op    string
	Shape []int
	Bytes int           // of the result
	FLOPs float64       // 0 for memory-bound work
	Time  time.Duration // mean over the profiled runs
}

// Profile switches the timing of steps on or off; on starts anew.
func (m *Machine) Profile(on bool) {
	m.times, m.profile = nil, 0
	if on {
		m.times = make([]time.Duration, len(m.steps))
	}
}

// Plan lists the steps in the order in which they run.
func (m *Machine) Plan() []StepInfo {
	out := make([]StepInfo, len(m.steps))
	for i, s := range m.steps {
		out[i] = StepInfo{Op: fmt.Sprint(s.node.Op()), Shape: s.node.Shape(), Bytes: 4 * len(s.call.Out)}
		if s.op != nil {
			out[i].FLOPs = s.op.FLOPs
		}
		if s.kind == addNodes {
			out[i].Op = "add gradients"
		}
		if m.profile > 0 {
			out[i].Time = m.times[i] / time.Duration(m.profile)
		}
	}
	return out
}
