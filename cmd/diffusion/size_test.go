package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"unstir/internal/images"
	"unstir/internal/npy"
)

// otherPipeline writes the run's model as a pipeline with changes in its configurations, as others might have saved it.
func otherPipeline(t *testing.T, dir string, unet, scheduler map[string]any) {
	t.Helper()
	must(t, "export", "--model", "runs/tiny", "--out", dir)
	for file, changes := range map[string]map[string]any{"unet/config.json": unet, "scheduler/scheduler_config.json": scheduler} {
		path := filepath.Join(dir, filepath.FromSlash(file))
		var config map[string]any
		if err := json.Unmarshal(readFile(t, path), &config); err != nil {
			t.Fatal(err)
		}
		for key, value := range changes {
			config[key] = value
		}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		// As Python writes it.
		writeFile(t, path, []byte(strings.ReplaceAll(string(text), `"MINUS INFINITY"`, "-Infinity")))
	}
}

// zeros writes n black images to a .npy file.
func zeros(t *testing.T, path string, n, h, w int) {
	t.Helper()
	if err := npy.WriteFile(path, npy.Array[float32]{Shape: []int{n, 1, h, w}, Data: make([]float32, n*h*w)}); err != nil {
		t.Fatal(err)
	}
}

// Every command takes images of any size that the model takes, from an array's shape or by --size, whatever the
// model's sample_size says; where that is null and no size is given, the command asks for one.
func TestImagesOfAnySize(t *testing.T) {
	workspaceWithRun(t)
	otherPipeline(t, "null", map[string]any{"sample_size": nil}, nil)
	otherPipeline(t, "odd", map[string]any{"sample_size": 7}, nil)
	zeros(t, "x.npy", 2, 20, 12)
	asks := map[string]string{
		"null": "the model's sample_size is null: --size ROWSxCOLUMNS must say how large the images are",
		"odd":  "the model's sample_size cannot be taken, --size ROWSxCOLUMNS must name another: images of 7x7 do not fit a model of 2 levels",
	}
	for _, model := range []string{"runs/tiny", "null", "odd"} {
		run := func(args string) string { return must(t, append(strings.Fields(args), "--model", model)...) }
		for _, c := range []struct {
			args string
			n, h int
		}{
			{"predict --x x.npy --t 3 --out out.npy", 2, 20},
			{"sample --size 20x12 --n 3 --sampler ddim --steps 2 --out out.npy", 3, 20},
			{"sample --size 12 --n 1 --sampler ddim --steps 2 --out out.npy", 1, 12},
			{"sample --noise x.npy --sampler ddim --steps 2 --out out.npy", 2, 20},
			{"encode --images x.npy --steps 2 --out out.npy", 2, 20},
			{"encode --images images/0.png --size 20x12 --steps 2 --out out.npy --check", 1, 20},
			{"encode --images images --size 20X12 --steps 2 --out out.npy", 7, 20},
			{"interpolate --from 1 --to 2 --size 20x12 --frames 3 --steps 2 --out out.npy", 3, 20},
			{"interpolate --from 1 --to x.npy:1 --frames 3 --steps 2 --out out.npy", 3, 20},
			{"interpolate --from images/0.png --to x.npy:1 --frames 3 --steps 2 --out out.npy", 3, 20},
		} {
			if model != "null" && !strings.HasPrefix(c.args, "predict") {
				continue // one model shows the other commands
			}
			os.Remove("out.npy")
			run(c.args)
			isShape(t, readArray(t, "out.npy"), c.n, 1, c.h, 12)
		}
		run("sample --size 20x12 --n 1 --sampler ddim --steps 2 --out out.png")
		texts := textsOf(t, "out.png")
		if !strings.Contains(fmt.Sprint(texts), "{size 20x12}") {
			t.Errorf("%s: the PNG does not say its images' size: %v", model, texts)
		}
		for _, args := range []string{
			"sample --out e.png", "encode --images images --out e.npy", "interpolate --from 1 --to 2 --out e.png", "interpolate --from images/0.png --to 2 --out e.png",
		} {
			r := call(append(strings.Fields(args), "--model", model)...)
			if want := asks[model]; want != "" && (r.code != exitUsage || !strings.HasPrefix(said(r.stderr), want) || exists("e.png") || exists("e.npy")) {
				t.Errorf("%s of %s: exit code %d, %s", args, model, r.code, r.stderr)
			} else if want == "" && r.code != exitDone {
				t.Errorf("%s: %s", args, r.stderr)
			}
			os.Remove("e.png")
			os.Remove("e.npy")
		}
	}
	must(t, strings.Fields("sample --model null --size 12 --n 1 --sampler ddim --steps 2 --out d")...)
	if r := call(strings.Fields("sample --model null --size 8x12 --n 1 --sampler ddim --steps 2 --out d")...); r.code != exitUsage ||
		!strings.Contains(said(r.stderr), "its images are made with rows = 12, this command has 8") {
		t.Errorf("another size in one directory: exit code %d, %s", r.code, r.stderr)
	}
	has(t, "inspect", must(t, "inspect", "null"), "1 channels, sample_size null, any rows and columns divisible by 2")
	has(t, "inspect", must(t, "inspect", "odd"), "1x7x7, which the model does not take, any rows")
	r := call("inspect", "null", "--plan")
	if r.code != exitUsage || said(r.stderr) != asks["null"] {
		t.Errorf("inspect --plan: exit code %d, %s", r.code, r.stderr)
	}
	has(t, "inspect --plan --size", must(t, "inspect", "null", "--plan", "--size", "8x12", "--batch", "1"), "operations on 1 images")
}

// Where --sampler says nothing, a pipeline is sampled with its own scheduler; models trained here with ddpm.
func TestTheModelsSchedulerIsTheDefault(t *testing.T) {
	workspaceWithRun(t)
	dpm := map[string]any{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 2, "lambda_min_clipped": "MINUS INFINITY", "use_karras_sigmas": false, "variance_type": nil}
	otherPipeline(t, "dpm", nil, dpm)
	otherPipeline(t, "ddim", nil, map[string]any{"_class_name": "DDIMScheduler", "set_alpha_to_one": true})
	for model, sampler := range map[string]string{"dpm": "dpm++2m", "ddim": "ddim", "runs/tiny": "ddpm"} {
		sampled(t, "own.npy", "--model", model, "--n", "2", "--steps", "4")
		sampled(t, "named.npy", "--model", model, "--n", "2", "--steps", "4", "--sampler", sampler)
		if string(readFile(t, "own.npy")) != string(readFile(t, "named.npy")) {
			t.Errorf("%s: without --sampler other images than with %s", model, sampler)
		}
		out := must(t, "inspect", model)
		if strings.Contains(out, "sample takes "+sampler) != (sampler != "ddpm") {
			t.Errorf("inspect %s: %s", model, out)
		}
	}
	must(t, strings.Fields("sample --model ddim --eta 1 --n 1 --steps 2 --out a.npy")...)
	has(t, "the PNG", provenanceOf(t, strings.Fields("--model dpm --n 1 --steps 2")...), "{sampler dpm++2m}", "{steps dpm++2m 2}")
	otherPipeline(t, "inverse", nil, map[string]any{"_class_name": "DDIMInverseScheduler"})
	otherPipeline(t, "euler", nil, map[string]any{"_class_name": "EulerDiscreteScheduler"})
	for args, want := range map[string]string{
		"sample --model dpm --eta 1 --out b.png":     "--eta has no meaning for dpm++2m; the sampler that takes it is ddim",
		"sample --model inverse --out b.png":         "the model's scheduler: ddim-inverse turns images into noise; --noise must name a .npy file of images in [-1, 1]",
		"sample --model ddim --sampler= --out b.png": `--sampler: there is no sampler ""; the samplers are ` + samplers,
	} {
		if r := call(strings.Fields(args)...); r.code != exitUsage || said(r.stderr) != want {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	r := call("sample", "--model", "euler", "--sampler", "ddim", "--out", "b.png")
	if has(t, "euler", r.stderr, "EulerDiscreteScheduler, whose sampler is not supported", "DDIMScheduler.from_config"); r.code != exitFailed {
		t.Errorf("exit code %d", r.code)
	}
	if exists("b.png") {
		t.Error("what was refused left b.png")
	}
}

// provenanceOf samples to a PNG and returns what it says of itself.
func provenanceOf(t *testing.T, args ...string) string {
	t.Helper()
	must(t, append([]string{"sample", "--out", "p.png"}, args...)...)
	texts := textsOf(t, "p.png")
	return fmt.Sprint(texts)
}

// textsOf reads the texts of a PNG file.
func textsOf(t *testing.T, path string) []images.Text {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := images.ReadText(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return texts
}
