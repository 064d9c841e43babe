"""Writes the small reference fixtures of unet/testdata: UNet2DModels with random weights, their outputs and gradients
in float64, by diffusers.

    python scripts/interchange/fixtures.py unet/testdata
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import diffusers
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

BASE = dict(
    in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, attention_head_dim=4,
    block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
FIXTURES = {
    "unet_classes_scale_shift": dict(
        sample_size=(8, 12), num_class_embeds=5, resnet_time_scale_shift="scale_shift", downsample_padding=0,
        flip_sin_to_cos=False, freq_shift=1),
    "unet_classes": dict(
        sample_size=8, num_class_embeds=3, add_attention=False, center_input_sample=True, layers_per_block=2,
        attention_head_dim=None, norm_eps=1e-6),
    "unet_scale_shift": dict(
        sample_size=(16, 8), resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2, time_embedding_dim=24,
        block_out_channels=(8, 12, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")),
}
SAMPLES = 64  # of a gradient


def make(directory, config, seed):
    torch.manual_seed(seed)
    model = UNet2DModel(**{**BASE, **config}).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_((1 if name.endswith("weight") else 0) + 0.1 * torch.randn_like(p))
            p.data = p.data.half()  # as it is stored: small, and exact in every type
    model.save_pretrained(directory / "unet")
    model = model.double()
    h, w = config["sample_size"] if isinstance(config["sample_size"], tuple) else (config["sample_size"],) * 2
    n = 3
    x = torch.randn(n, 1, h, w).double().requires_grad_()
    x.data = x.data.float().double()
    target = torch.randn(n, 1, h, w).float().double()
    t = torch.tensor([0, 371, 999])
    classes = config.get("num_class_embeds")
    labels = torch.arange(n) * 2 % classes if classes else None
    out = model(x, t, class_labels=labels).sample
    loss = ((out - target) ** 2).mean()
    loss.backward()

    tensors = {"x": x.detach().float(), "t": t, "target": target.float(), "out_f64": out.detach(), "grad.x": x.grad.float()}
    if labels is not None:
        tensors["labels"] = labels
    sums = {}
    for name, p in model.named_parameters():
        g = p.grad.flatten()
        k = min(SAMPLES, len(g))
        tensors[f"gradsample.{name}"] = g[[j * len(g) // k for j in range(k)]].float()
        sums[name] = {"sumsq": float((g * g).sum())}
    save_file(tensors, directory / "fixture.safetensors")
    manifest = {
        "file": "fixture.safetensors",
        "description": "UNet2DModel with random half-precision weights; outputs and gradients in float64",
        "reference": f"huggingface/diffusers {diffusers.__version__} on torch {torch.__version__.split('+')[0]} CPU",
        "settings": {
            "config": json.loads((directory / "unet" / "config.json").read_text()),
            "num_parameters": sum(p.numel() for p in model.parameters()),
            "weights": "unet/diffusion_pytorch_model.safetensors", "seed": seed,
        },
        "loss_f64": loss.item(), "grad_checksums": sums,
    }
    (directory / "fixture.json").write_text(json.dumps(manifest, indent=1) + "\n")
    assert load_file(directory / "unet" / "diffusion_pytorch_model.safetensors")["conv_in.weight"].dtype == torch.float16


for i, (name, config) in enumerate(FIXTURES.items()):
    path = Path(sys.argv[1]) / name
    path.mkdir(parents=True, exist_ok=True)
    make(path, config, 100 + i)
    print(path)
