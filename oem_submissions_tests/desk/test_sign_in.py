"""Signing in by an OpenID provider that really listens, also one that lies; over HTTP and in a real browser."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx
import pytest
from joserfc.jwk import RSAKey
from playwright.sync_api import sync_playwright

from oem_submissions.desk.access import RoleRules
from oem_submissions.desk.bounds import Budget
from oem_submissions.desk.door import Access
from oem_submissions.desk.forms import Forms
from oem_submissions.desk.oidc import Provider
from oem_submissions.desk.serving import access_for, with_access
from oem_submissions.desk.sessions import Sessions
from oem_submissions.desk.sign_in import CALLBACK, SignIn, local_path
from oem_submissions.domain.desk_log import DeskAction
from oem_submissions.settings import EnvironmentSecrets, OidcSettings, read_settings
from oem_submissions_tests.browser import launch
from oem_submissions_tests.desk.access import KEY, Deciding, MemoryLog, deciding, listening, token_in
from oem_submissions_tests.desk.ledger import FILED
from oem_submissions_tests.desk.provider import CLIENT, SECRET, Claims, MadeUpProvider, ec_key, provider_listening

HTML = {"Accept": "text/html,application/xhtml+xml"}
RULES = RoleRules("groups", "preferred_username", frozenset({"evidence-operators"}), frozenset({"evidence-viewers"}))


@dataclass
class Clock:
    """The desk's; it can be put forward."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Signing:
    """A desk and its provider."""

    url: str
    provider: MadeUpProvider
    pages: Deciding
    log: MemoryLog
    clock: Clock
    jar: httpx.Client
    """A browser, without following anything."""

    def get(self, path: str, status: int = 200, browser: httpx.Client | None = None) -> httpx.Response:
        answer = (browser or self.jar).get(path if path.startswith("http") else self.url + path)
        assert answer.status_code == status, answer.text
        return answer

    def to_the_provider(self, path: str) -> str:
        """Where a page leads somebody who is not signed in."""
        led = self.get(path, 303).headers["location"]
        assert led == f"/sign-in?next={quote(path, safe='')}"
        return self.get(led).headers["refresh"].removeprefix("0; url=")

    def back(self, path: str = "/decide") -> str:
        """The address at which the provider sends the browser back."""
        return str(self.get(self.to_the_provider(path), 302).headers["location"])

    def sign_in(self, path: str = "/decide") -> httpx.Response:
        """To the page, by the provider."""
        answer = self.get(self.back(path), 303)
        assert answer.headers["location"] == path
        return self.get(path)

    def lines(self, action: DeskAction) -> list[tuple[str | None, str, str]]:
        entries = [line.entry for line in self.log.lines if line.entry.action is action]
        return [(entry.who, entry.target, entry.outcome) for entry in entries]


@pytest.fixture(scope="module")
def running() -> Iterator[Signing]:
    log, pages, clock = MemoryLog(), deciding(), Clock()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with provider_listening() as made_up:
        settings = OidcSettings(made_up.issuer, CLIENT, "openid profile", "groups", "preferred_username")
        provider = Provider(settings, SECRET, url + CALLBACK, clock)
        sign_in = SignIn(provider, Sessions(KEY, False, clock), RULES, url)
        access = Access(sign_in, Forms(KEY, clock), log, None, sign_in, url, Budget(1000, 1000))
        browser = httpx.Client(headers=HTML, timeout=20, trust_env=False)
        with browser, listening(with_access(pages.app(), access), listener):
            yield Signing(url, made_up, pages, log, clock, browser)


@pytest.fixture
def desk(running: Signing) -> Iterator[Signing]:
    running.log.lines.clear()
    running.log.down = False
    running.pages.decided.clear()
    running.clock.ahead = 0
    fresh = MadeUpProvider(running.provider.issuer)
    vars(running.provider).update({**vars(fresh), "key": running.provider.key})
    with httpx.Client(headers=HTML, timeout=20, trust_env=False) as jar:
        running.jar = jar
        yield running


# --- the way there and back ---------------------------------------------------------------------------------------


def test_the_link_in_the_crm_leads_to_the_sign_in_and_then_to_the_page(desk: Signing) -> None:
    digest = desk.pages.ledger.all[FILED].bundle_digest
    page = desk.sign_in(f"/e/{FILED}/{digest}")
    assert "The bundle that the link names is in the store" in page.text
    asked = desk.provider.asked[-1]
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert desk.provider.token_problems == []
    assert desk.lines(DeskAction.SIGN_IN) == [("ana", "subject-7", "signed in")]


def test_pictures_and_downloads_that_are_asked_for_without_a_session_are_no_sign_in_pages(desk: Signing) -> None:
    for headers in ({"Accept": "image/webp"}, {"Sec-Fetch-Dest": "empty"}):
        assert desk.jar.get(f"{desk.url}/claims/{FILED}", headers=headers).status_code == 401
    desk.get("/claims/nobody", 303)


def test_who_signed_in_decides_by_name_and_a_viewer_does_not(desk: Signing) -> None:
    token = token_in(desk.sign_in().text)
    decision = {"csrf": token, "verdict": "filed"}
    assert desk.jar.post(f"{desk.url}/decide", data=decision, headers={"Origin": desk.url}).status_code == 200
    desk.provider.person = {"preferred_username": "vera", "groups": "evidence-viewers"}
    with httpx.Client(headers=HTML, trust_env=False) as vera:
        desk.jar = vera
        own = token_in(desk.sign_in().text)
        assert vera.post(f"{desk.url}/decide", data=decision).status_code == 403  # ana's form
        assert "decide nothing" in vera.post(f"{desk.url}/decide", data={"csrf": own, "verdict": "filed"}).text
    assert desk.pages.decided == [("ana", "filed")]


def test_who_can_not_be_noted_is_not_signed_in_and_may_come_again(desk: Signing) -> None:
    address = desk.back()
    desk.log.down = True
    desk.get(address, 503)
    assert "desk-session" not in desk.jar.cookies
    desk.log.down = False
    desk.sign_in()


def test_several_links_may_be_opened_at_once(desk: Signing) -> None:
    first, second = desk.back("/decide"), desk.back(f"/claims/{FILED}")
    assert desk.get(first, 303).headers["location"] == "/decide"
    assert desk.get(second, 303).headers["location"] == f"/claims/{FILED}"


def test_a_session_ends_after_eight_hours_and_the_link_still_leads_to_its_page(desk: Signing) -> None:
    token = token_in(desk.sign_in().text)
    desk.clock.ahead = 8 * 3600 - 60
    desk.get("/decide")
    desk.clock.ahead = 8 * 3600 + 5
    late = desk.jar.post(f"{desk.url}/decide", data={"csrf": token, "verdict": "filed"})
    assert late.status_code == 401
    assert "Nothing was done" in late.text
    desk.clock.ahead = 0  # the provider's clock is this machine's
    desk.jar.cookies.clear()
    desk.sign_in("/?q=nobody%20knows&x=%2F%2Fevil.example")


def test_signing_out_ends_the_session_also_for_a_copied_cookie(desk: Signing) -> None:
    desk.sign_in()
    copied = dict(desk.jar.cookies)
    page = desk.get("/sign-out").text
    assert "You are signed in as ana, operator." in page
    assert desk.jar.post(f"{desk.url}/sign-out", data={"csrf": "wrong"}).status_code == 403
    desk.get("/decide")
    done = desk.jar.post(f"{desk.url}/sign-out", data={"csrf": token_in(page)})
    assert f'href="{desk.provider.issuer}/bye?client_id={CLIENT}' in done.text
    assert "desk-session" not in desk.jar.cookies
    desk.get("/decide", 303)
    with httpx.Client(headers=HTML, cookies=copied, trust_env=False) as thief:
        desk.get("/decide", 303, thief)
    assert desk.lines(DeskAction.SIGN_OUT) == [("ana", "/sign-out", "signed out")]


def test_a_new_sign_in_ends_the_old_session(desk: Signing) -> None:
    desk.sign_in()
    old = dict(desk.jar.cookies)
    desk.get(desk.get(desk.get("/sign-in?next=/decide", 303).headers["location"]).url.__str__())
    _forget_only_the_way_in(desk)
    with httpx.Client(headers=HTML, cookies=old, trust_env=False) as thief:
        desk.get("/decide", 303, thief)


def _forget_only_the_way_in(desk: Signing) -> None:
    """Come back from the provider once more, with the session that there is."""
    with httpx.Client(headers=HTML, trust_env=False) as other:
        session, desk.jar = desk.jar, other
        address = desk.back()
        desk.jar = session
        desk.jar.cookies.update(other.cookies)
    desk.get(address, 303)


# --- a provider, or somebody between, that lies -------------------------------------------------------------------


def forged(**changes: object) -> Callable[[Claims], Claims]:
    """An identity with other claims; times are seconds from the moment when it is made."""

    def tamper(claims: Claims) -> Claims:
        moved = {name: int(time.time()) + value for name, value in changes.items() if isinstance(value, int)}
        return {name: value for name, value in (claims | changes | moved).items() if value is not None}

    return tamper


def unsigned(claims: Claims) -> str:
    def part(value: Claims) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}."


_ANOTHER = ec_key("first")


@pytest.mark.parametrize(
    "lie",
    [
        {"tamper": forged(nonce="another")},
        {"tamper": forged(nonce=None)},
        {"tamper": forged(aud="another-client")},
        {"tamper": forged(aud=[CLIENT, "another-client"])},
        {"tamper": forged(aud=[CLIENT, "another-client"], azp="another-client")},
        {"tamper": forged(iss="https://another.example")},
        {"tamper": forged(exp=-60)},
        {"tamper": forged(exp=None)},
        {"tamper": forged(iat=-700)},
        {"tamper": forged(iat=700)},
        {"tamper": forged(sub=None)},
        {"tamper": forged(at_hash="AAAAAAAAAAAAAAAAAAAAAA")},
        {"sign": unsigned},
        {"sign": lambda claims: MadeUpProvider.signed(claims, _ANOTHER)},
        {"sign": lambda _: "nonsense"},
        {"answer": {"iss": "https://another.example"}},
        {"answer": {"iss": None}},
        {"answer": {"code": "made-up"}},
        {"answer": {"code": None}},
        {"answer": {"state": "another"}},
        {"answer": {"error": "access_denied"}},
        {"person": {"preferred_username": "ana", "groups": ["cooks"]}},
        {"person": {"preferred_username": "ana"}},
        {"person": {"preferred_username": "a\u202ena", "groups": ["evidence-operators"]}},
        {"person": {"name": "ana", "groups": ["evidence-operators"]}},
    ],
)
def test_who_does_not_prove_it_is_not_signed_in(desk: Signing, lie: dict[str, Any]) -> None:
    vars(desk.provider).update(lie)
    refused = desk.get(desk.back(), 403)
    assert "This is not allowed" in refused.text
    assert "desk-session" not in desk.jar.cookies
    desk.get("/decide", 303)
    assert desk.lines(DeskAction.SIGN_IN) == []
    [(who, target, outcome)] = desk.lines(DeskAction.REFUSED)
    assert (who, target) == (None, CALLBACK)
    assert outcome.replace("&#39;", "'") in refused.text.replace("&#39;", "'")


def test_an_answer_is_good_once_in_the_browser_that_asked_and_for_ten_minutes(desk: Signing) -> None:
    address = desk.back()
    with httpx.Client(headers=HTML, trust_env=False) as victim:
        assert (
            "not begun in this browser" in desk.get(address, 403, victim).text
        )  # a link that signs them in as another
    desk.clock.ahead = 601
    desk.get(address, 403)
    desk.clock.ahead = 0
    desk.get(address, 303)
    assert "is over" in desk.get(address, 403).text
    code = parse_qs(urlsplit(address).query)["code"][0]
    assert code not in repr(desk.log.lines)


def test_a_provider_may_change_its_keys_and_may_use_rsa(desk: Signing) -> None:
    desk.sign_in()
    desk.jar.cookies.clear()
    desk.provider.key = RSAKey.generate_key(2048, {"kid": "second"})
    desk.clock.ahead = 11  # keys are fetched again every ten seconds at most
    desk.sign_in()


def test_a_key_that_the_provider_withdrew_is_good_for_an_hour_at_most(desk: Signing) -> None:
    desk.sign_in()
    desk.jar.cookies.clear()
    withdrawn, desk.provider.key = desk.provider.key, ec_key("third")
    desk.provider.sign = lambda claims: MadeUpProvider.signed(claims, withdrawn)
    desk.clock.ahead = 3700
    desk.provider.tamper = forged(iat=int(desk.clock()), exp=int(desk.clock()) + 60)
    desk.get(desk.back(), 403)


def test_a_provider_that_is_down_or_another_one_is_said_so(desk: Signing) -> None:
    desk.clock.ahead = 9000  # its description is asked for once more
    desk.provider.description = {"issuer": "https://another.example"}
    assert "calls itself by another name" in desk.get("/sign-in", 503).text
    desk.provider.description = {}
    assert "calls itself by another name" in desk.get("/sign-in", 503).text  # it is not asked all the time
    desk.clock.ahead += 6
    desk.provider.description = {"token_endpoint": "http://plain.example/token"}
    assert "missing or not https" in desk.get("/sign-in", 503).text
    desk.clock.ahead += 6
    desk.provider.description = {}
    desk.get("/sign-in")


# --- where it leads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example",
        "javascript:alert(1)", "/\t/evil.example", "/\n/evil.example", " //evil.example", "evil.example", "",
        "/e\r\nSet-Cookie: a=b", "/é", "/sign-in?next=/", "/sign-out", "/" + "a" * 1500, "/<script>", "/#//evil",
    ],
)  # fmt: skip
def test_nobody_is_led_to_another_site(desk: Signing, target: str) -> None:
    assert local_path(target) == "/"
    led = desk.get(f"/sign-in?{urlencode({'next': target})}").headers["refresh"].removeprefix("0; url=")
    assert desk.get(desk.get(led, 302).headers["location"], 303).headers["location"] == "/"
    assert desk.get(f"/sign-in?{urlencode({'next': target})}", 303).headers["location"] == "/"


def test_behind_https_cookies_are_locked_to_the_host() -> None:
    with provider_listening() as provider:
        own = {
            "OEM_SUBMISSIONS_DESK_URL": "https://desk.example",
            "OEM_SUBMISSIONS_OIDC_ISSUER": provider.issuer,
            "OEM_SUBMISSIONS_OIDC_CLIENT_ID": CLIENT,
            "OEM_SUBMISSIONS_DESK_OPERATORS": "evidence-operators",
            "OEM_SUBMISSIONS_SECRET_DESK_OIDC_CLIENT_SECRET": SECRET,
        }
        access = access_for(read_settings(own), EnvironmentSecrets(own), "0.0.0.0", KEY, "ana", MemoryLog())
        headers = {**HTML, "Host": "desk.example"}
        with listening(with_access(deciding().app(), access)) as url, httpx.Client(headers=headers) as browser:
            there = browser.get(f"{url}/sign-in?next=/decide")
            began = there.headers["set-cookie"]
            redirect = httpx.get(there.headers["refresh"].removeprefix("0; url="), trust_env=False).headers["location"]
            assert redirect.startswith("https://desk.example/sign-in/callback?")
            cookie = began.partition(";")[0]
            back = browser.get(url + redirect.removeprefix("https://desk.example"), headers={"Cookie": cookie})
            assert back.headers["location"] == "/decide"
            session = next(c for c in back.headers.get_list("set-cookie") if "desk-session" in c)
            for set_cookie in (began, session):
                assert re.match(
                    r"__Host-desk-[a-z0-9-]+=[^;]+; HttpOnly; Max-Age=\d+; Path=/; SameSite=lax; Secure$", set_cookie
                )
            assert "Max-Age=28800" in session


# --- in a real browser --------------------------------------------------------------------------------------------


def test_a_person_comes_from_the_crm_signs_in_decides_and_another_site_can_not_decide_for_them(desk: Signing) -> None:
    digest = desk.pages.ledger.all[FILED].bundle_digest
    desk.provider.asks = True
    with sync_playwright() as playwright, launch(playwright) as browser, browser.new_page() as page:
        page.set_default_timeout(20_000)
        page.goto(f"{desk.url}/e/{FILED}/{digest}")
        page.get_by_role("button", name="It is me").click()
        page.wait_for_url(f"{desk.url}/e/{FILED}/{digest}")
        assert page.get_by_role("heading", level=1).inner_text() == "AUR-4471902"
        page.goto(f"{desk.url}/decide")
        page.get_by_role("button", name="Decide").click()
        page.get_by_text("Decided").wait_for()
        assert desk.pages.decided == [("ana", "filed")]

        page.go_back()
        stolen = page.locator("input[name=csrf]").input_value()
        elsewhere = desk.provider.issuer.replace("127.0.0.1", "localhost")
        page.goto(f"{elsewhere}/elsewhere?{urlencode({'csrf': stolen, 'action': desk.url + '/decide'})}")
        page.get_by_role("button", name="Win a prize").click()
        page.get_by_text("Nothing was done").wait_for()
        assert desk.pages.decided == [("ana", "filed")]

        # A look-up that is sent when the session has ended: a form, which the pages' policy lets go nowhere else.
        page.goto(desk.url)
        page.context.clear_cookies()
        page.get_by_role("searchbox").fill("AUR-4471902")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="It is me").click()
        page.wait_for_url(f"{desk.url}/claims/{FILED}")

        page.goto(f"{desk.url}/sign-out")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_text("You are signed out of the desk").wait_for()
        assert page.context.cookies(desk.url) == []
