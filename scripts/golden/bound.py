"""The fixture of the variational bound in diffusion/testdata, in bits per dimension.

The formulas are those of the papers, in float64: Ho et al. 2020 (DDPM), eq. 4 to 7 and 13, and Nichol and Dhariwal 2021
(improved DDPM), eq. 4 to 7. Where the papers leave something open, their code decides: sigma_0^2 is betaTilde_1, Phi is
approximated by tanh, and a probability counts as at least 1e-12. With a checkout of github.com/openai/improved-diffusion,

    python scripts/golden/bound.py DIFFUSION_TESTDATA IMPROVED_DIFFUSION

says how far its GaussianDiffusion.calc_bpd_loop is from the fixture.
"""

import json
import math
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file
from schedulers import BETAS, KINDS, cases, normal, toy
from store import in_float64, save

T, SHAPE = 100, (2, 3, 4, 4)


def betas_of(kind):
    """The schedules of Ho et al., section 4, and of Nichol and Dhariwal, eq. 17."""
    if kind == "linear":
        return np.linspace(BETAS["beta_start"], BETAS["beta_end"], T)
    f = lambda t: math.cos((t / T + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    return np.array([min(1 - f(t + 1) / f(t), 0.999) for t in range(T)])


def kl(mean1, var1, mean2, var2):
    """Of two normal distributions, in nats."""
    return 0.5 * (math.log(var2 / var1) - 1 + (var1 + (mean1 - mean2) ** 2) / var2)


def cdf(x):
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def decoder(x0, mean, sigma):
    """log p(x_0 | x_1): x_0 has 256 levels, the outer ones reach to infinity (Ho et al., eq. 13)."""
    upper = torch.where(x0 > 0.999, 1.0, cdf((x0 + 1 / 255 - mean) / sigma))
    lower = torch.where(x0 < -0.999, 0.0, cdf((x0 - 1 / 255 - mean) / sigma))
    return (upper - lower).clamp(min=1e-12).log()


def terms(x0, noise, beta_schedule, prediction_type, variance_type, clip_sample):
    """The prior [N] and the terms [N, T] of images x_0 [N, ...], with the noise [T, N, ...] of x_t."""
    beta = betas_of(beta_schedule)
    bar = np.cumprod(1 - beta)
    prev = np.append(1, bar[:-1])
    tilde = beta * (1 - prev) / (1 - bar)
    variance = np.append(tilde[1], (beta if variance_type == "fixed_large" else tilde)[1:])
    bits = lambda x: x.flatten(1).mean(1) / math.log(2)  # noqa: E731
    found = []
    for t in range(T):
        xt = math.sqrt(bar[t]) * x0 + math.sqrt(1 - bar[t]) * noise[t]
        out = toy(xt, t)
        guess = out if prediction_type == "sample" else (xt - math.sqrt(1 - bar[t]) * out) / math.sqrt(bar[t])
        if clip_sample:
            guess = guess.clamp(-1, 1)
        mean = lambda x: math.sqrt(prev[t]) * beta[t] / (1 - bar[t]) * x + math.sqrt(1 - beta[t]) * (1 - prev[t]) / (1 - bar[t]) * xt  # noqa: E731
        if t == 0:
            found.append(bits(-decoder(x0, mean(guess), math.sqrt(variance[0]))))
        else:
            found.append(bits(kl(mean(x0), tilde[t], mean(guess), variance[t])))
    return bits(kl(math.sqrt(bar[-1]) * x0, 1 - bar[-1], 0, 1)), torch.stack(found, 1)


def bound(out, inputs):
    def draw():
        level = torch.randint(0, 256, SHAPE, generator=torch.Generator().manual_seed(10))
        level[:, :, 0] = torch.tensor([0, 0, 255, 1])  # the ends, as the pictures of digits have them
        return level.double() / 127.5 - 1

    x0 = inputs.tensor("bound", "x_0", draw)
    noise = inputs.tensor("bound", "noise", lambda: normal(11, T, *SHAPE).double())
    tensors, found = {"x_0": x0, "noise": noise}, []
    for c in cases(beta_schedule=KINDS, prediction_type=("epsilon", "sample"), variance_type=("fixed_small", "fixed_large"), clip_sample=(True, False)):
        settings = {k: v for k, v in c.items() if k != "id"}
        tensors[c["id"] + ".prior"], tensors[c["id"] + ".terms"] = terms(x0, noise, **settings)
        found.append(c)
    save(out / "schedulers", "bound", tensors,
         "the variational bound of the images x_0 in bits per dimension, with the model tanh(0.9*x + 0.001*t) and noise[t] in x_t: the prior [N], the terms [N, T]",
         {"T": T, **BETAS}, cases=found, reference="the papers' formulas in float64: scripts/golden/bound.py")


MAKERS = {"bound": bound}


def improved_diffusion(fixture, checkout):
    """Compares the code of the paper with the fixture, as it is, in float32, and in float64."""
    sys.path.insert(0, str(checkout))
    from improved_diffusion import gaussian_diffusion as g

    manifest, tensors = json.loads((fixture / "bound.json").read_text()), load_file(fixture / "bound.safetensors")

    def total(dtype, c):
        mean = {"epsilon": g.ModelMeanType.EPSILON, "sample": g.ModelMeanType.START_X}[c["prediction_type"]]
        var = {"fixed_small": g.ModelVarType.FIXED_SMALL, "fixed_large": g.ModelVarType.FIXED_LARGE}[c["variance_type"]]
        d = g.GaussianDiffusion(betas=betas_of(c["beta_schedule"]), model_mean_type=mean, model_var_type=var, loss_type=g.LossType.MSE)
        drawn = iter(tensors["noise"].to(dtype).flip(0))  # it begins with the last timestep
        with mock.patch.object(torch, "randn_like", lambda _: next(drawn)):
            r = d.calc_bpd_loop(lambda x, t: toy(x, t[0]), tensors["x_0"].to(dtype), clip_denoised=c["clip_sample"])
        return torch.cat([r["vb"].flip(1), r["prior_bpd"][:, None], r["total_bpd"][:, None]], 1)

    for c in manifest["cases"]:
        terms, prior = tensors[c["id"] + ".terms"], tensors[c["id"] + ".prior"][:, None]
        want = torch.cat([terms, prior, terms.sum(1, keepdim=True) + prior], 1)
        with mock.patch.object(torch.Tensor, "float", torch.Tensor.double), in_float64():
            f64 = total(torch.float64, c)
        off = [(x - want).abs() for x in (total(torch.float32, c), f64)]
        print(f"{c['id']} {c['beta_schedule']:18s} {c['prediction_type']:8s} {c['variance_type']:12s} clip {c['clip_sample']!s:6s}"
              f" {float(want[:, -1].mean()):9.4f} bits per dimension; float32 off by {float(off[0].max()):.1e}, float64 by {float(off[1].max()):.1e}")


if __name__ == "__main__":
    improved_diffusion(Path(sys.argv[1]), Path(sys.argv[2]))
