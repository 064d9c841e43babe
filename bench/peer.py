"""Times what other frameworks take for what `diffusion bench` times, on the same model.

One process is one program: diffusers' UNet2DModel on PyTorch in one of its variants, or the same model exported
to ONNX, on ONNX Runtime or OpenVINO. It prints one JSON object for each measurement, with the keys of
`diffusion bench --json` and a few of its own. bench/run.py calls it; by hand:

    python peer.py train --unet models/mnist.json --batch 128 --variant channels_last
    python peer.py export --unet models/mnist.json --batch 16 --onnx mnist.onnx
    python peer.py sample --unet models/mnist.json --batch 16 --variant openvino --onnx mnist.onnx

With --serve it prints a line when its libraries are loaded, and then an object for every line that it reads.

A training step draws the noise and the timesteps, makes x_t, runs the model, takes the mean squared
error, goes backward, clips the gradient's norm to 1, steps AdamW and averages the weights. The images
are on hand already. A sampling step is the model alone, without gradients.
"""

import argparse
import contextlib
import copy
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
import time

TORCH = ("eager", "channels_last", "compile", "compile_channels_last", "bf16", "bf16_channels_last")
ONNX = ("onnxruntime", "openvino", "openvino_bf16")
TIMESTEPS = 1000
EMA_DECAY = 0.999

# The largest difference from PyTorch's float32 output, as the norm of the difference over that of the
# output, with which a program is still said to compute the same.
TOLERANCE, TOLERANCE_BF16 = 1e-4, 5e-2


def main():
    args = parse()
    # What libraries print belongs to stderr: stdout carries the objects.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if args.mode == "export":
        export(args)
        return
    prepare = onnx_program if args.variant in ONNX else torch_program
    if not args.serve:
        emit(out, measure(args, prepare(args)))
        return
    load(args)
    emit(out, {"process_s": time.process_time()})
    program = None
    for _ in sys.stdin:
        program = program or prepare(args)
        emit(out, measure(args, program))


def emit(out, measurement):
    json.dump(measurement, out)
    out.write("\n")


def load(args):
    """Imports what takes seconds, which several processes can do at once: nothing is timed yet."""
    for name in {"onnxruntime": ("onnxruntime",), "openvino": ("openvino",), "openvino_bf16": ("openvino",)}.get(args.variant, ("torch", "diffusers")):
        importlib.import_module(name)
    if args.variant in TORCH:
        build(args.unet)  # diffusers loads its models only when they are asked for


def parse():
    p = argparse.ArgumentParser(description="Time other frameworks on a model that diffusers and unstir both have.")
    p.add_argument("mode", choices=("train", "sample", "export"))
    p.add_argument("--unet", required=True, help="the model, as a diffusers unet/config.json")
    p.add_argument("--batch", type=int, required=True, help="images of a step")
    p.add_argument("--variant", choices=TORCH + ONNX, default="eager")
    p.add_argument("--onnx", help="the model as export wrote it")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--warmup", type=int, help="steps left out before the first measurement (default 2; 3 for the compiled variants)")
    p.add_argument("--steps", type=int, help="steps timed in a measurement, at most (default 10; 2 with --rss)")
    p.add_argument("--seconds", type=float, help="no step after the second is begun so long after the first")
    p.add_argument("--rss", action="store_true", help="the steps and nothing else, no warm-up: for the peak memory and the start")
    p.add_argument("--serve", action="store_true", help="measure once for each line on stdin")
    args = p.parse_args()
    if args.steps is None:
        args.steps = 2 if args.rss else 10
    if args.batch < 1 or args.steps < 1 or args.threads < 1 or (args.warmup or 0) < 0:
        p.error("--batch, --steps and --threads must be at least 1, --warmup at least 0")
    if (args.mode == "export" or args.variant in ONNX) and not args.onnx:
        p.error("--onnx is missing")
    if args.mode == "train" and args.variant in ONNX:
        p.error(f"--variant {args.variant} cannot train")
    if args.warmup is None:
        args.warmup = 0 if args.rss else 3 if args.variant.startswith("compile") else 2
    return args


class Program:
    """A step of one framework, and what there is to say of it."""

    def __init__(self, step, **about):
        self.step, self.about = step, about
        self.first = None  # seconds of the first step


def measure(args, program):
    """Times steps; those before the first measurement warm up. process_s is all that the process has computed so far."""
    if program.first is None:
        for i in range(args.warmup):
            elapsed = timed(program.step)
            program.first = program.first or elapsed
    times = []
    while len(times) < args.steps and not (args.seconds and len(times) >= 2 and sum(times) >= args.seconds):
        times.append(timed(program.step))
        program.first = program.first or times[0]
    median = statistics.median(times)
    about = dict(program.about)
    flops = about.pop("flops", 0)
    return {
        "mode": args.mode,
        "batch": args.batch,
        "cpu": platform.processor() or platform.machine(),
        "median_s": median,
        "images_per_s": args.batch / median,
        **({"gflops": flops / median / 1e9} if flops else {}),
        "peak_rss_bytes": peak_rss(),
        "variant": args.variant,
        "steps": len(times),
        "first_step_s": program.first,
        "process_s": time.process_time(),
        **about,
    }


def timed(step):
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def torch_program(args):
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, size = build(args.unet)
    baseline = peak_rss()
    channels_last = args.variant.endswith("channels_last")
    bf16 = args.variant.startswith("bf16")
    x = images(args.batch, size)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)

    forward = torch.compile(model) if args.variant.startswith("compile") else model
    if bf16:
        forward = autocast(model)
    flops = 0 if args.rss else count_flops(model, size, args.mode == "train") * args.batch
    optimizer = None
    if args.mode == "train":
        model.train()
        optimizer = "fused" if args.rss else fastest_optimizer(model)
        step = train_step(model, forward, x, optimizer)
    else:
        model.eval()
        step = sample_step(forward, x)
        if bf16:
            agree(args.variant, step().float().numpy(), sample_step(model, x)().numpy(), TOLERANCE_BF16)
    return Program(
        step,
        params=sum(p.numel() for p in model.parameters()),
        threads=torch.get_num_threads(),
        level=torch.backends.cpu.get_cpu_capability(),
        flops=flops,
        optimizer=optimizer,
        baseline_rss_bytes=baseline,
        versions={"python": platform.python_version(), **versions("torch", "diffusers")},
    )


def build(path):
    """The model of a unet/config.json and the size (C, H, W) of its images."""
    from diffusers import UNet2DModel

    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    rows = config["sample_size"]
    h, w = (rows, rows) if isinstance(rows, int) else rows
    return UNet2DModel.from_config(config), (config["in_channels"], h, w)


def images(n, size):
    import torch

    return torch.empty(n, *size).uniform_(-1, 1)


def timesteps(n):
    """A timestep for each image, all of them different."""
    import torch

    return torch.arange(n) * 7 % TIMESTEPS


def autocast(model):
    """The model in bfloat16, as users of float32 weights get it."""
    import torch

    def forward(*args, **kw):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(*args, **kw)

    return forward


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
        loss = F.mse_loss(forward(xt, t, return_dict=False)[0].float(), eps)
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

    t = timesteps(len(x))

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
        best[name] = min([timed(adamw.step) for _ in range(6)][1:])
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


def export(args):
    """Writes the model for one batch size to args.onnx, and beside it an input with PyTorch's output."""
    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, size = build(args.unet)
    model.eval()
    x, t = images(args.batch, size), timesteps(args.batch)
    y = sample_step(model, x)()

    class Prediction(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x, t):
            return self.model(x, t, return_dict=False)[0]

    part = args.onnx + ".part"
    with torch.no_grad():
        torch.onnx.export(Prediction(), (x, t), part, dynamo=False, opset_version=17, input_names=["x", "t"], output_names=["y"])
    with open(args.onnx + ".npz", "wb") as f:
        np.savez(f, x=x.numpy(), t=t.numpy(), y=y.numpy(), params=sum(p.numel() for p in model.parameters()))
    os.replace(part, args.onnx)


def onnx_program(args):
    import numpy as np

    with np.load(args.onnx + ".npz") as f:
        x, t, y, params = f["x"], f["t"], f["y"], int(f["params"])
    step, names = (onnxruntime_step if args.variant == "onnxruntime" else openvino_step)(args, x, t)
    agree(args.variant, step(), y, TOLERANCE_BF16 if args.variant.endswith("bf16") else TOLERANCE)
    return Program(step, params=params, threads=args.threads, versions=versions(*names))


def onnxruntime_step(args, x, t):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Threads that wait by spinning would take the CPUs of the other programs in turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(args.onnx, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x, "t": t})[0], ("onnxruntime",)


def openvino_step(args, x, t):
    import openvino as ov

    model = ov.Core().compile_model(args.onnx, "CPU", {
        "PERFORMANCE_HINT": "LATENCY",  # all threads for one batch at a time
        "INFERENCE_NUM_THREADS": args.threads,
        # By itself it takes bfloat16 where the CPU has that.
        "INFERENCE_PRECISION_HINT": "bf16" if args.variant.endswith("bf16") else "f32",
    })
    request = model.create_infer_request()
    return lambda: request.infer([x, t], share_inputs=True, share_outputs=True)[0], ("openvino",)


def agree(variant, got, want, tolerance):
    import numpy as np

    error = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    if not error <= tolerance:
        sys.exit(f"{variant} differs from PyTorch in float32 by {error:.2g} of the output's norm; {tolerance:g} is allowed")


def peak_rss():
    """The largest resident memory of this process so far, in bytes."""
    with contextlib.suppress(OSError):
        # Linux's getrusage begins at the parent's peak; this is the process's own.
        with open("/proc/self/status", encoding="utf-8") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions(*names):
    return {name: importlib.metadata.version(name) for name in names}


if __name__ == "__main__":
    main()
