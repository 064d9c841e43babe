"""Makes the reference fixtures: schedules and samplers, UNets, guided runs, a training run, by diffusers on a CPU; the variational bound.

    python scripts/golden/make.py OUT                   # everything, some minutes
    python scripts/golden/make.py OUT --only ddim,unet_tiny
    python scripts/golden/compare.py unet/testdata OUT  # what differs from the committed ones

Random inputs and weights are those of the committed fixtures, where there are some: then the outputs can be compared.
--fresh draws others. UNSTIR_GOLDEN=OUT go test ./... -run Golden runs what was made.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import bound
import guidance
import schedulers
import steering
import training
import unets
from store import Inputs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--only", default="", help="names of fixtures, with commas")
    p.add_argument("--fresh", action="store_true", help="draw new inputs and weights")
    p.add_argument("--inputs", type=Path, action="append", help="take inputs from here (default: the testdata directories)")
    a = p.parse_args()
    root = Path(__file__).resolve().parents[2]
    dirs = a.inputs or [root / d / "testdata" for d in ("diffusion", "unet", "train")]
    inputs = Inputs([] if a.fresh else dirs)
    makers = {**schedulers.MAKERS, **steering.MAKERS, **bound.MAKERS, **unets.MAKERS, **guidance.MAKERS, **training.MAKERS}
    wanted = a.only.split(",") if a.only else list(makers)
    for name in wanted:
        if name not in makers:
            p.error(f"no fixture {name}; there are {', '.join(makers)}")
    for name in wanted:
        print(name, flush=True)
        makers[name](a.out, inputs)


main()
