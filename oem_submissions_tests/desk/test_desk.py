"""The desk over real HTTP: what it shows, what it refuses, and what a browser may do with it."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace

import pytest
import requests
from starlette.applications import Starlette

from oem_submissions.desk.serving import serve
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions_tests.desk.access import loopback_access
from oem_submissions_tests.desk.conftest import RunningDesk
from oem_submissions_tests.desk.ledger import FILED, HELD, HOSTILE, KEPT, REFUSED, RUN, STOPPED
from oem_submissions_tests.desk.pages import PAGES
from oem_submissions_tests.evidence.sealing import KEYS


def get(desk: RunningDesk, path: str, status: int = 200, **options: bool) -> requests.Response:
    answer = requests.get(desk.url + path, timeout=20, **options)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    return answer


def digest_of(desk: RunningDesk) -> str:
    digest = desk.ledger.all[FILED].bundle_digest
    assert digest is not None
    return digest


def test_it_says_that_it_is_there(desk: RunningDesk) -> None:
    assert get(desk, "/health").text == "ok\n"


def test_a_held_claim_shows_what_its_last_look_up_showed(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{HELD}").text
    assert "In the portal’s history, look 2" in text
    assert "The same search for a known claim, look 2" in text
    assert "look 1" not in text
    assert get(desk, f"/artifacts/{HELD}/9/look_002_history.webp").headers["Content-Type"] == "image/webp"


def test_the_first_page_lists_recent_claims(desk: RunningDesk) -> None:
    text = get(desk, "/").text
    for claim_id in (FILED, REFUSED, STOPPED, HELD):
        assert f'href="/claims/{claim_id}"' in text
    assert "AUR-4471902" in text
    assert "LOGIN_FAILED" in text


@pytest.mark.parametrize("query", ["AUR-4471902", FILED, " aur-4471902 ", "a0X5g00000w5la"])
def test_a_look_up_with_one_answer_leads_straight_to_it(desk: RunningDesk, query: str) -> None:
    answer = requests.get(f"{desk.url}/", params={"q": query}, timeout=20, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/claims/{FILED}"


def test_open_alerts_stand_above_everything_else_and_are_text(desk: RunningDesk) -> None:
    text = get(desk, "/").text
    assert text.index("The portal of aurora is left alone") < text.index("Recent claims")
    assert "Breaker open" in text
    assert "3 times" in text
    assert "<script>document" not in text


def test_a_look_up_by_dealer_lists_its_claims(desk: RunningDesk) -> None:
    text = get(desk, "/?q=d1042").text
    assert FILED in text
    assert STOPPED in text
    assert REFUSED not in text


def test_a_look_up_of_something_unknown_says_so(desk: RunningDesk) -> None:
    text = requests.get(f"{desk.url}/", params={"q": f"{HOSTILE}'\"" + "x" * 1000}, timeout=20).text
    assert "Nothing is known by" in text
    assert "<script" not in text
    assert "⟨U+202E⟩" in text


def test_a_filed_claim_shows_what_the_oem_decided_and_the_portals_word_is_escaped(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{FILED}").text
    for part in ("The OEM’s decision:", "Denied", "No OEM should go there", "is overdue", "Last seen <time"):
        assert part in text
    assert "<script" not in text
    assert "⟨U+202E⟩" in text
    assert "The OEM’s decision:" not in get(desk, f"/claims/{STOPPED}").text


def test_a_filed_claim_shows_its_story_and_proof(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{FILED}").text
    for part in ("Click armed: from here nothing clicks again", "Request sent, once", "PORTAL_MAINTENANCE", RUN):
        assert part in text
    assert f'href="http://127.0.0.1:3000/runs/{RUN}"' in text
    assert f'href="/e/{FILED}/{digest_of(desk)}.zip"' in text
    assert f"/artifacts/{FILED}/7/pre_submit.webp" in text
    assert f"/artifacts/{FILED}/7/post_confirm.webp" in text
    assert "6/failure.webp" not in text
    assert "sha256sum -c --strict manifest-sha256.txt" in text


def test_a_filed_claim_says_how_its_signature_and_its_place_in_the_log_are_checked(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{FILED}").text
    for part in ("fe" * 32, "entry 7 of 8", "tsa.example", "openssl dgst -sha256 -verify ../evidence-pub.pem"):
        assert part in text
    answer = get(desk, f"/keys/{'fe' * 32}.pem")
    assert answer.content.startswith(b"-----BEGIN PUBLIC KEY")
    assert answer.headers["content-disposition"] == 'attachment; filename="evidence-pub.pem"'
    get(desk, f"/keys/{'ef' * 32}.pem", 404)


def test_the_reference_is_marked_in_the_portals_own_text(desk: RunningDesk) -> None:
    assert "Claim number <mark>AUR-4471902</mark> has been assigned." in get(desk, f"/claims/{FILED}").text


def test_a_claim_says_what_was_erased_removed_and_is_held(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{KEPT}").text
    for part in ("data of this claim was erased", "customer asked for it", "claim is over", "under legal hold"):
        assert part in text
    assert text.count('<p class="note held">') == 3  # of the two holds only the one that is not lifted
    for path in (f"/e/{KEPT}/{'ab' * 32}", f"/e/{KEPT}/{'ab' * 32}.zip"):
        assert "it was removed on 2026-03-02" in get(desk, path, 410).text


def test_a_stopped_claim_says_what_to_do(desk: RunningDesk) -> None:
    text = get(desk, f"/claims/{STOPPED}").text
    assert "LOGIN_FAILED" in text
    assert "Check the account&#39;s password at the portal" in text
    assert "Download the bundle" not in text


def test_the_link_in_the_crm_shows_the_claim_while_the_bundle_is_there(desk: RunningDesk) -> None:
    text = get(desk, f"/e/{FILED}/{digest_of(desk)}").text
    assert "The bundle that the link names is in the store" in text
    assert "AUR-4471902" in text


def test_an_older_bundle_stays_reachable(desk: RunningDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = digest_of(desk)
    monkeypatch.setitem(desk.ledger.all, FILED, replace(desk.ledger.all[FILED], bundle_digest="0" * 64))
    text = get(desk, f"/e/{FILED}/{digest}").text
    assert "older bundle" in text
    assert f'href="/e/{FILED}/{digest}.zip"' in text


def test_the_download_is_the_zip_as_stored(desk: RunningDesk) -> None:
    digest = digest_of(desk)
    answer = get(desk, f"/e/{FILED}/{digest}.zip")
    assert answer.content == desk.ledger.store.get(f"bundles/{FILED}/{digest}.zip")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{FILED}-{digest[:12]}.zip"'
    assert verify_bundle(answer.content, digest, KEYS).ok


def test_a_picture_is_served_as_what_it_is(desk: RunningDesk) -> None:
    answer = get(desk, f"/artifacts/{FILED}/7/pre_submit.webp")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    kept = desk.ledger.artifacts(FILED)
    assert hashlib.sha256(answer.content).hexdigest() in {artifact.sha256 for artifact in kept}


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/claims/nobody",
        "/claims/..%2f..%2fetc",
        "/claims/%3Cscript%3E",
        f"/e/{FILED}/{'0' * 64}",
        f"/e/{FILED}/{'0' * 64}.zip",
        f"/e/{FILED}/short",
        f"/e/{FILED}/..%2f..%2fx.zip",
        f"/e/{STOPPED}/{'0' * 64}",
        f"/e/nobody/{'0' * 64}",
        f"/artifacts/{FILED}/6/pre_submit.webp",
        f"/artifacts/{FILED}/7/readback.json",
        f"/artifacts/{FILED}/7/..%2f..%2fpasswd",
        f"/artifacts/{FILED}/seven/pre_submit.webp",
        f"/artifacts/{REFUSED}/7/pre_submit.webp",
        "/static/../app.py",
        "/static/none.css",
    ],
)
def test_what_is_not_known_is_a_page_that_says_so(desk: RunningDesk, path: str) -> None:
    answer = get(desk, path, 404)
    assert "This can’t be shown" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_under_a_strict_policy(desk: RunningDesk, path: str) -> None:
    answer = get(desk, path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    ours = ("http://127.0.0.1:3000/runs/", "http://127.0.0.1:8700/crm/", 'xmlns="http://www.w3.org/2000/svg"')
    text = functools.reduce(lambda left, part: left.replace(part, ""), ours, answer.text)
    for forbidden in ("<script", "<style", "style=", "onclick", "onerror=alert(1)>", "http://", "https://"):
        assert forbidden not in text, forbidden


def test_nothing_can_be_written(desk: RunningDesk) -> None:
    assert requests.post(f"{desk.url}/", timeout=20).status_code == 415
    assert requests.delete(f"{desk.url}/claims/{FILED}", timeout=20).status_code == 405


def test_a_picture_that_was_changed_is_not_shown(desk: RunningDesk) -> None:
    artifact = desk.ledger.kept[FILED][0]
    desk.ledger.kept[REFUSED] = [replace(artifact, claim_id=REFUSED, attempt_id=9, sha256="0" * 64)]
    assert "was changed after it was kept" in get(desk, f"/artifacts/{REFUSED}/9/failure.webp", 500).text
    desk.ledger.kept[REFUSED] = [replace(artifact, claim_id=REFUSED, attempt_id=9, key="artifacts/gone")]
    assert "has lost it" in get(desk, f"/artifacts/{REFUSED}/9/failure.webp", 404).text
    del desk.ledger.kept[REFUSED]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "desk.example", ""])
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^The desk would show claims to everybody who can reach .*127\.0\.0\.1\.$"
    ):
        serve(Starlette(), loopback_access(), host, 0)


def test_a_page_elsewhere_can_not_pose_as_the_desk(desk: RunningDesk) -> None:
    port = desk.url.rpartition(":")[2]
    ours = {f"127.0.0.1:{port}": 200, f"localhost:{port}": 200, "[::1]:8787": 200}
    for host, status in (ours | {"evil.example": 400, f"127.0.0.1.evil.example:{port}": 400}).items():
        answer = requests.get(f"{desk.url}/health", headers={"Host": host}, timeout=20)
        assert answer.status_code == status, host
