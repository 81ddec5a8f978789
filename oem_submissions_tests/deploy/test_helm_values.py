"""Our values for Dagster's chart: the queue is dagster.yaml's, and a run's Job is what it should be, field by field."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes_validate
import pytest
import yaml
from dagster import DagsterRun
from dagster._cli.api import ExecuteRunArgs
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_aws.s3 import S3ComputeLogManager
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job
from dagster_postgres.utils import pg_url_from_config

from oem_submissions.defs.run_coordinator import TaggingRunCoordinator
from oem_submissions_tests.deploy.manifests import KUBERNETES, ROLE, ROOT, helm_values, of_kind, settings_map

PASSWORD = "hunter2"
IMAGE = "registry.example/oem-submissions:0.1.0"
RUN = "3f0c6d1e-9a3b-4b8e-8b0c-52a4e1f0c7aa"


def snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def launcher_config() -> dict[str, Any]:
    """The launcher's configuration as the chart writes it (its template `_run-launcher.tpl`), name by name."""
    given = helm_values()["runLauncher"]["config"]["k8sRunLauncher"]
    config = {
        snake(name): given[name]
        for name in ("loadInclusterConfig", "imagePullPolicy", "volumes", "volumeMounts", "labels", "resources",
                     "securityContext")
    }  # fmt: skip
    return config | {
        "job_namespace": "oem-submissions",
        "service_account_name": "dagster",
        "dagster_home": helm_values()["global"]["dagsterHome"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": helm_values()["global"]["postgresqlSecretName"],
        "env_config_maps": [source["name"] for source in given["envConfigMaps"]],
        "env_secrets": [source["name"] for source in given["envSecrets"]],
        "run_k8s_config": {snake(name): value for name, value in given["runK8sConfig"].items()},
    }


def instance_config() -> dict[str, Any]:
    """`dagster.yaml` as the chart writes it from our values (its template `configmap-instance.yaml`)."""
    values = helm_values()
    coordinator = values["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    runs, monitoring = values["concurrency"]["runs"], values["dagsterDaemon"]["runMonitoring"]
    logs = values["computeLogManager"]["config"]["s3ComputeLogManager"]
    return {
        "storage": {"postgres": {"postgres_db": postgres_config()}},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher_config()},
        "run_coordinator": coordinator,
        "concurrency": {
            "runs": {
                "max_concurrent_runs": runs["maxConcurrentRuns"],
                "tag_concurrency_limits": runs["tagConcurrencyLimits"],
            }
        },
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": "S3ComputeLogManager",
            "config": {snake(name): value for name, value in logs.items()},
        },
        "run_monitoring": {snake(name): value for name, value in monitoring.items()},
        "python_logs": {snake(name): value for name, value in values["pythonLogs"].items()},
        "telemetry": values["telemetry"],
        "retention": {
            name: {"purge_after_days": values["retention"][name]["purgeAfterDays"]} for name in ("schedule", "sensor")
        },
        **values["additionalInstanceConfig"],
    }


def postgres_config() -> dict[str, Any]:
    given = helm_values()["postgresql"]
    return {
        "username": given["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": given["postgresqlHost"],
        "db_name": given["postgresqlDatabase"],
        "port": given["service"]["port"],
        "params": given["postgresqlParams"],
        "scheme": given["postgresqlScheme"],
    }


def test_the_queue_is_the_one_of_dagster_yaml() -> None:
    here, there = instance_config(), yaml.safe_load((ROOT / "dagster.yaml").read_text())
    for part in ("concurrency", "run_coordinator", "python_logs", "telemetry", "retention", "nux"):
        assert here[part] == there[part], part
    assert there["run_monitoring"].items() <= here["run_monitoring"].items()
    assert here["run_monitoring"]["max_resume_run_attempts"] == 0
    assert helm_values()["dagsterDaemon"]["runRetries"] == there["run_retries"] == {"enabled": False}
    coordinator = here["run_coordinator"]
    assert (coordinator["module"], coordinator["class"]) == (
        TaggingRunCoordinator.__module__,
        TaggingRunCoordinator.__name__,
    )


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstanceRef:
    """What Dagster makes of it: an unknown name, or a value of the wrong kind, would be refused."""
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", PASSWORD)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance_config()))
    return InstanceRef.from_dir(str(tmp_path))


def test_dagster_takes_the_configuration(instance: InstanceRef) -> None:
    assert isinstance(instance.run_coordinator, TaggingRunCoordinator)
    assert instance.run_coordinator.dequeue_interval_seconds == 1
    logs = process_config(S3ComputeLogManager.config_type(), instance_config()["compute_logs"]["config"])
    assert logs.success, logs.errors
    launcher = process_config(K8sRunLauncher.config_type(), launcher_config())
    assert launcher.success, launcher.errors
    assert pg_url_from_config({"postgres_db": postgres_config() | {"password": PASSWORD}}).startswith(
        "postgresql+psycopg2://dagster:"
    )


@pytest.fixture
def job(instance: InstanceRef, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The Kubernetes Job of a run, made by dagster-k8s as its launcher makes it."""
    cluster = {"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "none", "context": {"cluster": "none", "user": "nobody"}}
    nowhere = {"apiVersion": "v1", "kind": "Config", "current-context": "none", "clusters": [cluster],
               "contexts": [context], "users": [{"name": "nobody", "user": {}}]}  # fmt: skip
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(nowhere))
    config = process_config(K8sRunLauncher.config_type(), launcher_config()).value
    reached = {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    launcher = K8sRunLauncher(**(config | reached))
    code = RepositoryPythonOrigin("python", ModuleCodePointer("oem_submissions.definitions", "defs"), IMAGE, None, {})
    origin = JobPythonOrigin("__ASSET_JOB", code)
    tags = {"oem": "aurora", "dealer": "10234", "period": "2026-11-25"}
    run = DagsterRun("__ASSET_JOB", RUN, tags=tags, job_code_origin=origin)
    asked = launcher.get_container_context_for_run(run)
    made = construct_dagster_k8s_job(
        asked.get_k8s_job_config(IMAGE, launcher),
        ExecuteRunArgs(
            origin, RUN, instance, set_exit_code_on_failure=launcher.fail_pod_on_run_failure
        ).get_command_args(),
        f"dagster-run-{RUN}",
        asked.run_k8s_config,
        component="run_worker",
        labels={"dagster/run-id": RUN},
    )
    yield kubernetes.client.ApiClient().sanitize_for_serialization(made)
    assert os.environ["DAGSTER_PG_PASSWORD"] == PASSWORD


def test_a_runs_job_is_valid_and_never_tried_again(job: dict[str, Any]) -> None:
    kubernetes_validate.validate(job, "1.34", strict=True)
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    pod = job["spec"]["template"]
    assert pod["metadata"]["labels"][ROLE] == "worker"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 120
    assert pod["spec"]["serviceAccountName"] in {found["metadata"]["name"] for found in of_kind("ServiceAccount")}
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_run_is_no_root_and_its_browser_may_make_a_sandbox(job: dict[str, Any]) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    security = job["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    profile = security["seccompProfile"]
    assert profile["type"] == "Localhost"
    assert (KUBERNETES / Path(profile["localhostProfile"]).name).exists()


def test_a_runs_browser_has_memory_and_places_to_write(job: dict[str, Any]) -> None:
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "512Mi"}
    assert {"/tmp", "/var/lib/oem-submissions", "/opt/dagster/dagster_home"} <= mounts.keys()
    assert container["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}


def test_a_run_gets_its_secrets_by_reference_and_shows_none(job: dict[str, Any]) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    assert container["args"][:5] == ["python", "-m", "dagster", "api", "execute_run"]
    sources = [next(iter(source.values()))["name"] for source in container["envFrom"]]
    secrets = ["oem-submissions-core", "oem-submissions-crm", "oem-submissions-portals"]
    assert sources == ["oem-submissions", *secrets]
    given = {entry["name"]: entry for entry in container["env"]}
    assert given["DAGSTER_PG_PASSWORD"]["valueFrom"]["secretKeyRef"] == {
        "name": "oem-submissions-dagster-postgres",
        "key": "postgresql-password",
    }
    assert set(given) == {"DAGSTER_HOME", "DAGSTER_PG_PASSWORD"}
    text = json.dumps(job)
    assert PASSWORD not in text
    assert "DAGSTER_PG_PASSWORD" in container["args"][-1], "the instance is told where the password is"


def test_the_chart_is_told_of_secrets_by_name_only() -> None:
    text = json.dumps(helm_values())
    assert set(re.findall(r'"(\w*[Pp]assword\w*)"', text)) == {"generatePostgresqlPasswordSecret"}
    assert helm_values()["postgresql"]["enabled"] is False
    assert settings_map()["AWS_DEFAULT_REGION"]
    (code,) = helm_values()["dagster-user-deployments"]["deployments"]
    assert code["includeConfigInLaunchedRuns"] == {"enabled": False}
    assert code["dagsterApiGrpcArgs"] == ["-m", "oem_submissions.definitions"]
    assert [source["name"] for source in code["envSecrets"]] == ["oem-submissions-core", "oem-submissions-crm"]
