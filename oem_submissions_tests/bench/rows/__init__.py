"""The rows of the table. A new one is a module here with `TITLE` and `measure`, and its name in `ROWS`.

A row that needs neither portal nor browser, or brings its own, is in `COMPUTED`; its `measure` takes only the
repetitions.
"""

from __future__ import annotations

from oem_submissions_tests.bench.rows import (
    drift,
    evidence,
    guarantees,
    interface,
    launcher,
    lookup,
    oems,
    scale,
    throughput,
)

ROWS = {"guarantees": guarantees, "evidence": evidence}
COMPUTED = {
    "drift": drift,
    "lookup": lookup,
    "scale": scale,
    "oems": oems,
    "interface": interface,
    "launcher": launcher,
    "throughput": throughput,
}
