package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"unstir"
	"unstir/checkpoints"
	"unstir/internal/atomicfile"
	"unstir/internal/images"
	"unstir/metrics"
)

// maxPairs is how many pairs --pairs shows.
const maxPairs = 64

// writePictures writes what --pairs and --bpd-plot name.
func (f evalFlags) writePictures(e *unstir.Evaluation) error {
	if f.pairs != "" {
		m, err := e.Pairs(maxPairs)
		if err == nil {
			err = images.WritePNG(f.pairs, m, nil)
		}
		if err != nil {
			return fmt.Errorf("--pairs %s: %w", f.pairs, withoutPackage(err))
		}
	}
	if f.bpdPlot != "" {
		if err := writeBound(f.bpdPlot, e.Bound); err != nil {
			return fmt.Errorf("--bpd-plot %s: %w", f.bpdPlot, withoutPackage(err))
		}
	}
	return nil
}

// writeBound writes the plot of a bound's terms.
func writeBound(path string, b *unstir.Bound) error {
	if b == nil {
		return errors.New("there is no bound, as there are no test images")
	}
	m, err := b.Plot()
	if err != nil {
		return err
	}
	return images.WritePNG(path, m, nil)
}

// keep leaves the result with the run that is the model; one of its checkpoints is not. That it cannot is no reason to lose it.
func (f evalFlags) keep(c *cobra.Command, p *unstir.Pipeline, e *unstir.Evaluation) {
	run := checkpoints.RunOf(p.Source.Dir)
	if run == "" || filepath.Clean(f.model) == filepath.Clean(p.Source.Dir) {
		return
	}
	err := writeResult(filepath.Join(run, evalName), e.Result)
	if err == nil && e.Bound != nil {
		err = writeBound(filepath.Join(run, boundName), e.Bound)
	}
	if err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "note: the result is not kept with the run: %v\n", err)
	}
}

func encodeResult(w io.Writer, r *metrics.Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func writeResult(path string, r *metrics.Result) error {
	return atomicfile.Write(path, func(w io.Writer) error { return encodeResult(w, r) })
}

// show prints the result, and writes it where --json says.
func (f evalFlags) show(c *cobra.Command, r *metrics.Result) error {
	if f.json == "-" {
		for _, n := range r.Notes {
			fmt.Fprintf(c.ErrOrStderr(), "note: %s\n", n)
		}
		return encodeResult(c.OutOrStdout(), r)
	}
	if f.json != "" {
		if err := writeResult(f.json, r); err != nil {
			return fmt.Errorf("--json %s: %w", f.json, withoutPath(err))
		}
	}
	_, err := io.WriteString(c.OutOrStdout(), r.Table())
	return err
}
