"""Fixtures on disk: tensors in X.safetensors, and beside it X.json, which says what they are."""

import contextlib
import json
from pathlib import Path
from unittest import mock

import diffusers
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

diffusers.logging.set_verbosity_error()
REFERENCE = f"huggingface/diffusers {diffusers.__version__} on torch {torch.__version__.split('+')[0]} CPU"


@contextlib.contextmanager
def in_float64():
    """Runs the reference's own code with every float32 of it a float64: tables, upcasts, constants."""
    before = torch.get_default_dtype()
    with mock.patch.object(torch, "float32", torch.float64), mock.patch.object(np, "float32", np.float64):
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def distance(got, want):
    """How far the reference in float32 is from itself in float64."""
    d, largest = float((got.double() - want.double()).abs().max()), float(want.abs().max())
    return {"max_abs": d, "max_abs_value": largest, "rel_to_max": d / largest if largest else 0.0}


def save(directory, name, tensors, description, settings, **more):
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    save_file(tensors, directory / f"{name}.safetensors")
    (directory / f"{name}.safetensors").chmod(0o644)
    manifest = {
        "file": f"{name}.safetensors", "description": description, "reference": REFERENCE, "settings": settings, **more,
        "tensors": {k: {"dtype": str(v.dtype).removeprefix("torch."), "shape": list(v.shape)} for k, v in tensors.items()},
    }
    (directory / f"{name}.json").write_text(json.dumps(manifest, indent=1) + "\n")


class Inputs:
    """The random inputs of earlier fixtures."""

    def __init__(self, dirs):
        self.dirs = [Path(d) for d in dirs]

    def file(self, *names):
        for d in self.dirs:
            for n in names:
                if (d / n).exists():
                    return d / n
        return None

    def tensor(self, fixture, name, draw):
        """A tensor of the fixture's, or else what draw makes."""
        path = self.file(f"{fixture}.safetensors", f"schedulers/{fixture}.safetensors", f"{fixture}/fixture.safetensors")
        if path:
            with safe_open(path, "pt") as f:
                if name in f.keys():
                    return f.get_tensor(name)
        return draw()
