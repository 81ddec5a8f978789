"""What lies in `deploy/`, read for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
ROLE = "oem-submissions/role"


@cache
def documents() -> list[dict[str, Any]]:
    """Every object of every manifest."""
    return [found for path in sorted(KUBERNETES.glob("*.yaml")) for found in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> list[dict[str, Any]]:
    """The objects of a kind."""
    return [found for found in documents() if found["kind"] == kind]


@cache
def helm_values() -> dict[str, Any]:
    """Our values for Dagster's chart."""
    values: dict[str, Any] = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
    return values


def settings_map() -> dict[str, str]:
    """The settings that all pods get."""
    (found,) = of_kind("ConfigMap")
    data: dict[str, str] = found["data"]
    return data


@dataclass(frozen=True)
class Pod:
    """A pod of a manifest: its template."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """The only one."""
        (found,) = self.spec["containers"]
        container: dict[str, Any] = found
        return container


def pods() -> Iterator[Pod]:
    """Every pod that our own manifests make."""
    for found in documents():
        spec = found.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            template = spec["template"]
            yield Pod(found["metadata"]["name"], template["metadata"]["labels"], template["spec"])
