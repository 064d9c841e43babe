"""Tests of the comparison's own arithmetic. Run: python3 -m unittest discover -s bench"""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import pairs
import report
import rows
import run

SPEED = rows.select("mnist-train")[0]
MEMORY = rows.select("mnist-memory")[0]


class Summary(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self):
        # The machine was four times slower in the second round: the ratio does not see it.
        s = report.summary(SPEED, [speeds(ours=100, eager=50, compile=40), speeds(ours=25, eager=10, compile=12.5)])
        self.assertEqual(s["times"]["PyTorch"], {"median": 2.25, "min": 2.0, "max": 2.5, "n": 2})
        self.assertEqual(s["times"]["PyTorch compiled"]["median"], 2.25)

    def test_a_family_stands_with_its_best_of_each_round(self):
        s = report.summary(SPEED, [speeds(ours=100, eager=50, channels_last=40), speeds(ours=25, eager=10, channels_last=12.5)])
        self.assertEqual(s["times"], {"PyTorch": {"median": 2.0, "min": 2.0, "max": 2.0, "n": 2}})
        self.assertEqual(s["families"]["PyTorch"], {"median": 31.25, "min": 12.5, "max": 50, "n": 2})

    def test_the_best_memory_is_the_smallest(self):
        s = report.summary(MEMORY, [{"ours": {"peak_rss_bytes": 100e6}, "eager": {"peak_rss_bytes": 800e6}, "channels_last": {"peak_rss_bytes": 400e6}}])
        self.assertEqual(s["times"]["PyTorch"]["median"], 4)
        self.assertEqual(s["programs"]["ours"]["median"], 100)

    def test_a_variant_that_failed_is_left_out(self):
        s = report.summary(SPEED, [speeds(ours=10, eager=5), speeds(ours=10)])
        self.assertEqual(s["times"]["PyTorch"]["n"], 1)
        self.assertEqual(s["programs"]["ours"]["n"], 2)


class Markdown(unittest.TestCase):
    def test_the_table_has_a_cell_for_each_family(self):
        rounds = [speeds(ours=100, eager=50, bf16=80), speeds(ours=110, eager=40, bf16=88)]
        text = report.markdown(result(SPEED, rounds))
        self.assertIn("| row | rounds | ours | PyTorch | PyTorch bf16 | commit |", text)
        self.assertIn("| mnist-train | 2 | 105 (100 – 110) | 45.0; **2.38×** (2.00 – 2.75) | 84.0; **1.25×** (1.25 – 1.25) | abc0001 |", text)

    def test_what_the_cpu_lacks_is_said_in_the_rows_that_would_have_it(self):
        r = result(SPEED, [speeds(ours=2, eager=1)])
        r["absent"] = {"PyTorch bf16": "no such CPU"}
        self.assertIn("| no such CPU | abc0001 |", report.markdown(r))
        r = result(MEMORY, [{"ours": {"peak_rss_bytes": 1e6}, "eager": {"peak_rss_bytes": 2e6}}])
        r["absent"] = {"PyTorch bf16": "no such CPU"}
        self.assertNotIn("no such CPU", report.markdown(r))

    def test_a_row_that_broke_off_is_not_shown(self):
        for rounds in ([], [{}]):
            self.assertNotIn("mnist-train", report.markdown(result(SPEED, rounds, summary=False)))

    def test_a_busy_machine_is_called_busy(self):
        for share, want in ((0.01, False), (0.5, True)):
            rounds = [{"ours": {"images_per_s": 2, "other_cpu": share}, "eager": {"images_per_s": 1, "other_cpu": share}}]
            self.assertEqual("machine was busy" in report.markdown(result(SPEED, rounds)), want)


class Into(unittest.TestCase):
    EMPTY = "before\n<!-- bench a -->\n<!-- end -->\nafter\n"

    def test_what_is_not_measured_again_stays_with_its_commit(self):
        old = result(SPEED, [speeds(ours=10, eager=5, compile=4)])
        memory = result(MEMORY, [{"ours": {"peak_rss_bytes": 1e6}, "eager": {"peak_rss_bytes": 2e6}}])
        new = result(SPEED, [speeds(ours=30, eager=10)])
        new["commit"] = "def0001"
        memory["settings"]["command"] = "run.py --rows mnist-memory"
        text = self.EMPTY
        for r in (old, memory, new):
            text = report.into(text, "a", r)
        self.assertTrue(text.startswith("before\n<!-- bench a -->\n| row |") and text.endswith("\n<!-- end -->\nafter\n"), text)
        self.assertIn("| mnist-train | 1 | 30.0 (30.0 – 30.0) | 10.0; **3.00×** (3.00 – 3.00) | 4.00; **2.50×** (2.50 – 2.50) at abc0001 | def0001 |", text)
        self.assertIn("| mnist-memory, MB | 1 | 1.00 (1.00 – 1.00) | 2.00; **2.00×** (2.00 – 2.00) | – | abc0001 |", text)
        self.assertEqual([line[:10] for line in text.splitlines() if line.startswith("- ")], ["- def0001:", "- abc0001:", "- abc0001:"])

    def test_the_source_of_a_commit_without_figures_goes(self):
        old, new = result(SPEED, [speeds(ours=10, eager=5)]), result(SPEED, [speeds(ours=30, eager=10)])
        new["commit"] = "def0001"
        text = report.into(report.into(self.EMPTY, "a", old), "a", new)
        self.assertNotIn("abc0001", text)

    def test_a_table_that_is_not_there_is_an_error(self):
        with self.assertRaisesRegex(SystemExit, "<!-- bench b -->"):
            report.into(self.EMPTY, "b", result(SPEED, [speeds(ours=1, eager=1)]))


class Pairs(unittest.TestCase):
    def test_the_ratio_is_the_median_of_the_pairs_own(self):
        # The machine was four times slower in the second pair, and the new program disturbed in the third.
        a = [{"old": 1.0, "new": 0.5}, {"old": 4.0, "new": 2.2}, {"old": 1.0, "new": 3.0}]
        text = pairs.table({"mnist-train": a, "rgb32-train": [{"old": 1.0, "new": 2.2}], "ddpm-cifar10-train": []})
        self.assertIn("| mnist-train | 3 | 1000 | 2200 | 0.550 (0.50 – 3.00) | 0.500 |", text)
        self.assertIn("Geometric mean 1.100, worst 2.200 (rgb32-train).", text)
        self.assertNotIn("ddpm-cifar10-train", text)

    def test_every_row_of_the_pairs_is_one_of_the_comparison(self):
        self.assertEqual([r.name for r in rows.select(",".join(pairs.STEPS))], list(pairs.STEPS))


class Rows(unittest.TestCase):
    def test_patterns_select_rows_in_order(self):
        names = [r.name for r in rows.select("*-memory, mnist-train")]
        self.assertEqual(names, ["mnist-train", "mnist-memory", "rgb32-memory", "ddpm-cifar10-memory"])

    def test_an_unknown_row_is_an_error_that_lists_the_rows(self):
        with self.assertRaisesRegex(ValueError, "cifar.*mnist-start"):
            rows.select("cifar")

    def test_programs_that_only_predict_have_no_part_in_training(self):
        measuring = {r.name for r in rows.ROWS if r.measures("openvino")}
        self.assertEqual(measuring, {f"{model}-sample-{n}" for model in ("mnist", "rgb32", "ddpm-cifar10") for n in (1, 16, 64)})
        self.assertTrue(SPEED.measures("bf16"))
        self.assertFalse(MEMORY.measures("bf16"))

    def test_names_are_unique(self):
        self.assertEqual(len({r.name for r in rows.ROWS}), len(rows.ROWS))

    def test_models_that_differ_are_not_compared(self):
        with self.assertRaisesRegex(run.Failed, "number of parameters"):
            run.same_model(SPEED, {"ours": {"params": 5}, "eager": {"params": 6}})


def speeds(**programs):
    return {name: {"images_per_s": v} for name, v in programs.items()}


def result(row, rounds, summary=True):
    entry = {"name": row.name, "kind": row.kind, "model": row.model, "mode": row.mode, "batch": row.batch, "rounds": rounds}
    if summary:
        entry["summary"] = report.summary(row, rounds)
    return {
        "started": "2000-01-01", "commit": "abc0001", "versions": {"go": "1.26"}, "notes": [], "rows": [entry],
        "machine": {"cpu": "cpu", "cores": 2, "memory_gb": 4, "system": "Linux", "levels": []},
        "settings": {"command": "run.py", "threads": 2, "rounds": 2},
    }


if __name__ == "__main__":
    unittest.main()
