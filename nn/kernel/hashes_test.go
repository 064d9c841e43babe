package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"unstir/internal/hashtest"
	"unstir/nn/kernel"
)

// hashes draws operands and compares the hashes of what the kernels make of them.
type hashes struct {
	*testing.T
	file *hashtest.File
	rand *rand.Rand
}

// floats are n numbers between -1 and 1.
func (h *hashes) floats(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*h.rand.Float32() - 1
	}
	return x
}

// The results of every kernel have the bits that AVX2 gave when the file was made, at both levels of assembly.
func TestHashes(t *testing.T) {
	defer func(old kernel.Level) {
		if err := kernel.SetLevel(old); err != nil {
			t.Fatal(err)
		}
	}(kernel.ThisCPU().Level)
	if kernel.ThisCPU().Direct {
		t.Skip("UNSTIR_CONV=direct computes other bits")
	}
	for _, level := range []kernel.Level{kernel.AVX2, kernel.AVX512} {
		t.Run(level.String(), func(t *testing.T) {
			if err := kernel.SetLevel(level); err != nil {
				t.Skipf("SKIP: no %v: %v", level, err)
			}
			h := &hashes{t, hashtest.Open(t, "hashes.txt"), rand.New(rand.NewPCG(1, 2))}
			h.convolutions()
			h.groupNorms()
			h.attentions()
			h.pointwise()
			h.gemms()
			h.optimizer()
			h.classifying()
			h.muon()
			h.file.Close(t)
		})
	}
}

func (h *hashes) convolutions() {
	same := func(n, height, width, c, k int) kernel.ConvShape {
		return kernel.ConvShape{N: n, H: height, W: width, C: c, K: k, R: 3, Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}
	}
	up, down := same(2, 8, 8, 48, 40), same(2, 16, 14, 48, 64)
	up.Upsample, down.Stride = true, 2
	wide, uneven := same(1, 4, 4, 16, 16), same(2, 5, 7, 20, 24)
	wide.Upsample, uneven.Stride, uneven.PadTop, uneven.PadLeft = true, 2, 0, 0
	upDown := up
	upDown.Stride = 2
	for _, s := range []kernel.ConvShape{
		same(2, 28, 28, 1, 32), same(2, 28, 28, 32, 1), same(1, 32, 32, 3, 64), same(1, 32, 32, 64, 3), same(2, 8, 8, 8, 40), // few channels
		same(3, 28, 28, 32, 40), same(2, 32, 32, 64, 36), same(1, 16, 16, 128, 160), same(5, 13, 19, 48, 64), same(33, 14, 14, 64, 32), // F(6x6, 3x3), F(4x4, 3x3)
		same(2, 7, 7, 64, 96), same(4, 8, 8, 160, 128), same(1, 5, 6, 33, 20), same(2, 3, 3, 64, 64), same(9, 8, 8, 256, 288), // small images
		same(2, 4, 4, 256, 260), same(1, 2, 2, 64, 64), same(1, 1, 1, 16, 16), // F(2x2, 3x3), direct
		up, wide, upDown, down, uneven,
		{N: 2, H: 14, W: 14, C: 96, K: 64, R: 1, Stride: 1}, {N: 37, H: 1, W: 1, C: 128, K: 200, R: 1, Stride: 1}, {N: 3, H: 9, W: 7, C: 20, K: 36, R: 1, Stride: 2},
	} {
		for _, s.FixedFilter = range []bool{false, true} {
			h.convolution(s)
		}
	}
}

func (h *hashes) convolution(s kernel.ConvShape) {
	c, err := kernel.NewConv(s)
	if err != nil {
		h.Fatal(err)
	}
	in, out := s.N*s.H*s.W*s.C, s.N*s.OutH()*s.OutW()*s.K
	x, w, dy := h.floats(in), h.floats(s.R*s.R*s.C*s.K), h.floats(out)
	y, dx, dw, db, dtemb := make([]float32, out), make([]float32, in), make([]float32, len(w)), make([]float32, s.K), make([]float32, s.N*s.K)
	bias, temb, res, scratch := h.floats(s.K), h.floats(s.N*s.K), h.floats(out), kernel.NewScratch(c.Scratch())
	c.Forward(y, x, w, bias, temb, res, scratch)
	name := fmt.Sprintf("convolution %dx%dx%dx%d to %d, %dx%d, stride %d, upsampled %t, fixed %t", s.N, s.H, s.W, s.C, s.K, s.R, s.R, s.Stride, s.Upsample, s.FixedFilter)
	h.file.Check(h.T, name+", forward", y)
	c.BackwardData(dx, dy, w, scratch)
	h.file.Check(h.T, name+", input's gradient", dx)
	c.BackwardWeights(dw, db, dtemb, x, dy, scratch)
	h.file.Check(h.T, name+", filter's gradient", dw, db, dtemb)
}

func (h *hashes) groupNorms() {
	for _, s := range []kernel.GroupNormShape{
		{N: 3, HW: 49, C: 64, Groups: 32, Eps: 1e-5, SiLU: true}, {N: 1, HW: 256, C: 96, Groups: 8, Eps: 1e-6}, {N: 2, HW: 30, C: 40, Groups: 4, Eps: 1e-5, SiLU: true, ScaleShift: true},
	} {
		g, err := kernel.NewGroupNorm(s)
		if err != nil {
			h.Fatal(err)
		}
		n := s.N * s.HW * s.C
		x, dy, gamma, beta, ss := h.floats(n), h.floats(n), h.floats(s.C), h.floats(s.C), h.floats(2*s.N*s.C)
		y, dx, dgamma, dbeta, dss := make([]float32, n), make([]float32, n), make([]float32, s.C), make([]float32, s.C), make([]float32, 2*s.N*s.C)
		mean, rstd, scratch := make([]float32, s.N*s.Groups), make([]float32, s.N*s.Groups), kernel.NewScratch(g.Scratch())
		g.Forward(y, x, nil, gamma, beta, ss, mean, rstd, scratch)
		name := fmt.Sprintf("group norm %+v", s)
		h.file.Check(h.T, name+", forward", y, mean, rstd)
		g.Backward(dx, nil, [2]bool{}, dgamma, dbeta, dss, dy, x, nil, gamma, beta, ss, mean, rstd, scratch)
		h.file.Check(h.T, name+", backward", dx, dgamma, dbeta, dss)
	}
}

func (h *hashes) attentions() {
	for _, s := range []kernel.AttentionShape{{N: 2, S: 49, Heads: 4, D: 8}, {N: 1, S: 64, Heads: 1, D: 128}, {N: 2, S: 256, Heads: 2, D: 40}} {
		a, err := kernel.NewAttention(s)
		if err != nil {
			h.Fatal(err)
		}
		n := s.N * s.S * s.Heads * s.D
		q, k, v, do := h.floats(n), h.floats(n), h.floats(n), h.floats(n)
		o, dq, dk, dv := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		lse, scratch := make([]float32, s.N*s.Heads*s.S), kernel.NewScratch(a.Scratch())
		var kept []float32
		if a.Kept() > 0 {
			kept = make([]float32, a.Kept())
		}
		a.Forward(o, lse, kept, q, k, v, scratch)
		h.file.Check(h.T, fmt.Sprintf("attention %+v, forward", s), o, lse)
		a.Backward(dq, dk, dv, do, o, lse, kept, q, k, v, scratch)
		h.file.Check(h.T, fmt.Sprintf("attention %+v, backward", s), dq, dk, dv)
	}
}

func (h *hashes) pointwise() {
	const n, height, width, c = 3, 6, 5, 20
	small, large := n*height*width*c, 4*n*height*width*c
	x, y, u, to, up := h.floats(small), h.floats(small), make([]float32, small), make([]float32, small), make([]float32, large)
	for i := range u {
		u[i] = h.rand.Float32()
	}
	v := kernel.NewVec()
	v.Add(to, x, y)
	h.file.Check(h.T, "add", to)
	v.SiLU(to, x)
	h.file.Check(h.T, "SiLU", to)
	v.SiLUBackward(to, x, y)
	h.file.Check(h.T, "SiLU, backward", to)
	v.Upsample(up, x, n, height, width, c)
	h.file.Check(h.T, "upsample", up)
	v.UpsampleBackward(to, h.floats(large), n, height, width, c)
	h.file.Check(h.T, "upsample, backward", to)
	kernel.Dropout(to, x, u, 0.8)
	h.file.Check(h.T, "dropout", to)
	l, perImage := kernel.NewLoss(n, small/n), make([]float32, n)
	weight := h.floats(n)
	h.file.Check(h.T, "loss, forward", []float32{l.Forward(perImage, x, y, weight)}, perImage)
	l.Backward(to, x, y, weight, 0.7)
	h.file.Check(h.T, "loss, backward", to)
}

func (h *hashes) gemms() {
	for _, s := range [][3]int{{40, 33, 70}, {3, 64, 300}, {130, 17, 16}} {
		m, n, k := s[0], s[1], s[2]
		for i := range 8 {
			transA, transB, accumulate := i&1 > 0, i&2 > 0, i&4 > 0
			lda, ldb := k, n
			if transA {
				lda = m
			}
			if transB {
				ldb = k
			}
			c := h.floats(m * n)
			kernel.Gemm(c, n, h.floats(m*k), lda, transA, h.floats(k*n), ldb, transB, m, n, k, accumulate, make([]float32, kernel.GemmScratch(m, n, k)))
			h.file.Check(h.T, fmt.Sprintf("product %dx%dx%d, transposed %t %t, accumulated %t", m, n, k, transA, transB, accumulate), c)
		}
	}
}

func (h *hashes) optimizer() {
	const n = 40000
	a := kernel.NewAdamW()
	w, m, v, ema := h.floats(n), make([]float32, n), make([]float32, n), h.floats(n)
	for step := 1; step <= 4; step++ {
		a.Step(w, m, v, ema, h.floats(n), kernel.AdamWStep{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, EMADecay: 0.99, GradScale: 0.5, Step: step})
	}
	h.file.Check(h.T, "AdamW, 4 steps", w, m, v, ema)
	h.file.Check(h.T, "sum of squares", []float32{float32(a.SumSquares(w))})
}

func (h *hashes) muon() {
	const n = 9*32*48 + 40*24
	u := kernel.NewMuon([]kernel.MuonMatrix{{Rows: 9 * 32, Cols: 48}, {Off: 9 * 32 * 48, Rows: 24, Cols: 40}})
	w, m, ema := h.floats(n), make([]float32, n), h.floats(n)
	for range 4 {
		u.Step(w, m, ema, h.floats(n), kernel.MuonStep{LR: 1e-2, Momentum: 0.95, WeightDecay: 0.01, EMADecay: 0.99, GradScale: 0.5})
	}
	h.file.Check(h.T, "Muon, 4 steps", w, m, ema)
}

func (h *hashes) classifying() {
	const n, pixels, c = 3, 49, 40
	m, y, dx := kernel.NewPixelMean(n, pixels, c), make([]float32, n*c), make([]float32, n*pixels*c)
	m.Forward(y, h.floats(n*pixels*c))
	m.Backward(dx, h.floats(n*c))
	h.file.Check(h.T, "mean of pixels", y, dx)
	e, perImage, target, weight := kernel.NewCrossEntropy(n, c), make([]float32, n), make([]float32, n*c), h.floats(n)
	target[5], target[c], target[3*c-1] = 1, 1, 1
	h.file.Check(h.T, "cross-entropy, forward", []float32{e.Forward(perImage, y, target, weight)}, perImage)
	e.Backward(y, y, target, weight, 0.7)
	h.file.Check(h.T, "cross-entropy, backward", y)
}
