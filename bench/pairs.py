#!/usr/bin/env python3
"""Compares two builds of the diffusion program, in alternating pairs of processes.

    go build -o /tmp/old ./cmd/diffusion    # at the old commit; likewise /tmp/new
    python3 bench/pairs.py /tmp/old /tmp/new

Every row is timed in turns: one process of either program, and the next round begins with the other. The
ratio of a row is the median over the pairs of new time / old time: below 1, the new program is faster. What
it takes is bounded by --minutes; a round of all rows takes about 40 seconds on two quiet cores. Needs Python
3.11 or later and nothing else.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing is left in the checkout

import report
import rows
import run

# Steps timed in a process: enough for a second or two of each row.
STEPS = {
    "mnist-train": 3, "mnist-sample-1": 200, "mnist-sample-16": 50,
    "rgb32-train": 3, "rgb32-sample-1": 100, "rgb32-sample-16": 12,
    "ddpm-cifar10-train": 3, "ddpm-cifar10-sample-1": 40, "ddpm-cifar10-sample-16": 5,
}


def main():
    args = parse()
    programs = {"old": os.path.abspath(args.old), "new": os.path.abspath(args.new)}
    pairs = {row.name: [] for row in args.rows}
    busy = []
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="unstir-bench-") as temp:
            for i in range(args.rounds):
                # A round is begun only where one as long as those before it would fit.
                if i and (time.monotonic() - start) * (i + 1) / i > 60 * args.minutes:
                    break
                for k, row in enumerate(args.rows):
                    pairs[row.name].append(pair(args, programs, row, (i + k) % 2 == 1, temp, busy))
                run.log(f"round {i + 1}: {time.monotonic() - start:.0f} s")
    except KeyboardInterrupt:
        run.log("stopped; what was measured follows")
    print(table(pairs))
    if busy:
        print(f"Other processes took {100 * statistics.median(busy):.0f} % of the CPUs' time (median of all measurements; at most {100 * max(busy):.0f} %).")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(pairs, f, indent=1)


def parse():
    p = argparse.ArgumentParser(description="Compare two builds of the diffusion program.")
    p.add_argument("old")
    p.add_argument("new")
    p.add_argument("--rows", default=",".join(STEPS), help="comma-separated names or shell patterns (default: %(default)s)")
    p.add_argument("--minutes", type=float, default=11, help="no round is begun that would not end within so many (default %(default)s)")
    p.add_argument("--rounds", type=int, default=100, help="at most so many rounds (default %(default)s)")
    p.add_argument("--steps", type=int, help="steps timed in each process (default: the row's own)")
    p.add_argument("--threads", type=int, default=2, help="threads of both programs (default %(default)s)")
    p.add_argument("--cpu", help="the kernels of both programs, as UNSTIR_CPU (default: the best that the CPU has)")
    p.add_argument("--json", metavar="FILE", help="write every pair's seconds to FILE")
    args = p.parse_args()
    try:
        args.rows = rows.select(args.rows)
    except ValueError as e:
        p.error(str(e))
    for row in args.rows:
        if row.name not in STEPS:
            p.error(f"--rows: {row.name} is none of {', '.join(STEPS)}")
    if args.rounds < 1 or args.threads < 1 or (args.steps is not None and args.steps < 1):
        p.error("--rounds, --threads and --steps must be at least 1")
    return args


def pair(args, programs, row, new_first, temp, busy):
    """One process of either program: {"old": seconds, "new": seconds} of a step."""
    env = run.clean_environment({"GOMAXPROCS": str(args.threads), **({"UNSTIR_CPU": args.cpu} if args.cpu else {})})
    seconds = {}
    for name in ("new", "old") if new_first else ("old", "new"):
        command = run.ours(programs[name], row, args.steps or STEPS[row.name], args.threads)
        text, _, other = run.timed(command, env, temp)
        seconds[name] = json.loads(text)["median_s"]
        if other is not None:
            busy.append(other)
    return seconds


def table(pairs):
    """Markdown of the rows' ratios, their geometric mean and the worst."""
    lines = ["| row | pairs | old ms | new ms | new / old | fastest new / fastest old |", "|---|---|---|---|---|---|"]
    ratios = {}
    for name, measured in pairs.items():
        if not measured:
            continue
        old, new = [p["old"] for p in measured], [p["new"] for p in measured]
        r = report.spread([p["new"] / p["old"] for p in measured])
        ratios[name] = r["median"]
        lines.append(f"| {name} | {len(measured)} | {report.number(1e3 * statistics.median(old))} | {report.number(1e3 * statistics.median(new))} "
                     f"| {r['median']:.3f} ({r['min']:.2f} – {r['max']:.2f}) | {min(new) / min(old):.3f} |")
    if ratios:
        worst = max(ratios, key=ratios.get)
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        lines += ["", f"Geometric mean {mean:.3f}, worst {ratios[worst]:.3f} ({worst})."]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main()
    except (run.Failed, OSError) as e:
        sys.exit(f"bench/pairs.py: {e}")
