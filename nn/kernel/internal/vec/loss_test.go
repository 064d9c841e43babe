package vec

import (
	"fmt"
	"math"
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

func TestLossIsTheFloat64Sum(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, dim := range []int{1, 15, 16, 33, 784, 3072} {
			n, r := 5, kerneltest.Rand(1)
			pred, target, weight := kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n)
			l, per, dpred := NewLoss(n, dim, cpu.This()), kerneltest.Garbage(n), kerneltest.Garbage(n*dim)
			got := l.Forward(per, pred, target, weight)
			l.Backward(dpred, pred, target, weight, 1.5)
			var want float64
			for i := 0; i < n; i++ {
				var sum float64
				for j := i * dim; j < (i+1)*dim; j++ {
					d := float64(pred[j]) - float64(target[j])
					sum += d * d
					if g := 2 * float64(weight[i]) * 1.5 * d; math.Abs(float64(dpred[j])-g) > 3e-7*math.Abs(g)+1e-7 {
						t.Fatalf("dim %d: dpred[%d] = %v, not %v", dim, j, dpred[j], g)
					}
				}
				want += float64(weight[i]) * sum
				if m := sum / float64(dim); math.Abs(float64(per[i])-m) > 2e-7*m {
					t.Errorf("dim %d: mean of image %d is %v, not %v", dim, i, per[i], m)
				}
			}
			if math.Abs(float64(got)-want) > 3e-7*float64(dim*n) {
				t.Errorf("dim %d: loss %v, not %v", dim, got, want)
			}
			if other := l.Forward(nil, pred, target, weight); other != got {
				t.Errorf("dim %d: %v without perImage, %v with", dim, other, got)
			}
		}
	})
}

func TestLossGradientIsTheFiniteDifference(t *testing.T) {
	n, dim, r := 3, 20, kerneltest.Rand(2)
	pred, target, weight := kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n)
	l, dpred := NewLoss(n, dim, cpu.This()), kerneltest.Garbage(n*dim)
	l.Backward(dpred, pred, target, weight, 1)
	want := kerneltest.Differences(pred, func() float64 {
		var sum float64
		for i := range pred {
			d := float64(pred[i]) - float64(target[i])
			sum += float64(weight[i/dim]) * d * d
		}
		return sum
	})
	if err := kerneltest.Near(dpred, want, 1e-6); err != nil {
		t.Error(err)
	}
}

func TestLossBits(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	n, dim := 7, 100
	run := func() map[string][]float32 {
		r := kerneltest.Rand(3)
		pred, target, weight := kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n*dim), kerneltest.Randoms(r, n)
		l, per, dpred := NewLoss(n, dim, cpu.This()), kerneltest.Garbage(n), kerneltest.Garbage(n*dim)
		sum := l.Forward(per, pred, target, weight)
		l.Backward(dpred, pred, target, weight, 0.7)
		return map[string][]float32{"sum": {sum}, "perImage": per, "dpred": dpred}
	}
	parallel.SetThreads(1)
	want := run()
	for threads := 2; threads <= 3; threads++ {
		parallel.SetThreads(threads)
		for name, got := range run() {
			if err := kerneltest.SameBits(got, want[name]); err != nil {
				t.Errorf("%d threads: %s: %v", threads, name, err)
			}
		}
	}
	kerneltest.EqualOnVectorLevels(t, fmt.Sprint(n, dim), run)
}

func TestLossPassesNaN(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		l, per, dpred := NewLoss(2, 20, cpu.This()), kerneltest.Garbage(2), kerneltest.Garbage(40)
		pred, target, weight := make([]float32, 40), make([]float32, 40), []float32{1, 1}
		pred[19] = float32(math.NaN())
		sum := l.Forward(per, pred, target, weight)
		l.Backward(dpred, pred, target, weight, 1)
		if sum == sum || per[0] == per[0] || per[1] != 0 || dpred[19] == dpred[19] || dpred[18] != 0 {
			t.Errorf("sum %v, per image %v, gradient %v %v", sum, per, dpred[18], dpred[19])
		}
	})
}

func TestLossAllocatesNothing(t *testing.T) {
	l, per, x := NewLoss(4, 50, cpu.This()), kerneltest.Garbage(4), make([]float32, 200)
	y, w, d := make([]float32, 200), make([]float32, 4), make([]float32, 200)
	if n := testing.AllocsPerRun(5, func() { l.Forward(per, x, y, w); l.Backward(d, x, y, w, 1) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
