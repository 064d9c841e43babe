package data

import "sync"

// reporter hands progress to Options.Progress, from one goroutine at a time and
// never backwards.
type reporter struct {
	mu sync.Mutex
	o  *Options
	p  Progress
}

func newReporter(o *Options, what, unit string, total int64) *reporter {
	return &reporter{o: o, p: Progress{What: what, Unit: unit, Done: -1, Total: total}}
}

func (r *reporter) at(done int64) {
	if r.o.Progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if done > r.p.Done {
		r.p.Done = done
		r.o.Progress(r.p)
	}
}
