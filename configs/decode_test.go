package configs

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestErrorsSayWhatWhereAndWhatWouldBeRight(t *testing.T) {
	const file = "mnist.toml"
	for _, tc := range []struct{ name, text, want string }{
		{"value", small + "lr = -1\n", "mnist.toml:7: train.lr is -1; it must be a positive number"},
		{"dotted key", "train.lr = -1\n" + strings.Replace(small, "[train]", "", 1) + "#", // steps is now of [model]
			"mnist.toml:7: unknown key model.steps; did you mean train.steps?"},
		{"inline table", "train = {steps = 3, lr = -1}\n" + small[:strings.Index(small, "[train]")],
			"mnist.toml:1: train.lr is -1; it must be a positive number"},
		{"after long values", "name = '''\na b'''\n[data]\ndataset = 'mnist'\n[model]\nblock_out_channels = [ # two\n32,\n\n64]\n[train]\nsteps = 1\nlr = 0",
			"mnist.toml:12: train.lr is 0; it must be a positive number"},
		{"long value", "seed = 1\nname = '''\n\na\nb'''\n" + small, `mnist.toml:2: name is "\u000Aa\u000Ab"; it must do as the name of a directory...`},
		{"unknown key", small + "stpes = 3\n", "mnist.toml:7: unknown key train.stpes; did you mean train.steps?"},
		{"case matters", small + "LR = 3\n", "mnist.toml:7: unknown key train.LR; did you mean train.lr?"},
		{"other table", small + "decay = 0.9\n", "mnist.toml:7: unknown key train.decay; did you mean ema.decay?"},
		{"no table", "lr = 1\n" + small, "mnist.toml:1: unknown key lr; did you mean train.lr?"},
		{"far from all", small + "momentum = 0.9\n", "mnist.toml:7: unknown key train.momentum; the keys of [train] are steps, batch_size, slice, optimizer, lr, lr_schedule, warmup_steps, " +
			"weight_decay, beta1, beta2, eps, grad_clip, min_snr_gamma, label_dropout, log_every"},
		{"far from all, at the top", "verbose = true\n" + small, "mnist.toml:1: unknown key verbose; the keys outside a table are name, seed, and the tables are " +
			"data, model, classifier, scheduler, train, ema, checkpoint, preview, log"},
		{"odd key", small + "'a b' = 0.9\n", `mnist.toml:7: unknown key train."a b"; the keys of [train] are...`},
		{"unknown table", small + "[previews]\nevery = 3\n", "mnist.toml:7: unknown table previews; did you mean preview?"},
		{"far table", small + "[optimizer]\nevery = 3\n", "mnist.toml:7: unknown table optimizer; the tables are data, model, classifier, scheduler, train, ema, checkpoint, preview, log"},
		{"string for number", small + "lr = 'fast'\n", `mnist.toml:7: train.lr is "fast", a string; it must be a finite number`},
		{"float for integer", small + "warmup_steps = 1e1\n", "mnist.toml:7: train.warmup_steps is 10.0, a floating-point number; it must be an integer: write 10"},
		{"number for string", "name = 3\n" + small, "mnist.toml:1: name is 3, an integer; it must be a string"},
		{"number for boolean", small + "[ema]\nwarmup = 1\n", "mnist.toml:8: ema.warmup is 1, an integer; it must be true or false"},
		{"boolean for number", small + "[ema]\ndecay = true\n", "mnist.toml:8: ema.decay is true, a boolean; it must be a finite number"},
		{"nan", small + "lr = nan\n", "mnist.toml:7: train.lr is NaN, a floating-point number; it must be a finite number"},
		{"negative seed", "seed = -1\n" + small, "mnist.toml:1: seed is -1, an integer; it must be an integer from 0 to 9223372036854775807"},
		{"date", "seed = 2024-01-01\n" + small, "mnist.toml:1: seed is a date or time; it must be an integer from 0 to 9223372036854775807"},
		{"key for table", "train = 3\n", "mnist.toml:1: train is 3, an integer; it must be a table: [train]"},
		{"table for key", small + "[train.lr]\nx = 3\n", "mnist.toml:7: train.lr is a table; it must be a finite number"},
		{"tables", "[[train]]\nsteps = 3\n", "mnist.toml:1: train is an array of tables; it must be a table: [train]"},
		{"element", strings.Replace(small, "64]", "'a']", 1), `mnist.toml:4: model.block_out_channels[1] is "a", a string; it must be an integer`},
		{"no array", strings.Replace(small, "[32, 64]", "32", 1), "mnist.toml:4: model.block_out_channels is 32, an integer; it must be an array of integers, such as [1, 2]"},
		{"size", strings.Replace(small, "[model]", "size = [3]\n[model]", 1),
			"mnist.toml:3: data.size is [3], an array; it must be an integer or [height, width], each from 1 to 4096, or 0 (the size the images have)"},
		{"model size", strings.Replace(small, "[train]", "sample_size = 2.5\n[train]", 1),
			"mnist.toml:5: model.sample_size is 2.5, a floating-point number; it must be an integer or [height, width]"},
		{"size of the levels", strings.Replace(small, "[train]", "sample_size = 27\n[train]", 1),
			"mnist.toml:5: model.sample_size: images of 27x27 do not fit a model of 2 levels..."},
		{"data size of the levels", strings.Replace(small, "[model]", "size = 27\n[model]", 1),
			"mnist.toml:3: data.size: images of 27x27 do not fit a model of 2 levels..."},
		{"dataset", strings.Replace(small, "mnist-10k", "mnits", 1),
			`mnist.toml:2: data.dataset is "mnits"; it must be one of "mnist", "fashion-mnist", "cifar10", "mnist-10k", "folder"`},
		{"no dataset", strings.Replace(small, "dataset", "#dataset", 1),
			`mnist.toml:1: data.dataset is missing; it must be one of "mnist", "fashion-mnist", "cifar10", "mnist-10k", "folder"`},
		{"no steps", strings.Replace(small, "steps", "#steps", 1), "mnist.toml:5: train.steps is missing; it must be the number of training steps, such as 10000"},
		{"a model beside a classifier", smallClassifier + "[model]\nlayers_per_block = 1\ndropout = 0.1\n",
			"mnist.toml:8: model.layers_per_block is given beside [classifier]: it trains a classifier and no UNet; leave [model] out, or [classifier]"},
		{"a classifier beside a model", small + "[classifier]\nnoisy = false\n", "mnist.toml:4: model.block_out_channels is given beside [classifier]: " +
			"it trains a classifier and no UNet; leave [model] out, or [classifier]\n" +
			"mnist.toml:7: classifier.channels is missing; it must be the channels of each level, such as [32, 64, 64]"},
		{"a schedule of no noise", smallClassifier + "[scheduler]\nbeta_end = 0.03\n",
			"mnist.toml:8: scheduler.beta_end is given beside [classifier]: only a classifier of noisy images has noise; set classifier.noisy = true, or leave [scheduler] out"},
		{"previews of a classifier", smallClassifier + "[preview]\nimages = 3\n",
			"mnist.toml:8: preview.images is given beside [classifier]: a classifier has no samples to preview; leave [preview] out"},
		{"min-SNR of a classifier", smallClassifier + "min_snr_gamma = 5\n", "mnist.toml:7: train.min_snr_gamma is 5.0; it weights the loss of a UNet: a classifier's must be 0"},
		{"label dropout of a classifier", smallClassifier + "label_dropout = 0.5\n", "mnist.toml:7: train.label_dropout is 0.5; it drops the classes that a UNet draws: a classifier's must be 0"},
		{"label dropout without classes", small + "label_dropout = 0.1\n",
			"mnist.toml:7: train.label_dropout is 0.1, but the model has no classes to drop: set model.num_class_embeds to their number"},
		{"label dropout of all", strings.Replace(small, "[train]", "num_class_embeds = 10\n[train]\nlabel_dropout = 1.0", 1), "mnist.toml:7: train.label_dropout is 1; it must be in [0, 1)"},
		{"an empty classifier", strings.Replace(smallClassifier, "channels", "#", 1), "mnist.toml:3: classifier.channels is missing; it must be the channels of each level, such as [32, 64, 64]"},
		{"no channels of a classifier", strings.Replace(smallClassifier, "[8, 16]", "[]", 1), "mnist.toml:4: classifier.channels is []; it must have one number of channels for each of 1 to 8 levels"},
		{"odd channels of a classifier", strings.Replace(smallClassifier, "16", "12", 1), "mnist.toml:4: classifier.channels is [8 12]; each must be a multiple of 8 from 8 to 4096"},
		{"no features", strings.Replace(smallClassifier, "[train]", "features = 0\n[train]", 1), "mnist.toml:5: classifier.features is 0; it must be from 1 to 4096"},
		{"no steps", strings.Replace(small, "= 100", "= 0", 1), "mnist.toml:6: train.steps is 0; it must be at least 1: the number of training steps has no default"},
		{"no channels", strings.Replace(small, "block", "#block", 1),
			"mnist.toml:3: model.block_out_channels is missing; it must be the channels of each level, such as [32, 64, 64]"},
		{"one list", strings.Replace(small, "[train]", "down_block_types = ['DownBlock2D', 'DownBlock2D']\n[train]", 1),
			"mnist.toml:3: model.up_block_types is missing; down_block_types and up_block_types go together: give both, or leave both out"},
		{"default that does not fit", strings.Replace(small, "[32, 64]", "[6, 12]\nnorm_num_groups = 2", 1),
			"mnist.toml: model.attention_head_dim is 8; it must divide the 12 channels of level 1 (the file leaves it out, and 8 is the default)"},
		{"levels", strings.Replace(small, "[32, 64]", "["+strings.Repeat("32,", 70)+"]\nsample_size = 28", 1),
			"mnist.toml:4: model.block_out_channels has 70 levels; it must have at most 13"},
		{"groups", strings.Replace(small, "[32, 64]", "[32, 48]", 1), "mnist.toml:4: model.block_out_channels is [32 48]; each must be a multiple of norm_num_groups = 32"},
		{"scheduler", small + "[scheduler]\nbeta_start = 2\n", "mnist.toml:8: scheduler.beta_start is 2; it must be above 0 and below 1"},
		{"one beta", small + "[scheduler]\nnum_train_timesteps = 60\ntrained_betas = [" + strings.Repeat("0.1, ", 59) + "3]",
			"mnist.toml:9: scheduler.trained_betas[59] is 3; it must be above 0 and below 1"},
		{"sampler", small + "[preview]\nsampler = 'ddmi'\n",
			`mnist.toml:8: preview.sampler is "ddmi"; it must be one of "ddpm", "ddim", "dpm++1", "dpm++2m", "dpm++2m-heun", "heun"`},
		{"preview", small + "[scheduler]\nnum_train_timesteps = 30\n[preview]\nsteps = 31", "mnist.toml:10: preview.steps is 31; it must be at most scheduler.num_train_timesteps = 30"},
		{"two keys", small + "[ema]\ndecay = 1\n[checkpoint]\nkeep = -1\n",
			"mnist.toml:8: ema.decay is 1; it must be in [0, 1)\nmnist.toml:10: checkpoint.keep is -1; it must be at least 1, or 0 to keep all"},
		{"two types", "seed = 'x'\n" + small + "beta3 = 1\n",
			"mnist.toml:1: seed is \"x\", a string; it must be an integer from 0 to 9223372036854775807\nmnist.toml:8: unknown key train.beta3; did you mean train.beta1?"},
		{"syntax", "[data]\ndataset = mnist\n", "mnist.toml:2: not TOML: expected value but found \"mnist\" instead"},
		{"twice", small + "steps = 3\n", "mnist.toml:7: not TOML: Key 'train.steps' has already been defined."},
		{"big seed", "seed = 18446744073709551615\n", "mnist.toml:1: not TOML: 18446744073709551615 is out of range for int64"},
		{"binary", "name = '\xff'", "mnist.toml: the file is not UTF-8 text"},
		{"deep", strings.Repeat("[", 1001), "mnist.toml: the file has brackets that nest more than 1000 deep"},
		{"large", strings.Repeat("#", 1<<18+1), "mnist.toml: the file is longer than 262144 bytes, which is the most that a config may have"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text), file, nil)
			if err == nil {
				t.Fatalf("no error; want %s", tc.want)
			}
			// "..." stands for text of another package, or a long list.
			head, cut := strings.CutSuffix(tc.want, "...")
			if got := err.Error(); got != tc.want && !(cut && strings.HasPrefix(got, head)) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			var e *Error
			if !errors.As(err, &e) || e.File != file {
				t.Errorf("%T is no *Error about the file", err)
			}
		})
	}
}

func TestSetErrorsNameTheFlag(t *testing.T) {
	for _, tc := range []struct{ set, want string }{
		{"train.lr", "--set train.lr: it must be key=value, such as train.lr=1e-4"},
		{"=3", "--set =3: it must be key=value, such as train.lr=1e-4"},
		{"train.lrr=3", "--set train.lrr=3: unknown key train.lrr; did you mean train.lr?"},
		{"train=3", "--set train=3: train is a table; set one of its keys, such as train.steps"},
		{"train.lr=fast", "--set train.lr=fast: train.lr is fast; it must be a finite number"},
		{"train.lr=", "--set train.lr=: train.lr is empty; it must be a finite number"},
		{`train.lr="1"`, `--set train.lr="1": train.lr is "1", a string; it must be a finite number`},
		{"train.lr=1\neps=3", `--set train.lr=1\neps=3: train.lr is 1\neps=3; it must be a finite number`},
		{"train.steps=1e4", "--set train.steps=1e4: train.steps is 10000.0, a floating-point number; it must be an integer: write 10000"},
		{"train.steps=0", "--set train.steps=0: train.steps is 0; it must be at least 1: the number of training steps has no default"},
		{"ema.warmup=yes", "--set ema.warmup=yes: ema.warmup is yes; it must be true or false"},
		{"model.block_out_channels=[a, b]", "--set model.block_out_channels=[a, b]: model.block_out_channels is [a, b]; it must be an array of integers, such as [1, 2]"},
		{"model.block_out_channels=[32, 40]", "--set model.block_out_channels=[32, 40]: model.block_out_channels is [32 40]; each must be a multiple of norm_num_groups = 32"},
		{"data.size=big", "--set data.size=big: data.size is big; it must be an integer or [height, width]"},
		{"data.dataset=mnits", `--set data.dataset=mnits: data.dataset is "mnits"; it must be one of "mnist", "fashion-mnist", "cifar10", "mnist-10k", "folder"`},
		{"name=a/b", `--set name=a/b: name is "a/b"; it must do as the name of a directory: not empty, "." or "..", and without any of / \ : * ? " < > |`},
	} {
		_, err := Parse([]byte(small), "small.toml", []string{tc.set})
		var e *Error
		if !errors.As(err, &e) || err.Error() != tc.want {
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

func TestSetOverridesTheFileBeforeItIsChecked(t *testing.T) {
	c := parse(t, small+"lr = -1\n", "train.lr=0.5", " train.lr = 1e-4 ", "data.dataset=cifar10", "data.dir=", "name=2024",
		"model.block_out_channels=[64,32,32,32]", "model.down_block_types=[DownBlock2D, DownBlock2D,DownBlock2D,\"DownBlock2D\"]",
		`model.up_block_types=["UpBlock2D","UpBlock2D","UpBlock2D","UpBlock2D"]`, "data.size=[16,24]")
	if c.Train.LR != 1e-4 || c.Data.Dataset != "cifar10" || c.Name != "2024" || len(c.Model.DownBlockTypes) != 4 ||
		c.Model.DownBlockTypes[3] != "DownBlock2D" || c.Data.Size.W != 24 {
		t.Errorf("%+v", c)
	}
	if c = parse(t, small, `data.dir="a b"`); c.Data.Dir != "a b" {
		t.Errorf("a quoted string is %q", c.Data.Dir)
	}
}

// Every key of every struct can be set, with another value than it has.
func TestEveryKeyCanBeSet(t *testing.T) {
	// Keys with one value, and keys that need others beside them.
	only := map[string]string{
		"model.time_embedding_type": "positional", "model.mid_block_scale_factor": "1", "model.downsample_type": "conv",
		"model.upsample_type": "conv", "model.class_embed_type": "",
	}
	valid := map[string]string{
		"name": "x", "data.dataset": "cifar10", "data.dir": "x", "data.size": "[16, 24]", "data.channels": "3",
		"model.sample_size": "[16, 24]", "model.mid_block_type": "", "model.act_fn": "swish", "model.block_out_channels": "[64, 64]",
		"model.down_block_types": "[DownBlock2D, DownBlock2D]", "model.up_block_types": "[UpBlock2D, UpBlock2D]",
		"model.downsample_padding": "0", "model.norm_num_groups": "16", "model.attention_head_dim": "0", "model.attn_norm_num_groups": "16",
		"model.resnet_time_scale_shift": "scale_shift", "scheduler.beta_schedule": "sigmoid", "scheduler.prediction_type": "sample",
		"scheduler.variance_type": "fixed_large", "scheduler.timestep_spacing": "trailing", "scheduler.rescale_betas_zero_snr": "true",
		"scheduler.num_train_timesteps": "100", "scheduler.trained_betas": "[" + strings.Repeat("0.1,", 100) + "]",
		"train.optimizer": "muon", "train.lr_schedule": "cosine", "classifier.channels": "[24]", "preview.sampler": "ddpm",
	}
	base := []string{"model.down_block_types=[DownBlock2D, AttnDownBlock2D]", "model.up_block_types=[AttnUpBlock2D, UpBlock2D]"}
	with := map[string][]string{
		"scheduler.trained_betas":          {"scheduler.num_train_timesteps=100"},
		"scheduler.rescale_betas_zero_snr": {"scheduler.prediction_type=v_prediction"},
		"data.holdout":                     {"data.dataset=folder"},
		"train.label_dropout":              {"model.num_class_embeds=10"},
	}
	walk(reflect.TypeFor[Config](), "", func(key string, typ reflect.Type) {
		value, one := only[key]
		if !one {
			var ok bool
			if value, ok = valid[key]; !ok {
				value = map[reflect.Kind]string{reflect.Int: "7", reflect.Uint64: "7", reflect.Float64: "0.015625"}[typ.Kind()]
			}
		}
		text, sets := small, append(base, with[key]...)
		if strings.HasPrefix(key, "classifier.") {
			text, sets = smallClassifier, nil
		}
		before := parse(t, text, sets...)
		f := findField(key)
		if f == nil {
			t.Errorf("%s is not known", key)
			return
		}
		if typ.Kind() == reflect.Bool && value == "" {
			value = fmt.Sprint(!f.of(before).Bool())
		}
		switch key {
		case "scheduler.clip_sample_range", "scheduler.sample_max_value":
			value = "2.5"
		}
		after, err := Parse([]byte(text), "small.toml", append(sets, key+"="+value))
		if err != nil {
			t.Errorf("%s=%s: %v", key, value, err)
			return
		}
		if same := reflect.DeepEqual(f.of(before).Interface(), f.of(after).Interface()); same != one {
			t.Errorf("%s=%s: %v became %v", key, value, f.of(before), f.of(after))
		}
	})
}

// walk finds the keys by the structs' tags, on its own.
func walk(t reflect.Type, table string, visit func(string, reflect.Type)) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case !f.IsExported() || tag == "-":
		case f.Type.Kind() == reflect.Struct && f.Type.Name() != "Size":
			walk(f.Type, tag+".", visit)
		default:
			visit(table+tag, f.Type)
		}
	}
}

func TestLiteralIsTOML(t *testing.T) {
	for _, v := range []any{"", `a"b\c`, "tab\tbell\x07é\x7f", 0.0, 1e21, -3.5, 1e-7, math.MaxFloat64, int64(-3), true} {
		got, ok := tomlValue(literal(v))
		if !ok || got != v {
			t.Errorf("%#v is written %s, which reads as %#v", v, literal(v), got)
		}
	}
}

func TestManyWrongKeysAreCutShort(t *testing.T) {
	var b strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&b, "k%d = %d\n", i, i)
	}
	_, err := Parse([]byte(b.String()), "many.toml", nil)
	if n := len(strings.Split(err.Error(), "\n")); n != maxErrors {
		t.Errorf("%d errors, want %d", n, maxErrors)
	}
}
