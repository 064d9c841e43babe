"""What bench/run.py measures: a row is one measurement of both sides."""

import dataclasses
import fnmatch

# The peers' programs by family, which is a column of the tables: the best of a family's programs in a round
# is what stands for it.
FAMILIES = {
    "PyTorch": ("eager", "channels_last"),
    "PyTorch compiled": ("compile", "compile_channels_last"),
    "PyTorch bf16": ("bf16", "bf16_channels_last"),
    "ONNX Runtime": ("onnxruntime",),
    "OpenVINO": ("openvino",),
    "OpenVINO bf16": ("openvino_bf16",),
}
VARIANTS = tuple(v for variants in FAMILIES.values() for v in variants)
ONNX = ("onnxruntime", "openvino", "openvino_bf16")
DEFAULT_VARIANTS = tuple(v for v in VARIANTS if v != "compile_channels_last")

# Kinds of rows: images/s of a training or sampling step, peak memory of training, and the time
# from the start of the process to the end of the first training step.
SPEED, MEMORY, START = "speed", "memory", "start"

# Settings that hold each side to AVX2 on a CPU with more.
AVX2_OURS = {"UNSTIR_CPU": "avx2"}
AVX2_PEER = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    kind: str
    model: str  # models/MODEL.toml is ours, models/MODEL.json is the peer's
    mode: str  # train or sample
    batch: int
    steps: int  # timed in each process, after its warm-up
    avx2: bool = False


    def measures(self, variant):
        """Whether a peer's program has a part in this row."""
        if variant in ONNX:  # these only predict, and keep to no CPU level
            return self.kind == SPEED and self.mode == "sample" and not self.avx2
        if variant.startswith("bf16"):
            return self.kind == SPEED and not self.avx2
        return self.kind != START or not variant.startswith("compile")


def _model(model, batch, train_steps, sample_steps):
    rows = [Row(f"{model}-train", SPEED, model, "train", batch, train_steps)]
    for n, steps in zip((1, 16, 64), sample_steps):
        rows.append(Row(f"{model}-sample-{n}", SPEED, model, "sample", n, steps))
    return rows


# Steps by row, so that a measurement of either side takes seconds, not minutes.
ROWS = (
    *_model("mnist", 128, 8, (50, 20, 8)),
    *_model("rgb32", 32, 8, (40, 10, 5)),
    *_model("ddpm-cifar10", 8, 6, (20, 8, 4)),
    Row("mnist-train-avx2", SPEED, "mnist", "train", 128, 8, avx2=True),
    Row("mnist-sample-16-avx2", SPEED, "mnist", "sample", 16, 20, avx2=True),
    Row("mnist-memory", MEMORY, "mnist", "train", 128, 2),
    Row("rgb32-memory", MEMORY, "rgb32", "train", 32, 2),
    Row("ddpm-cifar10-memory", MEMORY, "ddpm-cifar10", "train", 8, 2),
    Row("mnist-start", START, "mnist", "train", 128, 1),
)

QUICK = "mnist-train,mnist-sample-16,mnist-memory,mnist-start"


def select(patterns):
    """The rows that any of the comma-separated shell patterns matches, in the order of ROWS."""
    chosen = set()
    for pattern in filter(None, (p.strip() for p in patterns.split(","))):
        names = fnmatch.filter([r.name for r in ROWS], pattern)
        if not names:
            raise ValueError(f"--rows: nothing is called {pattern}; the rows are {', '.join(r.name for r in ROWS)}")
        chosen.update(names)
    if not chosen:
        raise ValueError("--rows: it names no row")
    return [r for r in ROWS if r.name in chosen]
