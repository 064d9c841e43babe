// Command gopeers times one 3x3 convolution, forward and backward, in unstir and in
// two other libraries that run on a CPU without cgo: Gorgonia's own Conv2d and
// GoMLX's Go backend. It checks that all three compute the same gradients, takes
// them in turns, and prints the median rate of each.
//
//	cd bench/gopeers && GOMAXPROCS=2 go run .
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sort"
	"time"
)

// shape is a 3x3 convolution of stride 1 with a border of one zero: n images of c
// channels and size x size pixels to k channels.
type shape struct{ n, c, k, size int }

// flops are those of the direct convolution in its three directions: forward, to
// the input's gradient and to the filter's.
func (s shape) flops() float64 {
	return 3 * 2 * float64(s.n*s.size*s.size*9*s.c*s.k)
}

// problem is the input in both of the layouts in use; dy is the gradient of the
// loss with respect to the output.
type problem struct {
	shape
	x, dy []float32 // NHWC
	w     []float32 // HWIO
}

// runner makes one pass forward and backward and returns the gradients: dx NHWC
// and dw HWIO. collect is false where only the time matters: both may be nil.
type runner func(collect bool) (dx, dw []float32, err error)

type library struct {
	name string
	new  func(*problem) (runner, error)
}

func main() {
	var s shape
	flag.IntVar(&s.n, "n", 16, "images")
	flag.IntVar(&s.c, "c", 64, "input channels")
	flag.IntVar(&s.k, "k", 64, "output channels")
	flag.IntVar(&s.size, "size", 28, "rows and columns")
	rounds := flag.Int("rounds", 5, "rounds; each takes every library in turn")
	flag.Parse()
	if err := compare(s, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "gopeers:", err)
		os.Exit(1)
	}
}

func compare(s shape, rounds int) error {
	if s.n < 1 || s.c < 1 || s.k < 1 || s.size < 3 || rounds < 1 {
		return fmt.Errorf("n, c, k and rounds must be at least 1, size at least 3")
	}
	p := newProblem(s)
	libraries := []library{{"unstir", newOurs}, {"Gorgonia v0.9.18 Conv2d", newGorgonia}, {"GoMLX v0.28.0 Go backend", newGoMLX}}
	runners := make([]runner, len(libraries))
	var wantX, wantW []float32
	for i, l := range libraries {
		r, err := l.new(p)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		dx, dw, err := r(true)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if i == 0 {
			wantX, wantW = dx, dw
		}
		if d := math.Max(distance(dx, wantX), distance(dw, wantW)); !(d < 1e-4) {
			return fmt.Errorf("%s: its gradients differ from unstir's by %.1e of their norm", l.name, d)
		}
		runners[i] = r
	}
	times := make([][]float64, len(libraries))
	for range rounds {
		for i, r := range runners {
			t, err := timed(r)
			if err != nil {
				return fmt.Errorf("%s: %w", libraries[i].name, err)
			}
			times[i] = append(times[i], t)
		}
	}
	print(s, libraries, times)
	return nil
}

// timed is the time of a pass in seconds: the best of as many as fit into half a
// second, and at least one.
func timed(r runner) (float64, error) {
	best, begin := math.Inf(1), time.Now()
	for {
		start := time.Now()
		if _, _, err := r(false); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start).Seconds())
		if time.Since(begin) > time.Second/2 {
			return best, nil
		}
	}
}

func print(s shape, libraries []library, times [][]float64) {
	fmt.Printf("3x3 convolution, forward + backward, [N, C, K, HW] = [%d, %d, %d, %d], GOMAXPROCS=%d, %s\n\n",
		s.n, s.c, s.k, s.size, runtime.GOMAXPROCS(0), runtime.Version())
	fmt.Println("| library | median ms | min - max ms | GFLOP/s | times unstir's |")
	fmt.Println("|---|---|---|---|---|")
	for i, l := range libraries {
		sorted, ratios := append([]float64(nil), times[i]...), make([]float64, len(times[i]))
		for j, t := range times[i] {
			ratios[j] = t / times[0][j]
		}
		sort.Float64s(sorted)
		sort.Float64s(ratios)
		m := median(sorted)
		fmt.Printf("| %s | %.2f | %.2f - %.2f | %.1f | %.1f |\n", l.name, 1e3*m, 1e3*sorted[0], 1e3*sorted[len(sorted)-1], s.flops()/m/1e9, median(ratios))
	}
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func newProblem(s shape) *problem {
	r := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	pixels := s.n * s.size * s.size
	return &problem{shape: s, x: fill(pixels * s.c), dy: fill(pixels * s.k), w: fill(9 * s.c * s.k)}
}

// distance is the norm of a-b over the norm of b.
func distance(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	var diff, norm float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		diff += d * d
		norm += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(diff / norm)
}

// permute writes v, of dimensions dims, with its axes in another order: axis i of
// the result is axis order[i] of v.
func permute(v []float32, dims, order [4]int) []float32 {
	strides := [4]int{dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1}
	out := make([]float32, 0, len(v))
	for a := range dims[order[0]] {
		for b := range dims[order[1]] {
			for c := range dims[order[2]] {
				for d := range dims[order[3]] {
					out = append(out, v[a*strides[order[0]]+b*strides[order[1]]+c*strides[order[2]]+d*strides[order[3]]])
				}
			}
		}
	}
	return out
}
