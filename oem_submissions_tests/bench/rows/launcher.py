"""What it costs that Dagster runs something at all: from the launch to the first op, and from the last op to the end.

The same run, with our code loaded and three ops that do nothing, by Dagster's default launcher and by the warm one,
taking turns: real code server, PostgreSQL, no browser. Counted is the process tree with the children that ended: code
server, workers, warm server, PostgreSQL; without what the worker spent between its first op and its last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import psutil
from dagster import DagsterInstance
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import PythonFileTarget

from oem_submissions.defs.warm_pool import pool_below
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions_tests.bench.meter import Cost, Meter
from oem_submissions_tests.bench.report import Report, compare

TITLE = "A run's fixed cost: default launcher and warm one (three empty ops, seconds per run)"
DEFAULT, WARM = "default launcher", "warm launcher"
_CONFIG = """
storage:
  postgres:
    postgres_url: {url}
run_launcher:
  module: oem_submissions.defs.run_launcher
  class: WarmRunLauncher
telemetry:
  enabled: false
"""
_CODE = """
import os, time
from pathlib import Path
from dagster import Definitions, In, Nothing, in_process_executor, job, op
import oem_submissions.definitions

@op(ins={"after": In(Nothing)})
def work(context):
    with Path(os.environ["BENCH_OPS"], context.run_id).open("a") as file:
        file.write(f"{time.process_time()} {time.time()}\\n")

@job(executor_def=in_process_executor)
def empty():
    work.alias("last")(work.alias("second")(work.alias("first")()))

defs = Definitions(jobs=[empty])
"""


@dataclass
class Ground:
    """Instance, code server, and where the ops say what they had used."""

    folder: Path
    instance: DagsterInstance
    workspace: WorkspaceRequestContext
    server: psutil.Process
    postmaster: int


def measure(repetitions: int) -> Report:
    """`repetitions` runs by each launcher."""
    with _ground() as on:
        for way in (DEFAULT, WARM):
            _once(on, way)  # not counted: starts the warm server, and fills caches
        costs: dict[str, list[Cost]] = {DEFAULT: [], WARM: []}
        for turn in range(repetitions):
            for way in (DEFAULT, WARM) if turn % 2 else (WARM, DEFAULT):
                costs[way].append(_once(on, way))
    return Report(TITLE, costs, [compare(costs, WARM, DEFAULT)])


def _once(on: Ground, way: str) -> Cost:
    repository = next(iter(on.workspace.code_locations[0].get_repositories().values()))
    job, code = repository.get_full_job("empty"), on.folder / "code.py"
    pointer = ReconstructableRepository.for_file(str(code), "empty", str(on.folder)).get_reconstructable_job("empty")
    run = on.instance.create_run_for_job(
        pointer.get_definition(),
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
    )
    word = "on" if way == WARM else "off"
    meter = Meter(others=(on.postmaster, *pool_below(on.folder).servers()))
    with patch.dict(os.environ, OEM_SUBMISSIONS_WARM_RUNS=word), meter.measure() as measured:
        on.instance.launch_run(run.run_id, on.workspace)
        while not on.instance.get_run_by_id(run.run_id).is_finished or _working(on, run.run_id):  # type: ignore[union-attr]
            time.sleep(0.2)
    lines = (on.folder / "ops" / run.run_id).read_text().split("\n")
    (first, began), (last, ended) = (tuple(map(float, line.split())) for line in (lines[0], lines[2]))
    return Cost(measured[0].wall - (ended - began), measured[0].cpu - (last - first))


def _working(on: Ground, run_id: str) -> bool:
    """Whether the run's process is still there: its CPU counts when its parent has buried it."""
    worker = pool_below(on.folder).worker(run_id)
    if worker is not None:
        return worker.alive or worker.exit_code is None
    return any(map(_spawned, on.server.children()))


def _spawned(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False


@contextmanager
def _ground() -> Iterator[Ground]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="oem-submissions-bench-"))).resolve()
        opened.enter_context(_nothing_on_stdout())
        opened.enter_context(patch.dict(os.environ, compiled(folder) | {"BENCH_OPS": str(folder / "ops")}))
        (folder / "ops").mkdir()
        (folder / "code.py").write_text(_CODE)
        database = EmbeddedPostgres(folder / "postgres")
        opened.callback(database.stop)
        url = database.url("dagster").replace("postgresql://", "postgresql+psycopg2://", 1)
        (folder / "dagster.yaml").write_text(_CONFIG.format(url=url))
        instance = opened.enter_context(DagsterInstance.from_config(str(folder)))
        opened.callback(pool_below(folder).end)
        target = PythonFileTarget(str(folder / "code.py"), None, str(folder), "code")
        process = opened.enter_context(WorkspaceProcessContext(instance, target))
        server = next(
            p for p in psutil.Process().children() if "dagster" in " ".join(p.cmdline()) and "grpc" in p.cmdline()
        )
        postmaster = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        yield Ground(folder, instance, process.create_request_context(), server, postmaster)


@contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """The code server talks there, where the document is to be alone."""
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)


def compiled(folder: Path) -> dict[str, str]:
    """Variables with which Python keeps what it compiled, as an installation does, whatever this shell says."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
