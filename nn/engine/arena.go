package engine

import "sort"

// span is memory that is needed from step `from` to step `to`, both included.
type span struct {
	from, to int
	size     int // floats
	offset   int // where place put it
}

// align is the granularity of the arena in floats: one cache line.
const align = 16

func roundUp(n int) int { return (n + align - 1) &^ (align - 1) }

// place gives each span an offset so that spans whose lifetimes meet do not overlap, and returns the size of
// the arena. It places the largest first, each at the lowest offset that is free for its whole lifetime: greedy
// by size, which on these graphs comes within a few percent of the peak of what is alive at once.
func place(spans []*span) int {
	order := append([]*span(nil), spans...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].size > order[j].size })
	var placed []*span // ordered by offset
	total := 0
	for _, s := range order {
		size := roundUp(s.size)
		offset := 0
		for _, p := range placed {
			if p.from > s.to || s.from > p.to {
				continue
			}
			if offset+size <= p.offset {
				break
			}
			offset = max(offset, p.offset+roundUp(p.size))
		}
		s.offset = offset
		total = max(total, offset+size)
		at := sort.Search(len(placed), func(i int) bool { return placed[i].offset > offset })
		placed = append(placed, nil)
		copy(placed[at+1:], placed[at:])
		placed[at] = s
	}
	return total
}

// peak is the largest number of floats alive at one step: no placement can do with less.
func peak(spans []*span, steps int) int {
	change := make([]int, steps+2)
	for _, s := range spans {
		change[s.from] += roundUp(s.size)
		change[s.to+1] -= roundUp(s.size)
	}
	most, now := 0, 0
	for _, c := range change {
		now += c
		most = max(most, now)
	}
	return most
}
