package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	G "gorgonia.org/gorgonia"

	"unstir/nn/kernel"
)

// Options say where results go.
type Options struct {
	// Pin gives nodes memory outside the arena, for example the slices of one flat gradient. Each run overwrites it.
	Pin map[*G.Node][]float32
}

// Machine runs the nodes that a set of outputs depends on, in one arena. It is a gorgonia.VM. It keeps the
// slices that the graph's inputs held when it was made: new inputs are written into them, not bound anew.
// It is not safe for concurrent use; machines of different graphs are independent.
type Machine struct {
	steps  []step
	arena  []float32
	values map[*G.Node][]float32
	vec    *kernel.Vec
	stats  Stats
	times  []time.Duration // the shortest of each step, when profiling; 0 before the first run
}

// Stats describes a plan; sizes are in bytes.
type Stats struct {
	Arena      int // what the plan needs, the workers' own memory included
	LowerBound int // what is alive at once in the worst step
	Naive      int // every value in memory of its own
	FLOPs      float64
}

// Measure plans the graph as New does and returns the memory that the plan would need, without allocating it. The other
// statistics are zero.
func Measure(outputs G.Nodes, opt Options) (Stats, error) {
	l, err := layOut(outputs, opt)
	if err != nil {
		return Stats{}, err
	}
	return l.stats(), nil
}

// layout is a plan before its memory is allocated.
type layout struct {
	*planner
	kids    map[*G.Node][]*G.Node
	scratch map[*G.Node]*span  // memory of a step's kernel that its workers share
	own     kernel.ScratchSize // memory of each worker, the same in all steps
	total   int                // floats of the arena
}

func (l *layout) stats() Stats {
	return Stats{
		Arena:      4 * (l.total + l.own.OwnLen()),
		Naive:      4 * l.naive,
		LowerBound: 4 * (peak(l.all, len(l.order)) + l.own.OwnLen()),
	}
}

// layOut places every value in the arena.
func layOut(outputs G.Nodes, opt Options) (*layout, error) {
	p := &planner{
		opt: opt, index: map[*G.Node]int{}, last: map[*G.Node]int{}, output: map[*G.Node]bool{},
		fixed: map[*G.Node][]float32{}, spans: map[*G.Node]*span{}, adds: map[*G.Node]bool{}, done: map[*G.Node]bool{},
	}
	kids, err := p.sortNodes(outputs)
	if err != nil {
		return nil, err
	}
	if err := p.lifetimes(kids); err != nil {
		return nil, err
	}
	l := &layout{planner: p, kids: kids, scratch: map[*G.Node]*span{}}
	for i, n := range p.order {
		if op, ok := n.Op().(*Op); ok {
			l.own = l.own.Max(op.Scratch)
			if op.Scratch.Shared > 0 {
				s := &span{from: i, to: i, size: op.Scratch.Shared}
				l.scratch[n] = s
				p.all = append(p.all, s)
			}
		}
	}
	l.total = place(p.all)
	return l, nil
}

// New plans the graph for the given outputs. Inputs must have values bound to them.
func New(outputs G.Nodes, opt Options) (*Machine, error) {
	p, err := layOut(outputs, opt)
	if err != nil {
		return nil, err
	}
	kids, scratch := p.kids, p.scratch
	m := &Machine{values: map[*G.Node][]float32{}, vec: kernel.NewVec(), stats: p.stats()}
	m.arena = AlignedFloats(p.total)
	own := kernel.CutOwn(AlignedFloats(p.own.OwnLen()), p.own)
	at := func(s *span) []float32 { return m.arena[s.offset : s.offset+s.size : s.offset+s.size] }
	for n, v := range p.fixed {
		m.values[n] = v
	}
	for n, s := range p.spans {
		m.values[n] = at(s)
	}
	made := make(map[*G.Node]int, len(p.order)) // step by node
	for _, n := range p.order {
		if n.Op() == nil || len(kids[n]) == 0 || p.done[n] {
			continue
		}
		s := step{node: n, kind: addNodes}
		s.call.Out = m.values[n]
		for _, c := range kids[n] {
			s.call.In = append(s.call.In, m.values[c])
		}
		switch op := n.Op().(type) {
		case *Op:
			s.kind, s.op = runKernel, op
			s.call.Extra = make([][]float32, len(op.Extras))
			s.call.Add, s.call.AddExtra = p.adds[n], make([]bool, len(op.Extras))
			s.call.Scratch.Own = own
			if sp := scratch[n]; sp != nil {
				s.call.Scratch.Shared = at(sp)
			}
			m.stats.FLOPs += op.FLOPs
		case *byproduct:
			s.kind = storeExtra
			maker := &m.steps[made[kids[n][0]]].call
			maker.Extra[op.index], maker.AddExtra[op.index] = m.values[n], p.adds[n]
		}
		made[n] = len(m.steps)
		m.steps = append(m.steps, s)
	}
	return m, nil
}

// Value is the memory of a node: of an output after a run, or of an input. Other nodes' values may have been
// overwritten by later steps.
func (m *Machine) Value(n *G.Node) []float32 { return m.values[n] }

// Stats describes the plan.
func (m *Machine) Stats() Stats { return m.stats }

// RunAll runs every step. An error names the operation that failed.
func (m *Machine) RunAll() error { return m.Run(context.Background()) }

// ErrStopped is returned, with the context's cause, when a run was cut short.
var ErrStopped = errors.New("engine: stopped")

// Run runs every step, or stops between two of them when ctx is done.
func (m *Machine) Run(ctx context.Context) (err error) {
	i := 0
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("engine: step %d, %v of shape %v: %v", i, m.steps[i].node.Op(), m.steps[i].node.Shape(), r)
		}
	}()
	done := ctx.Done()
	for ; i < len(m.steps); i++ {
		select {
		case <-done:
			return fmt.Errorf("%w: %w", ErrStopped, context.Cause(ctx))
		default:
		}
		if m.times == nil {
			m.runStep(&m.steps[i])
			continue
		}
		start := time.Now()
		m.runStep(&m.steps[i])
		if d := time.Since(start); m.times[i] == 0 || d < m.times[i] {
			m.times[i] = d
		}
	}
	return nil
}

func (m *Machine) runStep(s *step) {
	c := &s.call
	switch s.kind {
	case runKernel:
		s.op.Kernel(c)
	case addNodes:
		m.vec.Add(c.Out, c.In[0], c.In[1])
	}
}

// Reset and Close complete gorgonia.VM; a Machine needs neither.
func (m *Machine) Reset()       {}
func (m *Machine) Close() error { return nil }

var _ G.VM = (*Machine)(nil)
