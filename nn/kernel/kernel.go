package kernel

import (
	"unstir/nn/kernel/internal/attention"
	"unstir/nn/kernel/internal/conv"
	"unstir/nn/kernel/internal/cpu"
	"unstir/nn/kernel/internal/gemm"
	"unstir/nn/kernel/internal/inner"
	"unstir/nn/kernel/internal/norm"
	"unstir/nn/kernel/internal/optimizer"
	"unstir/nn/kernel/internal/parallel"
	"unstir/nn/kernel/internal/shape"
	"unstir/nn/kernel/internal/vec"
)

// The plans, and the shapes that they are made for.
type (
	Conv           = conv.Conv
	ConvShape      = shape.Conv
	GroupNorm      = norm.GroupNorm
	GroupNormShape = norm.Shape
	Attention      = attention.Attention
	AttentionShape = attention.Shape
	Loss           = vec.Loss
	CrossEntropy   = vec.CrossEntropy
	PixelMean      = vec.PixelMean
	AdamW          = optimizer.AdamW
	AdamWStep      = optimizer.Step
	Muon           = optimizer.Muon
	MuonMatrix     = optimizer.MuonMatrix
	MuonStep       = optimizer.MuonStep
	Vec            = vec.Vec
)

// NewConv makes the plan of a convolution at the active level; it returns an error when the shape makes no sense.
func NewConv(s ConvShape) (*Conv, error) { return conv.New(s, cpu.This()) }

// NewGroupNorm makes the plan of a group norm; it returns an error when the shape makes no sense.
func NewGroupNorm(s GroupNormShape) (*GroupNorm, error) { return norm.New(s, cpu.This()) }

// NewAttention makes the plan of an attention; it returns an error when the shape makes no sense.
func NewAttention(s AttentionShape) (*Attention, error) { return attention.New(s, cpu.This()) }

// NewLoss returns the loss of n images of dim numbers each.
func NewLoss(n, dim int) *Loss { return vec.NewLoss(n, dim, cpu.This()) }

// NewCrossEntropy returns a classifier's loss of n images of so many classes.
func NewCrossEntropy(n, classes int) *CrossEntropy { return vec.NewCrossEntropy(n, classes) }

// NewPixelMean returns the mean over the pixels of n images of c channels.
func NewPixelMean(n, pixels, c int) *PixelMean { return vec.NewPixelMean(n, pixels, c) }

// NewAdamW returns an AdamW.
func NewAdamW() *AdamW { return optimizer.New(cpu.This()) }

// NewMuon returns a Muon for these matrices.
func NewMuon(matrices []MuonMatrix) *Muon { return optimizer.NewMuon(cpu.This(), matrices) }

// MuonMemory is the number of bytes that a Muon for these matrices allocates.
func MuonMemory(matrices []MuonMatrix) int64 { return optimizer.MuonMemory(matrices) }

// NewVec returns a Vec.
func NewVec() *Vec { return vec.New(cpu.This()) }

// Gemm computes C = op(A) op(B), or C += op(A) op(B) when accumulate is set, on the calling goroutine. All matrices are
// row-major: C is [m, n] with rows ldc apart, op(A) is [m, k] and op(B) is [k, n]; A is stored [m, k], or [k, m] when transA,
// with rows lda apart, and B is stored [k, n], or [n, k] when transB, with rows ldb apart. C must not overlap A or B. Each
// element of C is one sum over k in order, so it does not depend on m or n. scratch has at least GemmScratch(m, n, k) floats.
func Gemm(c []float32, ldc int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, m, n, k int, accumulate bool, scratch []float32) {
	gemm.Of(cpu.This()).Multiply(c, ldc, a, lda, transA, b, ldb, transB, m, n, k, accumulate, scratch)
}

// GemmScratch is the number of floats of scratch that Gemm needs.
func GemmScratch(m, n, k int) int { return gemm.Scratch(m, n, k) }

// InnerRows are rows of float64 whose inner products with other rows are computed in panels of InnerPanel rows: each one a
// sum of fused multiply-adds in the order of the columns, with the same bits on every machine.
type InnerRows = inner.Rows

// InnerPanel is the number of rows in a panel of InnerRows.
const InnerPanel = inner.PanelRows

// NewInnerRows copies the n rows of b [n, k], which lie without gaps; k is at least 1.
func NewInnerRows(b []float64, n, k int) *InnerRows { return inner.NewRows(b, n, k, cpu.This()) }

// InnerSquare is the inner product of a row with itself, with the bits that InnerRows gives it.
func InnerSquare(a []float64) float64 { return inner.Square(a) }

// Dropout sets dst = x/keep where u < keep and 0 elsewhere, on the calling goroutine; u is uniform in [0, 1). dst may be x.
func Dropout(dst, x, u []float32, keep float32) { vec.Of(cpu.This()).Dropout(dst, x, u, keep) }

// How a convolution is computed.
type (
	Algorithm = conv.Algorithm
	Pass      = conv.Pass
	CPU       = cpu.Info // level, second-level cache, whether UNSTIR_CONV=direct is set: what plans are made by
)

// The passes of a convolution.
const (
	Forward        = conv.Forward
	BackwardData   = conv.BackwardData
	WeightGradient = conv.WeightGradient
)

// Choose is the algorithm of a pass of a convolution on a machine with so many threads.
func Choose(s ConvShape, pass Pass, threads int, c CPU) Algorithm {
	return conv.Choose(s, pass, threads, c)
}

// ThisCPU is the machine that plans made from now on, and Gemm and Dropout, are for: its level is the best that the CPU and the
// build have, or what UNSTIR_CPU or SetLevel chose.
func ThisCPU() CPU { return cpu.This() }

// Level is an instruction set that the kernels are written for.
type Level = cpu.Level

// The levels, from the slowest.
const (
	Generic = cpu.Generic
	AVX2    = cpu.AVX2
	AVX512  = cpu.AVX512
)

// SetLevel chooses the level of plans made from now on, and of Gemm and Dropout. It is meant for tests; a plan keeps the level
// that it was made with. It returns an error when the CPU or the build lacks l.
func SetLevel(l Level) error { return cpu.SetLevel(l) }

// CheckEnvironment reports a value of UNSTIR_CPU or UNSTIR_CONV that means nothing, or a level that this CPU or this build
// lacks. The kernels then run as if the variable were not set, so a program should call it first and stop on an error.
//
//	UNSTIR_CPU=avx512|avx2|generic  the highest level to use
//	UNSTIR_CONV=direct              no Winograd convolutions
func CheckEnvironment() error { return cpu.CheckEnvironment() }

// Scratch memory of the plans' calls.
type (
	Scratch     = parallel.Scratch
	ScratchSize = parallel.ScratchSize
)

// NewScratch allocates scratch.
func NewScratch(n ScratchSize) Scratch { return parallel.NewScratch(n) }

// CutOwn cuts mem, of n.OwnLen floats, into each worker's own.
func CutOwn(mem []float32, n ScratchSize) [][]float32 { return parallel.CutOwn(mem, n) }

// Threads is the number of goroutines, the caller's included, that a parallel section uses at most.
func Threads() int { return parallel.Threads() }

// SetThreads sets Threads; n below 1 means 1. It starts at GOMAXPROCS, or at a container's CPU quota where that is less. The
// results of no kernel depend on it. It waits for a running section to end, so it must not be called from inside one.
func SetThreads(n int) { parallel.SetThreads(n) }

// Parallel calls f(0) ... f(n-1), each once, on the caller's goroutine and the workers', and returns when all have returned. A
// call from inside a chunk, or one made while another goroutine's section is running, runs its chunks one after the other on
// the calling goroutine. A panic in f stops the handing out of further chunks and is raised again in the caller. Parallel
// allocates nothing itself; hand in a stored func value, since a fresh closure is an allocation.
func Parallel(n int, f func(i int)) { parallel.For(n, f) }
