package conv

import (
	"testing"

	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/kerneltest"
	"unstir/nn/kernel/internal/shape"
)

// machine is what the tests' plans are made for.
var machine = cpu.This

// newConv is New for that machine.
func newConv(s shape.Conv) (*Conv, error) { return New(s, machine()) }

// directly makes plans without Winograd until the function that it returns is called.
func directly() (undo func()) {
	old := machine
	machine = func() cpu.Info {
		i := old()
		i.Direct = true
		return i
	}
	return func() { machine = old }
}

// forMachines runs f once for each kind of second-level cache that plans are tuned to.
func forMachines(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer func() { machine = cpu.This }()
	for _, c := range []struct {
		name string
		l2   int
	}{{"1MB", 1 << 20}, {"2MB", 2 << 20}} {
		machine = func() cpu.Info {
			i := cpu.This()
			i.L2 = c.l2
			return i
		}
		t.Run(c.name, f)
	}
}

// A machine's tuning changes no bits.
func TestTuningChangesNoBits(t *testing.T) {
	kerneltest.ForLevels(t, func(t *testing.T, _ cpu.Level) {
		for _, s := range []shape.Conv{
			fixed(same3x3(3, 14, 14, 192, 72)), // F(6x6, 3x3) streamed, if planes come first
			same3x3(9, 28, 28, 33, 40),         // blocks of it, and of its filter's gradient
			same3x3(2, 16, 16, 130, 200), same3x3(3, 10, 9, 70, 65), up3x3(2, 8, 8, 64, 72), down3x3(5, 28, 16, 130, 72, 1), same3x3(2, 6, 6, 20, 3),
			same3x3(2, 4, 4, 258, 256), fixed(same3x3(2, 12, 12, 132, 140)),
			same3x3(2, 5, 5, 128, 128), // its filter's gradient goes past the caches
			shapeOf(3, 16, 16, 200, 150, 1, 1, 0, 0, 0, 0, false, false),
		} {
			var want map[string][]float32
			forMachines(t, func(t *testing.T) {
				d := newConvData(kerneltest.Rand(5), s)
				if err := d.run(); err != nil {
					t.Fatal(err)
				}
				got := d.results()
				c, err := newConv(s)
				if err != nil {
					t.Fatal(err)
				}
				u := kerneltest.Garbage(c.PackedLen())
				c.Pack(u, d.w)
				got["packed"] = kerneltest.Garbage(len(d.y))
				c.ForwardPacked(got["packed"], d.x, u, d.bias, d.temb, d.res, kerneltest.Scratch(c.Scratch()))
				if want == nil {
					want = got
					if kerneltest.RaceDetector { // which is a hundred times slower, and the loops of check are of one goroutine
						return
					}
					if err := d.check(); err != nil {
						t.Error(err)
					}
					return
				}
				for name := range want {
					if err := kerneltest.SameBits(got[name], want[name]); err != nil {
						t.Errorf("%+v, %s: %v", s, name, err)
					}
				}
			})
		}
	})
}
