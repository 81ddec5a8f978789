"""Who may use the desk without an identity provider: on this machine, by token, by a proxy's signature; and forms."""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from oem_submissions.desk.access import Refused, Role, RoleRules, User, Visit, fit_name
from oem_submissions.desk.bounds import Budget
from oem_submissions.desk.door import Access
from oem_submissions.desk.forms import Forms
from oem_submissions.desk.serving import access_for, with_access
from oem_submissions.desk.tokens import new_token
from oem_submissions.domain.desk_log import DeskAction
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.settings import EnvironmentSecrets, SettingsError, read_settings
from oem_submissions_tests.desk.access import KEY, Deciding, MemoryLog, deciding, listening, loopback_access, token_in
from oem_submissions_tests.desk.ledger import FILED
from oem_submissions_tests.desk.provider import ec_key

HOST = "desk.example"
PROXY = ec_key("proxy")
VIEWER_TOKEN, VIEWER_ENTRY = new_token("monitoring", Role.VIEWER)
OPERATOR_TOKEN, OPERATOR_ENTRY = new_token("redriver", Role.OPERATOR)
SIGNED = {"OEM_SUBMISSIONS_PROXY_AUDIENCE": "evidence-desk", "OEM_SUBMISSIONS_PROXY_ISSUER": "https://proxy.example"}
ROLES = {"OEM_SUBMISSIONS_DESK_OPERATORS": "ops", "OEM_SUBMISSIONS_DESK_VIEWERS": "auditors, cs"}
TOKENS = {"OEM_SUBMISSIONS_SECRET_DESK_TOKENS": f"{VIEWER_ENTRY}, {OPERATOR_ENTRY}"}


@dataclass(frozen=True)
class Served:
    """A desk that listens, what it decided, and its log."""

    url: str
    deciding: Deciding
    log: MemoryLog
    access: Access

    def ask(self, method: str, path: str, status: int, **options: Any) -> httpx.Response:
        """One request; a desk that has a name is asked by it."""
        headers = {"Host": HOST} if self.access.origin else {}
        headers |= options.pop("headers", {})
        answer = httpx.request(method, self.url + path, headers=headers, timeout=20, **options)
        assert answer.status_code == status, answer.text
        return answer

    def lines(self, action: DeskAction) -> list[tuple[str | None, str, str, str]]:
        """What the log says: who, by which way, of what, and how it ended."""
        entries = [line.entry for line in self.log.lines if line.entry.action is action]
        return [(entry.who, entry.way, entry.target, entry.outcome) for entry in entries]


def access_by(environment: dict[str, str], log: MemoryLog, host: str = "0.0.0.0") -> Access:
    own = {"OEM_SUBMISSIONS_DESK_URL": f"https://{HOST}", **environment}
    access = access_for(read_settings(own), EnvironmentSecrets(own), host, KEY, "ana", log)
    return replace(access, refusals=Budget(1000, 1000))


def serving(make: Callable[[MemoryLog], Access]) -> Iterator[Served]:
    log, pages = MemoryLog(), deciding()
    access = make(log)
    with listening(with_access(pages.app(), access)) as url:
        yield Served(url, pages, log, access)


@pytest.fixture(scope="module")
def proxy_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proxy") / "keys.json"
    path.write_text(json.dumps(KeySet([PROXY]).as_dict(private=False)))
    return path


@pytest.fixture(scope="module")
def local_desk() -> Iterator[Served]:
    yield from serving(loopback_access)


@pytest.fixture(scope="module")
def proxied_desk(proxy_keys: Path) -> Iterator[Served]:
    """People by the proxy's header, machines by token."""
    environment = {**SIGNED, **ROLES, **TOKENS, "OEM_SUBMISSIONS_PROXY_KEYS": str(proxy_keys)}
    yield from serving(lambda log: access_by(environment, log))


@pytest.fixture
def local(local_desk: Served) -> Served:
    return _fresh(local_desk)


@pytest.fixture
def proxied(proxied_desk: Served) -> Served:
    return _fresh(proxied_desk)


def _fresh(served: Served) -> Served:
    served.log.lines.clear()
    served.deciding.decided.clear()
    served.log.down = False
    return served


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def says(changes: dict[str, Any] | None = None, key: Any = PROXY, algorithm: str = "ES256") -> dict[str, str]:
    """The header of the proxy, about an operator unless changed."""
    now = int(time.time())
    claims = {"iss": "https://proxy.example", "aud": "evidence-desk", "iat": now, "exp": now + 60, "groups": ["ops"]}
    claims |= {"email": "olga@example.org"} | (changes or {})
    present = {name: value for name, value in claims.items() if value is not None}
    return {"X-Forwarded-User-Jwt": jwt.encode({"alg": algorithm, "kid": "proxy"}, present, key, [algorithm])}


# --- starting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "host", "says_so"),
    [
        ({"OEM_SUBMISSIONS_DESK_URL": "http://127.0.0.1:8787"}, "0.0.0.0", "everybody who can reach 0.0.0.0: let"),
        ({}, "127.0.0.1", "everybody who can reach desk.example: let"),
        ({**TOKENS, "OEM_SUBMISSIONS_DESK_URL": f"http://{HOST}"}, "0.0.0.0", "DESK_URL is http://desk.example; "),
        ({**TOKENS, "OEM_SUBMISSIONS_DESK_URL": f"https://{HOST}/desk"}, "0.0.0.0", "a host and nothing else"),
        ({**SIGNED, **ROLES}, "0.0.0.0", "The proxy's key should be set once"),
        ({**SIGNED, **ROLES, "OEM_SUBMISSIONS_SECRET_DESK_PROXY_KEY": "short"}, "0.0.0.0", "shorter than 32 bytes"),
        ({**SIGNED, **ROLES, "OEM_SUBMISSIONS_PROXY_KEYS": "/none"}, "0.0.0.0", "/none, which holds no public keys"),
        ({"OEM_SUBMISSIONS_SECRET_DESK_TOKENS": VIEWER_TOKEN}, "0.0.0.0", "Entry 1 of OEM_SUBMISSIONS_SECRET_DESK_TO"),
        ({"OEM_SUBMISSIONS_SECRET_DESK_TOKENS": f"{VIEWER_ENTRY},{VIEWER_ENTRY}"}, "::", "two tokens named 'monitor"),
    ],
)
def test_a_desk_that_would_let_strangers_in_does_not_start(
    environment: dict[str, str], host: str, says_so: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        access_by(environment, MemoryLog(), host)
    assert says_so in str(refusal.value)
    assert VIEWER_TOKEN not in str(refusal.value)


@pytest.mark.parametrize(
    ("environment", "says_so"),
    [
        (SIGNED, "OEM_SUBMISSIONS_DESK_OPERATORS and OEM_SUBMISSIONS_DESK_VIEWERS are not set"),
        ({"OEM_SUBMISSIONS_OIDC_ISSUER": "https://i"}, "OEM_SUBMISSIONS_OIDC_CLIENT_ID is not set"),
        ({"OEM_SUBMISSIONS_OIDC_ISSUER": "http://i", "OEM_SUBMISSIONS_OIDC_CLIENT_ID": "c"}, "should begin with https"),
        (
            {"OEM_SUBMISSIONS_OIDC_ISSUER": "https://i", "OEM_SUBMISSIONS_OIDC_CLIENT_ID": "c", **SIGNED, **ROLES},
            "are both set",
        ),
        ({**SIGNED, **ROLES, "OEM_SUBMISSIONS_DESK_VIEWERS": "ops"}, "both name 'ops'"),
    ],
)
def test_a_setting_that_is_wrong_is_named(environment: dict[str, str], says_so: str) -> None:
    with pytest.raises(SettingsError, match=says_so):
        read_settings(environment)


def test_a_private_key_is_no_key_of_the_proxy(tmp_path: Path) -> None:
    for data in (json.dumps({"keys": [PROXY.as_dict(private=True)]}).encode(), PROXY.as_pem(private=True)):
        (tmp_path / "keys").write_bytes(data)
        with pytest.raises(ConfigurationError, match="holds no public keys"):
            access_by({**SIGNED, **ROLES, "OEM_SUBMISSIONS_PROXY_KEYS": str(tmp_path / "keys")}, MemoryLog())


# --- on this machine ----------------------------------------------------------------------------------------------


def test_on_this_machine_nobody_signs_in_and_the_user_decides_by_name(local: Served) -> None:
    token = token_in(local.ask("GET", "/decide", 200).text)
    local.ask(
        "POST", "/decide", 200, data={"csrf": token, "verdict": "filed"}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert local.deciding.decided == [("ana", "filed")]
    assert local.lines(DeskAction.CHANGE) == [
        ("ana", "loopback", "/decide", "begun"),
        ("ana", "loopback", "/decide", "200"),
    ]


def test_a_proxy_in_front_of_a_desk_without_sign_in_gets_nothing(local: Served) -> None:
    assert "answers no proxy" in local.ask("GET", "/", 403, headers={"X-Forwarded-For": "203.0.113.7"}).text


# --- forms --------------------------------------------------------------------------------------------------------


def made_by(key: bytes, name: str, seconds_ago: float = 0) -> str:
    """A token of a form that this user was shown."""
    visit = Visit(User(name, Role.OPERATOR), "loopback", f"loopback {name}")
    return Forms(key, lambda: time.time() - seconds_ago).token(visit)


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [""],
        ["form.x.y"],
        [made_by(b"x" * 32, "ana")],
        [made_by(KEY, "bob")],
        [made_by(KEY, "ana", seconds_ago=8 * 3600 + 5)],
        [made_by(KEY, "ana"), made_by(KEY, "ana")],
    ],
    ids=["none", "empty", "nonsense", "another key", "another user", "old", "two"],
)
def test_a_form_without_its_visitors_token_does_nothing(local: Served, tokens: list[str]) -> None:
    answer = local.ask("POST", "/decide", 403, data={"csrf": tokens, "verdict": "filed"})
    assert "Nothing was done" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert local.deciding.decided == []
    assert [line[:3] for line in local.lines(DeskAction.REFUSED)] == [("ana", "loopback", "/decide")]
    assert local.lines(DeskAction.CHANGE) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Origin": "{own}"}, 200),
        ({}, 200),
    ],
)
def test_a_form_of_another_site_does_nothing_even_with_a_token(
    local: Served, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(own=local.url) for name, value in headers.items()}
    local.ask("POST", "/decide", status, data={"csrf": made_by(KEY, "ana"), "verdict": "filed"}, headers=sent)
    assert len(local.deciding.decided) == (status == 200)


def test_a_picture_of_some_megabytes_goes_with_a_form_and_more_does_not(local: Served) -> None:
    form = {"csrf": made_by(KEY, "ana"), "verdict": "filed"}
    local.ask("POST", "/decide", 200, data=form, files={"picture": ("p.png", b"\x89" * 5_000_000, "image/png")})
    assert local.deciding.decided == [("ana", "filed, 5000000 bytes")]
    local.ask("POST", "/decide", 413, data=form, files={"picture": ("p.png", b"\x89" * 6_300_000, "image/png")})
    local.ask("POST", "/decide", 413, data={**form, "verdict": "x" * 70_000})
    endless = (b"x" * 65_536 for _ in range(1000))  # chunked: no length is declared
    local.ask("POST", "/decide", 413, content=endless, headers={"Content-Type": "application/x-www-form-urlencoded"})
    local.ask("POST", "/decide", 415, json=form)
    local.ask("POST", "/decide", 400, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=a"})
    assert len(local.deciding.decided) == 1


def test_only_reading_and_forms_are_methods(local: Served) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert local.ask(method, "/decide", 405).headers["allow"] == "GET, HEAD, POST"


# --- the log ------------------------------------------------------------------------------------------------------


def test_what_can_not_be_noted_is_not_done_and_not_given_out(local: Served) -> None:
    digest = local.deciding.ledger.all[FILED].bundle_digest
    local.ask("GET", f"/e/{FILED}/{digest}.zip", 200)
    assert local.lines(DeskAction.DOWNLOAD) == [("ana", "loopback", f"/e/{FILED}/{digest}.zip", "given")]
    local.log.down = True
    answer = local.ask("GET", f"/e/{FILED}/{digest}.zip", 503)
    assert "Nothing is given out that can&#39;t be noted" in answer.text
    assert "content-disposition" not in answer.headers
    local.ask("POST", "/decide", 503, data={"csrf": made_by(KEY, "ana"), "verdict": "filed"})
    local.ask("POST", "/decide", 403, data={"csrf": "another's", "verdict": "filed"})
    assert local.deciding.decided == []
    local.ask("GET", f"/claims/{FILED}", 200)


def test_a_flood_of_refusals_does_not_fill_the_log_and_is_counted() -> None:
    now = [0.0]
    budget = Budget(each=2, together=3, clock=lambda: now[0])
    with contextmanager(serving)(lambda log: replace(loopback_access(log), refusals=budget)) as desk:
        for _ in range(5):
            desk.ask("POST", "/decide", 403, data={"csrf": "x"})
        assert len(desk.lines(DeskAction.REFUSED)) == 2
        now[0] = 61
        desk.ask("POST", "/decide", 403, data={"csrf": "x"})
        assert desk.lines(DeskAction.REFUSED)[-1][3].endswith("(3 more before it)")
    assert [budget.spend("b") for _ in range(3)] == [True, True, False]
    assert not budget.spend("c")


# --- by token -----------------------------------------------------------------------------------------------------


def test_a_token_lets_a_machine_look_and_an_operators_token_decide_without_a_form(proxied: Served) -> None:
    assert "monitoring" in proxied.ask("GET", "/decide", 200, headers=bearer(VIEWER_TOKEN)).text
    refused = proxied.ask("POST", "/decide", 403, data={"verdict": "filed"}, headers=bearer(VIEWER_TOKEN))
    assert "monitoring may look at everything here, but decide nothing" in refused.text
    assert proxied.deciding.decided == []
    proxied.ask("POST", "/decide", 200, data={"verdict": "filed"}, headers=bearer(OPERATOR_TOKEN))
    assert proxied.deciding.decided == [("redriver", "filed")]
    assert [line[:2] for line in proxied.lines(DeskAction.CHANGE)] == [("redriver", "token")] * 2


def test_a_wrong_token_is_refused_limited_and_never_written_down(
    proxy_keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {**SIGNED, **ROLES, **TOKENS, "OEM_SUBMISSIONS_PROXY_KEYS": str(proxy_keys)}
    wrong = new_token("x", Role.OPERATOR)[0]
    with contextmanager(serving)(lambda log: access_by(environment, log)) as desk:
        first = desk.ask("GET", "/", 401, headers=bearer(wrong) | says())
        assert first.headers["www-authenticate"].startswith("Bearer ")
        for _ in range(9):
            desk.ask("GET", "/", 401, headers=bearer("short"))
        assert desk.ask("GET", "/", 429, headers=bearer(wrong)).headers["retry-after"] == "60"
        desk.ask("GET", "/", 200, headers=bearer(VIEWER_TOKEN))
        assert len(desk.lines(DeskAction.REFUSED)) == 11
        assert wrong not in repr(desk.log.lines) + caplog.text + first.text
    assert "Refused GET / from 127.0.0.1" in caplog.text


# --- by a proxy's header ------------------------------------------------------------------------------------------


def test_the_proxys_word_makes_an_operator_or_a_viewer(proxied: Served) -> None:
    page = proxied.ask("GET", "/decide", 200, headers=says()).text
    assert "olga@example.org" in page
    form = {"csrf": token_in(page), "verdict": "filed"}
    proxied.ask("POST", "/decide", 200, data=form, headers=says() | {"Origin": f"https://{HOST}"})
    proxied.ask("POST", "/decide", 403, data=form, headers=says() | {"Origin": f"http://{HOST}"})
    proxied.ask("POST", "/decide", 403, data=form, headers=says({"email": "else@example.org"}))
    viewer = says({"groups": ["cs"]})
    own = {"csrf": token_in(proxied.ask("GET", "/decide", 200, headers=viewer).text), "verdict": "filed"}
    assert "decide nothing" in proxied.ask("POST", "/decide", 403, data=own, headers=viewer).text
    assert proxied.deciding.decided == [("olga@example.org", "filed")]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


_OTHER = ec_key("proxy")


def _now() -> int:
    return int(time.time())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (lambda: {"X-Forwarded-User": "olga", "X-Forwarded-Email": "olga@example.org"}, 401),
        (lambda: {"X-Forwarded-User-Jwt": "olga@example.org"}, 401),
        (lambda: {"X-Forwarded-User-Jwt": "[" * 15_000 + ".e30.AA"}, 401),
        (lambda: {"X-Forwarded-User-Jwt": f"{'W1tb' * 3000}.e30.AA"}, 401),
        (lambda: says(key=_OTHER), 401),
        (lambda: says(key=RSAKey.generate_key(2048), algorithm="RS256"), 401),
        (lambda: says({"aud": "another-desk"}), 401),
        (lambda: says({"aud": None}), 401),
        (lambda: says({"iss": "https://another.example"}), 401),
        (lambda: says({"exp": _now() - 60}), 401),
        (lambda: says({"exp": None}), 401),
        (lambda: says({"iat": None}), 401),
        (lambda: says({"iat": _now() - 700, "exp": _now() + 9_999}), 401),
        (lambda: says({"iat": _now() + 700, "exp": _now() + 9_999}), 401),
        (lambda: says({"groups": ["nobodies"]}), 403),
        (lambda: says({"groups": None}), 403),
        (lambda: says({"email": "olga\u202e@example.org"}), 403),
        (lambda: says({"email": "olga\nroot"}), 403),
        (lambda: says({"email": "o" * 101}), 403),
        (lambda: says({"email": None}), 403),
        (lambda: says({"email_verified": False}), 403),
    ],
)
def test_what_the_proxy_did_not_sign_for_us_and_lately_is_not_believed(
    proxied: Served, header: Callable[[], dict[str, str]], status: int
) -> None:
    for path in (f"/claims/{FILED}", "/claims/nobody"):
        proxied.ask("GET", path, status, headers=header())
    assert proxied.lines(DeskAction.SIGN_IN) == []


def test_an_unsigned_token_and_a_header_that_came_twice_are_not_believed(proxied: Served) -> None:
    header, claims, _ = says()["X-Forwarded-User-Jwt"].split(".")
    none, hs256 = _encoded(b'{"alg":"none"}'), _encoded(b'{"alg":"HS256","kid":"proxy"}')
    by_public_key = hmac.digest(PROXY.as_pem(private=False), f"{hs256}.{claims}".encode(), "sha256")
    for forged in (f"{none}.{claims}.", f"{header}.{claims}.", f"{hs256}.{claims}.{_encoded(by_public_key)}"):
        proxied.ask("GET", "/", 401, headers={"X-Forwarded-User-Jwt": forged})
    twice = [*says().items(), *says({"email": "mallory@example.org"}).items(), ("Host", HOST)]
    assert httpx.get(f"{proxied.url}/decide", headers=twice, timeout=20).status_code == 401


def test_a_proxy_may_change_its_keys_and_may_use_rsa_or_a_secret(tmp_path: Path) -> None:
    rsa, keys, secret = RSAKey.generate_key(2048), tmp_path / "keys", "s3cret-made-by-chance-" * 2
    keys.write_bytes(PROXY.as_pem(private=False))
    by_file = {**SIGNED, **ROLES, "OEM_SUBMISSIONS_PROXY_KEYS": str(keys)}
    with contextmanager(serving)(lambda log: access_by(by_file, log)) as desk:
        desk.ask("GET", "/", 200, headers=says())
        keys.write_bytes(rsa.as_pem(private=False))
        os.utime(keys, (1, 1))
        desk.ask("GET", "/", 401, headers=says())
        desk.ask("GET", "/", 200, headers=says(key=rsa, algorithm="RS256"))
        keys.unlink()
        desk.ask("GET", "/", 503, headers=says(key=rsa, algorithm="RS256"))
    by_secret = {**SIGNED, **ROLES, "OEM_SUBMISSIONS_SECRET_DESK_PROXY_KEY": secret}
    with contextmanager(serving)(lambda log: access_by(by_secret, log)) as desk:
        desk.ask("GET", "/", 200, headers=says(key=OctKey.import_key(secret), algorithm="HS256"))
        desk.ask("GET", "/", 401, headers=says(key=OctKey.import_key(secret[:-1] + "!"), algorithm="HS256"))
        desk.ask("GET", "/", 401, headers=says())


# --- strangers ----------------------------------------------------------------------------------------------------


def test_strangers_get_the_same_answer_for_what_is_there_and_what_is_not(proxied: Served) -> None:
    digest = proxied.deciding.ledger.all[FILED].bundle_digest
    there = [f"/claims/{FILED}", f"/e/{FILED}/{digest}", f"/e/{FILED}/{digest}.zip", f"/artifacts/{FILED}/7/x.webp"]
    answers = [proxied.ask("GET", path, 401) for path in [*there, "/", "/claims/nobody", "/nowhere", "/?q=AUR-4471902"]]
    answers += [proxied.ask("GET", "/static/../claims/" + FILED, 401), proxied.ask("GET", "//static/desk.css", 401)]
    assert len({answer.text for answer in answers}) == 1
    assert len({tuple(name for name in answer.headers) for answer in answers}) == 1
    assert FILED not in answers[0].text
    assert "Nothing was done" in proxied.ask("POST", f"/claims/{FILED}", 401, data={"csrf": "x"}).text


def test_health_and_looks_are_for_everybody_and_headers_are_on_everything(proxied: Served) -> None:
    answers = [
        proxied.ask("GET", "/health", 200, headers={"Host": "10.1.2.3:8787"}),
        proxied.ask("GET", "/static/desk.css", 200),
        proxied.ask("GET", "/", 401),
        proxied.ask("GET", "/", 400, headers={"Host": "evil.example"}),
        proxied.ask("GET", "/", 400, headers={"Host": "127.0.0.1"} | says()),
        proxied.ask("GET", "/nowhere", 404, headers=says()),
    ]
    for answer in answers:
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert answer.headers.get_list("content-security-policy")[0].startswith("default-src 'none'")
        assert len(answer.headers.get_list("x-frame-options")) == 1
        assert "set-cookie" not in answer.headers


# --- names and roles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "  ", "a\x00b", "a\u202eb", "a\u200bb", "a\nb", "a\ud800", "x" * 101, None, 7, ["a"]]
)
def test_a_name_that_could_be_read_otherwise_is_no_name(name: object) -> None:
    assert fit_name(name) is None


def test_roles_may_be_nested_and_the_higher_one_counts() -> None:
    rules = RoleRules("realm_access.roles", "name", frozenset({"ops"}), frozenset({"cs"}))
    assert rules.user({"name": " Zoë  ", "realm_access": {"roles": ["cs", "ops", 7]}}) == User("Zoë", Role.OPERATOR)
    assert rules.user({"name": "Zoë", "realm_access.roles": "cs"}) == User("Zoë", Role.VIEWER)
    for claims in ({"realm_access": "ops"}, {"realm_access": {"roles": "op"}}, {"realm_access": {"roles": {"ops": 1}}}):
        with pytest.raises(Refused, match="has no role"):
            rules.user({"name": "Zoë", **claims})
