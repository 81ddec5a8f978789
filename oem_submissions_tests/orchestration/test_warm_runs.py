"""Runs from a warm process: real Dagster, real processes; one warm server for the module's tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._serdes import serialize_value

from oem_submissions.defs.run_launcher import WarmRunLauncher
from oem_submissions.defs.warm_pool import WarmPool, Worker, pool_below

CONFIG = """
run_launcher:
  module: oem_submissions.defs.run_launcher
  class: WarmRunLauncher
  config:
    memory_mib: 500
    watch_seconds: 0.2
"""
CODE = """
import os, sys, time
from pathlib import Path
from dagster import in_process_executor, job, op

CAME_WITH = set(sys.modules)

@op
def say(context):
    print("VERSION", os.environ.get("SAID"))
    ours = sorted(name for name in CAME_WITH if name.startswith(("oem_submissions.definitions", "adapters")))
    print("stale:", ours)
    print("children:", [p for p in os.listdir("/proc") if p.isdigit() and f"PPid:\\t{os.getpid()}\\n" in status(p)])

def status(pid):
    try:
        return Path("/proc", pid, "status").read_text()
    except OSError:
        return ""

@op
def bring():
    import oem_submissions.definitions
    had = {name.partition(".")[0] for name in CAME_WITH} | sys.stdlib_module_names | {"oem_submissions", "adapters"}
    print("brought:", sorted({name.partition(".")[0] for name in sys.modules} - had))

@op
def stay():
    print("here", flush=True)
    Path(os.environ["HERE"]).touch()
    while not Path(os.environ["HERE"] + ".go").exists():
        time.sleep(0.02)

@op
def swell():
    kept = bytearray(os.urandom(1 << 20) * 600)
    time.sleep(60)

@job(executor_def=in_process_executor)
def speaks():
    say()
    bring()

@job(executor_def=in_process_executor)
def stays():
    stay()

@job(executor_def=in_process_executor)
def swells():
    swell()
"""
_PATIENCE = 60


@dataclass
class World:
    """An instance with the launcher, and code that runs can be made of."""

    home: Path
    instance: DagsterInstance
    code: Path

    @property
    def pool(self) -> WarmPool:
        return pool_below(self.home)

    @property
    def launcher(self) -> WarmRunLauncher:
        assert isinstance(self.instance.run_launcher, WarmRunLauncher)
        return self.instance.run_launcher

    def new_run(self, job: str) -> DagsterRun:
        code = reconstructable(self.code, job)
        return self.instance.create_run_for_job(code.get_definition(), job_code_origin=code.get_python_origin())

    def launch(self, job: str) -> DagsterRun:
        run = self.new_run(job)
        self.instance.launch_run(run.run_id, None)  # type: ignore[arg-type]
        return run

    def worker(self, run: DagsterRun) -> Worker:
        worker = self.pool.worker(run.run_id)
        assert worker is not None
        return worker

    def status(self, run: DagsterRun) -> DagsterRunStatus:
        now = self.instance.get_run_by_id(run.run_id)
        assert now is not None
        return now.status

    def end_of(self, run: DagsterRun) -> DagsterRunStatus:
        """When the run has ended and its process, too."""
        until(
            lambda: self.status(run) in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
        )
        until(lambda: (worker := self.pool.worker(run.run_id)) is None or not worker.alive)
        return self.status(run)

    def said(self, run: DagsterRun) -> str:
        """What the run's steps wrote, as the UI shows it."""
        (captured,) = [
            record.dagster_event.logs_captured_data
            for record in self.instance.all_logs(run.run_id)
            if record.dagster_event and record.dagster_event.event_type_value == "LOGS_CAPTURED"
        ]
        manager = self.instance.compute_log_manager
        key = manager.build_log_key_for_run(run.run_id, captured.file_key)
        return (manager.get_log_data_for_type(key, ComputeIOType.STDOUT, 0, None)[0] or b"").decode()

    def messages(self, run: DagsterRun) -> str:
        return "\n".join(record.message for record in self.instance.all_logs(run.run_id))


def reconstructable(code: Path, job: str) -> ReconstructableJob:
    return ReconstructableRepository.for_file(str(code), job, str(code.parent)).get_reconstructable_job(job)


def until(so: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("a-folder-whose-path-is-longer-than-the-address-of-a-socket-may-be-" + 60 * "x")
    (home / "dagster.yaml").write_text(CONFIG)
    yield home
    pool_below(home).end()
    assert [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or [])] == []


@pytest.fixture
def world(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    code = tmp_path / "code.py"
    code.write_text(CODE)
    monkeypatch.setenv("HERE", str(tmp_path / "here"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("SAID", "hello")
    with DagsterInstance.from_config(str(home)) as instance:
        yield World(home, instance, code)


@pytest.fixture
def here(world: World) -> Path:
    """Is there when the step `stay` has begun; with `.go` it ends."""
    return Path(os.environ["HERE"])


def go(here: Path) -> None:
    here.with_name("here.go").touch()


def test_a_run_has_the_libraries_and_nothing_of_ours_and_its_code_and_environment_are_those_of_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.launch("speaks")
    assert world.end_of(first) is DagsterRunStatus.SUCCESS
    said = world.said(first).splitlines()
    # No process that copies its output; and no library left to import.
    assert sorted(said) == ["VERSION hello", "brought: []", "children: []", "stale: []"]
    assert oct(world.pool.folder.stat().st_mode)[-3:] == "700"
    until(lambda: world.pool.worker(first) is None)  # nothing is left of a worker that ended well
    world.code.write_text(CODE.replace("VERSION", "VERSION 2 of the code"))
    monkeypatch.setenv("SAID", "good-bye")
    second = world.launch("speaks")
    assert world.end_of(second) is DagsterRunStatus.SUCCESS
    assert "VERSION 2 of the code good-bye\n" in world.said(second)
    assert "hello" not in str(psutil.Process().cmdline())


def test_a_worker_that_is_killed_is_seen_and_its_run_fails_at_once(world: World, here: Path) -> None:
    run = world.launch("stays")
    until(here.exists)
    worker = world.worker(run)
    assert world.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) == 500
    os.kill(worker.pid, signal.SIGKILL)
    assert world.end_of(run) is DagsterRunStatus.FAILURE  # nobody asked: run monitoring would, twice a minute
    health = world.launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (WorkerStatus.FAILED, f"process {worker.pid} ended with code -9")
    assert "The run's worker ended with code -9." in world.messages(run)


def test_a_worker_that_uses_too_much_memory_is_ended_and_the_run_says_so(world: World) -> None:
    run = world.launch("swells")
    assert world.end_of(run) is DagsterRunStatus.FAILURE
    assert "MiB, and 500 are allowed" in world.messages(run)


def test_a_run_is_cancelled_by_any_process_that_has_the_instance(world: World, here: Path) -> None:
    run = world.launch("stays")
    until(here.exists)
    with DagsterInstance.from_config(str(world.home)) as other:
        assert other.run_launcher.terminate(run.run_id)
    assert world.end_of(run) is DagsterRunStatus.CANCELED
    assert not world.launcher.terminate(run.run_id)


def test_nothing_runs_for_whoever_gave_up_before_saying_go(world: World, here: Path) -> None:
    go(here)
    assert world.end_of(world.launch("stays")) is DagsterRunStatus.SUCCESS  # there is a server
    here.unlink()
    run = world.new_run("stays")
    record = world.pool.folder / "runs" / f"{run.run_id}.json"
    request = {
        "run_id": run.run_id,
        "instance": serialize_value(world.instance.get_ref()),
        "record": str(record),
        "environment": dict(os.environ),
        "directory": str(world.home),
        "path": sys.path,
    }
    (path,) = world.pool.folder.glob("*.sock")
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        asking.sendall(json.dumps(request).encode() + b"\n")
        assert asking.recv(16) == b"ready\n"
        child = json.loads(record.read_text())["pid"]
        assert psutil.pid_exists(child)
    until(lambda: not psutil.pid_exists(child))
    assert (here.exists(), world.pool.worker(run.run_id)) == (False, None)
    assert world.status(run) is DagsterRunStatus.NOT_STARTED


def test_a_run_outlives_the_daemon_that_launched_it_and_the_next_one_knows_its_worker(world: World, here: Path) -> None:
    run = world.new_run("stays")
    code = f"""
import time
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    instance.launch_run({run.run_id!r}, None)
    time.sleep(600)
"""
    daemon = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    until(here.exists)
    os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()
    assert world.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    go(here)
    assert world.end_of(run) is DagsterRunStatus.SUCCESS


def test_a_worker_outlives_its_server_and_when_it_dies_then_it_is_seen(world: World, here: Path) -> None:
    run = world.launch("stays")
    until(here.exists)
    worker = world.worker(run)
    server = psutil.Process(worker.pid).parent()
    assert server is not None
    server.kill()
    assert world.launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    os.kill(worker.pid, signal.SIGKILL)
    until(lambda: not worker.alive)
    health = world.launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (WorkerStatus.NOT_FOUND, f"process {worker.pid} ended")


def test_another_process_that_got_the_workers_id_is_not_taken_for_it(tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        record.write_text(json.dumps({"pid": stranger.pid, "started": "another boot:17", "went": True}))
        assert (Worker(record).alive, Worker(record).interrupt()) == (False, False)
        assert stranger.poll() is None
        stranger.communicate(b"\n")


def test_where_no_warm_process_can_be_the_run_is_started_in_dagsters_own_way_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text(CONFIG)
    (tmp_path / "code.py").write_text(f"{CODE}\nfrom dagster import Definitions\ndefs = Definitions(jobs=[stays])\n")
    monkeypatch.setenv("HERE", str(tmp_path / "here"))
    (tmp_path / "here.go").touch()
    (tmp_path / "warm").write_text("no folder")
    target = PythonFileTarget(str(tmp_path / "code.py"), None, str(tmp_path), "code")
    with (
        DagsterInstance.from_config(str(tmp_path)) as instance,
        WorkspaceProcessContext(instance, target) as process,
    ):
        workspace = process.create_request_context()
        location = workspace.code_locations[0]
        (repository,) = location.get_repositories().values()
        job = repository.get_full_job("stays")
        code = reconstructable(tmp_path / "code.py", "stays")
        run = instance.create_run_for_job(
            code.get_definition(),
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
        )
        instance.launch_run(run.run_id, workspace)
        world = World(tmp_path, instance, tmp_path / "code.py")
        until(lambda: world.status(run) is DagsterRunStatus.SUCCESS)
        assert "Not started from a warm process, but slowly, in Dagster's own way: " in world.messages(run)
        ran = instance.get_run_by_id(run.run_id)
        assert ran is not None
        assert instance.run_launcher.check_run_worker_health(ran).status is WorkerStatus.RUNNING  # nobody can tell
