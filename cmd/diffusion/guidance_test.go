package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"unstir/internal/images"
)

// guidedWorkspace makes a workspace with a run of two classes, a and b, that was trained with label dropout, and goes there.
func guidedWorkspace(t *testing.T) {
	t.Helper()
	workspace(t)
	for _, class := range []string{"a", "b"} {
		if err := os.Mkdir("images/"+class, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		name := string(rune('0'+i)) + ".png"
		if err := os.Rename("images/"+name, "images/"+string("ab"[i%2])+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	must(t, strings.Fields("train --config tiny.toml --set model.num_class_embeds=2 --set train.label_dropout=0.3 --set preview.every=6 --set preview.steps=2")...)
}

// With label dropout the model has one class embedding more than the configuration says, which only diffusers' file and the state
// know of: the configuration gives the same model again, and the run goes on.
func TestLabelDropoutInFiles(t *testing.T) {
	guidedWorkspace(t)
	checkpoint := "runs/tiny/checkpoints/step-00000006/"
	for _, name := range []string{"runs/tiny/config.toml", checkpoint + "training/config.toml"} {
		has(t, name, string(readFile(t, name)), "num_class_embeds = 2\n", "label_dropout = 0.3\n")
	}
	var unet struct {
		Classes int `json:"num_class_embeds"`
	}
	var state struct {
		Null *int `json:"null_class"`
	}
	for name, v := range map[string]any{"unet/config.json": &unet, "training/state.json": &state} {
		if err := json.Unmarshal(readFile(t, checkpoint+name), v); err != nil {
			t.Fatal(err)
		}
	}
	if unet.Classes != 3 || state.Null == nil || *state.Null != 2 {
		t.Errorf("the model has %d class embeddings and the null class %v, want 3 and 2", unet.Classes, state.Null)
	}
	out := must(t, "inspect", "runs/tiny")
	has(t, "inspect", out, "classes    0 to 1: a, b\n", "guidance   yes: trained with label dropout")
	if strings.Contains(out, "null") {
		t.Errorf("inspect shows the null class:\n%s", out)
	}
	must(t, strings.Fields("train --resume auto --out runs/tiny --steps 8")...)
	must(t, strings.Fields("train --config runs/tiny/config.toml --resume auto --out runs/tiny --steps 10")...)
	r := call(strings.Fields("train --config runs/tiny/config.toml --resume auto --out runs/tiny --steps 12 --set train.label_dropout=0")...)
	if want := "train: runs/tiny/checkpoints/step-00000010 cannot go on: train.label_dropout was above 0 and is now 0, for which the model has a null class too many"; r.code != exitUsage ||
		said(r.stderr) != want {
		t.Errorf("without label dropout: exit code %d, says %q", r.code, said(r.stderr))
	}
}

// The flags of guidance reach the images of every command that samples: 1 changes not a byte, 0 forgets the label, other weights do
// something, and a picture says which.
func TestGuidanceInEveryCommand(t *testing.T) {
	guidedWorkspace(t)
	sample := func(args string) []byte {
		return sampled(t, "o.npy", strings.Fields("--model runs/tiny --n 4 --sampler ddim --steps 4 "+args)...)
	}
	plain, guided := slices.Clone(sample("")), slices.Clone(sample("--guidance 3"))
	if !bytes.Equal(sample("--guidance 1"), plain) || !bytes.Equal(sample("--guidance 1 --guidance-rescale 0.5 --guidance-interval 3,9"), plain) {
		t.Error("--guidance 1 is not sampling without it")
	}
	if bytes.Equal(guided, plain) {
		t.Error("--guidance 3 changes nothing")
	}
	if free := slices.Clone(sample("--guidance 0 --label a")); !bytes.Equal(sample("--guidance 0 --label b"), free) || bytes.Equal(free, sample("--label a")) {
		t.Error("--guidance 0 is not without the label")
	}
	for _, more := range []string{"--guidance-rescale 0.7", "--guidance-interval 3,12"} {
		if bytes.Equal(sample("--guidance 3 "+more), guided) {
			t.Errorf("%s changes nothing", more)
		}
	}
	if !bytes.Equal(sample("--guidance 3 --guidance-interval 0,19 --batch 1 --guidance-rescale 0 --null-class 2"), guided) {
		t.Error("the defaults, said, give other images")
	}

	picture := func(args string) []byte {
		return slices.Clone(sampled(t, "o.png", strings.Fields("--model runs/tiny --n 4 --sampler ddim --steps 4 "+args)...))
	}
	if !bytes.Equal(picture("--guidance 1"), picture("")) {
		t.Error("the picture of --guidance 1 has other bytes")
	}
	texts, err := images.ReadText(bytes.NewReader(picture("--guidance 2.50 --guidance-rescale 0.7 --guidance-interval 3,12")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []images.Text{{Key: "guidance", Value: "2.5"}, {Key: "guidance rescale", Value: "0.7"}, {Key: "guidance interval", Value: "3,12"}} {
		if !slices.Contains(texts, want) {
			t.Errorf("the picture does not say %v: %v", want, texts)
		}
	}

	must(t, strings.Fields("sample --model runs/tiny --compare ddpm,ddim,dpm++2m,heun --n 2 --steps 4 --guidance 2 --out c.png")...)
	must(t, strings.Fields("encode --model runs/tiny --images images/a/0.png --label a --guidance 2 --steps 5 --out x.npy")...)
	must(t, strings.Fields("interpolate --model runs/tiny --from 1 --to 2 --label a,b --frames 3 --steps 4 --out w.npy")...)
	walk := readArray(t, "w.npy").Data
	must(t, strings.Fields("interpolate --model runs/tiny --from 1 --to 2 --label a,b --frames 3 --steps 4 --guidance 2 --out w.npy")...)
	if slices.Equal(readArray(t, "w.npy").Data, walk) {
		t.Error("interpolate --guidance changes nothing")
	}
	must(t, strings.Fields("interpolate --model runs/tiny --from images/a/0.png --to 2 --label a --frames 3 --steps 4 --guidance 2 --out w.png")...)
	if texts, err := images.ReadText(bytes.NewReader(readFile(t, "w.png"))); err != nil || !slices.Contains(texts, images.Text{Key: "guidance", Value: "2"}) {
		t.Errorf("the walk says %v, %v", texts, err)
	}
}

// What is encoded with guidance comes back with it.
func TestGuidedEncodingComesBack(t *testing.T) {
	guidedWorkspace(t)
	r := call(strings.Fields("encode --model runs/tiny --images images/a --label a --guidance 1.5 --steps 10 --refine 20 --pairing next --out x.npy --check")...)
	if r.code != exitDone {
		t.Fatalf("exit code %d: %s", r.code, r.stderr)
	}
	has(t, "encode --check", r.stderr, "decoded, the images differ by 0.0")
}

// A set of images goes on with the same guidance, and with no other.
func TestGuidanceOfASetOfImages(t *testing.T) {
	guidedWorkspace(t)
	set := "sample --model runs/tiny --sampler ddim --steps 3 --out set "
	must(t, strings.Fields(set+"--n 2 --guidance 2 --guidance-rescale 0.5 --guidance-interval 4,15")...)
	must(t, strings.Fields(set+"--n 4 --guidance 2.0 --guidance-rescale 0.5 --guidance-interval 4,15")...)
	must(t, strings.Fields("sample --model runs/tiny --sampler ddim --steps 3 --out whole --n 4 --guidance 2 --guidance-rescale 0.5 --guidance-interval 4,15")...)
	if !bytes.Equal(readFile(t, "set/00003.png"), readFile(t, "whole/00003.png")) {
		t.Error("an image that was added is another one")
	}
	for args, want := range map[string]string{
		"":             "guidance = 2, this command has none",
		"--guidance 1": "guidance = 2, this command has none",
		"--guidance 3": "guidance = 2, this command has 3",
		"--guidance 2": "guidance_rescale = 0.5, this command has none",
		"--guidance 2 --guidance-rescale 0.5 --guidance-interval 4,16": "guidance_interval = 4,15, this command has 4,16",
	} {
		r := call(strings.Fields(set + "--n 4 " + args)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "its images are made with "+want) {
			t.Errorf("with %q: exit code %d, says %q, want %q", args, r.code, said(r.stderr), want)
		}
	}
	if r := call(strings.Fields(set + "--n 4 --guidance 2 --guidance-rescale 0.5 --guidance-interval 4,15 --rederive-eps=false")...); r.code != exitUsage ||
		!strings.Contains(r.stderr, "made with rederive_eps = true, this command has false") {
		t.Errorf("with --rederive-eps=false: exit code %d, says %q", r.code, said(r.stderr))
	}
	must(t, strings.Fields("sample --model runs/tiny --sampler ddim --steps 3 --out plain --n 2")...)
	must(t, strings.Fields("sample --model runs/tiny --sampler ddim --steps 3 --out plain --n 4 --guidance 1")...)
	if text := string(readFile(t, "plain/samples.json")); strings.Contains(text, "guidance") || strings.Contains(text, "null") {
		t.Errorf("the manifest of a set without guidance:\n%s", text)
	}
}

// A model that was exported has the null class among its others, until --null-class names it: then it is the model that it was.
func TestGuidanceOfAPipeline(t *testing.T) {
	guidedWorkspace(t)
	must(t, strings.Fields("export --model runs/tiny --out exported")...)
	args := strings.Fields("--n 4 --sampler ddim --steps 4 --guidance 2")
	want := slices.Clone(sampled(t, "o.npy", append(args, "--model", "runs/tiny")...))
	if got := sampled(t, "p.npy", append(args, "--model", "exported", "--null-class", "2")...); !bytes.Equal(got, want) {
		t.Error("the exported model draws other images")
	}
	must(t, strings.Fields("sample --model exported --sampler ddim --steps 3 --n 2 --guidance 2 --null-class 2 --out set")...)
	if text := string(readFile(t, filepath.Join("set", "samples.json"))); !strings.Contains(text, `"null_class": "2"`) || !strings.Contains(text, `"labels": [0,1]`) {
		t.Errorf("the manifest does not say which the null class is:\n%s", text)
	}
	for args, want := range map[string]string{
		"sample --model exported --guidance 2": "--guidance 2: the model does not say which of its class embeddings is the null class; --null-class INDEX names it, " +
			"and one that has none must be trained with label dropout, as train.label_dropout does",
		"sample --model exported --guidance 2 --null-class 3":           "--null-class 3: the model's class embeddings are 0 to 2",
		"sample --model exported --guidance 2 --null-class 2 --label 2": `--label "2": the classes are 0 to 1`,
		"sample --model exported --guidance 2 --null-class 0 --label 0": `--label "0": the classes are 1 to 2`,
		"sample --model runs/tiny --guidance 2 --null-class 1":          "--null-class 1: this model's is 2, and need not be given",
		"sample --model runs/tiny --label 2":                            `--label "2": the classes are 0 to 1: a, b`,
		"sample --model runs/tiny --label null":                         `--label "null": the classes are 0 to 1: a, b`,
		"encode --model exported --guidance 2 --images images/a --label 0 --out e.npy": "--guidance 2: the model does not say which of its class embeddings is the null class; --null-class INDEX names it, " +
			"and one that has none must be trained with label dropout, as train.label_dropout does",
		"interpolate --model exported --guidance 2 --null-class 9 --from 1 --to 2 --label 0": "--null-class 9: the model's class embeddings are 0 to 2",
	} {
		if r := call(strings.Fields(args)...); r.code != exitUsage || said(r.stderr) != want {
			t.Errorf("diffusion %s: exit code %d, says\n\t%s\nwant\n\t%s", args, r.code, said(r.stderr), want)
		}
	}
}
