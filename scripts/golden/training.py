"""The fixture of train/testdata: 20 steps of AdamW from the weights of unet_tiny, and two moving averages."""

import os

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file
from store import save
from unets import TINY

SETTINGS = {"steps": 20, "batch": 4, "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01, "ema_decay": 0.99,
            "loss": "mean((model(x_t,t) - noise)^2)", "batch_per_step": False}
WHOLE = 256  # values of a tensor that is kept whole


def train(weights, dtype, x_t, t, noise):
    """Losses before each step and after the last, norms of the gradients, and the three kinds of final weights."""
    model = UNet2DModel(**TINY)
    model.load_state_dict(weights)
    model = model.to(dtype)
    params = dict(model.named_parameters())
    decay = SETTINGS["ema_decay"]
    ema = {n: p.detach().clone() for n, p in params.items()}  # of constant decay, from the initial weights
    warm = EMAModel(params.values(), decay=decay)
    adam = torch.optim.AdamW(params.values(), lr=SETTINGS["lr"], betas=SETTINGS["betas"], eps=SETTINGS["eps"], weight_decay=SETTINGS["weight_decay"])
    x_t, noise, losses, norms = x_t.to(dtype), noise.to(dtype), [], []

    def loss_now():
        return ((model(x_t, t).sample - noise) ** 2).mean()

    for _ in range(SETTINGS["steps"]):
        adam.zero_grad()
        loss = loss_now()
        loss.backward()
        losses.append(loss.item())
        norms.append(sum(float((p.grad.double() ** 2).sum()) for p in params.values()) ** 0.5)
        adam.step()
        warm.step(params.values())
        for n, p in params.items():
            ema[n].mul_(decay).add_(p.detach(), alpha=1 - decay)
    with torch.no_grad():
        losses.append(loss_now().item())
    return losses, norms, {
        "param": {n: p.detach() for n, p in params.items()}, "ema": ema, "ema_diffusers": dict(zip(params, warm.shadow_params)),
    }


def make(out, inputs):
    shape = (SETTINGS["batch"], TINY["in_channels"], TINY["sample_size"], TINY["sample_size"])
    torch.manual_seed(50)
    x0 = inputs.tensor("train_tiny", "x0", lambda: torch.randn(*shape).clamp(-1, 1))
    noise = inputs.tensor("train_tiny", "noise", lambda: torch.randn(*shape))
    t = inputs.tensor("train_tiny", "t", lambda: torch.tensor([10, 250, 500, 900]))
    x_t = inputs.tensor("train_tiny", "x_t", lambda: DDPMScheduler(1000).add_noise(x0, noise, t))
    directory = out / "train_tiny"
    directory.mkdir(parents=True, exist_ok=True)
    file = "unet_tiny/unet/diffusion_pytorch_model.safetensors"
    file = out / file if (out / file).exists() else inputs.file(file)
    if not file:
        raise SystemExit("train_tiny trains unet_tiny: make that first")
    weights = load_file(file)
    losses32, norms32, final32 = train(weights, torch.float32, x_t, t, noise)
    losses, norms, final = train(weights, torch.float64, x_t, t, noise)

    tensors = {"x0": x0, "noise": noise, "t": t, "x_t": x_t}
    for name, values in (("loss_f32", losses32), ("loss_f64", losses), ("grad_norm_f64", norms)):
        tensors[name] = torch.tensor(values, dtype=torch.float64)
    stats, squares, count = {}, 0.0, 0
    for n, p in final["param"].items():
        stats[n] = {"numel": p.numel()}
        for kind, values in final.items():
            v, v32 = values[n].flatten(), final32[kind][n].flatten().double()
            stats[n][kind] = {"sum": float(v.sum()), "sumsq": float((v * v).sum()), "first4": v[:4].tolist(), "f32_vs_f64_max_abs": float((v - v32).abs().max())}
            if v.numel() <= WHOLE and kind != "ema_diffusers":
                tensors[f"{kind}.{n}"] = values[n]
        squares += float(((p - final32["param"][n].double()) ** 2).sum())
        count += p.numel()
    measured = {
        "loss_max_rel": max(abs(a / b - 1) for a, b in zip(losses32, losses)),
        "grad_norm_max_rel": max(abs(a / b - 1) for a, b in zip(norms32, norms)), "rms_param_diff": (squares / count) ** 0.5,
    }
    save(directory, "fixture", tensors,
         "AdamW from recorded weights on a recorded batch: losses before each step and after the last, norms of the gradients, the last weights "
         "and their moving averages: ema of constant decay from the first weights, ema_diffusers by EMAModel",
         {"unet": os.path.relpath(file.parent.resolve(), directory.resolve()), **SETTINGS}, tensors_final=stats, tolerance_measured=measured)


MAKERS = {"train_tiny": make}
