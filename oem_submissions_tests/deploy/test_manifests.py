"""The manifests: valid, without rights and secrets, and naming only commands, settings and OEMs that there are."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter

import kubernetes_validate
import pytest
from click.testing import CliRunner, Result
from typer.main import get_command

from adapters.registry import ADAPTERS
from oem_submissions.cli.app import app
from oem_submissions.settings import read_settings
from oem_submissions_tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    ROLE,
    ROOT,
    Pod,
    documents,
    helm_values,
    of_kind,
    pods,
    settings_map,
)

VERSIONS = ("1.30", "1.34")
PODS = {pod.name: pod for pod in pods()}
COMMAND = get_command(app)


def asked_for_help(*words: str) -> Result:
    """What the command line says of these words; a word or an option that is unknown is refused before the help."""
    return CliRunner().invoke(COMMAND, [*words, "--help"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_as_kubernetes_wants_it(version: str) -> None:
    for found in documents():
        kubernetes_validate.validate(found, version, strict=True)


def test_no_object_is_there_twice_and_none_is_a_secret_or_gives_rights() -> None:
    names = Counter((found["kind"], found["metadata"]["name"]) for found in documents())
    assert max(names.values()) == 1
    kinds = {kind for kind, _ in names}
    assert not kinds & {"Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
    namespaces = {found["metadata"].get("namespace", found["metadata"]["name"]) for found in documents()}
    assert namespaces == {"oem-submissions"}


@pytest.mark.parametrize("pod", PODS.values(), ids=list(PODS))
def test_a_pod_has_no_more_rights_than_it_needs(pod: Pod) -> None:
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["serviceAccountName"] in {found["metadata"]["name"] for found in of_kind("ServiceAccount")}
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod.container["securityContext"] == security
    assert pod.container["resources"]["limits"]["memory"]
    volumes = {volume["name"] for volume in pod.spec["volumes"]}
    assert {mount["name"] for mount in pod.container["volumeMounts"]} == volumes
    values = helm_values()["dagsterDaemon"]["image"]
    assert pod.container["image"] == f"{values['repository']}:{values['tag']}"


@pytest.mark.parametrize("pod", PODS.values(), ids=list(PODS))
def test_a_pod_runs_a_command_that_there_is(pod: Pod) -> None:
    program, *words = pod.container["command"]
    if program == "dagster":
        assert words == ["instance", "migrate"]
        return
    assert program == "oem-submissions"
    done = asked_for_help(*words)
    assert done.exit_code == 0, done.output


def test_a_command_that_there_is_not_is_refused() -> None:
    assert asked_for_help("enqueue", "aurora", "--no-such").exit_code == 2
    assert asked_for_help("enqueues", "aurora").exit_code == 2


def test_the_commands_that_must_run_do() -> None:
    ours = {tuple(pod.container["command"][1:]) for pod in PODS.values()}
    assert {("migrate",), ("watch",), ("evidence", "prune", "--by", "cron")} < ours
    assert {("enqueue", oem) for oem in ("aurora", "borealis", "cascade")} < ours


def test_the_cronjobs_only_enqueue_at_the_oems_cadence_and_never_at_once() -> None:
    jobs = [found for found in of_kind("CronJob") if found["metadata"]["labels"][ROLE] == "enqueue"]
    for job in jobs:
        spec, oem = job["spec"], job["metadata"]["name"].removeprefix("enqueue-")
        cadence = ADAPTERS[oem].cadence
        assert (spec["schedule"], spec["timeZone"]) == (cadence.cron, cadence.timezone)
        assert PODS[job["metadata"]["name"]].container["command"] == ["oem-submissions", "enqueue", oem]
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["startingDeadlineSeconds"] > 0
        assert spec["jobTemplate"]["spec"]["backoffLimit"] == 2
        secrets = [source["secretRef"]["name"] for source in PODS[job["metadata"]["name"]].container["envFrom"][1:]]
        assert secrets == ["oem-submissions-core"], "a scheduler has no portal's and no CRM's key"


def test_every_setting_is_known_none_is_secret_and_together_they_are_valid() -> None:
    known = (ROOT / ".env.example").read_text()
    settings = settings_map()
    for name in settings:
        assert re.search(rf"^# {name}=", known, re.MULTILINE) or (
            name.startswith("OEM_SUBMISSIONS_PORTAL_URL_") and name.rpartition("_")[2].lower() in ADAPTERS
        ), name
        assert not re.search("SECRET|PASSWORD|TOKEN|DATABASE", name)
    read = read_settings(settings)
    assert read.evidence.startswith("s3://")
    assert read.signing_key_path is None, "a file below an ephemeral home would be a new, untrusted key per pod"
    assert read.personal_key
    assert read.desk.oidc
    for pod in PODS.values():
        inline = {entry["name"] for entry in pod.container["env"]}
        assert inline <= {"TMPDIR", "USER", "DAGSTER_PG_PASSWORD"}


def test_every_role_that_a_policy_names_is_somebodys_and_nobody_is_forgotten() -> None:
    named: set[str] = set()
    for policy in of_kind("NetworkPolicy"):
        text = json.dumps(policy["spec"])
        for found in re.findall(rf'"key": "{ROLE}", "operator": "In", "values": \[([^\]]*)\]', text):
            named |= set(json.loads(f"[{found}]"))
        named |= set(re.findall(rf'"{ROLE}": "(\w+)"', text))
    values = helm_values()
    charts = [values["dagsterDaemon"]["labels"], values["dagsterWebserver"]["labels"]]
    charts += [deployment["labels"] for deployment in values["dagster-user-deployments"]["deployments"]]
    charts.append(values["runLauncher"]["config"]["k8sRunLauncher"]["labels"])
    roles = {labels[ROLE] for labels in charts} | {pod.labels[ROLE] for pod in PODS.values()}
    assert named <= roles
    assert roles - named == {"enqueue", "migrate"}, "they need the database and nothing else"
    (deny,) = [p for p in of_kind("NetworkPolicy") if p["metadata"]["name"] == "nothing-by-default"]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_desk_and_the_watch_survive_the_loss_of_a_node() -> None:
    deployments = {found["metadata"]["name"]: found["spec"] for found in of_kind("Deployment")}
    budgets = {found["metadata"]["name"]: found["spec"] for found in of_kind("PodDisruptionBudget")}
    assert deployments.keys() == budgets.keys() == {"desk", "watch"}
    for name, spec in deployments.items():
        assert spec["replicas"] > budgets[name]["minAvailable"]
        assert spec["selector"] == budgets[name]["selector"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    desk = PODS["desk"].container
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert desk[probe]["httpGet"] == {"path": "/health", "port": "http"}
    (service,) = of_kind("Service")
    assert service["spec"]["selector"] == deployments["desk"]["selector"]["matchLabels"]


def test_the_browsers_profile_lets_it_make_its_sandbox_and_refuses_what_is_not_named() -> None:
    profile = json.loads((KUBERNETES / "chromium-seccomp.json").read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    (rule,) = profile["syscalls"]
    assert rule["action"] == "SCMP_ACT_ALLOW"
    allowed = set(rule["names"])
    assert {"clone", "clone3", "unshare", "chroot"} <= allowed
    dangerous = {"bpf", "mount", "umount2", "setns", "ptrace", "kexec_load", "init_module", "finit_module", "keyctl",
                 "perf_event_open", "userfaultfd", "open_by_handle_at", "process_vm_writev", "reboot",
                 "io_uring_setup", "pivot_root"}  # fmt: skip
    assert not allowed & dangerous


def test_every_command_that_the_pages_name_is_one() -> None:
    text = "".join((DEPLOY / name).read_text() for name in ("README.md", "runbook.md"))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    spans = [span.removeprefix("oem-submissions ").split("|")[0] for span in re.findall(r"`([^`\n]+)`", text)]
    named = {span for span in spans if span.split(" ")[0] in known and " " in span}
    assert len(named) > 12
    for words in named:
        done = asked_for_help(*shlex.split(words))
        assert done.exit_code == 0, (words, done.output)
