"""Times diffusers' UNet2DModel on PyTorch: what `diffusion bench` times, on the same model.

One run is one measurement in one process, and prints one JSON object on stdout with the keys of
`diffusion bench --json` and a few of PyTorch's own. bench/run.py calls it; by hand:

    python peer.py train --unet models/mnist.json --batch 128 --variant channels_last

A training step draws the noise and the timesteps, makes x_t, runs the model, takes the mean squared
error, goes backward, clips the gradient's norm to 1, steps AdamW and averages the weights. The images
are on hand already. A sampling step is the model alone, without gradients.
"""

import argparse
import copy
import json
import os
import platform
import resource
import statistics
import sys
import time

VARIANTS = ("eager", "channels_last", "compile", "compile_channels_last")
TIMESTEPS = 1000
EMA_DECAY = 0.999


def main():
    p = argparse.ArgumentParser(description="Time diffusers' UNet2DModel on PyTorch.")
    p.add_argument("mode", choices=("train", "sample"))
    p.add_argument("--unet", required=True, help="the model, as a diffusers unet/config.json")
    p.add_argument("--batch", type=int, required=True, help="images of a step")
    p.add_argument("--variant", choices=VARIANTS, default="eager")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--warmup", type=int, help="steps left out (default 2; 3 for the compiled variants)")
    p.add_argument("--steps", type=int, help="steps timed (default 10; 2 with --rss)")
    p.add_argument("--rss", action="store_true", help="the steps and nothing else, no warm-up: for the peak memory and the start")
    args = p.parse_args()
    if args.steps is None:
        args.steps = 2 if args.rss else 10
    if args.batch < 1 or args.steps < 1 or args.threads < 1 or (args.warmup or 0) < 0:
        p.error("--batch, --steps and --threads must be at least 1, --warmup at least 0")
    # What libraries print belongs to stderr: stdout carries the one object.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump(measure(args), out)
    out.write("\n")
    out.close()


def measure(args):
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, size = build(args.unet)
    baseline = peak_rss()
    channels_last = args.variant.endswith("channels_last")
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    x = torch.empty(args.batch, *size).uniform_(-1, 1)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)

    optimizer = None
    flops = 0 if args.rss else count_flops(model, size, args.mode == "train") * args.batch
    if args.mode == "train":
        model.train()
        optimizer = "fused" if args.rss else fastest_optimizer(model)
        step = train_step(model, compiled(model, args.variant), x, optimizer)
    else:
        model.eval()
        step = sample_step(compiled(model, args.variant), x)

    warmup, steps = (0, args.steps) if args.rss else (args.warmup, args.steps)
    if warmup is None:
        warmup = 3 if args.variant.startswith("compile") else 2
    times, first = [], None
    for i in range(warmup + steps):
        start = time.perf_counter()
        step()
        elapsed = time.perf_counter() - start
        first = first or elapsed
        if i >= warmup:
            times.append(elapsed)
    median = statistics.median(times)
    return {
        "mode": args.mode,
        "params": sum(p.numel() for p in model.parameters()),
        "batch": args.batch,
        "threads": torch.get_num_threads(),
        "cpu": platform.processor() or platform.machine(),
        "level": torch.backends.cpu.get_cpu_capability(),
        "median_s": median,
        "images_per_s": args.batch / median,
        "gflops": flops / median / 1e9,
        "peak_rss_bytes": peak_rss(),
        "variant": args.variant,
        "optimizer": optimizer,
        "first_step_s": first,
        "baseline_rss_bytes": baseline,
        "versions": versions(),
    }


def build(path):
    """The model of a unet/config.json and the size (C, H, W) of its images."""
    from diffusers import UNet2DModel

    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    rows = config["sample_size"]
    h, w = (rows, rows) if isinstance(rows, int) else rows
    return UNet2DModel.from_config(config), (config["in_channels"], h, w)


def compiled(model, variant):
    import torch

    return torch.compile(model) if variant.startswith("compile") else model


def train_step(model, forward, x0, optimizer):
    """A function that makes one training step of model, run through forward."""
    import torch
    import torch.nn.functional as F

    params = list(model.parameters())
    ema = [p.detach().clone() for p in params]
    adamw = torch.optim.AdamW(params, lr=1e-4, **optimizer_options(optimizer))
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, TIMESTEPS), 0)
    signal, spread = alpha_bar.sqrt().view(-1, 1, 1, 1), (1 - alpha_bar).sqrt().view(-1, 1, 1, 1)

    def step():
        eps = torch.randn_like(x0)
        t = torch.randint(0, TIMESTEPS, (len(x0),))
        xt = signal[t] * x0 + spread[t] * eps
        loss = F.mse_loss(forward(xt, t, return_dict=False)[0], eps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(ema, params, 1 - EMA_DECAY)
        return loss.item()

    return step


def sample_step(forward, x):
    """A function that runs the model once on the batch, each image at a timestep of its own."""
    import torch

    t = torch.arange(len(x)) * 7 % TIMESTEPS

    @torch.inference_mode()
    def step():
        return forward(x, t, return_dict=False)[0]

    return step


def optimizer_options(name):
    return {"fused": True} if name == "fused" else {"foreach": name == "foreach"}


def fastest_optimizer(model):
    """The fastest on this machine of AdamW's three implementations, for these parameters."""
    import torch

    best = {}
    for name in ("fused", "foreach", "loop"):
        params = [torch.nn.Parameter(torch.zeros_like(p)) for p in model.parameters()]
        for p in params:
            p.grad = torch.zeros_like(p)
        adamw = torch.optim.AdamW(params, **optimizer_options(name))
        times = []
        for _ in range(6):
            start = time.perf_counter()
            adamw.step()
            times.append(time.perf_counter() - start)
        best[name] = min(times[1:])
    return min(best, key=best.get)


def count_flops(model, size, backward):
    """Floating-point operations of one image: two for a multiplication and an addition."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # A copy, so that the model to be timed has not run before.
    model = copy.deepcopy(model)
    x, t = torch.zeros(1, *size), torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
        y = model(x, t, return_dict=False)[0]
        if backward:
            y.sum().backward()
    return counter.get_total_flops()


def peak_rss():
    """The largest resident memory of this process so far, in bytes."""
    try:
        # Linux's getrusage begins at the parent's peak; this is the process's own.
        with open("/proc/self/status", encoding="utf-8") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions():
    import diffusers
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__}


if __name__ == "__main__":
    main()
