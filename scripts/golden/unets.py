"""The fixtures of unet/testdata: UNet2DModels, their outputs and gradients, runs of DDIM through them."""

import json

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file
from store import distance, in_float64, save

SMALL = dict(
    in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, attention_head_dim=4,
    block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)
TINY = {**SMALL, "sample_size": 16, "in_channels": 3, "out_channels": 3, "block_out_channels": (32, 64), "norm_num_groups": 8, "attention_head_dim": 8}
THREE_LEVELS = dict(
    resnet_time_scale_shift="scale_shift", attn_norm_num_groups=2, time_embedding_dim=24,
    block_out_channels=(8, 12, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"))

# config; seed; n images of the config's size or of size; timesteps; values kept of each gradient. weights: of another
# fixture, or by the recipe. half: weights in half precision. ddim: a run, with noise where eta > 0.
SPECS = {
    "unet_tiny": dict(config=TINY, seed=10, t=[10, 700], kept=256, watch=True,
                      ddim=dict(S=10, eta=0.0, timestep_spacing="leading", clip_sample=True, set_alpha_to_one=True)),
    "unet_tiny_single_head": dict(config={**TINY, "attention_head_dim": None}, seed=20, t=[10, 700], kept=256, weights="unet_tiny"),
    "unet_mnist": dict(seed=30, t=[10, 700], kept=256, config={
        **SMALL, "sample_size": 28, "block_out_channels": (32, 64, 64), "norm_num_groups": 8, "layers_per_block": 2, "attention_head_dim": 8,
        "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")}),
    "unet_cifar10": dict(seed=40, t=[500], kept=64, weights="recipe", config=dict(  # google/ddpm-cifar10-32
        sample_size=32, in_channels=3, out_channels=3, freq_shift=1, flip_sin_to_cos=False, downsample_padding=0, norm_eps=1e-6,
        layers_per_block=2, attention_head_dim=None, block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"))),
    "unet_classes_scale_shift": dict(seed=100, t=[0, 371, 999], kept=64, half=True, config={
        **SMALL, "sample_size": (8, 12), "num_class_embeds": 5, "resnet_time_scale_shift": "scale_shift", "downsample_padding": 0,
        "flip_sin_to_cos": False, "freq_shift": 1}),
    "unet_classes": dict(seed=101, t=[0, 371, 999], kept=64, half=True, config={
        **SMALL, "sample_size": 8, "num_class_embeds": 3, "add_attention": False, "center_input_sample": True, "layers_per_block": 2,
        "attention_head_dim": None, "norm_eps": 1e-6}),
    "unet_scale_shift": dict(seed=102, t=[0, 371, 999], kept=64, half=True, config={**SMALL, **THREE_LEVELS, "sample_size": (16, 8)}),
    # Without a sample_size, on images of 12x20 and 8x16: the weights are those of unet_scale_shift.
    "unet_any_size": dict(config={**SMALL, **THREE_LEVELS, "sample_size": None}, seed=103, t=[5, 640], kept=16, size=(12, 20), weights="unet_scale_shift",
                          ddim=dict(S=6, eta=0.7, timestep_spacing="trailing", clip_sample=True, set_alpha_to_one=False, size=(8, 16))),
}


def recipe(names, shapes, seed):
    """Weights from a hash of (seed, tensor of the sorted names, element): internal/golden has the same rule."""
    import numpy as np

    tensors = {}
    with np.errstate(over="ignore"):
        for i, name in enumerate(sorted(names)):
            shape = shapes[name]
            j = np.arange(int(np.prod(shape)), dtype=np.uint64)
            z = np.uint64((seed << 48) + (i << 32)) + j + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            u = (z >> np.uint64(40)).astype(np.float64) / 8388608 - 1
            if len(shape) > 1:
                u *= np.sqrt(3 / np.prod(shape[1:]))
            else:
                u = 1 + 0.1 * u if name.endswith(".weight") else 0.05 * u
            tensors[name] = torch.from_numpy(u.reshape(shape)).float()
    return tensors


def build(name, spec, directory, inputs):
    """The model, its weights' rule for the manifest, and its generator's state where the inputs' draws begin."""
    torch.manual_seed(spec["seed"])
    model = UNet2DModel(**spec["config"]).eval()
    source = spec.get("weights", name)
    with torch.no_grad():
        for pname, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_((1 if pname.endswith("weight") else 0) + 0.1 * torch.randn_like(p))
            if spec.get("half"):
                p.data = p.data.half()  # as it is stored: small, and exact in every type
    if source == "recipe":
        shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
        model.load_state_dict(recipe(shapes, shapes, seed=1))
        return model, "recipe: seed 1"
    file = f"{source}/unet/diffusion_pytorch_model.safetensors"
    if source != name:
        file = inputs.file(file) or directory.parent / file
        model.load_state_dict(load_file(file))
        return model, f"../{source}/unet/diffusion_pytorch_model.safetensors"
    if found := inputs.file(file):
        model.load_state_dict(load_file(found))
    model.save_pretrained(directory / "unet")
    return model, "unet/diffusion_pytorch_model.safetensors"


def watch(model, names, seen):
    """Keeps the outputs of modules."""
    def hook(name):
        def keep(_, __, out):
            out = out[0] if isinstance(out, tuple) else out
            seen[name] = out.detach()
        return keep
    return [model.get_submodule(n).register_forward_hook(hook(n)) for n in names]


def backward(model, dtype, x, t, target, labels):
    """The output, the loss and the gradients of the images and of every parameter."""
    model = model.to(dtype)
    model.zero_grad()
    x = x.detach().to(dtype).requires_grad_()
    out = model(x, t, class_labels=labels).sample
    loss = ((out - target.to(dtype)) ** 2).mean()
    loss.backward()
    return out.detach(), loss.item(), x.grad, {n: p.grad.flatten().clone() for n, p in model.named_parameters()}


def sampled(g, kept):
    """At most so many elements of a gradient: element j is element floor(j n / kept) of its n."""
    return g if len(g) <= kept else g[[j * len(g) // kept for j in range(kept)]]


def run_ddim(model, dtype, spec, x, noise):
    """A run of DDIM: x after every step, and the timesteps."""
    settings = {k: v for k, v in spec.items() if k not in ("S", "eta", "size")}
    scheduler = DDIMScheduler(1000, **settings)
    scheduler.set_timesteps(spec["S"])
    model, x, traj = model.to(dtype), x.to(dtype), []
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            z = noise[k].to(dtype) if spec["eta"] else None
            x = scheduler.step(model(x, t).sample, t, x, eta=spec["eta"], variance_noise=z).prev_sample
            traj.append(x)
    return torch.stack(traj), scheduler.timesteps.long()


def make(name, spec, out, inputs):
    directory = out / name
    directory.mkdir(parents=True, exist_ok=True)
    model, weights = build(name, spec, directory, inputs)
    config, size = spec["config"], spec.get("size") or spec["config"]["sample_size"]
    h, w = size if isinstance(size, tuple) else (size, size)
    shape = (len(spec["t"]), config["in_channels"], h, w)
    x = inputs.tensor(name, "x", lambda: torch.randn(*shape))
    target = inputs.tensor(name, "target", lambda: torch.randn(*shape))
    t = inputs.tensor(name, "t", lambda: torch.tensor(spec["t"]))
    classes = config.get("num_class_embeds")
    labels = torch.arange(len(t)) * 2 % classes if classes else None

    out32, loss32, dx32, grads32 = backward(model, torch.float32, x, t, target, labels)
    seen, hooks = {}, []
    if spec.get("watch"):
        hooks = watch(model, ["time_embedding", "conv_in", "down_blocks.0.resnets.0", "down_blocks.0", "down_blocks.1", "mid_block.attentions.0",
                              "mid_block", "up_blocks.0", "up_blocks.1", "conv_norm_out"], seen)
    out64, loss64, dx64, grads64 = backward(model, torch.float64, x, t, target, labels)
    for hook in hooks:
        hook.remove()
    tensors = {"x": x, "t": t, "target": target, "out_f32": out32, "out_f64": out64, "grad.x": dx64}
    if labels is not None:
        tensors["labels"] = labels
    tensors.update({f"inter.{n}": v.float() for n, v in seen.items()})
    for n, g in grads64.items():
        tensors[("grad." if len(g) <= spec["kept"] else "gradsample.") + n] = sampled(g, spec["kept"]).float()
    measured = {
        "out_f32_vs_f64": distance(out32, out64), "grad_x_f32_vs_f64": distance(dx32, dx64),
        "grad_worst_rel_to_max": max(distance(grads32[n], g)["rel_to_max"] for n, g in grads64.items() if not n.endswith("to_k.bias")),
    }
    more = {}
    if spec.get("ddim"):
        d = spec["ddim"]
        shape = (shape[0], shape[1], *d.get("size", (h, w)))
        xT = inputs.tensor(name, "ddim.x_T", lambda: torch.randn(*shape))
        noise = inputs.tensor(name, "ddim.noise", lambda: torch.randn(d["S"], *shape)) if d["eta"] else None
        traj32, _ = run_ddim(model, torch.float32, d, xT, noise)
        with in_float64():
            traj, steps = run_ddim(model, torch.float64, d, xT, noise)
        tensors.update({"ddim.x_T": xT, "ddim.timesteps": steps, "ddim.traj_f64": traj})
        if noise is not None:
            tensors["ddim.noise"] = noise
        measured["ddim_final_f32_vs_f64"] = distance(traj32[-1], traj[-1])
        more["ddim"] = {k: v for k, v in d.items() if k != "size"}
        if (directory / "unet").exists():  # which makes it a pipeline
            DDPMScheduler(1000).save_pretrained(directory / "scheduler")
            (directory / "model_index.json").write_text(json.dumps({
                "_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}, indent=2) + "\n")
    save(directory, "fixture", tensors,
         "a UNet2DModel's outputs and gradients" + (", and a run of DDIM through it; step k added ddim.noise[k]" if spec.get("ddim") else ""),
         {"config": dict(model.config), "num_parameters": sum(p.numel() for p in model.parameters()), "weights": weights, "seed": spec["seed"]},
         intermediates={n: {"shape": list(v.shape)} for n, v in seen.items()}, loss_f64=loss64, loss_f32=loss32,
         grad_checksums={n: {"sum": float(g.sum()), "sumsq": float((g * g).sum())} for n, g in grads64.items()},
         tolerance_measured=measured, **more)


MAKERS = {n: lambda out, inputs, n=n, s=s: make(n, s, out, inputs) for n, s in SPECS.items()}
