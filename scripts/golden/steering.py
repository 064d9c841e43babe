"""The fixtures of diffusion/testdata for what wraps a sampler: image to image (SDEdit) and inpainting (RePaint)."""

from types import SimpleNamespace
from unittest import mock

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler, RePaintScheduler
from diffusers.pipelines.kandinsky2_2.pipeline_kandinsky2_2_img2img import KandinskyV22Img2ImgPipeline
from schedulers import BETAS, T, both, cases, ddpm_step, normal, toy
from store import distance, save

SHAPE = (2, 1, 8, 8)


def first_step(scheduler, steps, strength):
    """Where diffusers' img2img pipelines begin: its own rule, of a pipeline that needs no text encoder."""
    pipeline = SimpleNamespace(scheduler=scheduler)
    _, left = KandinskyV22Img2ImgPipeline.get_timesteps(pipeline, steps, strength, None)
    return steps - left


def sdedit(out, inputs):
    guide = inputs.tensor("sdedit", "x_g", lambda: normal(10, *SHAPE).clamp(-1, 1))
    eps = inputs.tensor("sdedit", "eps", lambda: normal(11, *SHAPE))
    noise = inputs.tensor("sdedit", "noise", lambda: normal(12, 25, *SHAPE))
    schedulers = {
        "ddpm": lambda s: DDPMScheduler(T, timestep_spacing=s, clip_sample=False, **BETAS),
        "ddim": lambda s: DDIMScheduler(T, timestep_spacing=s, clip_sample=False, **BETAS),
        "dpm++2m": lambda s: DPMSolverMultistepScheduler(T, timestep_spacing=s, **BETAS),
        "heun": lambda s: HeunDiscreteScheduler(T, timestep_spacing=s, **BETAS),
    }
    tensors, found = {"x_g": guide, "eps": eps, "noise": noise}, []
    for c in cases(sampler=tuple(schedulers), timestep_spacing=("leading", "trailing"), S=(10, 25), strength=(0.29, 0.58, 0.7, 1.0)):
        if c["sampler"] == "heun" and c["timestep_spacing"] != "leading":
            continue  # of which the reference's scheduler makes fractional timesteps

        def make(dtype):
            s = schedulers[c["sampler"]](c["timestep_spacing"])
            s.set_timesteps(c["S"])
            start = first_step(s, c["S"], c["strength"])
            timesteps = s.timesteps[start * s.order:]
            if hasattr(s, "set_begin_index"):
                s.set_begin_index(start * s.order)
            x = s.add_noise(guide.to(dtype), eps.to(dtype), timesteps[:1])
            for k, t in enumerate(timesteps):
                model = toy(s.scale_model_input(x, t), t)
                if c["sampler"] == "ddpm":
                    x = ddpm_step(s, model, t, x, noise[start + k])
                elif c["sampler"] == "ddim":
                    x = s.step(model, t, x, eta=0.7, variance_noise=noise[start + k].to(dtype)).prev_sample
                else:
                    x = s.step(model, t, x).prev_sample
            return x, timesteps.long()

        f32, f64 = both(make)
        tensors[c["id"] + ".final_f64"], tensors[c["id"] + ".timesteps"] = f64[0], f64[1]
        found.append({**c, "eta": 0.7 if c["sampler"] == "ddim" else 0.0, "T": T, "f32_vs_f64": distance(f32[0], f64[0])})
    save(out / "schedulers", "sdedit", tensors,
         "img2img: x_g noised by eps to the first of the timesteps that strength leaves of S, and sampled from there with the model "
         "eps = tanh(0.9*x + 0.001*t); step k of the S drew noise[k]", {"T": T, **BETAS}, cases=found)


def repaint(out, inputs):
    """Whole runs with as many steps as timesteps, and runs that do not go back with fewer: undo_step takes the betas of
    timesteps t to t+n-1 for steps of n, where those of x_{t-n} to x_t are t-n+1 to t, so with n > 1 it adds another noise."""
    image = inputs.tensor("repaint", "image", lambda: normal(13, *SHAPE).clamp(-1, 1))
    start = inputs.tensor("repaint", "x_T", lambda: normal(14, *SHAPE))
    known = inputs.tensor("repaint", "known", lambda: (normal(15, *SHAPE[1:]) > 0).float())
    noise = inputs.tensor("repaint", "noise", lambda: normal(16, 76, *SHAPE))
    tensors, found = {"image": image, "x_T": start, "known": known, "noise": noise}, []
    runs = [(16, 1e-3, 0.3, 16, 1, 1), (16, 1e-3, 0.3, 16, 1, 3), (16, 1e-3, 0.3, 16, 4, 2), (16, 1e-3, 0.3, 16, 5, 3), (16, 1e-3, 0.3, 16, 15, 2),
            (1000, 1e-4, 0.02, 20, 1, 1)]
    for c in cases(run=runs, beta_schedule=("linear", "squaredcos_cap_v2"), eta=(0.0, 0.5, 1.0), clip_sample=(True, False)):
        steps_of, beta_start, beta_end, S, jump_length, resample = c.pop("run")
        c = {**c, "T": steps_of, "beta_start": beta_start, "beta_end": beta_end, "S": S, "jump_length": jump_length, "resample": resample}

        def make(dtype):
            s = RePaintScheduler(c["T"], beta_start=beta_start, beta_end=beta_end, beta_schedule=c["beta_schedule"], eta=c["eta"], clip_sample=c["clip_sample"])
            s.set_timesteps(S, jump_length, resample)
            draws = iter(noise)
            x, last = start.to(dtype), s.timesteps[0] + 1
            with mock.patch("diffusers.schedulers.scheduling_repaint.randn_tensor", lambda *_, **__: next(draws).to(dtype)):
                for t in s.timesteps:  # as in RePaintPipeline
                    if t < last:
                        x = s.step(toy(x, t), t, x, image.to(dtype), known.to(dtype)).prev_sample
                    else:
                        x = s.undo_step(x, last)
                    last = t
            return x, s.timesteps.long()

        f32, f64 = both(make)
        tensors[c["id"] + ".final_f64"] = f64[0]
        timesteps = f"timesteps.{c['T']}.{S}.{jump_length}.{resample}"
        tensors[timesteps] = f64[1]
        found.append({**c, "timesteps": timesteps, "f32_vs_f64": distance(f32[0], f64[0])})
    save(out / "schedulers", "repaint", tensors,
         "RePaintScheduler's runs, known being 1 where image is, with the model eps = tanh(0.9*x + 0.001*t); the k-th of the timesteps, steps "
         "and undone ones, drew noise[k]", {}, cases=found)


MAKERS = {"sdedit": sdedit, "repaint": repaint}
