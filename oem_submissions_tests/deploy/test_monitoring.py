"""Rules and dashboard ask only for what `/metrics` says, and a rule leads to a page that tells what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from oem_submissions_tests.deploy.manifests import DEPLOY, ROLE, ROOT, pods
from oem_submissions_tests.desk.access import at_the_desk, listening
from oem_submissions_tests.desk.ledger import made_up


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DEPLOY / "grafana" / "oem-submissions.json").read_text())["panels"]
    return found


def questions() -> Iterator[str]:
    """Every expression."""
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of every sample that the desk exports, by its name."""
    ledger = made_up()
    with listening(at_the_desk(ledger, ledger.store)) as url:
        text = httpx.get(f"{url}/metrics", timeout=20).text
    return {s.name: set(s.labels) for family in text_string_to_metric_families(text) for s in family.samples}


def test_every_metric_and_label_that_is_asked_for_is_exported(exported: dict[str, set[str]]) -> None:
    asked: set[str] = set()
    for question in questions():
        for name, matchers in re.findall(r"(oem_submissions_\w+)(?:\{([^}]*)\})?", question):
            assert name in exported, question
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= exported[name], question
            asked.add(name)
        for labels in re.findall(r"max by \(([^)]*)\) \((?:increase\()?(oem_submissions_\w+)", question):
            assert {label.strip() for label in labels[0].split(",")} <= exported[labels[1]], question
    assert asked == exported.keys(), "what is exported is shown or watched"


def test_every_question_is_closed_and_adds_no_replicas_up() -> None:
    for question in questions():
        assert question.count("(") == question.count(")"), question
        if "oem_submissions_" in question:
            assert re.search(r"max( by| without|\()", question), question


def test_a_rule_leads_to_what_to_do() -> None:
    text = (DEPLOY / "runbook.md").read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    for rule in rules():
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page) == DEPLOY / "runbook.md"
        assert anchor in anchors, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_prometheus_asks_the_desks_pods_under_the_name_that_the_rules_know() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "scrape.yaml").read_text())["scrape_configs"]
    assert set(re.findall(r'up\{job="([^"]+)"\}', " ".join(questions()))) == {job["job_name"]}
    (desk,) = [pod for pod in pods() if pod.name == "desk"]
    ports = [port["name"] for port in desk.container["ports"]]
    assert job["relabel_configs"][0]["regex"] == f"{desk.labels[ROLE]};{ports[0]}"
    role = f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9]', '_', ROLE)}"
    assert job["relabel_configs"][0]["source_labels"][0] == role
    assert (job["metrics_path"], job["authorization"]["type"]) == ("/metrics", "Bearer")


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not mine & taken, panel["title"]
        taken |= mine
