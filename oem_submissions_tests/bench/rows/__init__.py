"""The rows of the table. A new one is a module here with `TITLE` and `measure`, and its name in `ROWS`."""

from __future__ import annotations

from oem_submissions_tests.bench.rows import guarantees

ROWS = {"guarantees": guarantees}
