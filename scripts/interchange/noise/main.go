// Command noise writes the noise that "diffusion sample" adds, so that another program can walk the same way: x_T
// [N, C, H, W] and the draws of every step [S, N, C, H, W] of a seed.
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"unstir/diffusion"
	"unstir/internal/npy"
)

func main() {
	seed := flag.Uint64("seed", 0, "seed, as sample --seed")
	shape := flag.String("shape", "", "N,C,H,W")
	steps := flag.Int("steps", 1, "sampling steps S")
	initial := flag.String("xt", "", "write x_T to this .npy file")
	draws := flag.String("steps-noise", "", "write the steps' draws to this .npy file")
	flag.Parse()
	if err := run(*seed, *shape, *steps, *initial, *draws); err != nil {
		fmt.Fprintln(os.Stderr, "noise:", err)
		os.Exit(1)
	}
}

func run(seed uint64, shape string, steps int, initial, draws string) error {
	var dims []int
	for _, word := range strings.Split(shape, ",") {
		d, err := strconv.Atoi(word)
		if err != nil || d < 1 {
			return fmt.Errorf("--shape %q: want N,C,H,W", shape)
		}
		dims = append(dims, d)
	}
	if len(dims) != 4 {
		return fmt.Errorf("--shape %q: want N,C,H,W", shape)
	}
	n, dim := dims[0], dims[1]*dims[2]*dims[3]
	x := make([]float64, n*dim)
	if initial != "" {
		for i := range n {
			diffusion.InitialNoise(x[i*dim:(i+1)*dim], seed, i)
		}
		if err := write(initial, dims, x); err != nil {
			return err
		}
	}
	if draws == "" {
		return nil
	}
	z := make([]float64, steps*n*dim)
	noise := diffusion.NormalNoise(seed)
	for k := range steps {
		for i := range n {
			at := (k*n + i) * dim
			noise(z[at:at+dim], i, k)
		}
	}
	return write(draws, append([]int{steps}, dims...), z)
}

func write(path string, shape []int, x []float64) error {
	narrow := make([]float32, len(x))
	for i, v := range x {
		narrow[i] = float32(v)
	}
	return npy.WriteFile(path, npy.Array[float32]{Shape: shape, Data: narrow})
}
