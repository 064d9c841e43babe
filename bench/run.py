#!/usr/bin/env python3
"""Compares unstir with diffusers on PyTorch: both sides in turns, one process for each measurement.

    python3 bench/run.py            # everything: hours
    python3 bench/run.py --quick    # one short round of four rows: does it run?

README.md beside this file says what is measured and how to read it. Needs Go and Python 3.11 or later with
venv; a C++ compiler for torch.compile. The virtual environment, PyTorch's compiled kernels and the
results are kept in ${XDG_CACHE_HOME:-~/.cache}/unstir-bench.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # nothing is left in the checkout

import report
import rows

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "unstir-bench"
PROCESS_LIMIT = 3600  # seconds


class Failed(Exception):
    """A process that failed; the text says which and why."""


def main():
    args = parse()
    if args.list:
        print("\n".join(r.name for r in rows.ROWS))
        return
    with tempfile.TemporaryDirectory(prefix="unstir-bench-") as temp:
        bench = Bench(args, pathlib.Path(temp))
        try:
            bench.run()
        finally:
            bench.save()
    print(report.markdown(bench.result))
    log(f"saved as {bench.out}.json and .md")


def parse():
    p = argparse.ArgumentParser(description="Compare unstir with diffusers on PyTorch.")
    p.add_argument("--rows", help="comma-separated names or shell patterns, such as 'mnist-*' (default: all)")
    p.add_argument("--list", action="store_true", help="list the rows and stop")
    p.add_argument("--rounds", type=int, help="rounds of each row (default 5)")
    p.add_argument("--steps", type=int, help="steps timed in each process (default: the row's own)")
    p.add_argument("--quick", action="store_true", help="a smoke test: one round of few steps, by default of few rows")
    p.add_argument("--variants", default=",".join(rows.DEFAULT_VARIANTS), help="PyTorch's variants, of " + ", ".join(rows.VARIANTS) + " (default %(default)s)")
    p.add_argument("--threads", type=int, default=2, help="threads of both sides (default %(default)s)")
    p.add_argument("--python", help="a Python that has torch and diffusers (default: a virtual environment from requirements.txt)")
    p.add_argument("--diffusion", help="a built diffusion program (default: it is built)")
    p.add_argument("--data-dir", help="a directory with MNIST, for the row mnist-start (default: the images inside the program)")
    p.add_argument("--out", help="results go to OUT.json and OUT.md (default: a new name in the cache)")
    args = p.parse_args()
    args.variants = [v for v in args.variants.split(",") if v]
    for v in args.variants:
        if v not in rows.VARIANTS:
            p.error(f"--variants: {v} is none of {', '.join(rows.VARIANTS)}")
    if args.rounds is None:
        args.rounds = 1 if args.quick else 5
    if args.steps is None and args.quick:
        args.steps = 2
    if args.rounds < 1 or args.threads < 1 or (args.steps is not None and args.steps < 1):
        p.error("--rounds, --threads and --steps must be at least 1")
    try:
        args.rows = rows.select(args.rows or (rows.QUICK if args.quick else "*"))
    except ValueError as e:
        p.error(str(e))
    return args


class Bench:
    """One comparison: its programs, its settings and what it has measured so far."""

    def __init__(self, args, temp):
        self.args, self.temp = args, temp
        self.variants = list(args.variants)
        self.runs = 0
        now = datetime.datetime.now(datetime.timezone.utc)
        self.out = args.out or str(CACHE / "results" / now.strftime("%Y%m%d-%H%M%S"))
        self.result = {
            "started": stamp(), "commit": commit(), "machine": machine(), "versions": {}, "notes": [], "rows": [],
            "settings": {"command": shlex.join(["bench/run.py", *sys.argv[1:]]), "threads": args.threads, "rounds": args.rounds, "variants": args.variants},
        }

    def run(self):
        self.program = self.args.diffusion and os.path.abspath(self.args.diffusion) or build(self.temp)
        self.result["versions"]["go"] = output(["go", "env", "GOVERSION"])
        self.python = self.args.python or environment()
        compiler = os.environ.get("CXX", "g++")
        if any(v.startswith("compile") for v in self.variants) and not shutil.which(compiler):
            self.note(f"torch.compile left out: it needs a C++ compiler, and there is no {compiler}")
            self.variants = [v for v in self.variants if not v.startswith("compile")]
        for row in self.args.rows:
            self.measure_row(row)
        self.result["finished"] = stamp()

    def measure_row(self, row):
        """All rounds of a row; each takes the programs in turn, and begins with another one."""
        entry = {"name": row.name, "kind": row.kind, "model": row.model, "mode": row.mode, "batch": row.batch, "rounds": []}
        self.result["rows"].append(entry)
        programs = ["ours"] + [v for v in self.variants if row.kind != rows.START or not v.startswith("compile")]
        for i in range(self.args.rounds):
            entry["rounds"].append({})
            k = i % len(programs)
            for name in programs[k:] + programs[:k]:
                try:
                    m = self.measure(row, name)
                except Failed as e:
                    if name == "ours":
                        raise
                    self.note(f"{row.name}, PyTorch {name} left out: {e}")
                    programs = [p for p in programs if p != name]
                    continue
                entry["rounds"][-1][name] = m
                log(f"{row.name} {i + 1}/{self.args.rounds} {name}: {line(row, m)}")
            same_model(row, entry["rounds"][-1])
            entry["summary"] = report.summary(row, entry["rounds"])
            self.save()

    def measure(self, row, name):
        self.runs += 1
        if name == "ours":
            command, env = self.ours(row), {"GOMAXPROCS": str(self.args.threads), **(rows.AVX2_OURS if row.avx2 else {})}
        else:
            n = str(self.args.threads)
            command = self.peer(row, name)
            env = {"OMP_NUM_THREADS": n, "MKL_NUM_THREADS": n, "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor"),
                   "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **(rows.AVX2_PEER if row.avx2 else {})}
        text, wall, other = timed(command, clean_environment(env), self.temp)
        m = json.loads(text) if text.lstrip().startswith("{") else {}
        m["wall_s"], m["other_cpu"] = wall, other
        if m.get("level"):
            level = f"{'ours' if name == 'ours' else 'PyTorch'} {m['level'].lower()}"
            levels = self.result["machine"]["levels"]
            if not row.avx2 and level not in levels:
                levels.append(level)
        if name == "ours" and m.get("cpu"):
            self.result["machine"]["cpu"] = m["cpu"]
        self.result["versions"].update(m.pop("versions", {}))
        return m

    def ours(self, row):
        if row.kind == rows.START:
            data = ["--data-dir", os.path.abspath(self.args.data_dir)] if self.args.data_dir else ["--set", "data.dataset=mnist-10k"]
            return [self.program, "train", "--config", "mnist.toml", "--stop-at", "1", "--out", str(self.temp / f"run-{self.runs}"), *data, "--threads", str(self.args.threads)]
        return ours(self.program, row, 1 if row.kind == rows.MEMORY else self.args.steps or row.steps, self.args.threads)

    def peer(self, row, variant):
        command = [self.python, str(HERE / "peer.py"), row.mode, "--unet", str(HERE / "models" / f"{row.model}.json"),
                   "--batch", str(row.batch), "--variant", variant, "--threads", str(self.args.threads)]
        if row.kind == rows.SPEED:
            return command + ["--steps", str(self.args.steps or row.steps)]
        return command + ["--rss", "--steps", str(row.steps)]

    def note(self, text):
        log(text)
        if text not in self.result["notes"]:
            self.result["notes"].append(text)

    def save(self):
        """Writes what there is: a comparison that breaks off loses nothing."""
        pathlib.Path(self.out).parent.mkdir(parents=True, exist_ok=True)
        for suffix, text in ((".json", json.dumps(self.result, indent=1) + "\n"), (".md", report.markdown(self.result))):
            part = pathlib.Path(self.out + suffix + ".part")
            part.write_text(text, encoding="utf-8")
            part.replace(self.out + suffix)


def ours(program, row, steps, threads):
    """The command that times steps of a row's model with our program, after one that its median leaves out."""
    config = HERE / "models" / f"{row.model}.toml"
    return [program, "bench", row.mode, "--config", str(config), "--batch", str(row.batch), "--steps", str(steps + 1), "--json", "--threads", str(threads)]


def same_model(row, programs):
    """Refuses to compare models of different sizes."""
    counts = {name: m["params"] for name, m in programs.items() if "params" in m}
    if len(set(counts.values())) > 1:
        raise Failed(f"{row.name}: the programs' models differ in their number of parameters: {counts}")


def line(row, m):
    key, unit, size, _, _ = report.KINDS[row.kind]
    text = f"{report.number(m[key] / size)} {unit}"
    return text + (f", {m['params']:,} parameters" if "params" in m else "")


def build(temp):
    """Builds the program from this checkout, beside nothing that lasts."""
    log("building diffusion")
    program = temp / ("diffusion" + (".exe" if os.name == "nt" else ""))
    output(["go", "build", "-o", str(program), "./cmd/diffusion"], cwd=HERE.parent, env={**os.environ, "CGO_ENABLED": "0"})
    return str(program)


def environment():
    """The Python of a virtual environment with requirements.txt, made on first use."""
    requirements = HERE / "requirements.txt"
    home = CACHE / ("venv-" + hashlib.sha256(requirements.read_bytes()).hexdigest()[:12])
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = home / "complete"
    if not complete.exists():
        log(f"making the virtual environment {home}; PyTorch is a large download")
        shutil.rmtree(home, ignore_errors=True)
        output([sys.executable, "-m", "venv", str(home)])
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)], check=True, stdout=sys.stderr)
        complete.touch()
    return str(python)


def clean_environment(extra):
    """The environment without settings of either side that were left in it."""
    drop = ("UNSTIR_", "ATEN_", "ONEDNN_", "DNNL_", "MKL_", "OMP_", "KMP_", "GOMP_", "TORCH", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(drop)}, **extra}


def timed(command, env, cwd):
    """Runs a process: its stdout, its wall time, and the share of the CPUs' time that others took."""
    before, start = cpu_seconds(), time.perf_counter()
    try:
        p = subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PROCESS_LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} took more than {PROCESS_LIMIT} s") from None
    wall, after = time.perf_counter() - start, cpu_seconds()
    if p.returncode != 0:
        last = (p.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"{os.path.basename(command[0])} exited with {p.returncode}: {last}")
    other = None
    if before and after:
        machine_wide, own = after[0] - before[0], after[1] - before[1]
        other = min(1.0, max(0.0, (machine_wide - own) / (wall * (os.cpu_count() or 1))))
    return p.stdout, wall, other


def cpu_seconds():
    """CPU seconds that the whole machine has spent, stolen ones included, and that our processes have."""
    try:
        with open("/proc/stat", encoding="utf-8") as f:
            ticks = [int(v) for v in f.readline().split()[1:9]]  # user nice system idle iowait irq softirq steal
    except (OSError, ValueError):
        return None
    t = os.times()
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK"), t.user + t.system + t.children_user + t.children_system


def machine():
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    except (AttributeError, ValueError, OSError):
        memory = "?"
    return {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "memory_gb": memory,
            "system": f"{platform.system()} {platform.release()}", "levels": []}


def commit():
    try:
        head = output(["git", "rev-parse", "--short=12", "HEAD"], cwd=HERE)
        return head + (" with changes" if output(["git", "status", "--porcelain", "--untracked-files=no"], cwd=HERE) else "")
    except (Failed, OSError):
        return "unknown"


def output(command, **kw):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {p.stderr.strip()}")
    return p.stdout.strip()


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def log(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.CalledProcessError) as e:
        sys.exit(f"bench/run.py: {e}")
    except KeyboardInterrupt:
        sys.exit("bench/run.py: stopped; what was measured is saved")
