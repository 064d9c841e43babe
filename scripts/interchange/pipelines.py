"""Writes testdata/pipelines: a small UNet2DModel, scheduler_config.json files of many classes as diffusers saves them,
and what diffusers makes with them: walks of the samplers from one x_T, and an output for images of another size than
the model's sample_size. All in float64 from weights in half precision.

    python scripts/interchange/pipelines.py testdata/pipelines
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import diffusers
import torch
from diffusers import (
    DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler, HeunDiscreteScheduler, UNet2DModel, UniPCMultistepScheduler)
from safetensors.torch import save_file

MODEL = dict(
    sample_size=8, in_channels=1, out_channels=1, norm_num_groups=2, layers_per_block=1, attention_head_dim=4,
    block_out_channels=(4, 8), down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))

V = dict(prediction_type="v_prediction")

# name: (scheduler, the sampler that it implies here, steps of the walk; 0: none is recorded)
TAKEN = {
    "ddpm": (DDPMScheduler(), "ddpm", 0),
    "ddim": (DDIMScheduler(), "ddim", 5),
    "ddim_offset": (DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1), "ddim", 5),
    "ddim_from_dpm": (
        DDIMScheduler.from_config(DPMSolverMultistepScheduler(use_karras_sigmas=True, lambda_min_clipped=-5.1, solver_order=3).config), "ddim", 5),
    "ddim_from_euler": (DDIMScheduler.from_config(EulerDiscreteScheduler(use_karras_sigmas=True, sigma_max=20.0).config), "ddim", 5),
    "ddim_inverse": (DDIMInverseScheduler(), "ddim-inverse", 5),
    "dpm": (DPMSolverMultistepScheduler(), "dpm++2m", 5),
    # Predicting v, a random model's x_t stays near what it is trained on, and the settings of the last steps are seen.
    "dpm_order1": (DPMSolverMultistepScheduler(solver_order=1, timestep_spacing="trailing", **V), "dpm++1", 5),
    "dpm_heun": (
        DPMSolverMultistepScheduler(
            solver_type="heun", final_sigmas_type="sigma_min", lower_order_final=False, beta_schedule="squaredcos_cap_v2",
            lambda_min_clipped=-5.1, **V), "dpm++2m-heun", 5),
    "dpm_heun_lower": (
        DPMSolverMultistepScheduler(
            solver_type="heun", final_sigmas_type="sigma_min", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1, **V), "dpm++2m-heun", 5),
    "dpm_midpoint": (
        DPMSolverMultistepScheduler(
            final_sigmas_type="sigma_min", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1, **V), "dpm++2m", 5),
    "dpm_all_lambdas": (
        DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", beta_schedule="squaredcos_cap_v2", **V), "dpm++2m", 5),
    "dpm_leading": (DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", timestep_spacing="leading", **V), "dpm++2m", 5),
    "dpm_long": (DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", **V), "dpm++2m", 15),
    "dpm_zero": (DPMSolverMultistepScheduler(**V), "dpm++2m", 15),
    "dpm_euler_final": (DPMSolverMultistepScheduler(final_sigmas_type="sigma_min", euler_at_final=True, **V), "dpm++2m", 15),
    "dpm_thresholding": (DPMSolverMultistepScheduler(thresholding=True, sample_max_value=1.5, **V), "dpm++2m", 5),
    "dpm_from_ddpm": (
        DPMSolverMultistepScheduler.from_config(DDPMScheduler(clip_sample_range=2.0, variance_type="fixed_large", steps_offset=1).config), "dpm++2m", 5),
    "heun_leading": (HeunDiscreteScheduler(timestep_spacing="leading", **V), "heun", 5),
    "heun_clipped": (
        HeunDiscreteScheduler(timestep_spacing="leading", beta_start=1e-4, beta_end=0.02, clip_sample=True, steps_offset=1), "heun", 5),
}

REFUSED = {
    "dpm_karras": DPMSolverMultistepScheduler(use_karras_sigmas=True),
    "dpm_order3": DPMSolverMultistepScheduler(solver_order=3),
    "dpm_sde": DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
    "dpm_learned": DPMSolverMultistepScheduler(variance_type="learned_range"),
    "heun": HeunDiscreteScheduler(),
    "euler": EulerDiscreteScheduler(),
    "unipc": UniPCMultistepScheduler(),
    "flow": FlowMatchEulerDiscreteScheduler(),
    "ddpm_learned": DDPMScheduler(variance_type="learned_range"),
}


def make_model():
    """A UNet2DModel none of whose parameters is 0 or 1, in half precision."""
    torch.manual_seed(7)
    model = UNet2DModel(**MODEL).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_((1 if name.endswith("weight") else 0) + 0.1 * torch.randn_like(p))
            p.data = p.data.half()
    return model


def walk(model, scheduler, x, steps):
    """x_t after each step, scaled as q has it: sqrt(alphaBar) x_0 + sqrt(1 - alphaBar) eps."""
    scheduler.set_timesteps(steps)
    heun = isinstance(scheduler, HeunDiscreteScheduler)
    if heun:
        x = x * scheduler.init_noise_sigma.double()
    out = []
    with torch.no_grad():
        for i, t in enumerate(scheduler.timesteps):
            seen = scheduler.scale_model_input(x, t) if heun else x
            if t != t.round():
                raise ValueError(f"timestep {t} is no whole number")
            x = scheduler.step(model(seen, t).sample, t, x).prev_sample.double()
            if not heun:
                out.append(x)
            elif scheduler.state_in_first_order or i == len(scheduler.timesteps) - 1:
                sigma = scheduler.sigmas[scheduler.step_index if scheduler.state_in_first_order else -1].double()
                out.append(x / (sigma**2 + 1) ** 0.5)
    return torch.stack(out)


def main(directory):
    model = make_model()
    model.save_pretrained(directory / "unet")
    model = model.double()
    tensors = {}
    xt = torch.randn(1, 1, 8, 8).float()
    tensors["x_T"] = xt
    cases = {}
    for name, (scheduler, sampler, steps) in TAKEN.items():
        scheduler.save_pretrained(directory / "taken" / name)
        cases[name] = {"sampler": sampler, "steps": steps}
        if steps:
            tensors[f"walk.{name}"] = walk(model, scheduler, xt.double(), steps).float()
    for name, scheduler in REFUSED.items():
        scheduler.save_pretrained(directory / "refused" / name)
    x = torch.randn(2, 1, 20, 12).float()
    t = torch.tensor([500, 3])
    with torch.no_grad():
        tensors.update({"size.x": x, "size.t": t, "size.out": model(x.double(), t).sample.float()})
    save_file(tensors, directory / "fixture.safetensors")
    manifest = {
        "description": "schedulers of many classes as diffusers saves them, their walks, and an output for 20x12 of a model with sample_size 8",
        "reference": f"huggingface/diffusers {diffusers.__version__} on torch {torch.__version__.split('+')[0]} CPU",
        "cases": cases,
    }
    (directory / "pipelines.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
