"""Exchanges models with diffusers in both directions and compares numbers.

There to here: makes UNet2DModels of every kind that the program covers, with random weights, saves them as pipelines,
and compares `diffusion predict` with the model in float64, and `diffusion sample` with diffusers' schedulers from the
same x_T (and, for DDPM, the same noise).
Here to there: trains small models, opens their checkpoints and exports with diffusers, listens for warnings, and
compares the same numbers.
Run it by run.sh, which makes the environment. It exits with 1 if anything is off.
"""

import argparse
import contextlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import diffusers
import numpy as np
import safetensors.torch
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.guiders.guider_utils import rescale_noise_cfg

import pipelines

OUTPUT_LIMIT = {"winograd": 5e-5, "direct": 1e-5}  # of the largest value
SAMPLE_LIMIT = 5e-3  # absolute, in [-1, 1]

BASE = dict(
    sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    norm_num_groups=4, attention_head_dim=4,
)


def levels(channels, attention=()):
    """Block types of as many levels as there are channels, with attention in some of them."""
    down = tuple("AttnDownBlock2D" if i in attention else "DownBlock2D" for i in range(len(channels)))
    up = tuple("AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(range(len(channels))))
    return dict(block_out_channels=tuple(channels), down_block_types=down, up_block_types=up)


# name: (changes of the model, changes of the scheduler, how the weights are stored)
MATRIX = {
    "as DDPM's, small": ({}, {}, ""),
    "three channels": (dict(in_channels=3, out_channels=3), {}, ""),
    "scale_shift": (dict(resnet_time_scale_shift="scale_shift"), {}, ""),
    "num_class_embeds 5": (dict(num_class_embeds=5), {}, ""),
    "scale_shift, num_class_embeds 3": (dict(num_class_embeds=3, resnet_time_scale_shift="scale_shift"), {}, ""),
    "add_attention false": (dict(add_attention=False), {}, ""),
    "mid_block_type null": (dict(mid_block_type=None), {}, ""),
    "downsample_padding 0": (dict(downsample_padding=0), {}, ""),
    "flip_sin_to_cos false, freq_shift 1": (dict(flip_sin_to_cos=False, freq_shift=1), {}, ""),
    "center_input_sample": (dict(center_input_sample=True), {}, ""),
    "attention_head_dim null": (dict(attention_head_dim=None), {}, ""),
    "attention_head_dim 8": (dict(attention_head_dim=8), {}, ""),
    "attn_norm_num_groups 2": (dict(attn_norm_num_groups=2), {}, ""),
    "attn_norm_num_groups 2, scale_shift": (dict(attn_norm_num_groups=2, resnet_time_scale_shift="scale_shift"), {}, ""),
    "time_embedding_dim 24": (dict(time_embedding_dim=24), {}, ""),
    "norm_eps 1e-3, swish": (dict(norm_eps=1e-3, act_fn="swish"), {}, ""),
    "dropout 0.3": (dict(dropout=0.3), {}, ""),
    "1 level, no attention": (dict(**levels([8]), add_attention=False), {}, ""),
    "1 level with attention": (levels([8], attention=[0]), {}, ""),
    "2 layers, 3 levels": (dict(layers_per_block=2, **levels([8, 16, 16], attention=[2])), {}, ""),
    "3 layers, 4 levels": (dict(layers_per_block=3, **levels([8, 12, 16, 24], attention=[1, 3])), {}, ""),
    "attention everywhere": (levels([8, 16, 16], attention=[0, 1, 2]), {}, ""),
    "16x24": (dict(sample_size=(16, 24)), {}, ""),
    "12x8, 1 group": (dict(sample_size=(12, 8), norm_num_groups=1), {}, ""),
    "32x32, 32 to 64 channels": (dict(sample_size=32, norm_num_groups=32, attention_head_dim=8, **levels([32, 64], attention=[1])), {}, ""),
    "float16": ({}, {}, "float16"),
    "bfloat16": ({}, {}, "bfloat16"),
    "sharded": ({}, {}, "sharded"),
    "attention named query, key, value, proj_attn": ({}, {}, "old names"),
    "old names as 1x1 convolutions": ({}, {}, "old names, 4-d"),
    "v_prediction, squaredcos_cap_v2": ({}, dict(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2"), ""),
    "sample prediction, scaled_linear": ({}, dict(prediction_type="sample", beta_schedule="scaled_linear"), ""),
    "sigmoid, fixed_large": ({}, dict(beta_schedule="sigmoid", variance_type="fixed_large"), ""),
    "trailing, zero SNR, v_prediction": ({}, dict(timestep_spacing="trailing", rescale_betas_zero_snr=True, prediction_type="v_prediction"), ""),
    "linspace, clip range 0.8": ({}, dict(timestep_spacing="linspace", clip_sample_range=0.8), ""),
    "dynamic thresholding": ({}, dict(thresholding=True, sample_max_value=1.5, clip_sample=False), ""),
    "a DDIM pipeline": ({}, dict(ddim=True), ""),
    "a DDIM pipeline, set_alpha_to_one false, unclipped": ({}, dict(ddim=True, set_alpha_to_one=False, clip_sample=False, steps_offset=1), ""),
    "steps_offset 1, T = 200, trained_betas": ({}, dict(steps_offset=1, num_train_timesteps=200, trained_betas=list(np.linspace(1e-3, 0.04, 200))), ""),
}

# name: (changes of the model's or the scheduler's config, the word that the error must have)
REFUSED = {
    "act_fn gelu": (dict(act_fn="gelu"), "act_fn"),
    "fourier time embedding": (dict(time_embedding_type="fourier"), "time_embedding_type"),
    "KDownBlock2D": (dict(down_block_types=("KDownBlock2D", "DownBlock2D")), "KDownBlock2D"),
    "resnet downsampling": (dict(downsample_type="resnet"), "downsample_type"),
    "class_embed_type timestep": (dict(class_embed_type="timestep"), "class_embed_type"),
    "mid_block_scale_factor 2": (dict(mid_block_scale_factor=2), "mid_block_scale_factor"),
    "an unknown key": (dict(encoder_hid_dim=8), "encoder_hid_dim"),
    "learned variance": (dict(out_channels=2), "1 channels in and 2 out"),
}

# name: (of the model, of the scheduler, of the training)
TRAINED = {
    "epsilon, linear": ("", "", ""),
    "scale_shift, 10 classes": ('resnet_time_scale_shift = "scale_shift"\nnum_class_embeds = 10', "", ""),
    "10 classes, label dropout": ("num_class_embeds = 10", 'prediction_type = "v_prediction"', "label_dropout = 0.3"),
    "v_prediction, cosine, DDIM ends at alphaBar_0": (
        "attention_head_dim = 0", 'prediction_type = "v_prediction"\nbeta_schedule = "squaredcos_cap_v2"\nset_alpha_to_one = false', ""),
    "sample, padding 0, 1 layer": ("downsample_padding = 0\nflip_sin_to_cos = false\nfreq_shift = 1", 'prediction_type = "sample"', ""),
}

CONFIG = """
name = "small"
[data]
dataset = "mnist-10k"
[model]
block_out_channels = [8, 16]
layers_per_block = 1
norm_num_groups = 4
{model}
[scheduler]
num_train_timesteps = 200
{scheduler}
[train]
steps = 12
batch_size = 16
lr = 2e-3
{train}
[ema]
decay = 0.9
[checkpoint]
every = 0
[preview]
every = 0
"""


class Run:
    def __init__(self, program, noise, work):
        self.program, self.noise, self.work = program, noise, Path(work)
        self.failed, self.lines = [], []

    def say(self, line=""):
        print(line, flush=True)
        self.lines.append(line)

    def check(self, name, what, value, limit):
        """A figure for the table; one beyond its limit fails the run."""
        if not value <= limit:
            self.failed.append(f"{name}: {what} {value:.2g} is more than {limit:g}")
            return f"**{value:.1e}**"
        return f"{value:.1e}"

    def diffusion(self, *args, direct=False, ok=True):
        env = {k: v for k, v in os.environ.items() if not k.startswith("UNSTIR_")}
        if direct:
            env["UNSTIR_CONV"] = "direct"
        p = subprocess.run([self.program, *map(str, args)], env=env, capture_output=True, text=True)
        if ok and p.returncode != 0:
            raise RuntimeError(f"diffusion {' '.join(map(str, args))}: {p.stderr}")
        return p

    def predict(self, model, x, t, labels=None, direct=False):
        np.save(self.work / "x.npy", x)
        extra = [] if labels is None else ["--label", ",".join(map(str, labels))]
        self.diffusion("predict", "--model", model, "--x", self.work / "x.npy", "--t", ",".join(map(str, t)),
                       "--out", self.work / "out.npy", *extra, direct=direct)
        return np.load(self.work / "out.npy")

    def sample(self, model, xt, sampler, steps, labels=None, seed=0, flags=()):
        """With sampler None, that of the pipeline's scheduler."""
        np.save(self.work / "xT.npy", xt)
        extra = [] if labels is None else ["--label", ",".join(map(str, labels))]
        extra += [] if sampler is None else ["--sampler", sampler]
        self.diffusion("sample", "--model", model, "--noise", self.work / "xT.npy", "--steps", steps,
                       "--seed", seed, "--out", self.work / "samples.npy", *extra, *flags)
        return np.load(self.work / "samples.npy")

    def step_noise(self, shape, steps, seed):
        path = self.work / "z.npy"
        subprocess.run([self.noise, "--seed", str(seed), "--shape", ",".join(map(str, shape)), "--steps", str(steps),
                        "--steps-noise", str(path)], check=True)
        return np.load(path)


def random_model(config, seed):
    """A UNet2DModel none of whose parameters is 0 or 1."""
    torch.manual_seed(seed)
    model = UNet2DModel(**config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_((1 if name.endswith("weight") else 0) + 0.1 * torch.randn_like(p))
    return model


def save(model, scheduler, directory, storage):
    """Saves a pipeline; returns the model with the weights as stored."""
    if storage in ("float16", "bfloat16"):
        for p in model.parameters():
            p.data = p.data.to(getattr(torch, storage))
    kind = DDIMPipeline if isinstance(scheduler, DDIMScheduler) else DDPMPipeline
    kind(unet=model, scheduler=scheduler).save_pretrained(directory)
    path = directory / "unet" / "diffusion_pytorch_model.safetensors"
    if storage == "sharded":
        path.unlink()
        model.save_pretrained(directory / "unet", max_shard_size="20KB")
        if not (directory / "unet" / "diffusion_pytorch_model.safetensors.index.json").exists():
            raise RuntimeError("the model was not sharded")
    if storage.startswith("old names"):
        tensors = safetensors.torch.load_file(path)
        renamed = {}
        for name, v in tensors.items():
            for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
                if ".attentions." in name and f".{new}." in name:
                    name = name.replace(f".{new}.", f".{old}.")
                    if "4-d" in storage and v.dim() == 2:
                        v = v[:, :, None, None].contiguous()
            renamed[name] = v
        safetensors.torch.save_file(renamed, path, metadata={"format": "pt"})
    return model.double()


def forward(model, x, t, labels=None):
    with torch.no_grad():
        c = None if labels is None else torch.tensor(labels)
        return model(torch.from_numpy(x).to(model.dtype), torch.tensor(t), class_labels=c).sample.double().numpy()


def walk(model, scheduler, xt, steps, labels=None, draws=None):
    """diffusers' own loop, as its pipelines have it; draws are the noise of the steps."""
    module = sys.modules[type(scheduler).__module__]
    given = iter([] if draws is None else draws)
    old = module.randn_tensor
    module.randn_tensor = lambda shape, generator=None, device=None, dtype=None, **_: torch.from_numpy(next(given)).to(dtype)
    try:
        scheduler.set_timesteps(steps)
        x = torch.from_numpy(xt).to(model.dtype)
        c = None if labels is None else torch.tensor(labels)
        with torch.no_grad():
            for t in scheduler.timesteps:
                out = model(x, t, class_labels=c).sample
                x = scheduler.step(out, t, x).prev_sample
    finally:
        module.randn_tensor = old
    return x.clamp(-1, 1).double().numpy()


def guided(model, null, weight, rescale):
    """The model with classifier-free guidance, as diffusers' pipelines have it, for walk."""
    def predict(x, t, class_labels):
        both = torch.cat([torch.full_like(class_labels, null), class_labels])
        by_null, by_label = model(torch.cat([x] * 2), t, class_labels=both).sample.chunk(2)
        return SimpleNamespace(sample=rescale_noise_cfg(by_null + weight * (by_label - by_null), by_label, rescale))

    predict.dtype = model.dtype
    return predict


def relative(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max()) if got.shape == want.shape else float("nan")


def absolute(got, want):
    return float(np.abs(got - want).max()) if got.shape == want.shape else float("nan")


def inputs(config, seed):
    g = np.random.default_rng(seed)
    size = config["sample_size"]
    h, w = (size, size) if isinstance(size, int) else size
    return g.standard_normal((3, config["in_channels"], h, w)).astype(np.float32)


def compare(run, name, model, directory, config, scheduler, storage=""):
    """One row of a table: outputs with both convolutions, then DDIM and DDPM samples."""
    T = scheduler.config.num_train_timesteps
    x = inputs(config, 1)
    labels = [i % config["num_class_embeds"] for i in range(len(x))] if config.get("num_class_embeds") else None
    t = [0, T // 3, T - 1]
    want = forward(model, x, t, labels)
    row = []
    for kind in ("direct", "winograd"):
        got = run.predict(directory, x, t, labels, direct=kind == "direct")
        row.append(run.check(name, f"output, {kind}", relative(got, want), OUTPUT_LIMIT[kind]))
    steps, seed = 10, 7
    if scheduler.config.beta_schedule == "sigmoid":  # diffusers' DDIMScheduler does not know it
        row.append("-")
    else:
        want = walk(model, DDIMScheduler.from_config(scheduler.config), x, steps, labels)
        row.append(run.check(name, "DDIM samples", absolute(run.sample(directory, x, "ddim", steps, labels), want), SAMPLE_LIMIT))
    if isinstance(scheduler, DDIMScheduler):  # which cannot walk as DDPM
        row.append("-")
        run.say(f"| {name} | {' | '.join(row)} |")
        return
    draws = run.step_noise(x.shape, steps, seed)
    want = walk(model, scheduler, x, steps, labels, draws)
    row.append(run.check(name, "DDPM samples", absolute(run.sample(directory, x, "ddpm", steps, labels, seed), want), SAMPLE_LIMIT))
    run.say(f"| {name} | {' | '.join(row)} |")


HEADER = "| {} | output, direct | output, Winograd | DDIM sample | DDPM sample |\n|---|---|---|---|---|"


def make_scheduler(ddim=False, **settings):
    return (DDIMScheduler if ddim else DDPMScheduler)(**settings)


def there_to_here(run):
    run.say("### Made by diffusers, read here")
    run.say()
    run.say(HEADER.format("model"))
    for i, (name, (changes, schedule, storage)) in enumerate(MATRIX.items()):
        config = {**BASE, **changes}
        directory = run.work / f"there{i}"
        scheduler = make_scheduler(**schedule)
        model = save(random_model(config, i), scheduler, directory, storage)
        compare(run, name, model, directory, config, scheduler, storage)
        shutil.rmtree(directory)
    run.say()


def schedulers(run):
    """Pipelines with schedulers of many classes, sampled with the scheduler that they have."""
    run.say("Sampled without `--sampler`, a pipeline takes the sampler of its own scheduler:")
    run.say()
    run.say("| scheduler | sampler here | steps | sample |\n|---|---|---|---|")
    x = inputs(BASE, 5)
    for i, (name, (scheduler, sampler, steps)) in enumerate(pipelines.TAKEN.items()):
        if not steps:
            continue
        directory = run.work / f"scheduler{i}"
        model = save(random_model(BASE, 50), scheduler, directory, "")
        want = pipelines.walk(model, scheduler, torch.from_numpy(x).double(), steps)[-1].numpy()
        if sampler != "ddim-inverse":
            want = want.clip(-1, 1)
        got = run.sample(directory, x, None, steps)
        figure = run.check(name, "samples", absolute(got, want), SAMPLE_LIMIT)
        run.say(f"| {name}: {type(scheduler).__name__} | {sampler} | {steps} | {figure} |")
        shutil.rmtree(directory)
    run.say()
    run.say("Images of other sizes than the model's `sample_size`, 16 or null:")
    run.say()
    run.say("| size | sample_size | output, direct | output, Winograd |\n|---|---|---|---|")
    for size in (16, None):
        config = {**BASE, "sample_size": size}
        directory = run.work / f"size{size}"
        model = save(random_model(config, 51), DDPMScheduler(), directory, "")
        for h, w in ((20, 12), (2, 2), (6, 34), (64, 48)):
            x, t = np.random.default_rng(h).standard_normal((2, 1, h, w)).astype(np.float32), [0, 700]
            want = forward(model, x, t)
            row = []
            for kind in ("direct", "winograd"):
                got = run.predict(directory, x, t, direct=kind == "direct")
                row.append(run.check(f"{h}x{w}", f"output, {kind}", relative(got, want), OUTPUT_LIMIT[kind]))
            run.say(f"| {h}x{w} | {'null' if size is None else size} | {' | '.join(row)} |")
        shutil.rmtree(directory)
    run.say()


def refusals(run):
    run.say("What is not covered is refused by name:")
    run.say()
    directory = run.work / "refused"
    DDPMPipeline(unet=random_model(BASE, 0), scheduler=DDPMScheduler()).save_pretrained(directory)
    path = directory / "unet" / "config.json"
    whole = json.loads(path.read_text())
    for name, (changes, word) in REFUSED.items():
        path.write_text(json.dumps({**whole, **changes}))
        p = run.diffusion("inspect", directory, ok=False)
        message = p.stderr.strip().splitlines()[-1].replace(str(directory), "MODEL")
        if p.returncode == 0 or word not in message:
            run.failed.append(f"{name}: exit code {p.returncode}, {message}")
        run.say(f"- {name}: `{message}`")
    path.write_text(json.dumps(whole))
    for name, scheduler in pipelines.REFUSED.items():
        scheduler.save_pretrained(directory / "scheduler")
        p = run.diffusion("inspect", directory, ok=False)
        message = p.stderr.strip().splitlines()[-1].replace(str(directory), "MODEL")
        if p.returncode == 0 or "scheduler config: " not in message:
            run.failed.append(f"{name}: exit code {p.returncode}, {message}")
        run.say(f"- {name}: `{message}`")
    run.say()


class Listener(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.heard = []

    def emit(self, record):
        self.heard.append(record.getMessage())


@contextlib.contextmanager
def listening():
    """Collects every warning, from Python's warnings and from the libraries' loggers."""
    listener = Listener()
    loggers = [logging.getLogger(n) for n in ("diffusers", "huggingface_hub", "transformers", "accelerate")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(listener)
        try:
            yield listener.heard
        finally:
            for logger in loggers:
                logger.removeHandler(listener)
            listener.heard += [str(w.message) for w in caught]


def hears(run):
    """Makes sure that a key that UNet2DModel does not have would be heard."""
    directory = run.work / "odd"
    random_model(BASE, 0).save_pretrained(directory)
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "a_key_of_ours": 1}))
    with listening() as heard:
        UNet2DModel.from_pretrained(directory, low_cpu_mem_usage=False)
    if not any("a_key_of_ours" in message for message in heard):
        run.failed.append("warnings are not heard")


def here_to_there(run):
    hears(run)
    run.say("### Trained here, read by diffusers")
    run.say()
    run.say("`DDPMPipeline.from_pretrained` opens the checkpoint, and `UNet2DModel.from_pretrained` its `unet/`, without a warning.")
    run.say()
    run.say(HEADER.format("trained as"))
    null = {}
    for i, (name, (model, scheduler, train)) in enumerate(TRAINED.items()):
        toml, out = run.work / f"small{i}.toml", run.work / f"run{i}"
        toml.write_text(CONFIG.format(model=model, scheduler=scheduler, train=train))
        run.diffusion("train", "--config", toml, "--out", out)
        checkpoint = next((out / "checkpoints").glob("step-*"))
        opened(run, name, checkpoint, torch.float32)
        for dtype in ("float32", "float16"):
            export = run.work / f"export{i}-{dtype}"
            run.diffusion("export", "--model", out, "--out", export, "--dtype", dtype)
            opened(run, f"{name}, exported as {dtype}", export, getattr(torch, dtype))
        if train:
            null[name] = (checkpoint, run.work / f"export{i}-float32")
    run.say()
    for name, (checkpoint, export) in null.items():
        guidance(run, name, checkpoint, export)
    run.say()


def guidance(run, name, checkpoint, export):
    """Guided samples of a model that was trained with label dropout, and of its export."""
    weight, rescale = 2.5, 0.7
    null = json.loads((checkpoint / "training" / "state.json").read_text())["null_class"]
    model = UNet2DModel.from_pretrained(checkpoint / "unet", low_cpu_mem_usage=False).eval().double()
    scheduler = DDIMScheduler.from_pretrained(checkpoint / "scheduler")
    x, labels = inputs(dict(model.config), 1), [0, 4, 9]
    want = walk(guided(model, null, weight, rescale), scheduler, x, 10, labels)
    flags = ("--guidance", weight, "--guidance-rescale", rescale, "--rederive-eps=false")
    figures = [run.check(name, f"guided samples, {what}", absolute(run.sample(directory, x, "ddim", 10, labels, flags=(*flags, *more)), want), SAMPLE_LIMIT)
               for what, directory, more in (("checkpoint", checkpoint, ()), ("export", export, ("--null-class", null)))]
    run.say(f"With `{' '.join(map(str, flags))}`, DDIM samples of \"{name}\" differ by {figures[0]} from diffusers' loop of two "
            f"predictions, and those of its export, with `--null-class {null}`, by {figures[1]}.")


def opened(run, name, directory, dtype):
    with listening() as heard:
        # Without low_cpu_mem_usage=False, diffusers remarks that accelerate is not installed.
        pipeline = DDPMPipeline.from_pretrained(directory, low_cpu_mem_usage=False)
        alone = UNet2DModel.from_pretrained(directory / "unet", low_cpu_mem_usage=False)
    for message in heard:
        run.failed.append(f"{name}: a warning: {message}")
    stored = safetensors.torch.load_file(directory / "unet" / "diffusion_pytorch_model.safetensors")
    for key, value in alone.state_dict().items():
        if stored[key].dtype != dtype or not torch.equal(stored[key].to(value.dtype), value):
            run.failed.append(f"{name}: {key} is not read as it is stored")
    if type(pipeline.scheduler) is not DDPMScheduler or set(stored) != set(alone.state_dict()):
        run.failed.append(f"{name}: opened with {type(pipeline.scheduler).__name__}, or with other tensors than there are")
    for (a, p), (b, q) in zip(pipeline.unet.named_parameters(), alone.named_parameters()):
        if a != b or not torch.equal(p, q):
            run.failed.append(f"{name}: the pipeline and the model alone differ in {a}")
    config = dict(alone.config)
    compare(run, name, alone.eval().double(), directory, config, pipeline.scheduler)


def versions(run):
    p = run.diffusion("--version")
    run.say(f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}, safetensors {safetensors.__version__}, "
            f"numpy {np.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}. "
            "Errors of outputs are the largest difference from diffusers in float64 over the largest value "
            f"(at most {OUTPUT_LIMIT['direct']:g} with direct convolutions, {OUTPUT_LIMIT['winograd']:g} with Winograd's); "
            f"of samples, of 10 steps from one x_T, the largest difference in [-1, 1] (at most {SAMPLE_LIMIT:g}).")
    run.say()
    return p


def write_report(path, lines):
    """Replaces the part of the file between the two marks."""
    begin, end = "<!-- begin: output of interchange.py -->", "<!-- end: output of interchange.py -->"
    text = Path(path).read_text()
    head, tail = text.split(begin)[0], text.split(end)[1]
    Path(path).write_text(head + begin + "\n" + "\n".join(lines).rstrip() + "\n" + end + tail)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--diffusion", required=True, help="the program")
    p.add_argument("--noise", required=True, help="the program of noise/")
    p.add_argument("--work", help="directory to work in, kept; default: a temporary one")
    p.add_argument("--report", help="file whose marked part is replaced by the output")
    a = p.parse_args()
    torch.set_num_threads(2)
    logging.disable(logging.NOTSET)
    diffusers.utils.logging.disable_progress_bar()
    with contextlib.ExitStack() as stack:
        work = a.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="interchange-"))
        run = Run(a.diffusion, a.noise, work)
        versions(run)
        there_to_here(run)
        schedulers(run)
        refusals(run)
        here_to_there(run)
    for line in run.failed:
        print("FAILED", line, file=sys.stderr)
    if not run.failed and a.report:
        write_report(a.report, run.lines)
    sys.exit(1 if run.failed else 0)


if __name__ == "__main__":
    main()
