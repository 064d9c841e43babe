package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"unstir"
)

type exportFlags struct {
	modelFlags
	out, dtype string
}

func newExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export --out DIR",
		Short: "Write a model as a diffusers pipeline",
		Long: `Write just the part of a checkpoint that Python's diffusers reads: model_index.json, unet/ and scheduler/. DIR must
not exist yet, or be empty. A model in half precision takes half the bytes and can be sampled here and there; it
cannot be trained on.`,
		Example: `  diffusion export --model runs/mnist --out mnist-pipeline
  diffusion export --model runs/mnist --out mnist-small --dtype float16`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runExport(c, f) },
	}
	p := c.Flags()
	f.addModelFlags(p)
	p.StringVar(&f.out, "out", "", "new `DIR`ectory to write")
	p.StringVar(&f.dtype, "dtype", "float32", "type of the weights: float32 or float16")
	return c
}

func runExport(c *cobra.Command, f exportFlags) error {
	switch {
	case f.out == "":
		return usagef("--out is missing: a new directory to write")
	case f.dtype != "float32" && f.dtype != "float16":
		return usagef("--dtype %s: it must be float32 or float16", f.dtype)
	}
	p, err := f.open(c)
	if err != nil {
		return err
	}
	if err := p.Export(c.Context(), f.out, unstir.ExportOptions{Float16: f.dtype == "float16"}); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), f.out)
	return err
}
