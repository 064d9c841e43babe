package main

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"unstir/internal/dirlock"
	"unstir/internal/htmlreport"
	"unstir/internal/images"
	"unstir/metrics"
)

// reportOn makes a run's page and returns it.
func reportOn(t *testing.T, args ...string) string {
	t.Helper()
	path := strings.TrimSpace(must(t, append([]string{"report"}, args...)...))
	text := readFile(t, path)
	if len(text) > htmlreport.MaxBytes {
		t.Errorf("%s has %d bytes", path, len(text))
	}
	return string(text)
}

// commandsOf are the commands that a page shows.
func commandsOf(page string) (list []string) {
	for _, m := range regexp.MustCompile(`<pre class="command" tabindex="0"><code>(.*)</code></pre>`).FindAllStringSubmatch(page, -1) {
		list = append(list, html.UnescapeString(m[1]))
	}
	return list
}

// A page has what a run has: here everything. The commands on it work.
func TestReport(t *testing.T) {
	workspace(t)
	must(t, "train", "--config", "tiny.toml", "--set", "preview.every=2", "--set", "preview.images=2", "--set", "preview.steps=2")
	must(t, "sample", "--compare", "ddpm,ddim", "--n", "2", "--steps", "2", "--seed", "9", "--out", "runs/tiny/samplers.png")
	must(t, "sample", "--sampler", "ddim", "--n", "2", "--steps", "3", "--out", "runs/tiny/also.png")
	must(t, "sample", "--compare", "ddpm,ddim", "--n", "1", "--steps", "2", "--out", "runs/tiny/samplers.gif")
	writeFile(t, "runs/tiny/eval.json", []byte(`{"dataset": "folder", "n": 1000, "frechet": 3.25, "frechet_real": 1.5, "class_accuracy": null, "model_step": 6}`))
	before := files(t, "runs")
	page := reportOn(t, "runs/tiny")
	has(t, "the page", page, "<h1>tiny</h1>", "The run is complete: all 6 steps are done.", "<title>tiny: training run</title>",
		`id="curve-1">Loss</h3>`, `id="curve-2">Gradient norm</h3>`, `id="curve-3">Learning rate</h3>`, `id="curve-4">Speed</h3>`,
		">step 2<", ">step 4<", ">step 6<", "Sampled by ddim, 2 steps.", "Fréchet distance", "3.25", "real images 1.5",
		"samplers.png: ddpm, 2 steps; ddim, 2 steps; training step 6; seed 9", "also.png: ddim, 3 steps", "samplers.gif",
		"block_out_channels = [8, 16]", "folder: 7 images of 1x8x8")
	if strings.Contains(page, "What is missing") {
		t.Errorf("something is missing:\n%.3000s", page)
	}
	if n := strings.Count(page, "<img "); n != 3+3 {
		t.Errorf("there are %d pictures", n)
	}
	if a, b := strings.Index(page, "samplers.png: "), strings.Index(page, "also.png: "); a > b {
		t.Error("samplers side by side come after those of one")
	}
	after := files(t, "runs")
	delete(after, "runs/tiny/report.html")
	if list := changes(before, after); len(list) > 0 {
		t.Errorf("making a page changes %q", list)
	}
	if again := reportOn(t, "runs/tiny", "--out", "page.html"); len(again) != len(page) {
		t.Errorf("made again, the page has %d bytes, want %d", len(again), len(page))
	}

	if runtime.GOOS == "windows" {
		return // paths are in quotes
	}
	commands := commandsOf(page)
	want := []string{
		"diffusion train --out runs/tiny --resume auto --steps 12", "diffusion sample --model runs/tiny --sampler ddim",
		"diffusion sample --model runs/tiny --compare ddpm,ddim --n 8 --out runs/tiny/samplers.png", "diffusion eval --model runs/tiny --sampler ddim --classifier CLASSIFIER", "diffusion export --model runs/tiny --out tiny-pipeline",
		"diffusion report runs/tiny", "tensorboard --logdir runs/tiny",
	}
	if strings.Join(commands, "\n") != strings.Join(want, "\n") {
		t.Fatalf("the commands are\n%s\nwant\n%s", strings.Join(commands, "\n"), strings.Join(want, "\n"))
	}
	for _, line := range commands[:6] {
		if strings.HasPrefix(line, "diffusion eval ") { // TestEvalOfAModel runs it
			continue
		}
		must(t, strings.Fields(line)[1:]...)
	}
	if page = string(readFile(t, "runs/tiny/report.html")); !strings.Contains(page, "The evaluation is of step 6, and the newest checkpoint of step 12.") {
		t.Error("the page does not say that the evaluation is an older one's")
	}
}

// The page has each measure of an evaluation that is not null, with what it is compared with, and the classes by their names.
func TestReportOfAnEvaluation(t *testing.T) {
	r, err := metrics.ParseResult([]byte(evalJSON))
	if err != nil {
		t.Fatal(err)
	}
	e := describeEvaluation(r, []string{"zero", "one"})
	got := ""
	for _, m := range e.Measures {
		got += fmt.Sprintf("%s: %s; %s\n", m.Name, m.Value, m.Beside)
	}
	for _, f := range e.How {
		got += f.Label + ": " + f.Value + "\n"
	}
	want := `Fréchet distance: 2; real images 0.4, noise 800; 5.0 times that of real images
Kernel distance: 0.031 ± 0.002; 
Precision: 0.6; 
Recall: 0.5; 
Density: 0.7; 
Coverage: 0.8; 
Class entropy: 0.67; 1.099 for 3 even classes
Bits per dimension: 1.5 ± 0.02; 
Images a second: 210.5; 
Samples: 1,000
Dataset: mnist
Sampler: ddim, 50 steps
Seed: 1
Model of step: 3,000
Features: mnist-1
`
	if got != want {
		t.Errorf("the evaluation is\n%s\nwant\n%s", got, want)
	}
	if classes := []htmlreport.Class{{Name: "zero", Count: 120}, {Name: "one"}, {Name: "2", Count: 80}}; !slices.Equal(e.Classes, classes) {
		t.Errorf("the classes are %v", e.Classes)
	}
}

// What a run does not have its page says; what is damaged, too.
func TestReportSaysWhatIsMissing(t *testing.T) {
	workspace(t)
	must(t, "train", "--config", "tiny.toml", "--stop-at", "3", "--set", "log.tensorboard=false")
	page := reportOn(t, "runs/tiny")
	has(t, "the page", page, "The run is not complete: step 3 of 6 was reached, and the newest checkpoint is of step 3.",
		"What is missing", "<li>The run is not complete: 3 of 6 steps are still to be done.</li>", "<li>There are no previews.</li>",
		"There are none: preview.every is 0 in the configuration.", "<li>There is no evaluation.</li>", "the run&#39;s directory has no eval.json",
		"<li>There is no picture of samplers side by side.</li>", "diffusion train --out ")
	if strings.Contains(page, "tensorboard --logdir") || strings.Contains(page, "<img ") {
		t.Error("the page shows what there is not")
	}

	if err := os.MkdirAll("begun/previews", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "begun/config.toml", readFile(t, "runs/tiny/config.toml"))
	has(t, "the page of a run that has only begun", reportOn(t, "begun"), "step 0 of 6 was reached, and there is no checkpoint", "There is no log of the training",
		"There is no checkpoint yet", "Loss: there are fewer than two values to draw.")

	for _, damage := range []struct{ file, text, want string }{
		{"config.toml", "name = ", "The configuration is not understood: "},
		{"log.jsonl", "{\n{}\n", "The log cannot be read, and so there are no curves: "},
		{"log.jsonl", "", "The log is empty"},
		{"eval.json", "[1]", "The evaluation cannot be read: "},
		{"eval.json", `{"frechet": "<b>"}`, "frechet cannot be a string"},
		{"previews/step-00000003.png", "no picture", "This file is no picture that can be read."},
		{"checkpoints/step-00000003/manifest.json", "{", "A newer checkpoint is damaged: "},
	} {
		dir := filepath.Join("damaged", strings.NewReplacer("/", "-", ".", "-").Replace(damage.file+damage.text[:min(1, len(damage.text))]))
		if err := os.CopyFS(dir, os.DirFS("runs/tiny")); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, filepath.FromSlash(damage.file)), []byte(damage.text))
		has(t, damage.file, reportOn(t, dir), damage.want)
	}
}

// A run whose names are those of an attacker, or just unusual, has a page that shows them.
func TestReportOfHostileNames(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("such names cannot be given to files here")
	}
	workspace(t)
	picture := readFile(t, "images/0.png")
	for _, class := range []string{"<script>alert(1)<", `"><img src=x onerror=alert(2)>`, "b\u202egnp", "{{.Config}}"} {
		if err := os.MkdirAll(filepath.Join("pets", class), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join("pets", class, "a.png"), picture)
	}
	dir := "runs/<i>'$(x) &amp;"
	must(t, "train", "--config", "tiny.toml", "--set", "name={{.Style}} & co", "--set", "model.num_class_embeds=4", "--data-dir", "pets",
		"--set", "preview.every=3", "--set", "preview.images=4", "--set", "preview.steps=1", "--out", dir)
	var b bytes.Buffer
	text := []images.Text{{Key: "sampler", Value: "ddim,</figcaption><script>alert(3)</script>"}, {Key: "seed", Value: "\u202e"}}
	if err := images.EncodePNG(&b, image.NewGray(image.Rect(0, 0, 4, 4)), text); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, `"onload="x.png`), b.Bytes())
	writeFile(t, filepath.Join(dir, "eval.json"), []byte(`{"class_histogram": [1, 2, 3, 4], "sampler": "<script>"}`))
	page := reportOn(t, dir)
	has(t, "the page", page, "&lt;script&gt;alert(1)&lt;", `b\u202egnp`, "<h1>{{.Style}} &amp; co</h1>", `--label all`,
		html.EscapeString(`diffusion report 'runs/<i>'\''$(x) &amp;'`))
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("the page has %d scripts", n)
	}
	if strings.ContainsRune(page, '\u202e') || strings.Contains(page, "<i>") || strings.Contains(page, "<img src=x") || strings.Contains(page, `"onload=`) {
		t.Error("a name has become a part of the page")
	}
}

// A page is made of a run that another process is training, and takes no lock.
func TestReportOfARunAtWork(t *testing.T) {
	workspace(t)
	must(t, "train", "--config", "tiny.toml", "--stop-at", "2")
	lock, err := dirlock.Take("runs/tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	has(t, "the page", reportOn(t, "runs/tiny"), "step 2 of 6 was reached")
}
