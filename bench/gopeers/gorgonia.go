package main

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// newGorgonia convolves NCHW by OIHW. The loss is the sum of y * dy, so that the
// gradient with respect to y is dy.
func newGorgonia(p *problem) (runner, error) {
	g := gorgonia.NewGraph()
	node := func(name string, v []float32, dims ...int) *gorgonia.Node {
		t := tensor.New(tensor.WithShape(dims...), tensor.WithBacking(v))
		return gorgonia.NewTensor(g, tensor.Float32, 4, gorgonia.WithName(name), gorgonia.WithShape(dims...), gorgonia.WithValue(t))
	}
	toNCHW, toOIHW := [4]int{0, 3, 1, 2}, [4]int{3, 2, 0, 1}
	x := node("x", permute(p.x, [4]int{p.n, p.size, p.size, p.c}, toNCHW), p.n, p.c, p.size, p.size)
	dy := node("dy", permute(p.dy, [4]int{p.n, p.size, p.size, p.k}, toNCHW), p.n, p.k, p.size, p.size)
	w := node("w", permute(p.w, [4]int{3, 3, p.c, p.k}, toOIHW), p.k, p.c, 3, 3)

	y, err := gorgonia.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1})
	if err != nil {
		return nil, err
	}
	weighted, err := gorgonia.HadamardProd(y, dy)
	if err != nil {
		return nil, err
	}
	loss, err := gorgonia.Sum(weighted)
	if err != nil {
		return nil, err
	}
	grads, err := gorgonia.Grad(loss, x, w)
	if err != nil {
		return nil, err
	}
	var dx, dw gorgonia.Value
	gorgonia.Read(grads[0], &dx)
	gorgonia.Read(grads[1], &dw)
	vm := gorgonia.NewTapeMachine(g)
	return func(collect bool) ([]float32, []float32, error) {
		vm.Reset()
		if err := vm.RunAll(); err != nil || !collect {
			return nil, nil, err
		}
		return permute(dx.Data().([]float32), [4]int{p.n, p.c, p.size, p.size}, [4]int{0, 2, 3, 1}),
			permute(dw.Data().([]float32), [4]int{p.k, p.c, 3, 3}, [4]int{2, 3, 1, 0}), nil
	}, nil
}
