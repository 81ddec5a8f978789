"""`python -m oem_submissions_tests.bench [ROW…] [--json]`: the rows of the benchmark's table."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from typing import Any

from rich.console import Console

from oem_submissions_tests.bench import machine
from oem_submissions_tests.bench.report import Figures, Report
from oem_submissions_tests.bench.rows import COMPUTED, ROWS
from oem_submissions_tests.bench.stage import stage, versions


def main() -> int:
    """Tables, or with `--json` one document; what happens meanwhile goes to stderr."""
    known = (*ROWS, *COMPUTED)
    parser = argparse.ArgumentParser(prog="python -m oem_submissions_tests.bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}; all of them without")
    parser.add_argument("--repetitions", type=int, default=10, help="runs of every variant (default: 10)")
    parser.add_argument("--claims", type=int, default=3, help="claims of one run (default: 3)")
    parser.add_argument("--json", action="store_true", help="one document instead of tables")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.rows) - set(known)):
        parser.error(f"there is no row '{unknown[0]}'; there are {', '.join(known)}")
    if min(chosen.repetitions, chosen.claims) < 1:
        parser.error("--repetitions and --claims are 1 or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended, too, it stops the database and the portal
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    progress = Console(stderr=True)
    reports: dict[str, Report | Figures] = {}
    facts: dict[str, Any] = {}
    if staged := [name for name in chosen.rows or known if name in ROWS]:
        with stage() as on:
            facts = machine.facts(on.folder) | versions(on)
            for name in staged:
                with progress.status(f"Measuring: {name}"):
                    reports[name] = ROWS[name].measure(on, chosen.repetitions, chosen.claims)
    for name in [name for name in chosen.rows or known if name in COMPUTED]:
        with progress.status(f"Computing: {name}"):
            reports[name] = COMPUTED[name].measure(chosen.repetitions)
    if chosen.json:
        options = {"repetitions": chosen.repetitions, "claims": chosen.claims}
        rows = {name: report.document() for name, report in reports.items()}
        sys.stdout.write(json.dumps({"machine": facts, **options, "rows": rows}, indent=2) + "\n")
        return 0
    console = Console(width=100)
    for fact, value in facts.items():
        console.print(f"{fact.replace('_', ' ')}: {value}")
    if staged:
        console.print(f"{chosen.repetitions} repetitions of {chosen.claims} claims each, taking turns; medians.")
    for report in reports.values():
        report.show(console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
