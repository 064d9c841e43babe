package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"unstir"
	"unstir/diffusion"
	"unstir/internal/npy"
	"unstir/internal/samples"
	"unstir/nn/kernel"
	"unstir/unet"
)

// pngs are the PNG files below a directory, with their bytes: what a tool that compares sets of images takes. None
// where there is no directory.
func pngs(t *testing.T, dir string) map[string]string {
	t.Helper()
	if !exists(dir) {
		return nil
	}
	all := files(t, dir)
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.EqualFold(filepath.Ext(name), ".png") })
	base := map[string]string{}
	for name, data := range all {
		base[strings.TrimPrefix(name, filepath.ToSlash(dir)+"/")] = data
	}
	return base
}

// sameSet checks that two directories have the same n images, to the byte.
func sameSet(t *testing.T, got, want string, n int) {
	t.Helper()
	a, b := pngs(t, got), pngs(t, want)
	if len(a) != n || !maps.Equal(a, b) {
		t.Errorf("%s has %d images, want the %d of %s, which has %d", got, len(a), n, want, len(b))
	}
}

// untilFile is a context that is cancelled as soon as a file is there.
type untilFile struct {
	context.Context
	path string
}

func (c untilFile) Err() error {
	if exists(c.path) {
		return context.Canceled
	}
	return c.Context.Err()
}

// What was done when sampling is interrupted stays, and the same command goes on to the bytes of a set that was not
// cut.
func TestInterruptedSamplingGoesOn(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--n", "7", "--batch", "2", "--sampler", "ddpm", "--seed", "3", "--out"}
	must(t, append(args, "whole")...)

	r := callContext(untilFile{t.Context(), "cut/00003.png"}, append(args, "cut")...)
	if want := "--out cut: interrupted; 4 of 7 images are complete, and the same command goes on from there"; r.code != exitFailed || r.out != "" || said(r.stderr) != want {
		t.Errorf("exit code %d, output %q, says %q, want %q", r.code, r.out, said(r.stderr), want)
	}
	if n := len(pngs(t, "cut")); n != 4 {
		t.Errorf("%d images are there", n)
	}
	r = call(append(args, "cut")...)
	if r.code != exitDone || r.out != "cut\n" {
		t.Errorf("exit code %d, %q", r.code, r.out)
	}
	has(t, "stderr", r.stderr, "4 of 7 images are there\n", "ddpm 100.0%, 7 of 7 images written\n")
	sameSet(t, "cut", "whole", 7)

	r = call(append(args, "cut")...)
	if r.code != exitDone || r.out != "cut\n" || !strings.Contains(r.stderr, "nothing to do: all 7 images are there\n") || strings.Contains(r.stderr, "%") {
		t.Errorf("exit code %d, output %q, %q", r.code, r.out, r.stderr)
	}
	if a, b := readFile(t, "cut/samples.json"), readFile(t, "whole/samples.json"); string(a) != string(b) {
		t.Errorf("samples.json differs:\n%s\n%s", a, b)
	}
}

// Images that are missing anywhere are made in full batches, and extending a set gives the images of a larger one.
func TestMissingAndMoreImagesAreMade(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--sampler", "ddim", "--steps", "3", "--eta", "1", "--batch", "4"}
	must(t, append(args, "--n", "12", "--out", "whole")...)
	must(t, append(args, "--n", "5", "--out", "set")...)
	for _, i := range []int{0, 3} {
		if err := os.Remove(filepath.Join("set", samples.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, "set/00002.png", readFile(t, "set/00002.png")[:50])
	r := call(append(args, "--n", "12", "--out", "set")...)
	if r.code != exitDone {
		t.Fatal(r.stderr)
	}
	has(t, "stderr", r.stderr, "--out set: 00002.png is damaged and made again\n", "2 of 12 images are there\n")
	sameSet(t, "set", "whole", 12)
	if a, b := readFile(t, "set/samples.json"), readFile(t, "whole/samples.json"); string(a) != string(b) {
		t.Errorf("samples.json differs:\n%s\n%s", a, b)
	}
}

// What changes no pixel keeps a set; what does, is refused, and the set stays as it is.
func TestASetHasOneWayToBeMade(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--n", "2", "--out", "set", "--seed", "5"}
	must(t, args...)
	before := files(t, "set")
	if err := os.CopyFS("copied", os.DirFS("runs/tiny/checkpoints/step-00000006")); err != nil {
		t.Fatal(err)
	}
	must(t, "export", "--model", "runs/tiny", "--out", "exported")
	for _, same := range []string{
		"--batch 1", "--threads 1", "--model runs/tiny", "--model runs/tiny/checkpoints/step-00000006", "--model copied", "--model exported",
		"--sampler ddpm", "--steps 20", "--variance posterior", "--variance 0", "--clip static", "--spacing leading", "--pairing stride", "--step-seed 5", "--ema=true",
	} {
		r := call(append(args, strings.Fields(same)...)...)
		if r.code != exitDone || !strings.Contains(r.stderr, "nothing to do") {
			t.Errorf("%s: exit code %d, %s", same, r.code, r.stderr)
		}
	}
	for other, want := range map[string]string{
		"--steps 19":         "steps = 20, this command has 19",
		"--sampler ddim":     "sampler = ddpm, this command has ddim",
		"--variance beta":    "variance = posterior, this command has beta",
		"--clip none":        "clip = static, this command has none",
		"--pairing next":     "pairing = stride, this command has next",
		"--spacing trailing": "spacing = leading, this command has trailing",
		"--seed 6":           "seed = 5, this command has 6",
		"--step-seed 6":      "step_seed = 5, this command has 6",
		"--ema=false":        "by another model, runs/tiny/checkpoints/step-00000006 (weights: ema, SHA-256",
		"--n 1":              "to have 2 images, this command asks for 1",
		"--steps 5 --n 9":    "steps = 20, this command has 5",
		"--model runs/tiny/checkpoints/step-00000004": "this one is runs/tiny/checkpoints/step-00000004 (weights: ema, SHA-256",
	} {
		r := call(append(args, strings.Fields(other)...)...)
		if r.code != exitUsage || r.out != "" || !strings.Contains(said(r.stderr), want) || strings.Contains(said(r.stderr), "\n") {
			t.Errorf("%s: exit code %d, says %q, want %q", other, r.code, said(r.stderr), want)
		}
	}
	if !maps.Equal(before, files(t, "set")) {
		t.Error("the set was changed")
	}
}

// A model that was moved goes on with its set, whose images all say where it was at the beginning.
func TestAModelThatMovedGoesOn(t *testing.T) {
	workspaceWithRun(t)
	args := []string{"sample", "--sampler", "ddim", "--steps", "2", "--n"}
	must(t, append(args, "4", "--out", "whole")...)
	must(t, append(args, "2", "--out", "set")...)
	if err := os.Rename("runs/tiny", "moved"); err != nil {
		t.Fatal(err)
	}
	must(t, append(args, "4", "--out", "set", "--model", "moved")...)
	sameSet(t, "set", "whole", 4)
	texts := textsOf(t, "set/00003.png")
	found := map[string]string{}
	for _, x := range texts {
		found[x.Key] = x.Value
	}
	if found["model"] != "runs/tiny/checkpoints/step-00000006" || len(found["model SHA-256"]) != 64 || found["image"] != "3" || found["seed"] != "0" {
		t.Errorf("the texts are %q", texts)
	}
}

// Classes take turns, and a list of labels is repeated, by the image's number: a set that grows keeps its images.
func TestLabelsGoByTheImagesNumber(t *testing.T) {
	workspace(t)
	for i := range 7 {
		name, class := fmt.Sprintf("%d.png", i), filepath.Join("images", []string{"a", "b", "c"}[i%3])
		if err := os.MkdirAll(class, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join("images", name), filepath.Join(class, name)); err != nil {
			t.Fatal(err)
		}
	}
	must(t, strings.Fields("train --config tiny.toml --set model.num_class_embeds=3 --steps 2")...)
	for _, label := range []string{"", "--label all", "--label b", "--label 0,2,0"} {
		args := append(strings.Fields("sample --sampler ddim --steps 2 --out"), "small"+label)
		flags := strings.Fields(label)
		must(t, append(append(args, "--n", "2"), flags...)...)
		must(t, append(append(args, "--n", "8"), flags...)...)
		args[len(args)-1] = "large" + label
		must(t, append(append(args, "--n", "8"), flags...)...)
		sameSet(t, "small"+label, "large"+label, 8)
	}
	for args, want := range map[string]string{
		"--label b":           "labels = 0 1 2, this command has 1",
		"--label 0,2,0":       "labels = 0 1 2, this command has 0 2 0",
		"--label 0,1,2":       "", // all of them, in their turns
		"--label 0,1,2,a,b,c": "",
	} {
		r := call(append(strings.Fields("sample --sampler ddim --steps 2 --n 8 --out small"), strings.Fields(args)...)...)
		if (r.code == exitDone) != (want == "") || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.stderr)
		}
	}
}

// A set that starts from a file's x_T belongs to that x_T.
func TestASetFromAFile(t *testing.T) {
	workspaceWithRun(t)
	x := npy.Array[float32]{Shape: []int{5, 1, tinySize, tinySize}, Data: make([]float32, 5*64)}
	for i := range x.Data {
		x.Data[i] = float32(i%29)/14 - 1
	}
	write := func() {
		if err := npy.WriteFile("x.npy", x); err != nil {
			t.Fatal(err)
		}
	}
	write()
	args := strings.Fields("sample --noise x.npy --sampler ddpm --out")
	must(t, append(args, "whole")...)
	must(t, append(args, "cut")...)
	for _, i := range []int{0, 2, 3} {
		if err := os.Remove(filepath.Join("cut", samples.Name(i))); err != nil {
			t.Fatal(err)
		}
	}
	must(t, append(args, "cut")...)
	sameSet(t, "cut", "whole", 5)
	for name, data := range pngs(t, "whole") { // which shows that the file matters
		if data == pngs(t, "cut")[samples.Name(0)] && name != samples.Name(0) {
			t.Errorf("%s is image 0", name)
		}
	}
	x.Data[64] += 0.5
	write()
	r := call(append(args, "cut")...)
	if r.code != exitUsage || !strings.Contains(said(r.stderr), "made with x_T = ") {
		t.Errorf("exit code %d, says %q", r.code, said(r.stderr))
	}
	r = call(strings.Fields("sample --sampler ddpm --n 5 --out cut")...)
	if r.code != exitUsage || !strings.Contains(said(r.stderr), "this command has none") {
		t.Errorf("exit code %d, says %q", r.code, said(r.stderr))
	}
}

// Kernels with other rounding continue a set, with a note.
func TestOtherKernelsAreNoted(t *testing.T) {
	level := kernel.ThisCPU().Level
	if level == kernel.Generic {
		t.Skip("this CPU or build has the generic kernels only")
	}
	defer kernel.SetLevel(level)
	workspaceWithRun(t)
	args := strings.Fields("sample --sampler ddim --steps 2 --out set --n")
	must(t, append(args, "1")...)
	if err := kernel.SetLevel(kernel.Generic); err != nil {
		t.Fatal(err)
	}
	r := call(append(args, "1")...)
	if r.code != exitDone || strings.Contains(r.stderr, "kernels") {
		t.Errorf("nothing is to be done: exit code %d, %s", r.code, r.stderr)
	}
	r = call(append(args, "2")...)
	if r.code != exitDone || strings.Count(r.stderr, "--out set: the set was begun with the kernels avx2 and goes on with generic: images made by the two differ by rounding\n") != 1 {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
}

// The removal of the directory ends the run, with an error that names the image that could not be written.
func TestADirectoryThatIsGone(t *testing.T) {
	workspaceWithRun(t)
	ctx := hook{t.Context(), func() {
		if exists("gone/00001.png") {
			os.RemoveAll("gone")
		}
	}}
	r := callContext(ctx, strings.Fields("sample --sampler ddim --steps 2 --n 6 --batch 2 --out gone")...)
	if r.code != exitFailed || r.out != "" || !strings.HasPrefix(said(r.stderr), "--out gone: 00002.png: ") || strings.Contains(said(r.stderr), "\n") {
		t.Errorf("exit code %d, says %q", r.code, said(r.stderr))
	}
}

// hook is a context that does something whenever it is asked.
type hook struct {
	context.Context
	do func()
}

func (h hook) Err() error {
	h.do()
	return h.Context.Err()
}

// Every option of the library is either recorded in samples.json or known to change no pixel: one that is added has
// to be put in its place here, and in settingsOf.
func TestEveryOptionIsRecorded(t *testing.T) {
	recorded := map[string]string{ // option: setting; "": changes no pixel of image i
		"SampleOptions.N": "", "SampleOptions.First": "", "SampleOptions.Numbers": "", "SampleOptions.Batch": "", "SampleOptions.OnStep": "",
		"SampleOptions.Sampler": "Sampler", "SampleOptions.Steps": "Steps", "SampleOptions.Seed": "Seed", "SampleOptions.StepSeed": "StepSeed",
		"SampleOptions.Labels": "Labels", "SampleOptions.XT": "XT", "SampleOptions.Settings": "", "SampleOptions.Edit": "", "SampleOptions.Inpaint": "", "SampleOptions.Guidance": "", // whose members follow
		"Options.Steps": "Steps", "Options.Timesteps": "Timesteps", "Options.Spacing": "Spacing", "Options.Pairing": "Pairing", "Options.Clip": "Clip", "Options.Eta": "Eta",
		"Options.SigmaHat": "Eta", "Options.RederiveEps": "RederiveEps", "Options.Variance": "Variance", "Options.Refine": "Refine",
		"Options.FinalSigmaMin": "FinalSigmaMin", "Options.LambdaMin": "LambdaMin",
		"Guidance.Weight": "Guidance", "Guidance.Rescale": "GuidanceRescale", "Guidance.Interval": "GuidanceInterval", "Guidance.KeepEps": "RederiveEps",
		"Edit.Images": "Given", "Edit.Strength": "Strength",
		"Inpaint.Images": "Given", "Inpaint.Mask": "Mask", "Inpaint.JumpLength": "JumpLength", "Inpaint.Resample": "Resample",
	}
	settings := reflect.TypeFor[samples.Settings]()
	for _, options := range []reflect.Type{
		reflect.TypeFor[unstir.SampleOptions](), reflect.TypeFor[diffusion.Options](), reflect.TypeFor[unstir.Edit](), reflect.TypeFor[unstir.Inpaint](), reflect.TypeFor[diffusion.Guidance](),
	} {
		for field := range options.NumField() {
			name := options.Name() + "." + options.Field(field).Name
			setting, known := recorded[name]
			if !known {
				t.Errorf("%s is neither in samples.Settings nor known to change no pixel", name)
			}
			if _, ok := settings.FieldByName(setting); setting != "" && !ok {
				t.Errorf("%s: there is no setting %s", name, setting)
			}
		}
	}

	lambda, step := -5.1, uint64(9)
	p := channels(t, 1)
	image, hole := make([]float32, 64), make([]bool, 64)
	hole[9] = true
	inpaint := func(o *unstir.SampleOptions) *unstir.Inpaint {
		o.Inpaint = &unstir.Inpaint{Images: image, Mask: hole}
		return o.Inpaint
	}
	base := unstir.SampleOptions{N: 2, Sampler: "ddim", Steps: 6}
	for setting, c := range map[string]struct {
		sampler string
		change  func(*unstir.SampleOptions)
	}{
		"Steps":                {"ddim", func(o *unstir.SampleOptions) { o.Steps = 7 }},
		"Timesteps":            {"ddim", func(o *unstir.SampleOptions) { o.Steps, o.Settings.Timesteps = 0, []int{9, 7, 5, 3, 1, 0} }},
		"Spacing":              {"ddim", func(o *unstir.SampleOptions) { o.Settings.Spacing = diffusion.Trailing }},
		"Pairing":              {"ddim", func(o *unstir.SampleOptions) { o.Settings.Pairing = diffusion.PairNext }},
		"Clip":                 {"ddim", func(o *unstir.SampleOptions) { o.Settings.Clip = diffusion.ClipNone }},
		"Eta":                  {"ddim", func(o *unstir.SampleOptions) { o.Settings.Eta = 0.5 }},
		"Eta (hat)":            {"ddim", func(o *unstir.SampleOptions) { o.Settings.SigmaHat = true }},
		"RederiveEps":          {"ddim", func(o *unstir.SampleOptions) { o.Settings.RederiveEps = true }},
		"Variance":             {"ddpm", func(o *unstir.SampleOptions) { o.Settings.Variance = diffusion.VarianceBeta }},
		"Refine":               {"ddim-inverse", func(o *unstir.SampleOptions) { o.Settings.Refine = 2 }},
		"FinalSigmaMin":        {"dpm++2m", func(o *unstir.SampleOptions) { o.Settings.FinalSigmaMin = true }},
		"LambdaMin":            {"dpm++2m", func(o *unstir.SampleOptions) { o.Settings.LambdaMin = &lambda }},
		"Seed":                 {"ddim", func(o *unstir.SampleOptions) { o.Seed = 1 }},
		"StepSeed":             {"ddim", func(o *unstir.SampleOptions) { o.StepSeed = &step }},
		"XT":                   {"ddim", func(o *unstir.SampleOptions) { o.XT = make([]float32, 2*64) }},
		"RederiveEps (guided)": {"ddim", func(o *unstir.SampleOptions) { o.Guidance = &diffusion.Guidance{Weight: 2} }},
		"Guidance":             {"ddim", func(o *unstir.SampleOptions) { o.Guidance = &diffusion.Guidance{Weight: 2} }},
		"GuidanceRescale":      {"ddim", func(o *unstir.SampleOptions) { o.Guidance = &diffusion.Guidance{Weight: 2, Rescale: 0.5} }},
		"GuidanceInterval": {"ddim", func(o *unstir.SampleOptions) {
			o.Guidance = &diffusion.Guidance{Weight: 2, Interval: &diffusion.Interval{Low: 1, High: 5}}
		}},
		"Given":        {"ddim", func(o *unstir.SampleOptions) { o.Edit = &unstir.Edit{Images: image, Strength: 0.5} }},
		"Given (hole)": {"ddim", func(o *unstir.SampleOptions) { inpaint(o) }},
		"Strength":     {"ddim", func(o *unstir.SampleOptions) { o.Edit = &unstir.Edit{Images: image, Strength: 0.5} }},
		"Mask":         {"ddim", func(o *unstir.SampleOptions) { inpaint(o) }},
		"JumpLength":   {"ddim", func(o *unstir.SampleOptions) { inpaint(o).JumpLength = 3 }},
		"Resample":     {"ddim", func(o *unstir.SampleOptions) { inpaint(o).Resample = 3 }},
	} {
		was := base
		was.Sampler = c.sampler
		is := was
		c.change(&is)
		a, err := settingsOf(p, was)
		if err != nil {
			t.Fatal(err)
		}
		b, err := settingsOf(p, is)
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		name, _, _ := strings.Cut(setting, " ")
		if reflect.DeepEqual(reflect.ValueOf(a).FieldByName(name).Interface(), reflect.ValueOf(b).FieldByName(name).Interface()) {
			t.Errorf("%s is not recorded: %+v", setting, b)
		}
	}
}

// channels is a pipeline of a new model of images of 8x8.
func channels(t *testing.T, n int) *unstir.Pipeline {
	t.Helper()
	c := unet.Defaults()
	c.SampleSize = unet.Size{H: 8, W: 8}
	c.InChannels, c.OutChannels = n, n
	c.BlockOutChannels, c.DownBlockTypes, c.UpBlockTypes = []int{8}, []string{"DownBlock2D"}, []string{"UpBlock2D"}
	c.LayersPerBlock, c.NormNumGroups = 1, 4
	m, err := unet.New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := diffusion.NewSchedule(diffusion.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	p, err := unstir.New(m, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Samples that cannot be pictures are refused before they are made, unless the output is an array.
func TestSamplesThatAreNoPictures(t *testing.T) {
	workspace(t)
	if err := channels(t, 4).Export(t.Context(), "four", unstir.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"dir", "a.png", "a.gif"} {
		r := call("sample", "--model", "four", "--out", out)
		if want := "--out " + out + ": the model's images have 4 channels, and pictures have 1 (gray) or 3 (RGB); name a .npy file"; r.code != exitUsage || said(r.stderr) != want {
			t.Errorf("exit code %d, says %q, want %q", r.code, said(r.stderr), want)
		}
		if exists(out) {
			t.Errorf("%s was made", out)
		}
	}
	must(t, "sample", "--model", "four", "--out", "a.npy", "--n", "1", "--sampler", "ddim", "--steps", "1")
}

// Memory that is short is found out before the directory is made.
func TestADirectoryOfSamplesForeseesMemory(t *testing.T) {
	workspaceWithRun(t)
	t.Setenv("UNSTIR_MEMORY", "3000000")
	args := strings.Fields("sample --sampler ddim --steps 2 --n 64 --out set --batch")
	r := call(append(args, "64")...)
	if has(t, "stderr", r.stderr, "a batch of 64 images does not fit into memory"); r.code != exitFailed || exists("set") {
		t.Errorf("exit code %d, and the directory is there: %v", r.code, exists("set"))
	}
	must(t, append(args, "2")...)
	must(t, append(args, "64")...) // there is nothing to do
}
