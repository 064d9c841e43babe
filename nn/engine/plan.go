package engine

import (
	"fmt"
	"sort"
	"strings"

	G "gorgonia.org/gorgonia"
)

// stepKind tells what a step of the plan does.
type stepKind int

const (
	runKernel  stepKind = iota // an Op
	addNodes                   // Gorgonia's own addition, where several gradients meet in one node
	storeExtra                 // a by-product that its Op has written already
)

// step is one node of the graph, ready to run.
type step struct {
	node *G.Node
	kind stepKind
	op   *Op
	call Call
}

// planner lays out the values of a graph.
type planner struct {
	opt    Options
	order  []*G.Node // children before parents, only what the outputs need
	index  map[*G.Node]int
	last   map[*G.Node]int // the last step that reads the node
	output map[*G.Node]bool
	fixed  map[*G.Node][]float32
	spans  map[*G.Node]*span // where in the arena, for nodes that live there
	adds   map[*G.Node]bool  // nodes whose kernel adds them to what is in their place
	done   map[*G.Node]bool  // additions that need no step, because of that
	all    []*span
	naive  int
}

func children(n *G.Node) []*G.Node {
	it := n.Graph().From(n.ID())
	if it == nil {
		return nil
	}
	out := make([]*G.Node, 0, max(it.Len(), 0))
	for it.Next() {
		out = append(out, it.Node().(*G.Node))
	}
	return out
}

// sortNodes lists what the outputs depend on in the order in which the nodes were made: the forward pass as the
// model was written, then each layer's gradients together, which keeps what they share in the cache. Only additions
// come as soon as their operands are there: one tensor instead of two waits for the rest of a skip connection's
// gradient, and the operands are still in the cache.
func (p *planner) sortNodes(outputs G.Nodes) (map[*G.Node][]*G.Node, error) {
	kids := map[*G.Node][]*G.Node{}
	stack := append(G.Nodes(nil), outputs...)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if _, seen := kids[n]; seen {
			continue
		}
		kids[n] = children(n)
		p.order = append(p.order, n)
		stack = append(stack, kids[n]...)
	}
	sort.Slice(p.order, func(i, j int) bool { return p.order[i].ID() < p.order[j].ID() })
	p.hasten(kids)
	for i, n := range p.order {
		for _, c := range kids[n] {
			if p.index[c] >= i {
				return nil, fmt.Errorf("engine: node %v was made before its input %v", n, c)
			}
			if b, ok := n.Op().(*byproduct); ok && b != nil {
				continue // reads nothing of its child: the child's kernel has written it
			}
			p.last[c] = i
		}
	}
	for _, n := range outputs {
		p.output[n] = true
	}
	return kids, nil
}

// hasten moves each addition to behind the later one of its operands and numbers the order.
func (p *planner) hasten(kids map[*G.Node][]*G.Node) {
	waiting := map[*G.Node][]*G.Node{} // additions by operand
	missing := map[*G.Node]int{}       // operands that an addition waits for
	for _, n := range p.order {
		if isAdd(n) {
			for _, k := range kids[n] {
				waiting[k] = append(waiting[k], n)
				missing[n]++
			}
		}
	}
	made := p.order
	p.order = make([]*G.Node, 0, len(made))
	var add func(n *G.Node)
	add = func(n *G.Node) {
		p.index[n] = len(p.order)
		p.order = append(p.order, n)
		for _, sum := range waiting[n] {
			if missing[sum]--; missing[sum] == 0 {
				add(sum)
			}
		}
	}
	for _, n := range made {
		if !isAdd(n) {
			add(n)
		}
	}
}

func size(n *G.Node) int {
	if n.Shape().IsScalar() {
		return 1
	}
	return n.Shape().TotalSize()
}

func isAdd(n *G.Node) bool {
	_, binary := n.Op().(G.BinaryOp)
	return binary && strings.HasPrefix(n.Op().String(), "+ ")
}

// end is the last step that needs the value that step i makes. An output must outlive the run, unless it is
// pinned: then it has been stored elsewhere.
func (p *planner) end(n *G.Node, i int) int {
	if _, pinned := p.opt.Pin[n]; p.output[n] && !pinned {
		return len(p.order)
	}
	return max(i, p.last[n])
}

// reserve gives node n, made at step i, memory from step `from` on.
func (p *planner) reserve(n *G.Node, from, i int) {
	s := &span{from: from, to: p.end(n, i), size: size(n)}
	p.spans[n] = s
	p.all = append(p.all, s)
	p.naive += s.size
}

// dying returns the span of the first of the inputs at the given positions that nothing reads after step i.
func (p *planner) dying(kids []*G.Node, positions []int, i, size int) *span {
	for _, k := range positions {
		c := kids[k]
		s, ok := p.spans[c]
		if !ok || s.to != i || s.size != size {
			continue
		}
		once := 0
		for _, o := range kids {
			if p.spans[o] == s {
				once++
			}
		}
		if once == 1 {
			return s
		}
	}
	return nil
}

// mergeable lists, by their later operand, the additions that this operand's kernel may do: it has Adds, the other operand
// is there before it, and nothing else reads either of them.
func (p *planner) mergeable(kids map[*G.Node][]*G.Node) map[*G.Node]*G.Node {
	readers := map[*G.Node]int{} // but for by-products, which read nothing
	for _, n := range p.order {
		if _, ok := n.Op().(*byproduct); ok {
			continue
		}
		for _, k := range kids[n] {
			readers[k]++
		}
	}
	visible := func(n *G.Node) bool { // from outside
		_, pinned := p.opt.Pin[n]
		return pinned || p.output[n]
	}
	merged := map[*G.Node]*G.Node{}
	for _, sum := range p.order {
		if _, pinned := p.opt.Pin[sum]; pinned || !isAdd(sum) {
			continue
		}
		first, last := p.operands(sum, kids)
		maker, result := last, 0
		if b, ok := last.Op().(*byproduct); ok {
			maker, result = kids[last][0], 1+b.index
		}
		op, ok := maker.Op().(*Op)
		if ok && result < op.Adds && p.index[first] < p.index[maker] && size(first) == size(last) &&
			readers[first] == 1 && readers[last] == 1 && !visible(first) && !visible(last) {
			merged[last] = sum
		}
	}
	return merged
}

// operands are those of an addition, in the order in which they are made.
func (p *planner) operands(sum *G.Node, kids map[*G.Node][]*G.Node) (first, last *G.Node) {
	first, last = kids[sum][0], kids[sum][1]
	if p.index[first] > p.index[last] {
		return last, first
	}
	return first, last
}

// merge lets node n's kernel add its result to the other operand of the addition, in whose place the sum stays. It returns
// false when that operand's memory is not to be had.
func (p *planner) merge(n, sum *G.Node, kids map[*G.Node][]*G.Node) bool {
	if sum == nil {
		return false
	}
	first, _ := p.operands(sum, kids)
	s, ok := p.spans[first]
	if !ok || s.to != p.index[sum] {
		return false
	}
	s.to = p.end(sum, s.to)
	p.spans[n], p.spans[sum] = s, s
	p.adds[n], p.done[sum] = true, true
	p.naive += 2 * s.size
	return true
}

// lifetimes decides for each node whether it is an input, pinned, in place or in the arena, and for how long.
func (p *planner) lifetimes(kids map[*G.Node][]*G.Node) error {
	extras := map[*G.Node][]*G.Node{} // by-products by the node that makes them
	for _, n := range p.order {
		if _, ok := n.Op().(*byproduct); ok {
			extras[kids[n][0]] = append(extras[kids[n][0]], n)
		}
	}
	merged := p.mergeable(kids)
	for i, n := range p.order {
		dst, pinned := p.opt.Pin[n]
		if pinned && len(dst) != size(n) {
			return fmt.Errorf("engine: node %v has %d values but is pinned to %d", n, size(n), len(dst))
		}
		if pinned {
			p.fixed[n] = dst
		}
		op, isOp := n.Op().(*Op)
		_, isExtra := n.Op().(*byproduct)
		switch {
		case n.Op() == nil || len(kids[n]) == 0:
			v, err := floats(n.Value())
			if err != nil {
				return fmt.Errorf("engine: input %q: %w", n.Name(), err)
			}
			p.fixed[n] = v
			continue
		case isExtra || p.done[n]:
			// reserved when its maker was reached
		case !isOp && !isAdd(n):
			return fmt.Errorf("engine: %v is not an operation of this engine", n)
		case p.merge(n, merged[n], kids):
			// it is added to what has a place already
		case !pinned:
			inPlace := []int{0, 1}
			if isOp {
				inPlace = op.InPlace
			}
			if s := p.dying(kids[n], inPlace, i, size(n)); s != nil {
				s.to = p.end(n, i)
				p.spans[n] = s
				p.naive += s.size
			} else {
				p.reserve(n, i, i)
			}
		}
		for _, e := range extras[n] {
			if p.merge(e, merged[e], kids) {
				continue
			}
			if _, pinned := p.opt.Pin[e]; !pinned {
				p.reserve(e, i, p.index[e])
			}
		}
	}
	return nil
}
