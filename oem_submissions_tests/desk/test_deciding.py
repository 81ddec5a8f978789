"""What operators do at the desk, on a real ledger: verdicts, redrives, the gate; by the command line's services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.requests import Request

from adapters.aurora.portal import Aurora
from adapters.registry import ADAPTERS
from oem_submissions.cli.desk import desk_app
from oem_submissions.desk.access import Role, User, Visit
from oem_submissions.desk.door import Access
from oem_submissions.desk.forms import UPLOAD_BYTES, Forms
from oem_submissions.desk.serving import with_access
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.releases import ReleaseState
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.services.release import current, declare_live
from oem_submissions.settings import read_settings
from oem_submissions_tests.desk.access import KEY, listening, token_in
from oem_submissions_tests.evidence import samples
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import let_pass, run

NUMBER = next(
    n for n in (f"WC-2026-000007-{c}" for c in "ABCDEFGHJKLMNPRSTUVWXYZ") if Aurora().reference_is_plausible(n)
)
LOCKED = StepFailed(ReasonCode.LOGIN_FAILED, "The portal says: wrong password.", "log in")
LATE = StepFailed(ReasonCode.CUTOFF_PASSED, "The portal closed on the 5th.", "fill")


class ByHeader:
    """A way in: Ana, an operator, or of the role that a header names."""

    name, invitation = "test", "Name a role."

    def visit(self, request: Request) -> Visit | None:
        role = request.headers.get("x-role", Role.OPERATOR)
        return None if role == "nobody" else _visit(role)


def _visit(role: str) -> Visit:
    return Visit(User("Ana", Role(role)), "test", "ana")


@dataclass(frozen=True)
class Client:
    """Ana's browser, on a page whose form has its token; it follows no redirect by itself."""

    url: str
    forms: Forms

    def get(self, path: str, role: str = "operator") -> requests.Response:
        return requests.get(self.url + path, timeout=20, allow_redirects=False, headers={"x-role": role})

    def post(
        self, path: str, data: dict[str, Any] | None = None, role: str = "operator", **files: Any
    ) -> requests.Response:
        form = (data or {}) | {"csrf": self.forms.token(_visit("operator"))}
        return requests.post(
            self.url + path, form, timeout=20, allow_redirects=False, headers={"x-role": role}, files=files or None
        )


@pytest.fixture
def desk(ledger: Ledger, tmp_path: Path) -> Iterator[Client]:
    """The real desk, behind its real gate."""
    forms = Forms(KEY)
    app = desk_app(
        ledger, DirectoryStore(tmp_path / "evidence"), read_settings({"OEM_SUBMISSIONS_HOME": str(tmp_path)})
    )
    with listening(with_access(app, Access(ByHeader(), forms, ledger))) as url:
        yield Client(url, forms)


@pytest.fixture
def asked(ledger: Ledger, tmp_path: Path) -> Claim:
    """A claim whose request was lost, and that needs a verdict."""
    ledger.add_claim(new_claim())
    portal = FakePortal(lose_request=True, rules=None)
    for _ in range(2):
        run(ledger, portal, DirectoryStore(tmp_path / "evidence"))
    return the(ledger, State.NEEDS_REVIEW)


def the(ledger: Ledger, state: State) -> Claim:
    """The one claim that is in the state."""
    (claim,) = ledger.all_claims(state=state)
    return claim


def form(claim: Claim, verdict: str, **changes: Any) -> dict[str, Any]:
    """As the page of a verdict sends it."""
    return {"version": claim.version, "verdict": verdict, "why": "Seen in the history.", "reference": ""} | changes


def stop(ledger: Ledger, number: int, failure: StepFailed) -> Claim:
    """A dead letter."""
    claim = ledger.add_claim(new_claim(number))
    run(ledger, FakePortal(failures=[failure]))
    dead = ledger.claim(claim.claim_id)
    assert dead is not None
    assert dead.state is State.DEAD
    return dead


# --- verdicts -----------------------------------------------------------------------------------------------------


def test_filed_is_shown_then_recorded_with_the_picture_and_the_name(desk: Client, ledger: Ledger, asked: Claim) -> None:
    listed = desk.get("/review").text
    assert asked.claim_id in listed
    assert "1 claim needs a verdict" in listed
    shown = desk.post(f"/review/{asked.claim_id}", data=form(asked, "filed", reference=f" {NUMBER} "))
    assert shown.status_code == 200
    assert "needed: there is no picture" in shown.text
    assert the(ledger, State.NEEDS_REVIEW).version == asked.version
    without = desk.post(f"/review/{asked.claim_id}/verdict", data=form(asked, "filed", reference=NUMBER))
    assert without.status_code == 422
    assert "has no picture of the answer" in without.text
    picture = ("seen.webp", samples.shot("Claim history"), "image/webp")
    done = desk.post(f"/review/{asked.claim_id}/verdict", form(asked, "filed", reference=NUMBER), picture=picture)
    assert (done.status_code, done.headers["location"]) == (303, f"/claims/{asked.claim_id}?done=filed")
    assert "Your verdict is recorded: filed" in desk.get(done.headers["location"]).text
    confirmed = the(ledger, State.CONFIRMED)
    assert confirmed.reference == NUMBER
    assert ledger.events(asked.claim_id)[-1].actor == "Ana"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reference": "WC-7"}, "does not have the form of a claim number"),
        ({"reference": ""}, "needs the portal&#39;s reference"),
        ({"reference": NUMBER, "why": " "}, "and why"),
    ],
)
def test_a_verdict_that_can_not_be_taken_changes_nothing_and_keeps_what_was_typed(
    desk: Client, ledger: Ledger, asked: Claim, changes: dict[str, str], text: str
) -> None:
    refused = desk.post(f"/review/{asked.claim_id}", data=form(asked, "filed", **changes))
    assert refused.status_code == 422
    assert text in refused.text
    assert "Nothing was changed." in refused.text
    assert f'value="{changes["reference"]}"' in refused.text
    assert the(ledger, State.NEEDS_REVIEW).version == asked.version


def test_a_picture_that_is_none_is_refused(desk: Client, ledger: Ledger, asked: Claim) -> None:
    address, given = f"/review/{asked.claim_id}/verdict", form(asked, "filed", reference=NUMBER)
    broken = desk.post(address, given, picture=("seen.webp", b"<svg onload=alert(1)>", "image/webp"))
    assert broken.status_code == 422
    assert "The picture is not a" in broken.text
    large = desk.post(address, given, picture=("seen.webp", bytes(UPLOAD_BYTES), "image/webp"))
    assert large.status_code == 413
    assert "Nothing was done" in large.text
    assert the(ledger, State.NEEDS_REVIEW).version == asked.version


def test_not_filed_waits_until_the_portal_had_time_then_files_anew(desk: Client, ledger: Ledger, asked: Claim) -> None:
    early = desk.post(f"/review/{asked.claim_id}", data=form(asked, "not-filed"))
    assert early.status_code == 422
    assert "may not list claim" in early.text
    let_pass(ledger, 48)
    shown = desk.post(f"/review/{asked.claim_id}", data=form(asked, "not-filed"))
    assert "<strong>files it anew</strong>" in shown.text
    done = desk.post(f"/review/{asked.claim_id}/verdict", data=form(asked, "not-filed"))
    assert done.status_code == 303
    assert the(ledger, State.READY).absences == 1


def test_cannot_tell_leaves_a_note(desk: Client, ledger: Ledger, asked: Claim) -> None:
    done = desk.post(f"/review/{asked.claim_id}/verdict", data=form(asked, "cannot-tell", why="The portal is down."))
    assert done.status_code == 303
    assert the(ledger, State.NEEDS_REVIEW).reason_text == "Ana can't tell: The portal is down."


def test_a_pack_that_is_missing_is_said_in_a_sentence(ledger: Ledger, asked: Claim, tmp_path: Path) -> None:
    let_pass(ledger, 48)
    settings = read_settings({"OEM_SUBMISSIONS_HOME": str(tmp_path), "OEM_SUBMISSIONS_SELECTORS": str(tmp_path)})
    app, forms = desk_app(ledger, DirectoryStore(tmp_path / "evidence"), settings), Forms(KEY)
    with listening(with_access(app, Access(ByHeader(), forms, ledger))) as url:
        missing = Client(url, forms).post(f"/review/{asked.claim_id}", form(asked, "not-filed"))
    assert missing.status_code == 503
    assert "This can’t be shown" in missing.text
    assert the(ledger, State.NEEDS_REVIEW).version == asked.version


@pytest.mark.parametrize("step", ["", "/verdict"])
def test_whoever_comes_second_is_told_so(desk: Client, ledger: Ledger, asked: Claim, step: str) -> None:
    ledger.cannot_tell(asked, "Ben", "He looked, too.")
    second = desk.post(f"/review/{asked.claim_id}{step}", data=form(asked, "cannot-tell"))
    assert second.status_code == 409
    assert "Somebody was faster" in second.text
    assert "Ben can&#39;t tell" in second.text
    assert [event.actor for event in ledger.events(asked.claim_id) if event.kind == "verdict"] == ["Ben"]


def test_a_race_at_the_last_moment_is_lost_plainly(
    desk: Client, ledger: Ledger, asked: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.cannot_tell(asked, "Ben", "He looked, too.")
    now = ledger.claim
    monkeypatch.setattr(Ledger, "claim", lambda _, claim_id: asked if claim_id == asked.claim_id else now(claim_id))
    lost = desk.post(f"/review/{asked.claim_id}/verdict", data=form(asked, "cannot-tell"))
    assert lost.status_code == 409
    assert "Somebody was faster" in lost.text


def test_viewers_see_everything_and_decide_nothing(desk: Client, ledger: Ledger, asked: Claim) -> None:
    dead = stop(ledger, 2, LATE)
    for path in (f"/review/{asked.claim_id}", "/dead-letters", "/dead-letters/redrive", "/oems/aurora",
                 "/oems/aurora/suspend", f"/claims/{dead.claim_id}"):  # fmt: skip
        shown = desk.get(path, role="viewer")
        assert shown.status_code == 200
        assert 'method="post"' not in shown.text
        assert "Redrive" not in shown.text.replace("Redrive 1", "").replace("Redrive dead letters", "")
    refused = desk.post(f"/review/{asked.claim_id}/verdict", data=form(asked, "cannot-tell"), role="viewer")
    assert refused.status_code == 403
    chosen = {"claims": f"{dead.claim_id}:{dead.version}"}
    assert desk.post("/dead-letters/redrive", data=chosen, role="viewer").status_code == 403
    assert desk.post("/oems/aurora/suspend", data={"why": "no"}, role="viewer").status_code == 403
    assert desk.post("/oems/aurora/breaker", role="nobody").status_code == 401
    assert the(ledger, State.NEEDS_REVIEW).version == asked.version
    assert the(ledger, State.DEAD).version == dead.version


def test_every_form_that_changes_something_sends_the_token_back(desk: Client, ledger: Ledger, asked: Claim) -> None:
    stop(ledger, 2, LOCKED)
    confirm = desk.post(f"/review/{asked.claim_id}", data=form(asked, "cannot-tell")).text
    pages = [desk.get(path).text for path in (f"/review/{asked.claim_id}", "/dead-letters/redrive",
             "/oems/aurora/suspend", "/oems/aurora/breaker?dealer=10234")]  # fmt: skip
    for text in (confirm, *pages):
        forms = text.split("<form")[1:]
        posting = [part for part in forms if 'method="post"' in part.partition(">")[0]]
        assert len(posting) == 1
        desk.forms.check(_visit("operator"), [token_in(posting[0])])


# --- dead letters -------------------------------------------------------------------------------------------------


def test_redriving_shows_first_exactly_what_it_then_does(desk: Client, ledger: Ledger) -> None:
    letters = [stop(ledger, 1, LATE), stop(ledger, 2, LATE)]
    locked = stop(ledger, 3, LOCKED)
    text = desk.get("/dead-letters").text
    assert "3 dead letters" in text
    assert "Check the account&#39;s password" in text
    some = desk.get("/dead-letters?reason=CUTOFF_PASSED").text
    assert "2 dead letters" in some
    assert locked.claim_id not in some
    plan = desk.get("/dead-letters/redrive?reason=CUTOFF_PASSED").text
    assert "Redrive 2 dead letters?" in plan
    assert "2 filed anew" in plan
    assert "tried once more" not in plan
    assert len(ledger.all_claims(state=State.DEAD)) == 3
    ledger.redrive(letters[0], "Ben")  # in the meantime
    chosen = " ".join(f"{letter.claim_id}:{letter.version}" for letter in letters)
    assert all(f"{letter.claim_id}:{letter.version}" in plan for letter in letters)
    done = desk.post("/dead-letters/redrive", data={"claims": chosen})
    assert done.headers["location"] == "/dead-letters?done=redriven&n=1&lost=1"
    assert (
        "1 dead letters were sent round again; 1 were moved by somebody else" in desk.get(done.headers["location"]).text
    )
    assert the(ledger, State.DEAD).claim_id == locked.claim_id
    assert ledger.events(letters[1].claim_id)[-1].actor == "Ana"


def test_redriving_a_refused_account_says_that_it_is_tried_once_more(desk: Client, ledger: Ledger) -> None:
    locked = stop(ledger, 1, LOCKED)
    plan = desk.get(f"/dead-letters/redrive?claim={locked.claim_id}").text
    assert "1 account is tried once more" in plan
    assert "Redrive 1 dead letter?" in plan
    desk.post("/dead-letters/redrive", data={"claims": f"{locked.claim_id}:{locked.version}"})
    assert ledger.breaker("aurora", "10234").position == "half-open"


def test_what_died_past_the_click_is_announced_as_looked_up(desk: Client, ledger: Ledger, asked: Claim) -> None:
    with ledger._engine.begin() as connection:  # no path leads there today; an old ledger may have such a claim
        connection.exec_driver_sql("UPDATE claims SET state = 'DEAD'")
    plan = desk.get("/dead-letters/redrive").text
    assert "1 looked up first" in plan
    assert "past the click" in desk.get("/dead-letters").text
    desk.post("/dead-letters/redrive", data={"claims": f"{asked.claim_id}:{asked.version}"})
    assert the(ledger, State.RECONCILING)


def test_a_form_that_is_none_of_ours_changes_nothing(desk: Client, asked: Claim) -> None:
    strange = [("/dead-letters/redrive", {"claims": claims}) for claims in ("", "aurora", "aurora-x:one", "a:1 " * 501)]
    strange += [(f"/review/{asked.claim_id}", form(asked, "perhaps")), (f"/review/{asked.claim_id}/verdict", {})]
    strange += [(f"/review/{asked.claim_id}", form(asked, "not-filed", why="x" * 1001))]
    for path, fields in strange:
        answer = desk.post(path, data=fields)
        assert answer.status_code == 400, fields
        assert "Nothing was changed." in answer.text


# --- the gate and the queue ----------------------------------------------------------------------------------------


def release_of(ledger: Ledger) -> ReleaseState:
    """Where aurora's release stands."""
    now = current(ledger, ADAPTERS["aurora"])
    assert now is not None
    return now.state


def test_an_oem_is_suspended_and_resumed_in_the_operators_name(desk: Client, ledger: Ledger) -> None:
    assert "No release" in desk.get("/oems").text
    pins = Pins(ADAPTERS["aurora"].digest, "v0001", "pack-digest")
    declare_live(ledger, "aurora", pins, "test", "5 clean runs in a row.")
    assert "Suspend filing" in desk.get("/oems/aurora").text
    unsaid = desk.post("/oems/aurora/suspend", data={"why": " "})
    assert (unsaid.status_code, release_of(ledger)) == (422, ReleaseState.LIVE)
    done = desk.post("/oems/aurora/suspend", data={"why": "The OEM called: wrong prices."})
    assert done.headers["location"] == "/oems/aurora?done=suspend"
    text = desk.get(done.headers["location"]).text
    assert release_of(ledger) is ReleaseState.SUSPENDED
    assert "Nothing more is filed for this OEM. Probes go on." in text
    assert "Ana: The OEM called: wrong prices." in text
    assert "OEM is not filed for" in desk.get("/").text
    again = desk.post("/oems/aurora/suspend", data={"why": "Twice."})
    assert again.status_code == 409
    assert "Nothing was changed." in again.text
    assert desk.post("/oems/aurora/resume", data={"why": "They are right now."}).status_code == 303
    assert release_of(ledger) is ReleaseState.LIVE
    assert desk.post("/oems/aurora/rebaseline", data={"why": "New prices."}).status_code == 303
    for act in ("approve", "rollback"):
        refused = desk.post(f"/oems/aurora/{act}", data={"why": "Try."})
        assert refused.status_code == 409
        assert "Nothing was changed." in refused.text


def test_a_refused_account_is_given_free_by_an_operator(desk: Client, ledger: Ledger) -> None:
    stop(ledger, 1, LOCKED)
    assert "account aurora/10234 is left alone" in desk.get("/queue").text
    assert "One log-in is tried" in desk.get("/oems/aurora/breaker?dealer=10234").text
    assert desk.post("/oems/aurora/breaker", data={"dealer": "10234"}).status_code == 303
    assert ledger.breaker("aurora", "10234").position == "half-open"
    assert desk.post("/oems/aurora/breaker", data={"dealer": "99999"}).status_code == 409
    assert "Nothing is left alone there any more." in desk.get("/oems/aurora/breaker?dealer=99999").text


def test_the_queue_says_what_waits_and_who_works(desk: Client, ledger: Ledger, asked: Claim) -> None:
    ledger.add_claim(new_claim(2, dealer="10871"))
    lease = ledger.acquire_lease("aurora", "10871", "run-of-now", "worker-9", 60)
    assert lease is not None
    text = desk.get("/queue").text
    assert "1 account is held by workers" in text
    assert "worker-9" in text
    (line,) = ledger.queue_lines(["aurora"])
    assert (line.ready, line.unknown, line.dead) == (1, 1, 0)
    assert line.oldest_ready is not None


def test_alerts_stand_there_until_their_cause_is_gone_and_after(desk: Client, ledger: Ledger) -> None:
    stop(ledger, 1, LOCKED)
    assert "1 open alert" in desk.get("/alerts").text
    ledger.resolve_alert("account aurora/10234")
    text = desk.get("/alerts").text
    assert "No alert is open" in text
    assert "Account refused" in text


def test_what_there_is_not_says_so(desk: Client) -> None:
    for path in ("/oems/nobody", "/oems/aurora/destroy", "/oems/aurora?release=99", "/dead-letters?reason=NONSENSE",
                 "/dead-letters/redrive?claim=nobody", "/review/nobody"):  # fmt: skip
        answer = desk.get(path)
        assert answer.status_code == 404, path
        assert "This can’t be shown" in answer.text
    for text in ("%00", "%ED%A0%80", "'; DROP TABLE claims; --", "%25", "_" * 300):
        answer = desk.get(f"/?q={text}")
        assert answer.status_code == 200, text
        assert "Nothing is known by" in answer.text


def test_an_address_can_not_put_words_in_our_mouth(desk: Client) -> None:
    for query in ("done=redriven&n=<b>&lost=1", "done=redriven&n=٣", "done=nothing", "done={n.__class__}"):
        assert 'role="status"' not in desk.get(f"/dead-letters?{query}").text
    assert 'role="status"' in desk.get("/dead-letters?done=redriven&n=1&lost=0").text


# --- withdrawing --------------------------------------------------------------------------------------------------


def test_an_operator_withdraws_what_was_not_filed_as_it_was_seen(desk: Client, ledger: Ledger, asked: Claim) -> None:
    page = f"/claims/{asked.claim_id}/withdraw"
    assert "It can’t be withdrawn" in desk.get(page).text
    assert desk.post(page, {"version": asked.version, "why": "keyed in by hand"}).status_code == 409
    dead = ledger.add_claim(new_claim(2, natural_key=None, reason=ReasonCode.PAYLOAD_INVALID, reason_text="no VIN"))
    page = f"/claims/{dead.claim_id}/withdraw"
    assert "Withdraw it" not in desk.get(page, role="viewer").text
    assert desk.post(page, {"version": dead.version, "why": "x"}, role="viewer").status_code == 403
    assert desk.post(page, {"version": dead.version, "why": " "}).status_code == 422
    assert desk.post(page, {"version": dead.version + 1, "why": "its record is gone"}).status_code == 409
    done = desk.post(page, {"version": dead.version, "why": "its record is gone"})
    assert (done.status_code, done.headers["location"]) == (303, f"/claims/{dead.claim_id}?done=withdrawn")
    assert the(ledger, State.WITHDRAWN).claim_id == dead.claim_id
    assert ledger.events(dead.claim_id)[-1].actor == "Ana"
