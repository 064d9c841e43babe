"""Trains a small run, killing it again and again, and checks with the real TensorBoard that its event file has every
step once: by the package's own readers, and over HTTP from a TensorBoard that follows the run from its first second
and from one that is started afterwards. Prints a line for each check; the exit code is 1 where one fails."""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from tensorboard.backend.event_processing import event_accumulator, event_file_loader
from tensorboard.util import tensor_util

TAGS = ["train/loss", "train/grad_norm", "train/lr", "train/images_per_s"]
STEPS, EVERY = 60, 10
failed = 0


def check(ok, what):
    global failed
    failed += not ok
    print("ok  " if ok else "FAIL", what, flush=True)


def train(diffusion, run, *more):
    args = [diffusion, "train", "--config", "quickstart.toml", "--out", run, "--resume", "auto", "--steps", str(STEPS), "--threads", "1"]
    for s in ["model.block_out_channels=[8,16]", "model.norm_num_groups=4", "train.batch_size=32", "train.log_every=1",
              "checkpoint.every=4", f"preview.every={EVERY}", "preview.images=4", "preview.steps=3"]:
        args += ["--set", s]
    return subprocess.Popen(args + list(more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(diffusion, run, rng):
    """Trains to the end, through kills at random moments, and returns how many there were."""
    kills = 0
    while True:
        p = train(diffusion, run)
        try:
            _, err = p.communicate(timeout=rng.uniform(0.3, 2.5) if kills < 8 else None)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.communicate()
            kills += 1
            continue
        if p.returncode != 0:
            sys.exit(f"the program failed: {err.decode()}")
        return kills


class Server:
    """A TensorBoard that serves a directory of runs."""

    def __init__(self, logdir, *more):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", "0", "--host", "127.0.0.1", "--reload_interval", "1",
             "--samples_per_plugin", "images=1000,scalars=100000,text=100", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"http://\S+:(\d+)", line):
                self.url = f"http://127.0.0.1:{found[1]}/data/plugin/"
                return
        sys.exit("TensorBoard did not start")

    def get(self, path, **query):
        with urllib.request.urlopen(self.url + path + "?" + urllib.parse.urlencode(query)) as r:
            return json.load(r)

    def steps(self, run):
        """The steps of every tag, as the user's browser gets them."""
        seen = {}
        for tag in TAGS:
            seen[tag] = [p[1] for p in self.get("scalars/scalars", run=run, tag=tag)]
        seen["previews"] = [p["step"] for p in self.get("images/images", run=run, tag="previews", sample=0)]
        return seen

    def text(self, run):
        return self.get("text/text", run=run, tag="config")

    def close(self):
        self.process.terminate()
        self.process.wait()


def wait_for(f, want, seconds=30):
    end = time.time() + seconds
    while True:
        try:
            got = f()
        except urllib.error.HTTPError as e:  # a tag that is not there yet
            got = str(e)
        if got == want or time.time() > end:
            return got
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diffusion", required=True, help="the program")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    all_steps, previews = list(range(1, STEPS + 1)), list(range(EVERY, STEPS + 1, EVERY))
    want = {**{tag: all_steps for tag in TAGS}, "previews": previews}

    with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
        serve = lambda *more: stack.enter_context(contextlib.closing(Server(runs, *more)))
        runs = os.path.join(top, "runs")
        run = os.path.join(runs, "killed")
        os.mkdir(runs)
        live = [("data server", serve()), ("Python reader", serve("--load_fast=false"))]
        kills = killed(args.diffusion, run, rng)
        files = [f for f in os.listdir(run) if "tfevents" in f]
        check(len(files) == 1, f"after {kills} kills there is one event file: {files}")
        path = os.path.join(run, files[0])

        lines = [json.loads(line) for line in open(os.path.join(run, "log.jsonl"))]
        got = {tag: [] for tag in TAGS + ["previews", "config"]}
        values = {}
        for event in event_file_loader.EventFileLoader(path).Load():
            for value in event.summary.value:
                got[value.tag].append(event.step)
                values[event.step, value.tag] = tensor_util.make_ndarray(value.tensor)  # of the newest format, whatever it was written in
        check(got == {**want, "config": [0]}, "the event file loader reads every step once, in order")
        keys = {"train/loss": "loss", "train/grad_norm": "grad_norm", "train/lr": "lr", "train/images_per_s": "images_per_s"}
        worst = max(abs(float(values[line["step"], tag]) / line[key] - 1) for line in lines for tag, key in keys.items())
        check(worst < 1e-6, f"the values are the log's: they differ by {worst:.1e} at most, relatively")
        same = all(values[step, "previews"][2] == open(f"{run}/previews/step-{step:08d}.png", "rb").read() for step in previews)
        check(same, "the images are the previews' files")

        everything = {event_accumulator.SCALARS: 0, event_accumulator.IMAGES: 0}
        accumulator = event_accumulator.EventAccumulator(path, size_guidance=everything).Reload()
        got = {tag: [e.step for e in accumulator.Scalars(tag)] for tag in TAGS}
        got["previews"] = [e.step for e in accumulator.Images("previews")]
        check(got == want, "the event accumulator has every step once")

        later = [("data server", serve()), ("Python reader", serve("--load_fast=false"))]
        for when, servers in ("that has followed the run since before its first step", live), ("that is started afterwards", later):
            for name, server in servers:
                got = wait_for(lambda: server.steps("killed"), want)
                check(got == want, f"a TensorBoard ({name}) {when} shows every step once" + ("" if got == want else f": {got}"))
                text = wait_for(lambda: len(server.text("killed")), 1)
                config = server.text("killed")[0]["text"] if text else ""
                check(text == 1 and "block_out_channels = [8, 16]" in config and "<code>" in config, f"a TensorBoard ({name}) {when} shows the configuration")

        off = os.path.join(runs, "off")
        p = train(args.diffusion, off, "--set", "log.tensorboard=false")
        p.communicate()
        left = [f for f in os.listdir(off) if "tfevents" in f]
        check(p.returncode == 0 and not left, "with log.tensorboard=false there is no event file")
    sys.exit(failed > 0)


main()
