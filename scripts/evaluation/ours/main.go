// Command ours computes the statistics of two files of features, and prints them with the subsets that the kernel distance
// is the mean of, so that others' code can be run on the same:
//
//	ours samples.npy references.npy subsets.npy
//
// subsets.npy becomes int64 [100, 2, m], the numbers of rows of samples and references.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"unstir/internal/npy"
	"unstir/metrics"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: ours samples.npy references.npy subsets.npy")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "ours:", err)
		os.Exit(1)
	}
}

func run(samplesPath, referencesPath, subsetsPath string) error {
	const seed = 0
	ctx := context.Background()
	samples, err := metrics.ReadFeatures(samplesPath)
	if err != nil {
		return err
	}
	references, err := metrics.ReadFeatures(referencesPath)
	if err != nil {
		return err
	}
	m := min(samples.N, references.N, metrics.KernelSubsetSize)
	subsets := npy.Array[int64]{Shape: []int{metrics.KernelSubsets, 2, m}}
	for i := range metrics.KernelSubsets {
		s, r := metrics.KernelSubset(seed, i, samples.N, references.N, m)
		for _, rows := range [][]int32{s, r} {
			for _, row := range rows {
				subsets.Data = append(subsets.Data, int64(row))
			}
		}
	}
	if err := npy.WriteFile(subsetsPath, subsets); err != nil {
		return err
	}
	frechet, err := metrics.Frechet(samples, references)
	if err != nil {
		return err
	}
	mean, std, err := metrics.Kernel(ctx, samples, references, seed)
	if err != nil {
		return err
	}
	manifold, err := metrics.CompareManifolds(ctx, samples, references, metrics.Neighbours)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"frechet": frechet, "kernel_mean": mean, "kernel_std": std,
		"precision": manifold.Precision, "recall": manifold.Recall, "density": manifold.Density, "coverage": manifold.Coverage,
	})
}
