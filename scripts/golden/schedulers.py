"""The fixtures of diffusion/testdata: noise schedules and samplers, with a toy model in place of a UNet."""

import itertools
from unittest import mock

import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from store import distance, in_float64, save

T, BETAS = 1000, {"beta_start": 1e-4, "beta_end": 0.02}
KINDS = ("linear", "squaredcos_cap_v2")
SHAPE = (2, 3, 8, 8)


def toy(x, t):
    return torch.tanh(0.9 * x + 0.001 * int(t))


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def both(make):
    """What make computes in float32, and with the same code in float64."""
    f32 = make(torch.float32)
    with in_float64():
        return f32, make(torch.float64)


def cases(**axes):
    """Every combination, the last axis fastest, each with its id."""
    for i, values in enumerate(itertools.product(*axes.values())):
        yield {"id": f"case{i:03d}", **dict(zip(axes, values))}


def ddpm_step(scheduler, out, t, x, noise):
    """DDPMScheduler.step with this noise in place of what it draws."""
    with mock.patch("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: noise.to(x.dtype)):
        return scheduler.step(out, t, x).prev_sample


def tables(kind, dtype):
    """The schedule's tables; the coefficients of the posterior's mean by steps from unit probes."""
    s = DDPMScheduler(T, beta_schedule=kind, prediction_type="sample", clip_sample=False, variance_type="fixed_small", **BETAS)
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, 1, dtype=dtype)
    every = range(T)
    return {
        "betas": s.betas, "alphas_cumprod": s.alphas_cumprod,
        "posterior_variance": torch.stack([s._get_variance(t) for t in every]),
        "posterior_mean_coef_x0": torch.cat([ddpm_step(s, one, t, zero, zero)[0] for t in every]),
        "posterior_mean_coef_xt": torch.cat([ddpm_step(s, zero, t, one, zero)[0] for t in every]),
    }


def schedules(out, inputs):
    shape = (4, *SHAPE[1:])
    x0 = inputs.tensor("schedules", "add_noise.x0", lambda: normal(1, *shape).clamp(-1, 1))
    noise = inputs.tensor("schedules", "add_noise.noise", lambda: normal(2, *shape))
    t = inputs.tensor("schedules", "add_noise.t", lambda: torch.tensor([0, 10, 500, 999]))
    tensors, found = {"add_noise.x0": x0, "add_noise.noise": noise, "add_noise.t": t}, []
    for kind in KINDS:
        def make(dtype):
            s = DDPMScheduler(T, beta_schedule=kind, **BETAS)
            x, z = x0.to(dtype), noise.to(dtype)
            return {**tables(kind, dtype), "add_noise": s.add_noise(x, z, t), "velocity": s.get_velocity(x, z, t)}

        f32, f64 = both(make)
        for name in f64:
            tensors[f"{kind}.{name}_f32"], tensors[f"{kind}.{name}_f64"] = f32[name].float(), f64[name].double()
        found.append({"kind": kind, "f32_vs_f64": {n: distance(f32[n], f64[n]) for n in f64}})
    save(out / "schedulers", "schedules", tensors,
         "betas, alphas_cumprod, variance and mean coefficients of q(x_{t-1} | x_t, x_0); x_t and velocity of x_0 and noise",
         {"T": T, **BETAS, "kinds": KINDS}, cases=found)


def steps_of_ddpm(out, inputs):
    x, o, z = (inputs.tensor("ddpm_step", n, lambda s=s: normal(s, *SHAPE)) for s, n in ((3, "x_t"), (4, "model_output"), (5, "noise")))
    tensors, found = {"x_t": x, "model_output": o, "noise": z}, []
    at = [(None, t) for t in (0, 1, 500, 999)] + [(50, t) for t in (980, 20, 0)]
    for c in cases(beta_schedule=KINDS, prediction_type=("epsilon", "sample", "v_prediction"),
                   variance_type=("fixed_small", "fixed_large"), clip_sample=(True, False), at=at):
        steps, t = c.pop("at")
        settings = {k: v for k, v in c.items() if k != "id"}

        def make(dtype):
            s = DDPMScheduler(T, **BETAS, **settings)
            if steps:
                s.set_timesteps(steps)
            return ddpm_step(s, o.to(dtype), t, x.to(dtype), z)

        f32, f64 = both(make)
        tensors[c["id"] + ".prev_f32"], tensors[c["id"] + ".prev_f64"] = f32, f64
        found.append({**c, "T": T, **BETAS, "num_inference_steps": steps, "t": t, "f32_vs_f64": distance(f32, f64)})
    save(out / "schedulers", "ddpm_step", tensors, "one DDPMScheduler.step from x_t; noise is what it drew (unused at t = 0)", {}, cases=found)


def run(make_scheduler, start, steps, step):
    """A whole run in float32 and in float64: x after every step, x_T first, the timesteps and the sigmas, if any."""
    def make(dtype):
        s = make_scheduler()
        s.set_timesteps(steps)
        xs = [start.to(dtype)]
        for k, t in enumerate(s.timesteps):
            xs.append(step(s, k, t, xs[-1]))
        return torch.stack(xs), s.timesteps.long(), getattr(s, "sigmas", None)

    return both(make)


def keep(tensors, c, f32, f64, whole):
    """Keeps a run's end, and its trajectory or its middle."""
    a, b = f32[0], f64[0]
    tensors[c["id"] + ".final_f32"], tensors[c["id"] + ".final_f64"] = a[-1].float(), b[-1]
    if whole:
        tensors[c["id"] + ".traj"] = b.float()
    else:
        tensors[c["id"] + ".mid_f64"] = b[(len(b) - 1) // 2]
    return {**c, "T": T, "f32_vs_f64": distance(a[-1], b[-1])}


def ddim(out, inputs):
    x = inputs.tensor("ddim", "x_T", lambda: normal(6, *SHAPE))
    recorded = inputs.tensor("ddim", "noise", lambda: torch.empty(0, *SHAPE))
    noise = torch.cat([recorded, normal(7, 100 - len(recorded), *SHAPE)])
    tensors, found = {"x_T": x, "noise": noise}, []
    for c in cases(beta_schedule=("linear",), S=(10, 20, 50, 100), timestep_spacing=("leading", "linspace", "trailing"),
                   eta=(0.0, 0.5, 1.0), set_alpha_to_one=(True, False), clip_sample=(True, False)):
        f32, f64 = run(
            lambda: DDIMScheduler(T, beta_schedule="linear", timestep_spacing=c["timestep_spacing"],
                                  set_alpha_to_one=c["set_alpha_to_one"], clip_sample=c["clip_sample"], **BETAS),
            x, c["S"], lambda s, k, t, x: s.step(toy(x, t), t, x, eta=c["eta"], variance_noise=noise[k].to(x.dtype)).prev_sample)
        whole = c["S"] == 10 and c["set_alpha_to_one"]
        timesteps = f"timesteps.{c['timestep_spacing']}.{c['S']}"
        tensors[timesteps] = f64[1]
        found.append({**keep(tensors, c, f32, f64, whole), "timesteps": timesteps})
    save(out / "schedulers", "ddim", tensors,
         "DDIMScheduler's runs with the model eps = tanh(0.9*x + 0.001*t); step k of a run with eta > 0 used noise[k]", {"T": T, **BETAS}, cases=found)


def ddim_inverse(out, inputs):
    x = inputs.tensor("ddim_inverse", "x_0", lambda: normal(8, *SHAPE).clamp(-1, 1))
    tensors, found = {"x_0": x}, []
    for c in cases(beta_schedule=KINDS, S=(10, 20), timestep_spacing=("leading", "trailing"), set_alpha_to_one=(True, False), clip_sample=(False, True)):
        f32, f64 = run(
            lambda: DDIMInverseScheduler(T, beta_schedule=c["beta_schedule"], timestep_spacing=c["timestep_spacing"],
                                         set_alpha_to_one=c["set_alpha_to_one"], clip_sample=c["clip_sample"], **BETAS),
            x, c["S"], lambda s, k, t, x: s.step(toy(x, t), t, x).prev_sample)
        tensors[c["id"] + ".timesteps"] = f64[1]
        found.append(keep(tensors, c, f32, f64, whole=c["S"] == 10))
    save(out / "schedulers", "ddim_inverse", tensors,
         "DDIMInverseScheduler's runs from x_0 upward with the model eps = tanh(0.9*x + 0.001*t)", {"T": T, **BETAS}, cases=found)


def dpmsolver(out, inputs):
    x = inputs.tensor("dpmsolver", "x_T", lambda: normal(9, *SHAPE))
    tensors, found = {"x_T": x}, []
    for c in cases(kind=KINDS, S=(10, 20, 50), timestep_spacing=("linspace", "leading", "trailing"),
                   solver=((1, "midpoint"), (2, "midpoint"), (2, "heun")), final_sigmas_type=("zero", "sigma_min")):
        kind, (order, solver) = c.pop("kind"), c.pop("solver")
        # Where alphaBar reaches 0, as the cosine's does nearly, the reference clips lambda.
        clipped = -5.1 if kind == "squaredcos_cap_v2" else None
        c = {"id": c["id"], "beta_schedule": kind, **c, "solver_order": order, "solver_type": solver, "lower_order_final": True, "lambda_min_clipped": clipped}
        settings = {k: v for k, v in c.items() if k not in ("id", "S", "lambda_min_clipped")}
        f32, f64 = run(
            lambda: DPMSolverMultistepScheduler(T, lambda_min_clipped=float("-inf") if clipped is None else clipped, **BETAS, **settings),
            x, c["S"], lambda s, k, t, x: s.step(toy(x, t), t, x).prev_sample)
        tensors[c["id"] + ".timesteps"], tensors[c["id"] + ".sigmas_f32"], tensors[c["id"] + ".sigmas_f64"] = f64[1], f32[2].float(), f64[2].double()
        found.append(keep(tensors, c, f32, f64, whole=c["S"] == 10 and c["final_sigmas_type"] == "zero"))
    save(out / "schedulers", "dpmsolver", tensors,
         "DPMSolverMultistepScheduler's runs (dpmsolver++) with the model eps = tanh(0.9*x + 0.001*t)", {"T": T, **BETAS}, cases=found)


MAKERS = {"schedules": schedules, "ddpm_step": steps_of_ddpm, "ddim": ddim, "ddim_inverse": ddim_inverse, "dpmsolver": dpmsolver}
