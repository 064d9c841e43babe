package train

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// ErrNotFinite is wrapped by Run's error when a loss, a gradient, a weight, a moment or a moving average is NaN or
// infinite, and by Resume's when one of a checkpoint is. The error names the first tensor that is, in the order of
// the model's parameters. The run's checkpoints are all from before: none is written that has such a value.
var ErrNotFinite = errors.New("the run has diverged")

// notFinite is the index of the first value that is NaN or infinite, or -1.
func notFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// firstNotFinite says which parameter's values in a flat slice are the first that are not finite, as in "the gradient
// of conv_in.weight is NaN"; "" where all are finite.
func (t *Trainer) firstNotFinite(what string, flat []float32) string {
	for i, p := range t.params.List {
		view := t.params.View(flat, i)
		if at := notFinite(view); at >= 0 {
			return fmt.Sprintf("%s %s is %v", what, p.Name, view[at])
		}
	}
	return ""
}

// norm is the norm of the gradient: finite where the gradient is, since its squares are summed in float64.
func (t *Trainer) norm() float64 { return math.Sqrt(t.optimizer.adam.SumSquares(t.task.grad())) }

// largestSquared is a gradient whose square, and so the second moment, is far from overflowing.
const largestSquared = 1e18

// checkGradient finds what is not finite in step n before the weights are updated by it. Where it is a weight that made
// it so, the step before, whose update overflowed, is the one to name.
func (t *Trainer) checkGradient(n int, loss, norm float64) error {
	if finite(loss) && finite(norm) {
		return nil
	}
	if fault := t.firstNotFinite("the weight", t.weights); fault != "" {
		return t.diverged(n-1, fault)
	}
	if !finite(loss) {
		return t.diverged(n, fmt.Sprintf("the loss is %g%s", loss, t.failedImages()))
	}
	return t.diverged(n, t.firstNotFinite("the gradient of", t.task.grad()))
}

// failedImages names the images of the batch whose own loss is not finite.
func (t *Trainer) failedImages() string {
	var list []string
	for i, loss := range t.perImage {
		if !finite(loss) && i < len(t.images) {
			list = append(list, fmt.Sprint(t.images[i]))
		}
	}
	const shown = 5
	switch n := len(list); {
	case n == 0:
		return ""
	case n > shown:
		list = append(list[:shown], fmt.Sprintf("and %d more", n-shown))
	}
	return fmt.Sprintf(", by images %s of %s", strings.Join(list, ", "), t.info.Name)
}

// checkUpdate finds what the update of step n made of the weights and the moments where its gradient was so large that
// they may have overflowed. Otherwise a weight that overflows shows in the next step's loss or gradient, or, where
// nothing reads it, when it is saved: no step has to read all weights once more.
func (t *Trainer) checkUpdate(n int, scaled float64) error {
	if scaled <= largestSquared {
		return nil
	}
	if fault := t.firstFault(); fault != "" {
		return t.diverged(n, fault)
	}
	return nil
}

// firstFault says what is not finite in what a checkpoint holds; "" where all is.
func (t *Trainer) firstFault() string {
	for _, part := range []struct {
		what string
		flat []float32
	}{
		{"the weight", t.weights}, {"the moving average of", t.ema},
		{"the first moment of", t.expAvg}, {"the second moment of", t.expAvgSq},
	} {
		if fault := t.firstNotFinite(part.what, part.flat); fault != "" {
			return fault
		}
	}
	return ""
}

// diverged says what went wrong in a step, and which checkpoint is the last good one.
func (t *Trainer) diverged(step int, fault string) error {
	keep := "there is no checkpoint yet"
	if t.saved != "" {
		keep = "the last good checkpoint is " + t.saved
	}
	return fmt.Errorf("train: step %d: %s: %w; %s. A lower train.lr, a longer train.warmup_steps or a smaller train.grad_clip may help",
		step, fault, ErrNotFinite, keep)
}
