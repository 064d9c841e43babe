package vec

import (
	"math"
	"testing"

	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/parallel"
)

// oneHot are n rows with a single 1 each.
func oneHot(n, classes int) []float32 {
	x := make([]float32, n*classes)
	for i := range n {
		x[i*classes+i*7%classes] = 1
	}
	return x
}

// The loss is that of its definition, for labels and for probabilities.
func TestCrossEntropyIsItsDefinition(t *testing.T) {
	for _, classes := range []int{1, 2, 10, 33} {
		n, r := 6, kerneltest.Rand(1)
		logits, weight := kerneltest.Randoms(r, n*classes), kerneltest.Randoms(r, n)
		for i := range logits {
			logits[i] *= 5
		}
		soft := oneHot(n, classes)
		for i := range soft {
			soft[i] = 0.9*soft[i] + 0.1/float32(classes)
		}
		for _, target := range [][]float32{oneHot(n, classes), soft} {
			e, per := NewCrossEntropy(n, classes), kerneltest.Garbage(n)
			got := e.Forward(per, logits, target, weight)
			var want float64
			for i := range n {
				var sum, loss float64
				for _, l := range logits[i*classes : (i+1)*classes] {
					sum += math.Exp(float64(l))
				}
				for k := range classes {
					loss -= float64(target[i*classes+k]) * math.Log(math.Exp(float64(logits[i*classes+k]))/sum)
				}
				want += float64(weight[i]) * loss
				if math.Abs(float64(per[i])-loss) > 1e-6*(1+loss) {
					t.Errorf("%d classes: the loss of image %d is %v, not %v", classes, i, per[i], loss)
				}
			}
			if math.Abs(float64(got)-want) > 1e-5 {
				t.Errorf("%d classes: the loss is %v, not %v", classes, got, want)
			}
			if other := e.Forward(nil, logits, target, weight); other != got {
				t.Errorf("%d classes: %v without perImage, %v with", classes, other, got)
			}
		}
	}
}

func TestCrossEntropyGradientIsTheFiniteDifference(t *testing.T) {
	n, classes, r := 3, 7, kerneltest.Rand(2)
	logits, target, weight := kerneltest.Randoms(r, n*classes), kerneltest.Randoms(r, n*classes), kerneltest.Randoms(r, n)
	for i := range target {
		target[i] = max(target[i], 0) // of any sum, with zeros
	}
	e, d := NewCrossEntropy(n, classes), kerneltest.Garbage(n*classes)
	e.Backward(d, logits, target, weight, 1)
	want := kerneltest.Differences(logits, func() float64 {
		var total float64
		for i := range n {
			row, sum := logits[i*classes:(i+1)*classes], 0.0
			for _, l := range row {
				sum += math.Exp(float64(l))
			}
			for k, l := range row {
				total += float64(weight[i]) * float64(target[i*classes+k]) * (math.Log(sum) - float64(l))
			}
		}
		return total
	})
	if err := kerneltest.Near(d, want, 1e-6); err != nil {
		t.Error(err)
	}
}

// Logits whose exponentials overflow, or all vanish, have the loss and the gradient that they should have.
func TestCrossEntropyOfLargeLogits(t *testing.T) {
	for _, at := range []float32{-1e30, -1000, 0, 1000, 1e30} {
		logits, target := []float32{at, at, at, at}, []float32{0, 1, 0, 0}
		e, per, d := NewCrossEntropy(1, 4), kerneltest.Garbage(1), kerneltest.Garbage(4)
		e.Forward(per, logits, target, []float32{1})
		e.Backward(d, logits, target, []float32{1}, 1)
		if math.Abs(float64(per[0])-math.Log(4)) > 1e-6 {
			t.Errorf("four logits of %v: the loss is %v", at, per[0])
		}
		if err := kerneltest.Near(d, []float64{0.25, -0.75, 0.25, 0.25}, 1e-7); err != nil {
			t.Errorf("four logits of %v: %v", at, err)
		}
	}
	e, per := NewCrossEntropy(1, 2), kerneltest.Garbage(1)
	if e.Forward(per, []float32{-2000, 2000}, []float32{1, 0}, []float32{1}); per[0] != 4000 {
		t.Errorf("a loss of 4000 is %v", per[0])
	}
}

func TestCrossEntropyPassesNaN(t *testing.T) {
	nan := float32(math.NaN())
	e, per, d := NewCrossEntropy(2, 3), kerneltest.Garbage(2), kerneltest.Garbage(6)
	logits, target, weight := []float32{0, nan, 0, 0, 0, 0}, oneHot(2, 3), []float32{1, 1}
	sum := e.Forward(per, logits, target, weight)
	e.Backward(d, logits, target, weight, 1)
	if sum == sum || per[0] == per[0] || per[1] != per[1] || d[0] == d[0] || d[3] != d[3] {
		t.Errorf("sum %v, per image %v, gradient %v", sum, per, d)
	}
}

func TestCrossEntropyBits(t *testing.T) {
	defer parallel.SetThreads(parallel.Threads())
	n, classes := 9, 10
	run := func() []float32 {
		r := kerneltest.Rand(3)
		logits, weight := kerneltest.Randoms(r, n*classes), kerneltest.Randoms(r, n)
		e, per, d := NewCrossEntropy(n, classes), kerneltest.Garbage(n), kerneltest.Garbage(n*classes)
		sum := e.Forward(per, logits, oneHot(n, classes), weight)
		e.Backward(d, logits, oneHot(n, classes), weight, 0.7)
		return append(append(d, per...), sum)
	}
	parallel.SetThreads(1)
	want := run()
	parallel.SetThreads(3)
	if err := kerneltest.SameBits(run(), want); err != nil {
		t.Errorf("3 threads: %v", err)
	}
}

func TestCrossEntropyAndPixelMeanAllocateNothing(t *testing.T) {
	e, m, x, y, w := NewCrossEntropy(4, 10), NewPixelMean(4, 10, 3), make([]float32, 120), make([]float32, 120), make([]float32, 4)
	if n := testing.AllocsPerRun(5, func() {
		e.Forward(w, x, y, w)
		e.Backward(x, x, y, w, 1)
		m.Forward(x, y)
		m.Backward(y, x)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
