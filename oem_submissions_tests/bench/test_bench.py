"""The benchmark runs, files what it measures, and says so in one document; what it says is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oem_submissions_tests.bench import steps
from oem_submissions_tests.bench.figures import Ratio, ratio


def test_ratios_are_of_what_was_measured_side_by_side() -> None:
    load = [1.0, 10.0, 100.0]
    assert ratio([1.2 * at for at in load], load) == Ratio(*[1.2] * 5)
    found = ratio([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])
    assert (found.least, found.median, found.most) == (2.0, 3.0, 4.0)
    assert found.least <= found.low <= found.median <= found.high <= found.most


def test_every_moment_counts_once_under_the_innermost_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps.time, "perf_counter", iter([0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0]).__next__)
    timeline = steps.Timeline()
    timeline.begin("fill")
    with timeline.inside("ledger"), timeline.inside("evidence"):
        pass
    timeline.begin("read back")
    assert timeline.seconds == {steps.OUTSIDE: 1, "fill": 2 + 32, "ledger": 4 + 16, "evidence": 8}


def test_every_row_measures_every_variant() -> None:
    rows = ["guarantees", "evidence", "drift", "lookup"]  # without those that start the whole stack
    command = [sys.executable, "-m", "oem_submissions_tests.bench", *rows, "--repetitions", "1", "--claims", "1"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    row = said["rows"]["guarantees"]
    assert set(row["seconds_per_claim"]) == {"as it is", "without them", "bare script"}
    assert all(costs["wall"] > 0 and costs["cpu"] > 0 for costs in row["seconds_per_claim"].values())
    assert {"fill", "read back", "ledger: arm", "ledger: record_sent"} <= set(row["steps"]["as it is"])
    assert "ledger: acquire_lease" in row["steps"]["as it is"]
    assert said["machine"]["cores"] >= 1
    evidence = said["rows"]["evidence"]["tables"]
    kept = {line[""]: line["bytes"] for line in evidence["bytes per claim"]}
    assert kept["bundle: data/pre_submit.webp"] + kept["bundle: data/post_confirm.webp"] < kept["bundle, whole"]
    assert all(line["ms"] > 0 for line in evidence["ms per claim"])
    assert len([line for line in evidence["verifications per second"] if line["per second"] > 0]) == 3
    limits = said["rows"]["drift"]["tables"]["outcomes, exactly"]
    assert [line["in a row"] for line in limits] == [2, 3, 3]
