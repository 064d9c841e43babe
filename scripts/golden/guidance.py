"""The fixture guidance of unet/testdata: runs with classifier-free guidance, as diffusers' pipelines write the loop."""

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler, UNet2DModel
from diffusers.guiders.guider_utils import rescale_noise_cfg
from safetensors.torch import load_file
from store import distance, in_float64, save
from unets import SPECS

MODEL, NULL, STEPS = "unet_classes_scale_shift", 4, 8

# The scheduler and what it predicts; weight; share of rescaling; interval of timesteps, both included.
CASES = [
    (DDIMScheduler, dict(prediction_type="epsilon"), 3.0, 0.0, None),
    (DDIMScheduler, dict(prediction_type="v_prediction", clip_sample=False), 2.0, 0.7, None),
    (DDIMScheduler, dict(prediction_type="sample"), 1.5, 1.0, None),
    (DDIMScheduler, dict(prediction_type="epsilon", timestep_spacing="trailing"), 4.0, 0.3, (249, 749)),
    (DPMSolverMultistepScheduler, dict(prediction_type="v_prediction"), 5.0, 0.0, None),
    (DPMSolverMultistepScheduler, dict(prediction_type="sample", solver_type="heun"), 0.0, 0.5, (0, 600)),
    (HeunDiscreteScheduler, dict(prediction_type="v_prediction", timestep_spacing="leading", clip_sample=True), 2.5, 0.7, (100, 900)),
]


def run(model, dtype, scheduler, x, labels, weight, rescale, interval):
    """The loop; where guidance does not act, the model by the labels alone."""
    scheduler.set_timesteps(STEPS)
    model, x = model.to(dtype), x.to(dtype) * scheduler.init_noise_sigma
    null = torch.full_like(labels, NULL)
    with torch.no_grad():
        for t in scheduler.timesteps:
            inputs = scheduler.scale_model_input(x, t)
            if interval is None or interval[0] <= t <= interval[1]:
                both = model(torch.cat([inputs] * 2), t, class_labels=torch.cat([null, labels])).sample
                by_null, by_label = both.chunk(2)
                out = by_null + weight * (by_label - by_null)
                if rescale > 0:
                    out = rescale_noise_cfg(out, by_label, guidance_rescale=rescale)
            else:
                out = model(inputs, t, class_labels=labels).sample
            x = scheduler.step(out, t, x).prev_sample
    return x.clamp(-1, 1)


def guidance(out, inputs):
    config = SPECS[MODEL]["config"]
    file = f"{MODEL}/unet/diffusion_pytorch_model.safetensors"
    model = UNet2DModel(**config).eval()
    model.load_state_dict(load_file(inputs.file(file) or out / file))
    h, w = config["sample_size"]
    x = inputs.tensor("guidance", "x_T", lambda: torch.randn(3, config["in_channels"], h, w, generator=torch.Generator().manual_seed(11)))
    labels = torch.tensor([0, 3, 1])
    tensors, cases = {"x_T": x, "labels": labels}, []
    for i, (kind, settings, weight, rescale, interval) in enumerate(CASES):
        settings = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **settings)

        def make(dtype):
            return run(model, dtype, kind(**settings), x, labels, weight, rescale, interval)

        f32 = make(torch.float32)
        with in_float64():
            f64 = make(torch.float64)
        id = f"case{i}"
        tensors[id + ".final_f64"] = f64
        cases.append({"id": id, "scheduler": {"_class_name": kind.__name__, **settings}, "weight": weight, "rescale": rescale, "interval": interval,
                      "f32_vs_f64": distance(f32, f64)})
    save(out / "guidance", "fixture", tensors,
         "runs of class-conditional models with classifier-free guidance from x_T; the samples are clamped to [-1, 1]",
         {"unet": dict(model.config), "weights": f"../{file}", "null_class": NULL, "steps": STEPS}, guidance=cases)


MAKERS = {"guidance": guidance}
