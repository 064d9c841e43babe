package attention

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

type attentionData struct {
	s                               Shape
	q, k, v, do, o, lse, dq, dk, dv []float32
	keep                            bool      // the probabilities, where the plan may
	kept                            []float32 // them
}

func newAttentionData(r *rand.Rand, s Shape, spread float32) *attentionData {
	n := s.N * s.S * s.Heads * s.D
	d := &attentionData{
		s: s, q: kerneltest.Randoms(r, n), k: kerneltest.Randoms(r, n), v: kerneltest.Randoms(r, n), do: kerneltest.Randoms(r, n), o: kerneltest.Garbage(n),
		lse: kerneltest.Garbage(s.N * s.Heads * s.S), dq: kerneltest.Garbage(n), dk: kerneltest.Garbage(n), dv: kerneltest.Garbage(n),
	}
	for i := range d.q {
		d.q[i] *= spread
	}
	return d
}

func (d *attentionData) run(t testing.TB) {
	t.Helper()
	a, err := New(d.s, cpu.This())
	if err != nil {
		t.Fatal(err)
	}
	scratch := kerneltest.Scratch(a.Scratch())
	if d.keep && a.Kept() > 0 {
		d.kept = kerneltest.Garbage(a.Kept())
	}
	a.Forward(d.o, d.lse, d.kept, d.q, d.k, d.v, scratch)
	kerneltest.Spoil(scratch)
	a.Backward(d.dq, d.dk, d.dv, d.do, d.o, d.lse, d.kept, d.q, d.k, d.v, scratch)
}

// forKept runs f with probabilities that are computed again, and with kept ones where the plan may keep them.
func forKept(t *testing.T, s Shape, f func(keep bool)) {
	t.Helper()
	a, err := New(s, cpu.This())
	if err != nil {
		t.Fatal(err)
	}
	if f(false); a.Kept() > 0 {
		f(true)
	}
}

// Probabilities are kept where they are no larger than q.
func TestAttentionKeepsNoMoreThanQ(t *testing.T) {
	for s, want := range map[Shape]int{
		{3, 256, 1, 256}: 3 * 256 * 256, {2, 49, 2, 64}: 2 * 2 * 49 * 64, {2, 49, 1, 63}: 0, {2, 257, 1, 256}: 0, {2, 16, 4, 32}: 0,
	} {
		if a, err := New(s, cpu.This()); err != nil || a.Kept() != want {
			t.Errorf("%+v: %d floats are kept, want %d; %v", s, a.Kept(), want, err)
		}
	}
}

func (d *attentionData) results() map[string][]float32 {
	return map[string][]float32{"o": d.o, "lse": d.lse, "dq": d.dq, "dk": d.dk, "dv": d.dv}
}

// wideAttention is the float64 loop that defines attention and its gradients.
type wideAttention struct{ o, lse, dq, dk, dv []float64 }

func (d *attentionData) wide() *wideAttention {
	s, n := d.s, len(d.q)
	w := &wideAttention{make([]float64, n), make([]float64, len(d.lse)), make([]float64, n), make([]float64, n), make([]float64, n)}
	scale := 1 / math.Sqrt(float64(s.D))
	p, dp := make([]float64, s.S), make([]float64, s.S)
	for h := 0; h < s.N*s.Heads; h++ {
		at := func(pos, i int) int { return (h/s.Heads*s.S+pos)*s.Heads*s.D + h%s.Heads*s.D + i }
		for a := 0; a < s.S; a++ {
			largest, sum, delta := math.Inf(-1), 0.0, 0.0
			for b := range p {
				p[b] = 0
				for i := 0; i < s.D; i++ {
					p[b] += scale * float64(d.q[at(a, i)]) * float64(d.k[at(b, i)])
				}
				largest = max(largest, p[b])
			}
			for b := range p {
				p[b] = math.Exp(p[b] - largest)
				sum += p[b]
			}
			w.lse[h*s.S+a] = largest + math.Log(sum)
			for b := range p {
				p[b] /= sum
				dp[b] = 0
				for i := 0; i < s.D; i++ {
					w.o[at(a, i)] += p[b] * float64(d.v[at(b, i)])
					dp[b] += float64(d.do[at(a, i)]) * float64(d.v[at(b, i)])
					w.dv[at(b, i)] += p[b] * float64(d.do[at(a, i)])
				}
				delta += p[b] * dp[b]
			}
			for b := range p {
				ds := p[b] * (dp[b] - delta) * scale
				for i := 0; i < s.D; i++ {
					w.dq[at(a, i)] += ds * float64(d.k[at(b, i)])
					w.dk[at(b, i)] += ds * float64(d.q[at(a, i)])
				}
			}
		}
	}
	return w
}

// attentionShapes: few and many heads, widths that fit vectors and that do not, one block of queries and several.
func attentionShapes() []Shape {
	return []Shape{
		{1, 1, 1, 1}, {2, 5, 1, 3}, {1, 16, 2, 8}, {2, 49, 4, 8}, {1, 64, 3, 8}, {2, 33, 2, 16}, {1, 50, 2, 12}, {2, 29, 2, 8},
		{1, 20, 1, 32}, {1, 47, 1, 64}, {1, 64, 1, 96}, {2, 37, 2, 56}, {1, 380, 1, 384}, {1, 700, 1, 8}, {1, 500, 1, 40}, {3, 17, 2, 20},
	}
}

// A probability carries the rounding of its score, some 1e-7 times the largest score; bounds are of the largest element.
func TestAttentionIsTheFloat64Loop(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, l cpu.Level) {
		r := kerneltest.Rand(1)
		for i, s := range attentionShapes() {
			if l == cpu.Generic && s.S > 600 || kerneltest.RaceDetector && s.S > 300 { // which is a hundred times slower
				continue
			}
			d := newAttentionData(r, s, float32(1+2*(i%3)))
			w := d.wide()
			forKept(t, s, func(keep bool) {
				d.keep = keep
				d.run(t)
				for _, c := range []struct {
					name string
					got  []float32
					want []float64
				}{{"o", d.o, w.o}, {"lse", d.lse, w.lse}, {"dq", d.dq, w.dq}, {"dk", d.dk, w.dk}, {"dv", d.dv, w.dv}} {
					if s.S == 1 && (c.name == "dq" || c.name == "dk") {
						continue // exactly 0: one key has all the weight; what is left is rounding
					}
					if err := kerneltest.Near(c.got, c.want, 5e-6); err != nil {
						t.Errorf("%+v, kept %v: %s: %v", s, keep, c.name, err)
					}
				}
			})
		}
	})
}

func TestAttentionGradientsAreFiniteDifferences(t *testing.T) {
	for _, s := range []Shape{{2, 5, 2, 3}, {1, 4, 1, 8}, {1, 3, 1, 36}} {
		d := newAttentionData(kerneltest.Rand(2), s, 2)
		d.keep = true
		d.run(t)
		loss := func() float64 {
			var sum float64
			for i, o := range d.wide().o {
				sum += o * float64(d.do[i])
			}
			return sum
		}
		for _, p := range []struct {
			name string
			x, g []float32
		}{{"q", d.q, d.dq}, {"k", d.k, d.dk}, {"v", d.v, d.dv}} {
			if err := kerneltest.Near(p.g, kerneltest.Differences(p.x, loss), 5e-4); err != nil {
				t.Errorf("%+v: gradient of %s: %v", s, p.name, err)
			}
		}
	}
}

// With scores in the hundreds the softmax is a choice of the best key, not an overflow.
func TestAttentionWithLargeScores(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []Shape{{1, 20, 2, 8}, {1, 20, 1, 64}} {
			d := newAttentionData(kerneltest.Rand(3), s, 1000)
			d.run(t)
			if err := kerneltest.Near(d.o, d.wide().o, 1e-3); err != nil {
				t.Errorf("%+v: %v", s, err)
			}
		}
	})
}

func TestAttentionPassesNaN(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []Shape{{2, 20, 2, 8}, {2, 20, 2, 64}} {
			d := newAttentionData(kerneltest.Rand(4), s, 1)
			d.keep = true
			d.k[7*s.Heads*s.D] = float32(math.NaN()) // image 0, head 0
			d.run(t)
			for i, o := range d.o {
				want := i < s.S*s.Heads*s.D && i/s.D%s.Heads == 0
				if (o != o) != want {
					t.Fatalf("%+v: k holds NaN in image 0, head 0; o[%d] = %v", s, i, o)
				}
			}
			if d.dq[0] == d.dq[0] {
				t.Errorf("%+v: k holds NaN, dq[0] = %v", s, d.dq[0])
			}
		}
	})
}

func TestAttentionBitsDependOnTheShapeOnly(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []Shape{{3, 49, 3, 8}, {3, 30, 1, 64}, {3, 200, 1, 40}} {
			parallel.SetThreads(1)
			d := newAttentionData(kerneltest.Rand(5), s, 1)
			d.keep = true
			d.run(t)
			for threads := 1; threads <= 3; threads++ {
				parallel.SetThreads(threads)
				e := newAttentionData(kerneltest.Rand(5), s, 1)
				e.keep = true
				e.run(t)
				for name, want := range d.results() {
					if err := kerneltest.SameBits(e.results()[name], want); err != nil {
						t.Errorf("%+v: %d threads: %s: %v", s, threads, name, err)
					}
				}
				one := s
				one.N = 1
				at := 2 * s.S * s.Heads * s.D
				f := newAttentionData(kerneltest.Rand(6), one, 1)
				copy(f.q, d.q[at:])
				copy(f.k, d.k[at:])
				copy(f.v, d.v[at:])
				copy(f.do, d.do[at:])
				f.keep = true
				f.run(t)
				for _, c := range []struct {
					name      string
					got, want []float32
				}{{"o", f.o, d.o}, {"dq", f.dq, d.dq}, {"dk", f.dk, d.dk}, {"dv", f.dv, d.dv}} {
					if err := kerneltest.SameBits(c.got, c.want[at:]); err != nil {
						t.Errorf("%+v: image 2 alone, %d threads: %s: %v", s, threads, c.name, err)
					}
				}
			}
		}
	})
}

func TestAttentionGivesEqualBitsOnAVX2AndAVX512(t *testing.T) {
	for i, s := range attentionShapes() {
		kerneltest.EqualOnVectorLevels(t, fmt.Sprintf("%+v", s), func() map[string][]float32 {
			d := newAttentionData(kerneltest.Rand(uint64(i)), s, 3)
			d.keep = i%2 == 0
			d.run(t)
			return d.results()
		})
	}
}

func TestAttentionAllocatesNothing(t *testing.T) {
	for _, s := range []Shape{{2, 20, 2, 8}, {2, 20, 1, 64}} {
		d := newAttentionData(kerneltest.Rand(7), s, 1)
		a, _ := New(s, cpu.This())
		if a.Kept() > 0 {
			d.kept = kerneltest.Garbage(a.Kept())
		}
		scratch := kerneltest.Scratch(a.Scratch())
		if n := testing.AllocsPerRun(5, func() {
			a.Forward(d.o, d.lse, d.kept, d.q, d.k, d.v, scratch)
			a.Backward(d.dq, d.dk, d.dv, d.do, d.o, d.lse, d.kept, d.q, d.k, d.v, scratch)
		}); n > 0 {
			t.Errorf("%+v: %v allocations", s, n)
		}
	}
}

func TestNewAttentionRefusesWhatMakesNoSense(t *testing.T) {
	for _, s := range []Shape{{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}} {
		if _, err := New(s, cpu.This()); err == nil {
			t.Errorf("%+v: no error", s)
		}
	}
}
