package main

import "unstir/nn/kernel"

func newOurs(p *problem) (runner, error) {
	conv, err := kernel.NewConv(kernel.ConvShape{
		N: p.n, H: p.size, W: p.size, C: p.c, K: p.k, R: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1,
	})
	if err != nil {
		return nil, err
	}
	y, scratch := make([]float32, len(p.dy)), kernel.NewScratch(conv.Scratch())
	dx, dw := make([]float32, len(p.x)), make([]float32, len(p.w))
	return func(bool) ([]float32, []float32, error) {
		conv.Forward(y, p.x, p.w, nil, nil, nil, scratch)
		conv.BackwardData(dx, p.dy, p.w, scratch)
		conv.BackwardWeights(dw, nil, nil, p.x, p.dy, scratch)
		return dx, dw, nil
	}, nil
}
