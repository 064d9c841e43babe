"""Holds the package metrics against torch-fidelity, clean-fid and prdc: the same features, in float64, through their code.

Run it by run.sh, which makes the environment. It prints a table, and exits with 1 where anything differs by more than
1e-6: of the value for the Fréchet distance, and absolutely for the others.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import torch
from cleanfid import fid as clean
from prdc import compute_prdc
from torch_fidelity import metric_fid, metric_kid, metric_prc

LIMIT = 1e-6
K = 5


def made(n, m, d, seed, dead=0):
    """Features as a ReLU and an average leave them: positive, correlated, skewed, different on the two sides. The last
    ones of the first side are 0 where dead is set."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    shift = 0.1 * rng.standard_normal(d)

    def side(count, mean, scale):
        return np.maximum(0, scale * rng.standard_normal((count, 4, d)) @ mix + mean + 0.3).mean(1)

    samples, references = side(n, shift, 1.1), side(m, 0, 1.0)
    if dead:
        samples[:, -dead:] = 0
    return samples, references


class Recorded:
    """In place of a random state: the rows that were drawn by the other side, in the order in which they are asked for."""

    def __init__(self, rows):
        self.rows = iter(rows)

    def choice(self, n, size, replace):
        assert not replace
        rows = next(self.rows)
        assert len(rows) == size and rows.max() < n
        return rows


def outside(samples, references, subsets):
    """What the three packages make of the features: {name: {package: value}}."""
    values = {}

    def put(name, package, value):
        values.setdefault(name, {})[package] = float(value)

    s, r = torch.from_numpy(samples), torch.from_numpy(references)
    stats = [metric_fid.fid_features_to_statistics(x) for x in (s, r)]
    put("frechet", "torch-fidelity", metric_fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"])
    put("frechet", "clean-fid", clean.frechet_distance(*(x for t in stats for x in (t["mu"], t["sigma"]))))

    count, _, m = subsets.shape
    in_order = subsets.reshape(2 * count, m)
    with mock.patch.object(np.random, "RandomState", lambda seed: Recorded(in_order)):
        kid = metric_kid.kid_features_to_metric(s, r, kid_subsets=count, kid_subset_size=m, verbose=False)
    put("kernel_mean", "torch-fidelity", kid["kernel_inception_distance_mean"])
    put("kernel_std", "torch-fidelity", kid["kernel_inception_distance_std"])
    with mock.patch.object(np.random, "choice", Recorded(in_order).choice):
        put("kernel_mean", "clean-fid", clean.kernel_distance(references, samples, num_subsets=count, max_subset_size=m))

    with contextlib.redirect_stdout(io.StringIO()):
        for name, value in compute_prdc(references, samples, nearest_k=K).items():
            put(name, "prdc", value)
    prc = metric_prc.prc_features_to_metric(s, r, prc_neighborhood=K, verbose=False)
    put("precision", "torch-fidelity", prc["precision"])
    put("recall", "torch-fidelity", prc["recall"])
    return values


def run(ours, samples, references):
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{name}.npy") for name in ("samples", "references", "subsets")]
        np.save(paths[0], samples)
        np.save(paths[1], references)
        got = json.loads(subprocess.run([ours, *paths], check=True, stdout=subprocess.PIPE).stdout)
        return got, np.load(paths[2])


def compare(title, ours, samples, references):
    got, subsets = run(ours, samples, references)
    values = outside(samples, references, subsets)
    print(f"\n{title}: {samples.shape} and {references.shape}")
    good = True
    for name, packages in values.items():
        for package, want in packages.items():
            off = abs(got[name] - want) / (abs(want) if name == "frechet" else 1)
            good &= off <= LIMIT
            print(f"  {name:12} {package:15} {want:<22.15g} ours {got[name]:<22.15g} off by {off:.1e}{'' if off <= LIMIT else '  TOO MUCH'}")
    return good, values


def fixture(ours, folder):
    """Small features, and what the packages make of them."""
    samples, references = made(200, 220, 12, 1)
    good, values = compare("fixture", ours, samples, references)
    np.save(folder / "samples.npy", samples)
    np.save(folder / "references.npy", references)
    (folder / "outside.json").write_text(json.dumps(values, indent=1) + "\n")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="the built command ours")
    parser.add_argument("--fixture", type=Path, metavar="DIR", help="write the fixture of the tests there")
    parser.add_argument("files", nargs="*", help="samples.npy references.npy")
    args = parser.parse_args()
    if args.fixture:
        return fixture(args.ours, args.fixture)
    if args.files:
        samples, references = (np.load(f).astype(np.float64) for f in args.files)
        return compare("files", args.ours, samples, references)[0]
    results = [
        compare("a network's width", args.ours, *made(2000, 2000, 64, 2))[0],
        compare("more references", args.ours, *made(1500, 5000, 64, 3))[0],
        compare("one distribution", args.ours, *np.split(made(1, 4000, 64, 4)[1], 2))[0],
        compare("hardly more rows than columns", args.ours, *made(70, 80, 64, 5))[0],
        compare("wide", args.ours, *made(400, 500, 256, 6))[0],
        compare("three dead features", args.ours, *made(2000, 2000, 64, 7, dead=3))[0],
        compare("all features twice", args.ours, *(np.hstack([x, x]) for x in made(2000, 2000, 32, 9)))[0],
    ]
    return all(results)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
