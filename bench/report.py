"""Turns what bench/run.py measured into figures and Markdown."""

import statistics

import rows

# For each kind of row: the key that is compared, the unit it is shown in and its size, whether
# more is better, and the heading.
KINDS = {
    rows.SPEED: ("images_per_s", "images/s", 1, True, "Speed"),
    rows.MEMORY: ("peak_rss_bytes", "MB", 1e6, False, "Peak memory of training"),
    rows.START: ("wall_s", "s", 1, False, "From start to first training step"),
}

# The share of the CPUs' time that other processes may take before a comparison is called disturbed.
BUSY = 0.05


def summary(row, rounds):
    """Medians and ranges of one row, from its rounds: {program: measurement} each.

    A ratio is ours / PyTorch within one round; "fastest" compares with the round's best variant.
    """
    key, unit, size, more, _ = KINDS[row.kind]
    values = {}
    for programs in rounds:
        for name, m in programs.items():
            values.setdefault(name, []).append(m[key] / size)
    pairs = {}
    for programs in rounds:
        if "ours" not in programs:
            continue
        ours = programs["ours"][key]
        peers = {name: m[key] for name, m in programs.items() if name != "ours"}
        for name, value in peers.items():
            pairs.setdefault(name, []).append(ours / value)
        if peers:
            best = (max if more else min)(peers.values())
            pairs.setdefault("fastest", []).append(ours / best)
    return {
        "unit": unit,
        "values": {name: spread(v) for name, v in values.items()},
        "ratios": {name: spread(v) for name, v in pairs.items()},
    }


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def markdown(result):
    """The result of bench/run.py as Markdown: what it ran on, and a table for each kind of row."""
    lines = about(result)
    for kind, (_, unit, _, more, title) in KINDS.items():
        measured = [r for r in result["rows"] if r["kind"] == kind and r.get("summary")]
        if not measured:
            continue
        variants = [v for v in rows.VARIANTS if any(v in r["summary"]["values"] for r in measured)]
        better = "more is better" if more else "less is better"
        lines += ["", f"### {title}, {unit} ({better})", ""]
        head = ["row", "batch", "ours"] + [f"PyTorch {v}" for v in variants] + ["ours / best PyTorch"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for r in measured:
            lines.append("| " + " | ".join(cells(r, variants)) + " |")
    lines += ["", "Medians over the rounds, with (min – max). × is ours / PyTorch, the median of the rounds' own ratios."]
    lines += footnotes(result)
    return "\n".join(lines) + "\n"


def about(result):
    m, s = result["machine"], result["settings"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    lines = [
        f"- {result['started']} – {result.get('finished', '(not finished)')}, commit {result['commit']}",
        f"- {m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB; {m['system']}; levels: {', '.join(m['levels'])}",
        f"- {versions}",
        f"- `{s['command']}`: {s['threads']} threads, {s['rounds']} rounds",
    ]
    busy = [p["other_cpu"] for r in result["rows"] for rnd in r["rounds"] for p in rnd.values() if p.get("other_cpu") is not None]
    if busy:
        lines.append(f"- other processes took {100 * statistics.median(busy):.0f} % of the CPUs' time (median of all measurements; at most {100 * max(busy):.0f} %)")
        if statistics.median(busy) > BUSY:
            lines.append("- **the machine was busy: no figure here is worth quoting**, and the ratios flatter unstir, because PyTorch's threads lose more when one of them has to wait")
    return lines


def cells(r, variants):
    """A row of the table."""
    s = r["summary"]
    out = [r["name"], str(r["batch"]), shown(s["values"].get("ours"))]
    for v in variants:
        text = shown(s["values"].get(v))
        if v in s["ratios"]:
            text += f", {s['ratios'][v]['median']:.2f}×"
        out.append(text)
    fastest = s["ratios"].get("fastest")
    return out + [f"**{fastest['median']:.2f}×** ({fastest['min']:.2f} – {fastest['max']:.2f})" if fastest else "–"]


def shown(v):
    if v is None:
        return "–"
    return f"{number(v['median'])} ({number(v['min'])} – {number(v['max'])})"


def number(x):
    """Three significant digits, and all digits before the point."""
    if x >= 100:
        return f"{x:.0f}"
    return f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def footnotes(result):
    """The models' sizes, PyTorch's share of its memory that is there before the model, and notes."""
    lines, models = [], {}
    for r in result["rows"]:
        for programs in r["rounds"]:
            for name, m in programs.items():
                if m.get("gflops") and m.get("params"):
                    side = "ours" if name == "ours" else "PyTorch"
                    models.setdefault((r["model"], r["mode"]), {}).setdefault(side, (m["params"], m["gflops"] / m["images_per_s"]))
    for (model, mode), sides in models.items():
        figures = "; ".join(f"{side} {params:,} parameters, {flops:.3f} GFLOP an image" for side, (params, flops) in sides.items())
        lines.append(f"- {model}, {mode}: {figures}")
    base = [m["baseline_rss_bytes"] / 1e6 for r in result["rows"] if r["kind"] == rows.MEMORY
            for programs in r["rounds"] for m in programs.values() if m.get("baseline_rss_bytes")]
    if base:
        lines.append(f"- of PyTorch's peak memory, {statistics.median(base):.0f} MB are there before the first step: interpreter, libraries and weights")
    lines += [f"- {n}" for n in result["notes"]]
    return [""] + lines if lines else []
