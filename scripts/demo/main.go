// Command demo writes the model that the program embeds, from a run of the preset mnist-classes: its newest checkpoint as
// a pipeline in float16, and the run's configuration, state and log. The timesteps of sampling are spaced as the preset has
// it, which does not matter in training.
//
//	go run ./scripts/demo [-out DIR] runs/mnist-classes
//
// The same run gives the same files on every machine.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"unstir"
	"unstir/checkpoints"
	"unstir/configs"
	"unstir/demo"
	"unstir/diffusion"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "demo", "directory to write")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: go run ./scripts/demo [-out DIR] RUN")
	}
	if err := write(context.Background(), *out, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func write(ctx context.Context, out, run string) error {
	p, err := unstir.Open(ctx, run)
	if err != nil {
		return err
	}
	state := p.Source.State
	if state == nil || state.Step != state.Steps {
		return errors.New(run + ": it must be a run that has ended")
	}
	c, err := config(p.Source.Dir)
	if err != nil {
		return err
	}
	schedule, err := diffusion.NewSchedule(c.Scheduler)
	if err != nil {
		return err
	}
	if p, err = unstir.New(p.Model(), schedule); err != nil {
		return err
	}
	pipeline := filepath.Join(out, demo.Pipeline)
	if err := os.RemoveAll(pipeline); err != nil {
		return err
	}
	if err := p.Export(ctx, pipeline, unstir.ExportOptions{Float16: true}); err != nil {
		return err
	}
	if err := writeTraining(filepath.Dir(filepath.Join(out, demo.State)), run, c, *state); err != nil {
		return err
	}
	return filepath.WalkDir(pipeline, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = fmt.Printf("%x %8d %s\n", sha256.Sum256(text), len(text), filepath.ToSlash(path))
		return err
	})
}

// config is the configuration of a checkpoint's run, without the directory that its data were in.
func config(checkpoint string) (*configs.Config, error) {
	preset, err := configs.Load("mnist-classes", nil)
	if err != nil {
		return nil, err
	}
	spacing := "scheduler.timestep_spacing=" + preset.Scheduler.TimestepSpacing
	return configs.Load(checkpoints.ConfigFile(checkpoint), []string{"data.dir=", spacing})
}

// writeTraining writes the configuration, the state and the log of a run.
func writeTraining(dir, run string, c *configs.Config, s checkpoints.State) error {
	config, err := c.TOML()
	if err != nil {
		return err
	}
	s.Data.Source = "the training split" // and not where its files were
	state, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	const logName = "log.jsonl"
	lines, err := os.ReadFile(filepath.Join(run, logName))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{checkpoints.ConfigName, config}, {filepath.Base(demo.State), append(state, '\n')}, {logName, lines}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.text, 0o666); err != nil {
			return err
		}
	}
	return nil
}
