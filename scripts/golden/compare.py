"""Compares fixtures of two directories, tensor by tensor: the largest difference over the largest value of the tensor.

    python scripts/golden/compare.py unet/testdata OUT
"""

import collections
import re
import sys
from pathlib import Path

from safetensors import safe_open


def read(path):
    with safe_open(path, "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def main(old, new):
    for path in sorted(old.rglob("*.safetensors")):
        name = path.parent.name if path.stem == "fixture" else path.stem
        found = [p for p in sorted(new.rglob("*.safetensors")) if (p.parent.name if p.stem == "fixture" else p.stem) == name]
        if path.parent.name == "unet" or not found:
            continue
        worst, missing, a, b = collections.defaultdict(float), [], read(path), read(found[0])
        for key, want in a.items():
            # A small gradient is kept whole, or as a sample of all of it.
            got = next((b[k] for k in (key, key.replace("grad.", "gradsample."), key.replace("gradsample.", "grad.")) if k in b), None)
            if got is None:
                missing.append(key)
                continue
            if got.numel() > want.numel() and key == "noise":  # a selection has the first steps'
                got = got[: len(want)]
            if key.endswith("to_k.bias"):  # zero in exact arithmetic
                continue
            d, largest = float((got.double().flatten() - want.double().flatten()).abs().max()), float(want.double().abs().max())
            kind = re.sub(r"^case\d+\.|^(?:linear|squaredcos_cap_v2)\.", "", key)
            kind = re.sub(r"^(grad)sample|^(param|ema|ema_diffusers|inter|timesteps)\..*", lambda m: m[1] or m[2], kind).split(".conv")[0]
            kind = "grad" if kind.startswith("grad.") and kind != "grad.x" else kind
            worst[kind] = max(worst[kind], d / largest if largest else d)
        print(name)
        for kind, d in sorted(worst.items()):
            print(f"  {kind:32s} {d:.1e}")
        if missing:
            print(f"  not made: {', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}")


main(Path(sys.argv[1]), Path(sys.argv[2]))
