"""Where secrets come from: the environment, or AWS Secrets Manager. What can't be read is never "not set"."""

from __future__ import annotations

import json
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from oem_submissions import wiring
from oem_submissions.aws.secrets_manager import SecretsManager
from oem_submissions.cli.doctor import diagnose
from oem_submissions.domain.evidence import PRE_SUBMIT
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.states import State
from oem_submissions.evidence.leaks import leaks
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import Secrets, SecretsUnavailable
from oem_submissions.services.accounts import portal_account
from oem_submissions.services.leaking import LeakGate
from oem_submissions.services.seal import seal_claims
from oem_submissions.settings import PREFIX, EnvironmentSecrets, SettingsError, read_settings
from oem_submissions_tests.aws.conftest import Aws, client
from oem_submissions_tests.evidence.sealing import SEALING
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import PARTITION, run

PASSWORD = "correct-horse-battery-7"


@pytest.fixture
def prefix() -> str:
    return f"oem/{uuid.uuid4().hex[:8]}"


def manager(prefix: str, seconds: float = 30.0, endpoint_url: str | None = None) -> SecretsManager:
    return SecretsManager(lambda: client("secretsmanager", endpoint_url), prefix, seconds)


@pytest.fixture(params=["environment", "AWS"])
def source(request: pytest.FixtureRequest, prefix: str) -> tuple[Secrets, Callable[[dict[str, str]], None]]:
    """A source, and what sets secrets in it."""
    if request.param == "environment":
        variables: dict[str, str] = {}
        secrets = EnvironmentSecrets(variables)
        return secrets, lambda values: variables.update({secrets.where(name): value for name, value in values.items()})
    aws: Aws = request.getfixturevalue("aws")

    def keep(values: dict[str, str]) -> None:
        whole: dict[str, dict[str, str]] = {}
        for name, value in values.items():
            secret, _, field = name.rpartition("/")
            whole.setdefault(f"{prefix}/{secret}".replace(" ", "=20"), {})[field] = value
        for secret, fields in whole.items():
            aws.keep(secret, fields)

    return manager(prefix, seconds=0), keep


def test_a_secret_is_found_by_its_name_wherever_it_is_kept(source: Any) -> None:
    secrets, keep = source
    values = {
        "portal/aurora/10234/username": "dealer",
        "portal/aurora/10234/password": PASSWORD,
        "portal/aurora/AB 12/3/password": "\N{KEY} 'quoted' \\",
        "crm/client_secret": "x" * 5000,
        "desk/tokens": "",
    }
    assert secrets.find("crm/client_secret") is None
    keep(values)
    assert {name: secrets.find(name) for name in values} == {**values, "desk/tokens": None}
    for name in ("portal/aurora/10234/totp", "portal/aurora/99999/password", "evidence/hmac_key"):
        assert secrets.find(name) is None, name
    keep({"portal/aurora/10234/username": "dealer", "portal/aurora/10234/password": "rotated"})
    assert secrets.find("portal/aurora/10234/password") == "rotated"
    assert secrets.inspect()


def test_an_account_is_one_call_and_its_rotated_password_is_used_when_the_time_is_over(aws: Aws, prefix: str) -> None:
    aws.keep(f"{prefix}/portal/aurora/10234", {"username": "u", "password": PASSWORD})
    own, calls = wiring.aws_client("secretsmanager"), []
    own.meta.events.register("before-send.secrets-manager.GetSecretValue", lambda **_: calls.append(1))
    secrets = SecretsManager(lambda: own, prefix, seconds=60)
    account = portal_account(secrets, "aurora", "10234")
    assert (account.username, account.password, account.totp_secret) == ("u", PASSWORD, None)
    assert portal_account(secrets, "aurora", "10234") == account
    assert len(calls) == 1
    for _ in range(3):
        assert secrets.find("portal/aurora/nobody/password") is None
    assert len(calls) == 2


def test_what_is_missing_is_named_as_one_sets_it(aws: Aws, prefix: str) -> None:
    with pytest.raises(StepFailed) as failed:
        portal_account(manager(prefix), "aurora", "10234")
    assert failed.value.reason is ReasonCode.SECRET_MISSING
    assert f"set the field 'username' of the AWS secret {prefix}/portal/aurora/10234." in failed.value.text


@contextmanager
def answering(code: str) -> Iterator[str]:
    """An AWS that answers everything with one error."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"__type": code, "message": "no"}).encode()
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("AccessDeniedException", "AccessDeniedException. Allow secretsmanager:GetSecretValue on it."),
        ("DecryptionFailure", "DecryptionFailure. Allow kms:Decrypt with its key."),
        ("UnrecognizedClientException", "UnrecognizedClientException. Check the credentials."),
        ("unreachable", "EndpointConnectionError. Check the network"),
        ("deleted", "InvalidRequestException. It is marked for deletion"),
        ("no JSON", "should be a JSON object"),
        ("a list", "should be a JSON object"),
        ("deep", "should be a JSON object"),
        (
            "a number",
            "the field 'password' of the AWS secret {prefix}/portal/aurora/10234 should be a text, in quotes.",
        ),
    ],
)
def test_what_can_not_be_read_is_a_sentence_and_never_not_set(aws: Aws, prefix: str, trouble: str, says: str) -> None:
    name = f"{prefix}/portal/aurora/10234"
    contents = {"no JSON": f"{{'password': '{PASSWORD}'", "a list": [PASSWORD], "deep": "[" * 60_000,
                "a number": {"username": "u", "password": 7_123_456}}  # fmt: skip
    aws.keep(name, contents.get(trouble, {"username": "u", "password": PASSWORD}))
    if trouble == "deleted":
        aws.secrets.delete_secret(SecretId=name)
    options = {"endpoint_url": NOBODY} if trouble == "unreachable" else {}

    def ask(secrets: Secrets) -> None:
        with pytest.raises(SecretsUnavailable) as raised:
            secrets.find("portal/aurora/10234/password")
        assert says.format(prefix=prefix) in str(raised.value)
        told = "".join(traceback.format_exception(raised.value))
        assert PASSWORD not in told
        assert "7123456" not in told
        assert raised.value.__context__ is None or not hasattr(raised.value.__context__, "doc")
        assert PASSWORD not in repr(secrets)

    if trouble.endswith(("Exception", "Failure", "Error")):
        with answering(trouble) as url:
            ask(manager(prefix, endpoint_url=url))
    else:
        ask(manager(prefix, **options))


def test_while_secrets_can_not_be_read_claims_wait_and_nothing_is_tried_or_dead(
    aws: Aws, prefix: str, ledger: Ledger
) -> None:
    claim, portal, evidence = ledger.add_claim(new_claim()), FakePortal(), MemoryStore()
    away, here = manager(prefix, endpoint_url=NOBODY), manager(prefix)
    aws.keep(f"{prefix}/portal/aurora/10234", {"username": "u", "password": PASSWORD})
    with pytest.raises(SecretsUnavailable):
        run(ledger, portal, evidence, account=lambda: portal_account(away, "aurora", "10234"))
    (waiting,) = ledger.claims(*vars(PARTITION).values())
    assert (waiting.state, waiting.attempts, portal.log_ins, ledger.held_leases()) == (State.READY, 0, 0, [])
    (filed,) = run(ledger, portal, evidence, account=lambda: portal_account(here, "aurora", "10234"))
    assert filed.state is State.CONFIRMED

    def seal(secrets: Secrets) -> list[str]:
        parts = {**SEALING, "leak_gate": LeakGate(leaks, secrets)}
        left = seal_claims([filed], "r", "w", ledger=ledger, evidence=evidence, **parts)
        return [unsealed.problem for unsealed in left]

    (problem,) = seal(away)
    assert problem.startswith("AWS Secrets Manager did not give")
    assert seal(here) == []
    sealed = ledger.claim(claim.claim_id)
    assert sealed is not None
    assert sealed.state is State.SEALED


def test_the_leak_gate_knows_the_secrets_that_are_kept_at_aws(aws: Aws, prefix: str, ledger: Ledger) -> None:
    aws.keep(f"{prefix}/portal/aurora/10234", {"username": "u", "password": "wc-000001"})
    ledger.add_claim(new_claim())
    evidence = MemoryStore()
    (filed,) = run(ledger, FakePortal(), evidence)
    parts = {**SEALING, "leak_gate": LeakGate(leaks, manager(prefix))}
    (left,) = seal_claims([filed], "r", "w", ledger=ledger, evidence=evidence, **parts)
    assert "password" in left.problem
    assert "wc-000001" not in left.problem.lower()
    assert any(key.endswith(PRE_SUBMIT) for key in evidence.keys(""))


def test_the_setting_names_the_source_and_everything_goes_through_it(aws: Aws, prefix: str, tmp_path: Any) -> None:
    own = {"SECRETS": f"aws:{prefix}", "CRM_URL": "https://crm.example", "HOME": str(tmp_path),
           "DATABASE_URL": "postgresql://127.0.0.1:9/x"}  # fmt: skip
    settings = read_settings({PREFIX + name: value for name, value in own.items()})
    secrets = wiring.secret_source(settings)
    assert wiring.secret_source(settings) is secrets
    said = {each.part: (each.ok, each.says) for each in diagnose(settings, secrets)}
    optional = "not set, and not needed everywhere: evidence/hmac_key, desk/session_key, alerts/urls"
    assert said["secrets"] == (True, f"AWS Secrets Manager, secrets below {prefix}/; {optional}")
    missing = f"The CRM's client_id is not set: set the field 'client_id' of the AWS secret {prefix}/crm."
    assert said["CRM"] == (False, missing)
    other = read_settings({f"{PREFIX}SECRETS": f"aws:{prefix}/b"})
    aws.keep(f"{prefix}/b/crm", {"client_id": "id", "client_secret": PASSWORD})
    aws.keep(f"{prefix}/b/evidence", {"hmac_key": "tenant"})
    wiring.salesforce(read_settings({f"{PREFIX}CRM_URL": "https://crm.example"}), wiring.secret_source(other)).close()
    assert wiring.readback_key(other, wiring.secret_source(other)) == b"tenant"
    unreachable = manager(prefix, endpoint_url=NOBODY)
    with pytest.raises(SecretsUnavailable):  # and not a key of this machine
        wiring.readback_key(settings, unreachable)
    assert not settings.keys.exists()
    assert isinstance(wiring.secret_source(read_settings({})), EnvironmentSecrets)
    for wrong in ("aws", "aws:", "aws:a b", "aws:a//b", "vault:x", "aws:/a"):
        with pytest.raises(SettingsError, match="SECRETS should be aws:"):
            read_settings({f"{PREFIX}SECRETS": wrong})
