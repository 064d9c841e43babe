package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"unstir/internal/npy"
)

// idx is an IDX file of n images of 8x8, or of n labels.
func idx(n int, images bool) []byte {
	b := []byte{0, 0, 8, 1, 0, 0, 0, byte(n)}
	if images {
		b = append([]byte{0, 0, 8, 3, 0, 0, 0, byte(n)}, 0, 0, 0, 8, 0, 0, 0, 8)
		return append(b, make([]byte, 64*n)...)
	}
	return append(b, make([]byte, n)...)
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// picture is a PNG file of one colour.
func picture(t *testing.T, rows, columns int, c color.Color) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, columns, rows))
	draw.Draw(m, m.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// badInputs makes the files that the cases below stumble on.
func badInputs(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"empty", "half", "cut", "corrupt", "mixed", "notimages", "many", "broken"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := func(name string, replace ...string) {
		writeFile(t, name, []byte(strings.NewReplacer(replace...).Replace(tinyConfig)))
	}
	config("nosteps.toml", "steps = 6\nbatch", "batch", "warmup_steps = 2\n", "")
	config("type.toml", "seed = 3", `seed = "three"`)
	config("unknown.toml", "warmup_steps", "warm_steps")
	config("several.toml", "flip = true", "flip = 1", "lr = 1e-2", "lr = -1.0\nlrate = 3")
	config("syntax.toml", "channels = 1", "channels = ")
	config("dataset.toml", `"folder"`, `"imagenet"`)
	config("mnist.toml", `"folder"`, `"mnist"`, "dir = \"images\"\n", "")

	writeFile(t, "half/train-images-idx3-ubyte", idx(5, true))
	writeFile(t, "cut/train-images-idx3-ubyte", idx(5, true)[:100])
	writeFile(t, "cut/train-labels-idx1-ubyte", idx(5, false))
	packed := gzipped(t, idx(5, true))
	packed[len(packed)-6] ^= 1 // in the checksum
	writeFile(t, "corrupt/train-images-idx3-ubyte.gz", packed)
	writeFile(t, "corrupt/train-labels-idx1-ubyte.gz", gzipped(t, idx(5, false)))
	writeFile(t, "mixed/a.png", readFile(t, "images/0.png"))
	writeFile(t, "mixed/b.png", []byte("this is no image"))
	writeFile(t, "notimages/readme.txt", []byte("text"))
	writeFile(t, "many/00004.png", readFile(t, "images/0.png"))
	writeFile(t, "broken/samples.json", []byte(`{"format": 1, `))
	must(t, "sample", "--model", "runs/tiny", "--sampler", "ddim", "--steps", "2", "--n", "3", "--out", "set")

	for name, shape := range map[string][]int{"rows.npy": {2, 1, 8, 9}, "flat.npy": {64}, "none.npy": {0, 1, 8, 8}, "x.npy": {2, 1, 8, 8}, "rgb.npy": {1, 3, 8, 8}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		if err := npy.WriteFile(name, npy.Array[float32]{Shape: shape, Data: make([]float32, n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := npy.WriteFile("loud.npy", npy.Array[float32]{Shape: []int{1, 1, 8, 8}, Data: slices.Repeat([]float32{2}, 64)}); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "black.png", picture(t, 8, 8, color.Gray{}))
	writeFile(t, "small.png", picture(t, 4, 6, color.Gray{Y: 255}))
	writeFile(t, "lfs.npy", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n"))
	writeFile(t, "text.npy", []byte("not an array, but long enough to have a header"))
}

type badCase struct {
	args string // separated by spaces
	code int
	want string // what stderr says last, without the program's name; a part of it where it ends in "..."
}

const (
	tiny      = "train --config tiny.toml "
	samplers  = "ddpm, ddim, ddim-inverse, dpm++1, dpm++2m, dpm++2m-heun, heun"
	datasets  = `"mnist", "fashion-mnist", "cifar10", "mnist-10k", "folder"`
	allConfs  = "cifar10, cifar10-classifier, fashion-mnist, fashion-mnist-classifier, mnist, mnist-classes, mnist-classifier, quickstart"
	sizes     = "both sides must be multiples of 2, as each level but the first halves them; the nearest sizes are 8 or 10 rows and 8 or 10 columns"
	rows9     = "both sides must be multiples of 2, as each level but the first halves them; the nearest sizes are 8 rows and 8 or 10 columns"
	hole      = "inpaint --image images/0.png --mask images/1.png "
	strengths = ": it must be a number from 0 (the images as they are) to 1 (all steps)"
	badSize   = ": it must be ROWSxCOLUMNS, such as 20x12, or one number for both"
)

var badCases = []badCase{
	// The command line.
	{"trian", 2, `there is no command "trian" (did you mean train?); see diffusion --help`},
	{"brush", 2, `there is no command "brush"; the commands are...`},
	{"help brush", 2, `there is no command "brush"; the commands are...`},
	{"bench both", 2, `there is no command "both"; the commands are sample, train; see diffusion bench --help`},
	{"bench", 2, `bench what? train or sample; see diffusion bench --help`},
	{"train tiny.toml", 2, `unexpected argument "tiny.toml"; see diffusion train --help`},
	{"sample --ema false", 2, `unexpected argument "false"; a flag that is true or false takes it with an equals sign, as in --ema=false; see diffusion sample --help`},
	{"inspect a b", 2, `unexpected argument "b"; see diffusion inspect --help`},
	{"presets a b", 2, `unexpected argument "b"; see diffusion presets --help`},
	{"bench train extra", 2, `unexpected argument "extra"; see diffusion bench train --help`},
	{"sample --setps 3", 2, `unknown flag: --setps (did you mean --steps?); see diffusion sample --help`},
	{"sample --zzz", 2, `unknown flag: --zzz; see diffusion sample --help`},
	{"train --config", 2, `flag needs an argument: --config; see diffusion train --help`},
	{"sample --n many", 2, `--n "many": it must be a whole number; see diffusion sample --help`},
	{"sample --seed -1", 2, `--seed "-1": it must be a whole number from 0 to 18446744073709551615; see diffusion sample --help`},
	{"sample --ema=maybe", 2, `--ema "maybe": it must be true or false; see diffusion sample --help`},

	// The configuration.
	{"train", 2, "--config is missing: a file, or one of the presets " + allConfs},
	{"bench train", 2, "--config is missing: a file, or one of the presets " + allConfs},
	{"train --config nosuch.toml", 2, "nosuch.toml: no such file or preset; the presets are " + allConfs},
	{"train --config images", 2, "images: it is a directory, and there is no such preset; the presets are " + allConfs},
	{"train --config nosteps.toml", 2, "nosteps.toml:16: train.steps is missing; it must be the number of training steps, such as 10000"},
	{"train --config type.toml", 2, `type.toml:3: seed is "three", a string; it must be an integer from 0 to 9223372036854775807`},
	{"train --config unknown.toml", 2, "unknown.toml:22: unknown key train.warm_steps; did you mean train.warmup_steps?"},
	{"train --config several.toml", 2, "several.toml:8: data.flip is 1, an integer; it must be true or false\n" +
		"several.toml:21: unknown key train.lrate; the keys of [train] are..."},
	{"train --config syntax.toml", 2, "syntax.toml:7: not TOML: ..."},
	{"train --config dataset.toml", 2, `dataset.toml:5: data.dataset is "imagenet"; it must be one of ` + datasets},
	{tiny + "--set data.dataset=imagenet", 2, `--set data.dataset=imagenet: data.dataset is "imagenet"; it must be one of ` + datasets},
	{tiny + "--set train.lr=fast", 2, "--set train.lr=fast: train.lr is fast; it must be a finite number"},
	{tiny + "--set train.lr", 2, "--set train.lr: it must be key=value, such as train.lr=1e-4"},
	{tiny + "--set preview.every=1 --set preview.sampler=dppm", 2, `--set preview.sampler=dppm: preview.sampler is "dppm"; it must be one of...`},
	{tiny + "--set data.size=9", 2, "--set data.size=9: data.size: images of 9x9 do not fit a model of 2 levels: " + sizes},
	{"bench train --config tiny.toml --set data.size=9", 2, "--set data.size=9: data.size: images of 9x9 do not fit a model of 2 levels: " + sizes},
	{tiny + "--set model.block_out_channels=[8,8,8,8,8]", 2, "tiny.toml: the dataset folder does not fit the model: images of 8x8 do not fit a model of 5 levels: " +
		"both sides must be multiples of 16, as each level but the first halves them; the nearest sizes are 16 rows and 16 columns; " +
		"set data.size, or give model.block_out_channels fewer levels"},
	{tiny + "--set train.label_dropout=0.1", 2, "--set train.label_dropout=0.1: train.label_dropout is 0.1, but the model has no classes to drop: " +
		"set model.num_class_embeds to their number"},
	{tiny + "--set train.label_dropout=1", 2, "--set train.label_dropout=1: train.label_dropout is 1; it must be in [0, 1)"},
	{tiny + "--set train.label_dropout=-0.5 --set model.num_class_embeds=2", 2, "--set train.label_dropout=-0.5: train.label_dropout is -0.5; it must be in [0, 1)"},
	{"presets nosuch", 2, "nosuch: no such preset; the presets are " + allConfs},

	// Training.
	{tiny + "--steps 0", 2, "--steps 0: it must be at least 1"},
	{tiny + "--stop-at 0", 2, "--stop-at 0: it must be at least 1"},
	{tiny + "--stop-at 7", 2, "--stop-at 7 is beyond the run's last step, train.steps = 6"},
	{tiny + "--threads -1", 2, "--threads -1: it must be at least 1, or 0 for as many as the system allows"},
	{tiny + "--seed 9223372036854775808", 2, "--seed 9223372036854775808: it must be at most 9223372036854775807, the largest integer of TOML"},
	{"train --config mnist.toml --data-dir nowhere", 1, `data: opening "mnist": the directory of the dataset (data.dir or --data-dir): stat DIR/nowhere: ENOENT`},
	{"train --config mnist.toml --data-dir empty", 1, `data: opening "mnist": DIR/empty or DIR/empty/mnist: expected train-images-idx3-ubyte.gz, ` +
		"train-labels-idx1-ubyte.gz (as gzip or plain), found none of them"},
	{"train --config mnist.toml --data-dir half", 1, `data: opening "mnist": DIR/half: expected train-images-idx3-ubyte.gz, ` +
		"train-labels-idx1-ubyte.gz (as gzip or plain), found no train-labels-idx1-ubyte.gz"},
	{"train --config mnist.toml --data-dir cut", 1, `data: opening "mnist": DIR/cut/train-images-idx3-ubyte: ` +
		"expected 336 bytes (5 x 8 x 8 and a header of 16), found a file of 100 bytes"},
	{"train --config mnist.toml --data-dir corrupt", 1, `data: opening "mnist": DIR/corrupt/train-images-idx3-ubyte.gz: ...`},
	{tiny + "--data-dir mixed", 1, `data: opening "folder": DIR/mixed/b.png: expected a picture (PNG, JPEG, WebP, GIF or BMP), found 16 bytes that begin with "this is "`},
	{tiny + "--data-dir notimages", 1, `data: opening "folder": DIR/notimages: expected pictures (*.png, *.apng, *.jpg, *.jpeg, *.jpe, *.jfif, *.webp, *.gif, *.bmp, *.dib) in it or below, found none; left out 1 file (readme.txt): not a picture`},
	{tiny + "--data-dir tiny.toml", 1, `data: opening "folder": DIR/tiny.toml: expected a directory (data.dir or --data-dir), found a file`},

	// Going on with a run.
	{"train --config tiny.toml", 2, "train: the directory holds a run already: runs/tiny has log.jsonl; go on with it by --resume auto, " +
		"or give the new run another directory with --out"},
	{"train --resume auto", 2, "--resume auto: which run? --out names its directory, or --config its configuration: a file, or one of the presets " + allConfs},
	{"train --resume auto --out empty", 2, "--out empty: there is no run to go on with, as there is no empty/config.toml; a new run needs --config"},
	{tiny + "--resume nowhere", 2, "--resume nowhere: there is no such directory; it must be auto, or the directory of a run or of a checkpoint"},
	{"train --resume empty", 2, "--resume empty: it is neither a run nor a checkpoint of one, as it has neither config.toml nor training/config.toml"},
	{tiny + "--resume auto --set model.block_out_channels=[8,24]", 2,
		"train: runs/tiny/checkpoints/step-00000006 cannot go on: model.block_out_channels was [8 16] and is now [8 24]"},
	{tiny + "--resume auto --set scheduler.beta_end=0.03", 2, "train: runs/tiny/checkpoints/step-00000006 cannot go on: scheduler.beta_end was 0.02 and is now 0.03"},
	{tiny + "--resume auto --seed 4", 2, "train: runs/tiny/checkpoints/step-00000006 cannot go on: the seed was 3 and is now 4"},
	{tiny + "--resume auto --data-dir many", 2, "train: runs/tiny/checkpoints/step-00000006 cannot go on: the dataset was folder: 7 images of 1x8x8, SHA-256 ..."},
	{tiny + "--resume auto --steps 3", 2, "train: runs/tiny/checkpoints/step-00000006 cannot go on: it has done 6 steps, and train.steps is 3"},
	{tiny + "--resume runs/tiny/checkpoints/step-00000002 --set train.lr=2e-2", 2, "--resume runs/tiny/checkpoints/step-00000002: the run has gone on to " +
		"step-00000006 already, and with other settings (train.lr was 0.01 and is now 0.02) it would come out differently; --out names a directory " +
		"for that, or move the newer checkpoints away"},
	{"train --resume runs/other --out runs/tiny", 2, "--resume runs/other: runs/tiny holds another run already; give this one a directory of its own with --out"},

	// Sampling: flags.
	{"sample --steps 0", 2, "--steps 0: it must be at least 1"},
	{"sample --steps 21", 2, "--steps 21: it must be at most 20, the number of timesteps that the model was trained on"},
	{"sample --sampler ddim --eta 2", 2, `--eta "2" is not possible: it must be a number from 0 to 1, or hat`},
	{"sample --sampler ddim --eta high", 2, `--eta "high" is not possible: it must be a number from 0 to 1, or hat`},
	{"sample --eta 0", 2, "--eta has no meaning for ddpm; the sampler that takes it is ddim"},
	{"sample --eta 0.5 --sampler ddpm", 2, "--eta has no meaning for ddpm; the sampler that takes it is ddim"},
	{"sample --rederive-eps --compare ddpm,heun", 2, "--rederive-eps has no meaning for ddpm and heun; the sampler that takes it is ddim"},
	{"sample --variance beta --sampler ddim", 2, "--variance has no meaning for ddim; the sampler that takes it is ddpm"},
	{"sample --variance 1.5", 2, `--variance "1.5" is not possible: it must be posterior, beta, or a number from 0 (posterior) to 1 (beta)`},
	{"sample --clip yes", 2, `--clip "yes" is not possible: it must be static, dynamic, none`},
	{"sample --spacing even", 2, `--spacing "even" is not possible: it must be leading, trailing, linspace, quad`},
	{"sample --pairing tile", 2, `--pairing "tile" is not possible: it must be stride or next`},
	{"encode --images x.npy --out e.npy --pairing tile", 2, `--pairing "tile" is not possible: it must be stride or next`},
	{"interpolate --from 1 --to 2 --pairing tile", 2, `--pairing "tile" is not possible: it must be stride or next`},
	{"sample --guidance -1", 2, "--guidance -1: it must be a number from 0 on, such as 2"},
	{"sample --guidance NaN", 2, "--guidance NaN: it must be a number from 0 on, such as 2"},
	{"sample --guidance Inf", 2, "--guidance +Inf: it must be a number from 0 on, such as 2"},
	{"sample --guidance two", 2, `--guidance "two": it must be a number from 0 on, such as 2`},
	{"sample --guidance=", 2, `--guidance "": it must be a number from 0 on, such as 2`},
	{"sample --guidance 2", 2, "--guidance 2: the model is not class-conditional, and there is no class to guide it to: train one with model.num_class_embeds and train.label_dropout"},
	{"sample --guidance 0", 2, "--guidance 0: the model is not class-conditional, and there is no class to guide it to: train one with model.num_class_embeds and train.label_dropout"},
	{"sample --guidance 1 --guidance-rescale 1.5", 2, "--guidance-rescale 1.5: it must be a number from 0 to 1"},
	{"sample --guidance 1 --guidance-rescale half", 2, `--guidance-rescale "half": it must be a number from 0 to 1`},
	{"sample --guidance 1 --guidance-interval 15,5", 2, "--guidance-interval 15,5: it holds no timestep, as 15 is above 5"},
	{"sample --guidance 1 --guidance-interval 5", 2, `--guidance-interval "5": it must be two timesteps LO,HI, such as 100,800`},
	{"sample --guidance 1 --guidance-interval 5,20", 2, "--guidance-interval 5,20: the timesteps that the model was trained on are 0 to 19"},
	{"sample --guidance-rescale 0.7", 2, "--guidance-rescale has no meaning without --guidance"},
	{"sample --guidance-interval 5,15", 2, "--guidance-interval has no meaning without --guidance"},
	{"sample --null-class 0", 2, "--null-class has no meaning without --guidance"},
	{"sample --guidance 1 --null-class 0", 2, "--null-class 0: the model is not class-conditional"},
	{"sample --guidance 1 --null-class none", 2, `--null-class "none": it must be a whole number; see diffusion sample --help`},
	{"encode --images x.npy --out e.npy --guidance -1", 2, "--guidance -1: it must be a number from 0 on, such as 2"},
	{"interpolate --from 1 --to 2 --null-class 1", 2, "--null-class has no meaning without --guidance"},
	{"eval --samples x.npy --set data.dataset=mnist --guidance 2", 2, "--guidance says how samples are made, and --samples names some that are: leave one out"},
	{"predict --x x.npy --t 3 --out e.npy --guidance 2", 2, "unknown flag: --guidance; see diffusion predict --help"},
	{"sample --sampler dimm", 2, `--sampler: there is no sampler "dimm"; the samplers are ` + samplers},
	{"sample --compare ddpm,dimm", 2, `--compare: there is no sampler "dimm"; the samplers are ` + samplers},
	{"sample --compare ddpm,ddim --sampler ddpm", 2, "--compare names the samplers: leave --sampler out"},
	{"sample --sampler ddim-inverse", 2, "--sampler: ddim-inverse turns images into noise; --noise must name a .npy file of images in [-1, 1]"},
	{"sample --demo", 2, "--demo is a model of its own: leave --model out"},
	{"predict --demo --x x.npy --t 3 --out e.npy", 2, "--demo is a model of its own: leave --model out"},
	{"encode --demo --model runs/tiny --images x.npy --out e.npy", 2, "--demo is a model of its own: leave --model out"},
	{"interpolate --demo --model runs/tiny --from 1 --to 2 --out e.npy", 2, "--demo is a model of its own: leave --model out"},
	{"export --demo --model runs/tiny --out new", 2, "--demo is a model of its own: leave --model out"},
	{"eval --demo --model runs/tiny", 2, "--demo is a model of its own: leave --model out"},
	{"export --demo --ema=false --out new", 2, "--ema=false: the weights of --demo as trained are not part of the program, only their moving average is"},
	{"inspect --demo runs/tiny", 2, "--demo is a model of its own: leave runs/tiny out"},
	{"sample --n 0", 2, "--n 0: it must be at least 1"},
	{"sample --batch -1", 2, "--batch -1: it must be at least 1, or 0 to choose"},
	{"sample --threads -1", 2, "--threads -1: it must be at least 1, or 0 for as many as the system allows"},
	{"sample --label 3", 2, "--label 3: the model is not class-conditional; leave it out"},
	{"sample --out a.jpg", 2, "--out a.jpg: the extension .jpg is none that can be written; it must be .png, .gif or .npy, or none for a directory"},
	{"sample --out no/a.png", 2, "--out no/a.png: there is no directory no"},
	{"sample --out tiny.toml/a.png", 2, "--out tiny.toml/a.png: there is no directory tiny.toml"},
	{"sample --compare ddpm,ddim --out a.npy", 2, "--out a.npy: samplers are compared in a .png or a .gif"},
	{"sample --out many --n 4", 2, "--out many: it has 00004.png, but no samples.json that says how it was made: name another directory with --out, or move the pictures away"},
	{"sample --out many --n 5", 2, "--out many: it has 00004.png, but no samples.json that says how it was made: name another directory with --out, or move the pictures away"},
	{"sample --out set --n 3 --sampler ddim --steps 3", 2, "--out set: its images are made with steps = 2, this command has 3: give the same settings, or name another directory with --out"},
	{"sample --out set --n 3 --sampler ddpm", 2, "--out set: its images are made with sampler = ddim, this command has ddpm: give the same settings, or name another directory with --out"},
	{"sample --out set --n 3 --sampler ddim --steps 2 --model runs/other", 2, "--out set: its images are made by another model, runs/tiny/checkpoints/step-00000006 (weights: ema, SHA-256 ..."},
	{"sample --out set --n 2 --sampler ddim --steps 2", 2, "--out set: it is to have 3 images, this command asks for 2: give --n 3 or more, or name another directory with --out"},
	{"sample --out tiny.toml/set", 2, "--out tiny.toml/set: it cannot be read: ENOTDIR"},
	{"sample --out broken", 1, "--out broken: samples.json is corrupt: unexpected end of JSON input; the set cannot be continued: move it away with its images, or name another directory"},

	// Sampling: the model and the noise.
	{"sample --model nowhere", 1, "there is no directory nowhere; a model is the directory of a run, of a checkpoint or of a diffusers pipeline"},
	{"sample --model tiny.toml", 1, "tiny.toml is a file; name the directory..."},
	{"sample --model empty", 1, "empty is not a model..."},
	{"inspect nowhere", 1, "there is no directory nowhere; a model is the directory of a run, of a checkpoint or of a diffusers pipeline"},
	{"inspect --batch 0", 2, "--batch 0: it must be at least 1"},
	{"inspect --train", 2, "--train is for --plan"},
	{"inspect --json -", 2, "--json is for --plan"},
	{"inspect --plan --json=", 2, "--json is empty: name a file, or - for standard output"},
	{"report", 2, "which run? name its directory, such as runs/mnist"},
	{"report runs/tiny b", 2, `unexpected argument "b"; see diffusion report --help`},
	{"report nowhere", 2, "nowhere: there is no such directory"},
	{"report tiny.toml", 2, "tiny.toml: it is not a directory; a run is one"},
	{"report empty", 2, "empty: it is not a run, as it has neither config.toml nor log.jsonl"},
	{"report runs/tiny/checkpoints/step-00000002", 2, "runs/tiny/checkpoints/step-00000002: it is a checkpoint, and its run is runs/tiny"},
	{"report runs/tiny --out empty", 2, "--out empty: it is a directory; it must be a file, such as empty/report.html"},
	{"report runs/tiny --out page.txt", 2, "--out page.txt: the name of the page must end in .html"},
	{"report runs/tiny --out no/page.html", 2, "--out no/page.html: there is no directory no"},
	{"inspect --plan --json no/plan.json", 2, "--json no/plan.json: there is no directory no"},
	{"inspect --plan --json images", 2, "--json images: it is a directory"},
	{"sample --noise nowhere.npy", 1, "--noise nowhere.npy: ENOENT"},
	{"sample --noise rows.npy", 1, "--noise rows.npy: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"sample --noise flat.npy", 1, "--noise flat.npy: the array has shape (64,), want (*, 1, *, *)"},
	{"sample --noise none.npy", 1, "--noise none.npy: the array has no images"},
	{"sample --noise text.npy", 1, "--noise text.npy: it is a text of 46 bytes, \"not an array, but long enough to have a header\": download the file again"},
	{"sample --noise lfs.npy", 1, "--noise lfs.npy: it is a Git LFS pointer, which stands for a file of 12345 bytes: run git lfs pull where it was cloned, or download the file again"},
	{"sample --noise rgb.npy", 1, "--noise rgb.npy: the array has shape (1, 3, 8, 8), want (*, 1, *, *)"},
	{"sample --noise x.npy --size 8", 2, "--noise says how large the images are: leave --size out"},
	{"sample --size 0", 2, `--size "0"` + badSize},
	{"sample --size 8x", 2, `--size "8x"` + badSize},
	{"sample --size 8x8x8", 2, `--size "8x8x8"` + badSize},
	{"sample --size large", 2, `--size "large"` + badSize},
	{"sample --size 9", 2, "--size 9x9: images of 9x9 do not fit a model of 2 levels: " + sizes},
	{"sample --size 1000000x1000000", 2, "--size 1000000x1000000: images of 1000000x1000000: one has at most 67108864 pixels here"},
	{"encode --images x.npy --size 8 --out e.npy", 2, "--images x.npy says how large the images are: leave --size out"},
	{"encode --images images --size 0x8 --out e.npy", 2, `--size "0x8"` + badSize},
	{"encode --images images --size 8x9 --out e.npy", 2, "--size 8x9: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"interpolate --from 1 --to 2 --size 8,8 --out e.npy", 2, `--size "8,8"` + badSize},
	{"interpolate --from 1 --to 2 --size 8x9 --out e.npy", 2, "--size 8x9: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"inspect --size 8.5", 2, `--size "8.5"` + badSize},
	{"inspect --plan --size 8x9", 2, "--size 8x9: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"sample --noise x.npy --n 3", 2, "--noise says how many images there are: leave --n out"},

	// Images to begin with.
	{"sample --strength 0.5", 2, "--strength has no meaning without --init, the images to begin with"},
	{"sample --init= --strength 0.5", 2, "--init is empty: name a picture, a directory of pictures or a .npy file"},
	{"sample --init images --strength high", 2, `--strength "high"` + strengths},
	{"sample --init images --strength 1.5", 2, `--strength "1.5"` + strengths},
	{"sample --init images --strength -0.1", 2, `--strength "-0.1"` + strengths},
	{"sample --init images --strength NaN", 2, `--strength "NaN"` + strengths},
	{"sample --init nowhere.png", 1, "--init nowhere.png: ENOENT"},
	{"sample --init nowhere.npy", 1, "--init nowhere.npy: ENOENT"},
	{"sample --init notimages", 1, `--init notimages: data: opening "folder": ...`},
	{"sample --init tiny.toml", 1, "--init tiny.toml: expected a picture (PNG, JPEG, WebP, GIF or BMP), found ..."},
	{"sample --init rgb.npy", 1, "--init rgb.npy: the array has shape (1, 3, 8, 8), want (*, 1, *, *)"},
	{"sample --init rows.npy", 1, "--init rows.npy: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"sample --init loud.npy", 2, "--init loud.npy: image 0 has a value 2; all must be in [-1, 1]"},
	{"sample --init x.npy --size 8", 2, "--init x.npy says how large the images are: leave --size out"},
	{"sample --init images --size 9", 2, "--size 9x9: images of 9x9 do not fit a model of 2 levels: " + sizes},
	{"sample --init images --n 0", 2, "--n 0: it must be at least 1"},
	{"sample --init images --sampler ddim-inverse --noise x.npy", 2, "--sampler: SDEdit is not defined for ddim-inverse, which turns images into noise; " +
		"it is defined for ddpm, ddim, dpm++1, dpm++2m, dpm++2m-heun, heun"},
	{"sample --init images --strength 0 --out walk.gif", 2, "--out walk.gif: --strength 0 leaves no step to show"},
	{"eval --init images", 2, "unknown flag: --init; see diffusion eval --help"},

	// A hole to fill.
	{"inpaint", 2, "--image is missing: a picture, or a .npy file of images"},
	{"inpaint --image images/0.png", 2, "--mask is missing: a picture that is white where the image is to be filled"},
	{"inpaint --image images --mask images/0.png", 2, "--image images: it is a directory; it must be a picture or a .npy file"},
	{"inpaint --image images/0.png --mask images", 2, "--mask images: it must be a picture"},
	{"inpaint --image images/0.png --mask x.npy", 2, "--mask x.npy: it must be a picture"},
	{hole + "--jump-length 0", 2, "--jump-length 0: it must be at least 1"},
	{hole + "--jump-length 20", 2, "--jump-length 20 does not fit 20 steps: it must be from 1 to 19"},
	{hole + "--jump-length 1 --steps 1", 2, "--jump-length 1 does not fit a single step, from which there is nothing to go back to"},
	{hole + "--jump-length ten", 2, `--jump-length "ten": it must be a whole number; see diffusion inpaint --help`},
	{hole + "--resample 0", 2, "--resample 0: it must be from 1 to 1000"},
	{hole + "--resample 1001", 2, "--resample 1001: it must be from 1 to 1000"},
	{hole + "--sampler dpm++2m", 2, "--sampler: RePaint is not defined for dpm++2m, whose steps need more than x_t; it is defined for ddpm, ddim, dpm++1, heun"},
	{hole + "--sampler ddim-inverse", 2, "--sampler: RePaint is not defined for ddim-inverse, which turns images into noise; it is defined for ddpm, ddim, dpm++1, heun"},
	{hole + "--sampler plms", 2, `--sampler: there is no sampler "plms"; the samplers are ` + samplers},
	{hole + "--steps 21", 2, "--steps 21: it must be at most 20, the number of timesteps that the model was trained on"},
	{hole + "--eta 0.5", 2, "--eta has no meaning for ddpm; the sampler that takes it is ddim"},
	{hole + "--n 0", 2, "--n 0: it must be at least 1"},
	{hole + "--label 3", 2, "--label 3: the model is not class-conditional; leave it out"},
	{hole + "--noise x.npy", 2, "unknown flag: --noise; see diffusion inpaint --help"},
	{hole + "--out a.jpg", 2, "--out a.jpg: the extension .jpg is none that can be written; it must be .png, .gif or .npy, or none for a directory"},
	{"inpaint --image nowhere.png --mask images/0.png", 1, "--image nowhere.png: ENOENT"},
	{"inpaint --image tiny.toml --mask images/0.png", 1, "--image tiny.toml: expected a picture (PNG, JPEG, WebP, GIF or BMP), found ..."},
	{"inpaint --image small.png --mask small.png", 2, "--image small.png: it has 4x6 pixels, the model's images have 8x8: crop and resize it together with its mask, " +
		"or take images of its size with --size 4x6"},
	{"inpaint --image x.npy --mask images/0.png --size 8", 2, "--image x.npy says how large the images are: leave --size out"},
	{"inpaint --image loud.npy --mask images/0.png", 2, "--image loud.npy: image 0 has a value 2; all must be in [-1, 1]"},
	{"inpaint --image rgb.npy --mask images/0.png", 1, "--image rgb.npy: the array has shape (1, 3, 8, 8), want (*, 1, *, *)"},
	{"inpaint --image images/0.png --mask nowhere.png", 1, "--mask nowhere.png: ENOENT"},
	{"inpaint --image images/0.png --mask small.png", 2, "--mask small.png: it has 4x6 pixels, the image has 8x8"},
	{"inpaint --image images/0.png --mask black.png", 2, "--mask black.png: it is black everywhere, so that there is nothing to fill: white pixels, of 128 and above, are filled"},

	// One prediction, and timing.
	{"predict --t 3 --out e.npy", 2, "--x is missing: a .npy file of images"},
	{"predict --x x.npy --out e.npy", 2, "--t is missing: a timestep, or one for each image"},
	{"predict --x x.npy --t 3", 2, "--out is missing: a .npy file to write"},
	{"predict --x x.npy --t 3 --out e.png", 2, "--out e.png: the name must end in .npy"},
	{"predict --x x.npy --t 3 --out no/e.npy", 2, "--out no/e.npy: there is no directory no"},
	{"predict --x rows.npy --t 3 --out e.npy", 1, "--x rows.npy: images of 8x9 do not fit a model of 2 levels: " + rows9},
	{"predict --x x.npy --t 20 --out e.npy", 2, `--t "20": a timestep is a whole number from 0 to 19`},
	{"predict --x x.npy --t 1,2,3 --out e.npy", 2, "--t has 3 timesteps for 2 images; give one, or one each"},
	{"bench sample --config tiny.toml --steps 1", 2, "--steps 1: it must be at least 2, as the first is left out"},
	{"bench train --config tiny.toml --batch -2", 2, "--batch -2: it must be at least 1, or 0 to choose"},
}

// Whatever is wrong is told on stderr in one line that names it and what would be right; stdout stays empty, and
// no file is made or changed.
func TestBadInput(t *testing.T) {
	dir := workspaceWithRun(t)
	must(t, "train", "--config", "tiny.toml", "--out", "runs/other", "--stop-at", "1")
	badInputs(t)
	t.Logf("%d wrong uses", len(badCases))
	before := files(t, ".")
	for _, c := range badCases {
		args := strings.Fields(c.args)
		// Training starts in a directory of its own, unless the case is about the run that there is.
		if strings.HasPrefix(c.args, "train --config") && c.args != "train --config tiny.toml" && !strings.Contains(c.args, "--resume") {
			args = append(args, "--out", "new")
		}
		if c.args == "train --config" {
			args = args[:2]
		}
		// Every model that is not named is runs/tiny.
		if (args[0] == "sample" || args[0] == "predict" || args[0] == "inpaint") && !strings.Contains(c.args, "--model") && !strings.HasSuffix(c.args, " false") {
			args = append(args, "--model", "runs/tiny")
		}
		r := call(args...)
		if r.code != c.code || r.out != "" {
			t.Errorf("diffusion %s: exit code %d, want %d; output %q", c.args, r.code, c.code, r.out)
		}
		want := strings.NewReplacer("DIR/", filepath.ToSlash(dir)+"/", "ENOENT", syscall.ENOENT.Error(), "ENOTDIR", syscall.ENOTDIR.Error()).Replace(c.want)
		got := said(r.stderr)
		if open, ok := strings.CutSuffix(want, "..."); ok && strings.HasPrefix(got, open) {
			continue
		}
		if got != want {
			t.Errorf("diffusion %s says\n\t%s\nwant\n\t%s", c.args, got, want)
		}
	}
	if after := files(t, "."); !maps.Equal(before, after) {
		for name := range after {
			if before[name] != after[name] {
				t.Errorf("%s was made or changed", name)
			}
		}
		for name := range before {
			if _, ok := after[name]; !ok {
				t.Errorf("%s is gone", name)
			}
		}
	}
	if exists("new") {
		t.Error("a run that cannot begin left its directory")
	}
}

// said is what stderr says from the first error on, without the program's name, with slashes in paths.
func said(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		if text, ok := strings.CutPrefix(line, "diffusion: "); ok {
			lines = append(lines, filepath.ToSlash(strings.TrimSuffix(text, "\n")))
		} else if len(lines) > 0 {
			lines = append(lines, "AFTER THE ERROR: "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// A variable of the environment that means nothing is an error of usage.
func TestBadEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct{ variable, want string }{
		{"UNSTIR_CPU=foo", `diffusion: UNSTIR_CPU="foo" is unknown: the levels are avx512, avx2, generic`},
		{"UNSTIR_CONV=foo", `diffusion: UNSTIR_CONV="foo" is unknown: leave it empty or set it to direct`},
	} {
		cmd := command(t.Context(), "sample")
		cmd.Env = append(cmd.Env, c.variable)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Errorf("%s: %v, want exit code %d", c.variable, err, exitUsage)
		}
		if got := stderr.String(); got != c.want+"\n" || stdout.Len() > 0 {
			t.Errorf("%s: %q, want %q", c.variable, got, c.want)
		}
	}
}

// Without a run the newest one cannot be taken, and the error says what to do.
func TestNoRunsAtAll(t *testing.T) {
	workspace(t)
	for _, args := range [][]string{{"sample"}, {"inspect"}} {
		r := call(args...)
		if want := "no model is named, and the newest run cannot be taken: there is no directory runs with runs in it: train a model first, or name one; --demo needs none"; r.code != exitFailed || said(r.stderr) != want {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}
