#!/usr/bin/env python3
"""Turns what bench/run.py measured into Markdown.

    python3 bench/report.py RESULT.json...                             # prints it
    python3 bench/report.py RESULT.json... --into BENCHMARKS.md zen4   # puts it into that file's table of this name

A table in a file stands between <!-- bench NAME --> and <!-- end -->. Figures in it that the new results have
none for stay as they are, with the commit that they are from.
"""

import argparse
import json
import pathlib
import re
import statistics
import sys

sys.dont_write_bytecode = True  # nothing is left in the checkout

import rows

# For each kind of row: the key that is compared, the unit it is shown in and its size, and whether more is better.
KINDS = {
    rows.SPEED: ("images_per_s", "images/s", 1, True),
    rows.MEMORY: ("peak_rss_bytes", "MB", 1e6, False),
    rows.START: ("wall_s", "s", 1, False),
}

# The share of the CPUs' time that other processes may take before a comparison is called disturbed.
BUSY = 0.05

NONE = "–"


def main():
    p = argparse.ArgumentParser(description="Turn what bench/run.py measured into Markdown.")
    p.add_argument("results", nargs="+", metavar="RESULT.json", help="in the order of their commits, the newest last")
    p.add_argument("--into", nargs=2, metavar=("FILE", "NAME"), help="update the table NAME of FILE instead of printing")
    args = p.parse_args()
    results = [json.loads(pathlib.Path(name).read_text(encoding="utf-8")) for name in args.results]
    if not args.into:
        print("\n".join(markdown(r) for r in results), end="")
        return
    path = pathlib.Path(args.into[0])
    text = path.read_text(encoding="utf-8")
    for r in results:
        text = into(text, args.into[1], r)
    path.write_text(text, encoding="utf-8")


def summary(row, rounds):
    """Medians and ranges of one row, from its rounds: {program: measurement} each.

    A family of peers stands in each round with its best program; "times" is how many times as fast ours is
    within the round, or how many times the memory or the time of ours it takes.
    """
    key, unit, size, more = KINDS[row.kind]
    programs, families, times = {}, {}, {}
    for measured in rounds:
        for name, m in measured.items():
            programs.setdefault(name, []).append(m[key] / size)
        for family, variants in rows.FAMILIES.items():
            values = [measured[v][key] / size for v in variants if v in measured]
            if not values:
                continue
            best = (max if more else min)(values)
            families.setdefault(family, []).append(best)
            if "ours" in measured:
                ours = measured["ours"][key] / size
                times.setdefault(family, []).append(ours / best if more else best / ours)
    return {
        "unit": unit,
        "programs": {name: spread(v) for name, v in programs.items()},
        "families": {name: spread(v) for name, v in families.items()},
        "times": {name: spread(v) for name, v in times.items()},
    }


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def markdown(result):
    """The result of bench/run.py: what it ran on, its table, and what each program of a family reached."""
    lines = [source(result), "", *written(cells(result)), "", *detail(result)]
    return "\n".join(lines) + "\n"


def source(result):
    """One line: where the figures of a commit are from."""
    m, s = result["machine"], result["settings"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    text = f"- {result['commit']}: {result['started']} – {result.get('finished', '(not finished)')}; {m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB"
    text += f"; {versions}; `{s['command']}`, {s['threads']} threads"
    busy = [p["other_cpu"] for r in result["rows"] for rnd in r["rounds"] for p in rnd.values() if p.get("other_cpu") is not None]
    if busy:
        text += f"; other processes took {100 * statistics.median(busy):.0f} % of the CPUs' time (at most {100 * max(busy):.0f} %)"
        if statistics.median(busy) > BUSY:
            text += ": **the machine was busy, and no figure is worth quoting**"
    return text


def cells(result):
    """The table: {row: {column: text}}."""
    table = {}
    for r in result["rows"]:
        s = r.get("summary")
        if not s or "ours" not in s["programs"]:
            continue
        row = rows.select(r["name"])[0]
        line = {"rounds": str(s["programs"]["ours"]["n"]), "ours": shown(s["programs"]["ours"]), "commit": result["commit"]}
        for family, variants in rows.FAMILIES.items():
            if family in s["times"]:
                t = s["times"][family]
                line[family] = f"{number(s['families'][family]['median'])}; **{t['median']:.2f}×** ({t['min']:.2f} – {t['max']:.2f})"
            elif family in result.get("absent", {}) and any(row.measures(v) for v in variants):
                line[family] = result["absent"][family]
        table[r["name"] + ("" if row.kind == rows.SPEED else f", {s['unit']}")] = line
    return table


def written(table):
    """The table's Markdown, in the order of rows.ROWS, with the columns that have something in them."""
    columns = ["rounds", "ours"] + [f for f in rows.FAMILIES if any(f in line for line in table.values())] + ["commit"]
    order = [r.name for r in rows.ROWS]
    lines = ["| row | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for name in sorted(table, key=lambda name: order.index(name.split(",")[0])):
        lines.append(f"| {name} | " + " | ".join(table[name].get(c, NONE) for c in columns) + " |")
    return lines


def parsed(lines):
    """What written wrote."""
    split = [[c.strip() for c in line.strip().strip("|").split("|")] for line in lines if line.startswith("|")]
    if not split:
        return {}
    return {line[0]: {c: text for c, text in zip(split[0][1:], line[1:]) if text != NONE} for line in split[2:]}


def into(text, name, result):
    """A document with the result in its table of that name."""
    begin, end = f"<!-- bench {name} -->\n", "<!-- end -->"
    if text.count(begin) != 1 or end not in text[text.index(begin):]:
        raise SystemExit(f"report.py: the file must have one line {begin.strip()} and {end} after it")
    start = text.index(begin) + len(begin)
    stop = text.index(end, start)
    old = text[start:stop].splitlines()
    table = parsed(old)
    for row, line in cells(result).items():
        before = table.get(row, {})
        kept = {f: before[f] if " at " in before[f] else f"{before[f]} at {before['commit']}"
                for f in rows.FAMILIES if f in before and f not in line}
        table[row] = {**kept, **line}
    new = written(table)
    # A source goes when nothing in the table is from its commits any more, or when its command was run again.
    def key(line):
        return re.findall("[0-9a-f]{7,}", line.split(":")[0]), re.findall("`(.*)`", line)

    new_source, figures = source(result), "\n".join(new)
    sources = [line for line in old if line.startswith("- ") and key(line) != key(new_source) and any(c in figures for c in key(line)[0])]
    return text[:start] + "\n".join([*new, "", new_source, *sources]) + "\n" + text[stop:]


def detail(result):
    """What each program reached, the models' sizes, PyTorch's memory before the model, and notes."""
    lines, models = [], {}
    for r in result["rows"]:
        if r.get("summary"):
            figures = "; ".join(f"{name} {shown(v)}" for name, v in r["summary"]["programs"].items())
            lines.append(f"- {r['name']}, {r['summary']['unit']}: {figures}")
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
    if result["machine"]["levels"]:
        lines.append(f"- levels: {', '.join(result['machine']['levels'])}")
    return lines + [f"- {n}" for n in result["notes"]]


def shown(v):
    return f"{number(v['median'])} ({number(v['min'])} – {number(v['max'])})"


def number(x):
    """Three significant digits, and all digits before the point."""
    if x >= 100:
        return f"{x:.0f}"
    return f"{x:.1f}" if x >= 10 else f"{x:.2f}"


if __name__ == "__main__":
    main()
