#!/usr/bin/env python3
"""Compares unstir with diffusers on PyTorch, ONNX Runtime and OpenVINO: all of them in turns.

    python3 bench/run.py                # everything: hours
    python3 bench/run.py --minutes 20   # as many rounds as fit
    python3 bench/run.py --quick        # one short round of four rows: does it run?

README.md beside this file says what is measured and how to read it. Needs Go and Python 3.11 or later with
venv; a C++ compiler for torch.compile. The virtual environment, PyTorch's compiled kernels and the
results are kept in ${XDG_CACHE_HOME:-~/.cache}/unstir-bench.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import math
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
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
    p = argparse.ArgumentParser(description="Compare unstir with diffusers on PyTorch, ONNX Runtime and OpenVINO.")
    p.add_argument("--rows", help="comma-separated names or shell patterns, such as 'mnist-*' (default: all)")
    p.add_argument("--list", action="store_true", help="list the rows and stop")
    p.add_argument("--rounds", type=int, help="rounds of each row, at most (default 5)")
    p.add_argument("--minutes", type=float, help="share so many among the rows, each of which has at least one round (default: no bound)")
    p.add_argument("--steps", type=int, help="steps timed in each measurement (default: the row's own)")
    p.add_argument("--seconds", type=float, default=3, help="a peer begins no step after the second so long after the first (default %(default)s)")
    p.add_argument("--quick", action="store_true", help="a smoke test: one round of few steps, by default of few rows")
    p.add_argument("--variants", default=",".join(rows.DEFAULT_VARIANTS), help="the peers' programs, of " + ", ".join(rows.VARIANTS) + " (default %(default)s)")
    p.add_argument("--threads", type=int, default=2, help="threads of every program (default %(default)s)")
    p.add_argument("--python", help="a Python that has the packages of requirements.txt (default: a virtual environment from requirements.txt)")
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
            "started": stamp(), "commit": commit(), "machine": machine(), "versions": {}, "absent": {}, "notes": [], "rows": [],
            "settings": {"command": shlex.join(["bench/run.py", *sys.argv[1:]]), "threads": args.threads, "rounds": args.rounds, "variants": args.variants},
        }

    def run(self):
        self.program = self.args.diffusion and os.path.abspath(self.args.diffusion) or build(self.temp)
        self.result["versions"]["go"] = output(["go", "env", "GOVERSION"]).removeprefix("go")
        self.python = self.args.python or environment()
        compiler = os.environ.get("CXX", "g++")
        if any(v.startswith("compile") for v in self.variants) and not shutil.which(compiler):
            self.note(f"torch.compile left out: it needs a C++ compiler, and there is no {compiler}")
            self.variants = [v for v in self.variants if not v.startswith("compile")]
        flags = cpu_flags()
        if flags is not None and not flags & {"avx512_bf16", "amx_bf16"}:
            self.result["absent"] = {family: "no AVX512-BF16, no AMX" for family in rows.FAMILIES if "bf16" in family}
            self.variants = [v for v in self.variants if "bf16" not in v]
        # Before the time begins to count: what is exported once is kept.
        for row in self.args.rows:
            if any(v in rows.ONNX for v in self.variants if row.measures(v)):
                self.export(row)
        end = time.monotonic() + 60 * self.args.minutes if self.args.minutes else math.inf
        for i, row in enumerate(self.args.rows):
            self.measure_row(row, time.monotonic() + (end - time.monotonic()) / (len(self.args.rows) - i))
        self.result["finished"] = stamp()

    def measure_row(self, row, end):
        """All rounds of a row that fit; each takes the programs in turn, and begins with another one."""
        entry = {"name": row.name, "kind": row.kind, "model": row.model, "mode": row.mode, "batch": row.batch, "rounds": []}
        self.result["rows"].append(entry)
        programs = ["ours"] + [v for v in self.variants if row.measures(v)]
        servers = {}
        try:
            if row.kind == rows.SPEED:  # they load their libraries at once, before anything is timed
                servers = {v: Server(self.peer(row, v) + ["--serve"], self.peer_environment(row), self.temp) for v in programs[1:]}
                for server in servers.values():
                    server.wait()
            for i in range(self.args.rounds):
                start = time.monotonic()
                entry["rounds"].append({})
                k = i % len(programs)
                for name in programs[k:] + programs[:k]:
                    try:
                        m = self.measure(row, name, servers)
                    except Failed as e:
                        if name == "ours":
                            raise
                        self.note(f"{row.name}, {name} left out: {e}")
                        programs = [p for p in programs if p != name]
                        continue
                    entry["rounds"][-1][name] = m
                    log(f"{row.name} {i + 1}/{self.args.rounds} {name}: {line(row, m)}")
                same_model(row, entry["rounds"][-1])
                entry["summary"] = report.summary(row, entry["rounds"])
                self.save()
                # The first round is longer than the others: it starts the peers and warms them up.
                if time.monotonic() + (time.monotonic() - start) / (2 if i == 0 else 1) > end:
                    break
        finally:
            for server in servers.values():
                server.close()

    def measure(self, row, name, servers):
        """One measurement: of ours, a process; of a peer in a row of speed, a turn of a process that stays."""
        self.runs += 1
        if name == "ours":
            env = {"GOMAXPROCS": str(self.args.threads), **(rows.AVX2_OURS if row.avx2 else {})}
            text, wall, other = timed(self.ours(row), clean_environment(env), self.temp)
        elif row.kind == rows.SPEED:
            text, wall, other = servers[name].measure()
        else:
            text, wall, other = timed(self.peer(row, name), self.peer_environment(row), self.temp)
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

    def peer_environment(self, row):
        n = str(self.args.threads)
        return clean_environment({"OMP_NUM_THREADS": n, "MKL_NUM_THREADS": n, "TORCHINDUCTOR_CACHE_DIR": str(CACHE / "inductor"),
                                  "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", **(rows.AVX2_PEER if row.avx2 else {})})

    def export(self, row):
        """Exports the row's model to ONNX, unless the cache has it from the same model and environment."""
        path = self.onnx(row)
        if not path.exists():
            log(f"exporting {row.model} for batches of {row.batch} to ONNX")
            path.parent.mkdir(parents=True, exist_ok=True)
            command = [self.python, str(HERE / "peer.py"), "export", "--unet", str(HERE / "models" / f"{row.model}.json"),
                       "--batch", str(row.batch), "--onnx", str(path), "--threads", str(self.args.threads)]
            try:
                timed(command, self.peer_environment(row), self.temp)
            except Failed as e:
                self.note(f"{row.name}, ONNX left out: {e}")

    def onnx(self, row):
        parts = [(HERE / "peer.py").read_bytes(), (HERE / "models" / f"{row.model}.json").read_bytes(), self.python.encode()]
        return CACHE / "onnx" / f"{row.model}-{row.batch}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}.onnx"

    def ours(self, row):
        if row.kind == rows.START:
            data = ["--data-dir", os.path.abspath(self.args.data_dir)] if self.args.data_dir else ["--set", "data.dataset=mnist-10k"]
            return [self.program, "train", "--config", "mnist.toml", "--stop-at", "1", "--out", str(self.temp / f"run-{self.runs}"), *data, "--threads", str(self.args.threads)]
        return ours(self.program, row, 1 if row.kind == rows.MEMORY else self.args.steps or row.steps, self.args.threads)

    def peer(self, row, variant):
        command = [self.python, str(HERE / "peer.py"), row.mode, "--unet", str(HERE / "models" / f"{row.model}.json"),
                   "--batch", str(row.batch), "--variant", variant, "--threads", str(self.args.threads)]
        if variant in rows.ONNX:
            command += ["--onnx", str(self.onnx(row))]
        if row.kind == rows.SPEED:
            return command + ["--steps", str(self.args.steps or row.steps), "--seconds", str(self.args.seconds)]
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
    key, unit, size, _ = report.KINDS[row.kind]
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
        raise Failed(failure(command, p.returncode, p.stderr))
    return p.stdout, wall, others(before, after, wall)


class Server:
    """A peer's process that stays for all rounds of a row and waits while the others have their turns."""

    def __init__(self, command, env, cwd):
        self.command = command
        self.stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        self.cpu = 0.0  # seconds of the CPUs that it had taken when it was last heard of

    def wait(self):
        """Waits until it is ready. One that is not says why when it is to measure."""
        with contextlib.suppress(Failed):
            self.cpu = json.loads(self.read())["process_s"]

    def measure(self):
        """One measurement, as timed has it."""
        before, start = cpu_seconds(), time.perf_counter()
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended: read says why
        text = self.read()
        wall, after = time.perf_counter() - start, cpu_seconds()
        taken, self.cpu = json.loads(text)["process_s"] - self.cpu, json.loads(text)["process_s"]
        return text, wall, others(before, after, wall, taken)

    def read(self):
        limit = threading.Timer(PROCESS_LIMIT, self.process.kill)
        limit.start()
        text = self.process.stdout.readline()
        limit.cancel()
        if not text:
            code = self.process.wait()
            self.stderr.seek(0)
            raise Failed(failure(self.command, code, self.stderr.read()))
        return text

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.stderr.close()


def failure(command, code, stderr):
    last = (stderr.strip().splitlines() or ["no message"])[-1]
    return f"{os.path.basename(command[0])} exited with {code}: {last}"


def others(before, after, wall, server=0):
    """The share of the CPUs' time that neither our processes took nor a server did, which has not ended yet."""
    if not before or not after:
        return None
    machine_wide, own = after[0] - before[0], after[1] - before[1] + server
    return min(1.0, max(0.0, (machine_wide - own) / (wall * (os.cpu_count() or 1))))


def cpu_flags():
    """The CPU's features as Linux names them; None where it does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next((set(line.split(":", 1)[1].split()) for line in f if line.startswith("flags")), None)
    except OSError:
        return None


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
        head = output(["git", "rev-parse", "--short=7", "HEAD"], cwd=HERE)
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
