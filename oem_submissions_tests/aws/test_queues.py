"""Dead letters out, redrives and due records in, over SQS. What a message says is never believed; nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oem_submissions import wiring
from oem_submissions.aws.sqs import SqsQueue
from oem_submissions.cli.doctor import diagnose
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import Claim, Death, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.evidence.store_memory import MemoryStore
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import CrmOutcome, CrmUnavailable, LedgerUnavailable, QueueUnavailable
from oem_submissions.services.intake import IntakeReport
from oem_submissions.services.queues import Handled, Queues, forward_dead_letters, redrive_from
from oem_submissions.settings import PREFIX, SettingsError, read_settings
from oem_submissions_tests.aws.conftest import Aws, client
from oem_submissions_tests.making import new_claim, warranty_payload
from oem_submissions_tests.orchestration.test_filing_runs import OEM, Everything, Rules, sensor_tick
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import let_pass, run

REFUSED = {"natural_key": None, "reason": ReasonCode.PAYLOAD_INVALID, "reason_text": "vin: 1HGCM82633A004352 is wrong"}
DESK = "https://desk.example"


def queue(url: str, endpoint_url: str | None = None) -> SqsQueue:
    return SqsQueue(lambda: client("sqs", endpoint_url), url, wait_seconds=0)


def dead(ledger: Ledger, number: int = 1, reason: ReasonCode = ReasonCode.VALIDATION_REJECTED, **more: Any) -> Claim:
    """A claim that died in a run, before the click."""
    claim = ledger.add_claim(new_claim(number, **more))
    run(ledger, FakePortal(failures=[StepFailed(reason, "no such button", "fill")]))
    return now(ledger, claim)


def now(ledger: Ledger, claim: Claim) -> Claim:
    found = ledger.claim(claim.claim_id)
    assert found is not None
    return found


# --- dead letters go out ---


def test_every_dead_letter_goes_out_once_with_its_reason_and_no_word_of_its_content(aws: Aws, ledger: Ledger) -> None:
    died = dead(ledger)
    hostile = "\x00\u202e<b>Jane Doe, born 1970</b>"
    strange = ledger.add_claim(NewClaim(**{**vars(new_claim(2)), **REFUSED, "dealer": hostile[1:], "oem": hostile[1:]}))
    url = aws.make_queue()
    assert forward_dead_letters(ledger, queue(url), DESK) == 2
    assert forward_dead_letters(ledger, queue(url), DESK) == 0
    messages = {json.loads(message["Body"])["claim_id"]: message for message in aws.take_all(url)}
    told = {name: value["StringValue"] for name, value in messages[died.claim_id]["MessageAttributes"].items()}
    assert told == {"reason": "VALIDATION_REJECTED", "claim_id": died.claim_id, "oem": "aurora", "dealer": "10234",
                    "run_id": "run-1"}  # fmt: skip
    body = json.loads(messages[died.claim_id]["Body"])
    assert body["page"] == f"{DESK}/claims/{died.claim_id}"
    assert ledger.events(died.claim_id)[body["sequence"] - 1].to_state is State.DEAD
    whole = json.dumps(messages)
    for word in ("Jane", "1HGCM", "no such button", *map(str, warranty_payload(2).values())):
        assert len(word) < 4 or word in ("warranty", "10234") or word not in whole, word
    assert messages[strange.claim_id]["MessageAttributes"]["dealer"]["StringValue"] == "unreadable"
    assert "run_id" not in messages[strange.claim_id]["MessageAttributes"]


def test_who_dies_twice_is_told_twice_and_nothing_else_is(aws: Aws, ledger: Ledger) -> None:
    url = aws.make_queue()
    died = dead(ledger)
    refused = ledger.add_claim(new_claim(2, **REFUSED))
    ledger.synced(ledger.redrive(refused, "ana"), None, "intake")  # an event of a dead claim, and no new death
    ledger.redrive(died, "ana")
    run(ledger, FakePortal(failures=[StepFailed(ReasonCode.ATTACHMENT_REJECTED, "too large", "attach")]))
    ledger.amend_claim(now(ledger, refused), new_claim(2, **REFUSED, source_sha256="other"))  # corrected, wrong again
    assert forward_dead_letters(ledger, queue(url), DESK) == 4
    told = [json.loads(message["Body"]) for message in aws.take_all(url)]
    assert sorted((body["claim_id"], body["reason"]) for body in told) == sorted([
        (died.claim_id, "VALIDATION_REJECTED"), (died.claim_id, "ATTACHMENT_REJECTED"),
        (refused.claim_id, "PAYLOAD_INVALID"), (refused.claim_id, "PAYLOAD_INVALID"),
    ])  # fmt: skip


class Forgetful(Ledger):
    """The worker dies when the queue has the messages and the ledger does not know it yet."""

    def note_forwarded(self, deaths: Sequence[Death]) -> None:
        raise LedgerUnavailable("gone")


def test_a_queue_that_is_away_and_a_crash_lose_no_dead_letter(aws: Aws, ledger: Ledger) -> None:
    for number in range(1, 13):
        ledger.add_claim(new_claim(number, **REFUSED))
    url = aws.make_queue(".fifo", FifoQueue="true")
    away = queue(url, "http://127.0.0.1:9")
    with pytest.raises(QueueUnavailable, match=r"^The queue q-\w+\.fifo did not take a message: EndpointConnection"):
        forward_dead_letters(ledger, away, DESK)
    with pytest.raises(LedgerUnavailable):
        forward_dead_letters(Forgetful(ledger._engine), queue(url), DESK)
    assert aws.left(url) == 10
    assert forward_dead_letters(ledger, queue(url), DESK) == 12
    bodies = [json.loads(message["Body"])["claim_id"] for message in aws.take_all(url)]
    assert sorted(bodies) == sorted(claim.claim_id for claim in ledger.all_claims())


def test_a_message_that_the_queue_refuses_holds_no_other_up(aws: Aws, ledger: Ledger) -> None:
    ledger.add_claim(new_claim(1, **REFUSED))
    ledger.add_claim(new_claim(2, **REFUSED))
    url = aws.make_queue()

    class Picky(SqsQueue):
        def send(self, notices: Any) -> Any:
            return super().send([notice for notice in notices if not notice.key.startswith(first)])

    first = ledger.unforwarded(1)[0].claim_id
    picky = Picky(lambda: client("sqs"), url)
    assert forward_dead_letters(ledger, picky, DESK) == 1
    assert [death.claim_id for death in ledger.unforwarded(10)] == [first]


# --- and come back ---


def letters(aws: Aws, ledger: Ledger) -> tuple[str, dict[str, str]]:
    """A redrive queue, and every dead letter's message by claim: an operator moves them as they are."""
    out, back = aws.make_queue(), aws.make_queue(VisibilityTimeout="0")
    forward_dead_letters(ledger, queue(out), DESK)
    return back, {json.loads(m["Body"])["claim_id"]: m["Body"] for m in aws.take_all(out)}


def test_a_dead_letter_that_comes_back_is_redriven_once_however_often_it_comes(aws: Aws, ledger: Ledger) -> None:
    died = dead(ledger)
    url, bodies = letters(aws, ledger)
    for _ in range(2):
        aws.put(url, bodies[died.claim_id])
    handled = redrive_from(queue(url), ledger)
    assert sorted(text.partition(":")[0].replace("READY, and this", "") for text in handled.done) == [
        f"Claim {died.claim_id} is  dead letter is past",
        f"Claim {died.claim_id} was redriven, and is READY.",
    ]
    assert (aws.left(url), now(ledger, died).state) == (0, State.READY)
    assert [e.actor for e in ledger.events(died.claim_id) if e.kind == "redriven"] == ["sqs"]
    run(ledger, FakePortal(failures=[StepFailed(ReasonCode.VALIDATION_REJECTED, "still none", "fill")]))
    again = now(ledger, died)
    assert again.state is State.DEAD
    aws.put(url, bodies[died.claim_id])  # of its first death
    assert "this dead letter is past" in redrive_from(queue(url), ledger).done[0]
    assert now(ledger, died) == again
    _, newer = letters(aws, ledger)
    aws.put(url, newer[died.claim_id])
    redrive_from(queue(url), ledger)
    (filed,) = run(ledger, portal := FakePortal())
    assert (filed.state, len(portal.filed)) == (State.CONFIRMED, 1)
    aws.put(url, newer[died.claim_id])
    assert "is CONFIRMED" in redrive_from(queue(url), ledger).done[0]
    assert now(ledger, died).state is State.CONFIRMED


def test_a_refused_record_is_read_again_once(aws: Aws, ledger: Ledger) -> None:
    refused = ledger.add_claim(new_claim(1, **REFUSED))
    url, bodies = letters(aws, ledger)
    for _ in range(2):
        aws.put(url, bodies[refused.claim_id])
    redrive_from(queue(url), ledger)
    assert now(ledger, refused).source_sha256 == ""
    assert [e.kind for e in ledger.events(refused.claim_id)] == ["taken_in", "redriven"]


def test_what_died_past_the_click_is_looked_up(aws: Aws, ledger: Ledger) -> None:
    claim, portal = ledger.add_claim(new_claim()), FakePortal(lose_reply=True, rules=None)
    run(ledger, portal)
    held = now(ledger, claim)
    with ledger._engine.begin() as connection:  # as if a version of old had given it up
        from oem_submissions.ledger.chain import append_event
        from oem_submissions.ledger.moves import compare_and_set, database_now

        moment = database_now(connection)
        compare_and_set(connection, held, {"state": State.DEAD}, moment)
        append_event(connection, held.claim_id, moment, "old", "moved", held.state, State.DEAD, {})
    url, bodies = letters(aws, ledger)
    aws.put(url, bodies[claim.claim_id])
    redrive_from(queue(url), ledger)
    assert now(ledger, claim).state is State.RECONCILING
    portal.rules, portal.lose_reply = FakePortal.rules, False
    for _ in range(2):
        let_pass(ledger, 2)
        run(ledger, portal)
    assert (now(ledger, claim).state, len(portal.filed)) == (State.CONFIRMED, 1)


NONSENSE = [
    "", "dead", "[]", "{}", "[" * 30_000, '{"claim_id": 7, "sequence": 1}', '{"claim_id": "a", "sequence": "1"}',
    '{"claim_id": "aurora-unknown", "sequence": 1}', '{"claim_id": "x\'; DROP TABLE claims", "sequence": 1}',
    '{"claim_id": "a", "sequence": 1' + " " * 70_000 + "}", '{"claim_id": "a", "sequence": NaN}',
]  # fmt: skip


def test_nonsense_stays_until_the_queue_gives_it_up_and_holds_nothing_up(aws: Aws, ledger: Ledger) -> None:
    died = dead(ledger)
    _, bodies = letters(aws, ledger)
    given_up = aws.make_queue()
    arn = aws.sqs.get_queue_attributes(QueueUrl=given_up, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = aws.make_queue(VisibilityTimeout="60", RedrivePolicy=policy)
    for body in NONSENSE:
        if body:
            aws.put(url, body)
    aws.put(url, bodies[died.claim_id])
    handled = redrive_from(queue(url), ledger)
    assert len(handled.refused) == len(NONSENSE) - 1
    assert now(ledger, died).state is State.READY
    assert not any("DROP" in text or "NaN" in text for text in handled.refused)
    assert any("there is no claim aurora-unknown" in text for text in handled.refused)
    assert aws.left(url) == len(NONSENSE) - 1


# --- due records come in ---


class Intake:
    """The services on a queue of due claims, a CRM and the ledger."""

    def __init__(self, ledger: Ledger, folder: Path, queue: SqsQueue) -> None:
        self.crm, self.settings = MemoryCrm(), replace(read_settings({}), home=folder)
        self.parts: dict[str, Any] = {"ledger": ledger, "crm": self.crm, "evidence": MemoryStore(),
                                      "adapters": {OEM: Rules()}, "queues": Queues(due=queue)}  # fmt: skip

    def add(self, number: int, **changes: Any) -> None:
        self.crm.add(f"REC{number:04d}", oem=OEM, dealer="10234", claim_type="warranty", due_on=date(2026, 11, 10),
                     payload=warranty_payload(number, **changes))  # fmt: skip

    def take_in(self, **parts: Any) -> tuple[Handled, list[IntakeReport]]:
        with wiring.build(self.settings, **(self.parts | parts)) as services:
            return services.take_in_from_queue()


def test_messages_name_records_and_the_crm_says_what_they_are(aws: Aws, ledger: Ledger, tmp_path: Path) -> None:
    url = aws.make_queue(VisibilityTimeout="0")
    intake = Intake(ledger, tmp_path, queue(url))
    for number, changes in ((1, {}), (2, {}), (3, {"vin": "nonsense"})):
        intake.add(number, **changes)
    aws.put(url, {"records": ["REC0001", "REC0003", "REC0001"]})
    handled, (report,) = intake.take_in()
    assert (len(report.taken_in), len(report.refused), handled.refused) == (1, 1, ())
    by_record = {claim.crm_record_id: claim for claim in ledger.all_claims()}
    assert {name: claim.state for name, claim in by_record.items()} == {"REC0001": State.READY, "REC0003": State.DEAD}
    told = intake.crm.read_outcome("REC0003")
    assert told is not None
    assert told.status == "DEAD"
    intake.crm.write_outcome("REC0002", CrmOutcome("aurora-elsewhere", "FILED", "WC-1"))
    for _ in range(2):  # what is known, and what is filed and not due any more
        aws.put(url, {"records": ["REC0001", "REC0002"]})
    handled, reports = intake.take_in()
    assert (len(handled.done), aws.left(url)) == (2, 0)
    assert set(reports) == {IntakeReport()}
    assert len(ledger.all_claims()) == 2


SENSELESS = [
    ({"records": ["REC9999", "REC0001"]}, "the CRM has no record REC9999"),
    ({"records": ["REC0002"], "payload": {"vin": "planted"}}, "it is not as it should be (extra_forbidden)"),
    ({"records": []}, "records is not as it should be (too_short)"),
    ({"records": ["x"] * 101}, "records is not as it should be (too_long)"),
    ({"records": "REC0002"}, "records is not as it should be (list_type)"),
    ({"records": ["../../query?q=x"]}, "records.0 is not as it should be (string_pattern_mismatch)"),
    ("{" * 50_000, "it is not as it should be (json_invalid)"),
    ("[" * 60_000, "it is not as it should be (json_invalid)"),
    ('{"records": ["REC0002"]' + " " * 70_000 + "}", "it has 70,024 characters, more than 65,536"),
]


def test_messages_that_make_no_sense_stay_and_each_is_told_in_a_sentence(
    aws: Aws, ledger: Ledger, tmp_path: Path
) -> None:
    url = aws.make_queue(VisibilityTimeout="60")
    intake = Intake(ledger, tmp_path, queue(url))
    for number in (1, 2):
        intake.add(number)
    for body, _ in SENSELESS:
        aws.put(url, body)
    handled, _ = intake.take_in()
    ends = [text.split(" is refused: ")[1] for text in handled.refused]
    assert sorted(ends) == sorted(f"{says}." for _, says in SENSELESS)
    assert aws.left(url) == len(SENSELESS)
    assert [claim.crm_record_id for claim in ledger.all_claims()] == ["REC0001"]


def test_a_message_is_gone_only_when_the_ledger_has_its_claims(aws: Aws, ledger: Ledger, tmp_path: Path) -> None:
    url = aws.make_queue(VisibilityTimeout="0")
    intake = Intake(ledger, tmp_path, queue(url))
    intake.add(1)
    aws.put(url, {"records": ["REC0001"]})

    class Away(Ledger):
        def add_claim(self, new: NewClaim, actor: str = "intake") -> Claim:
            raise LedgerUnavailable("The ledger's database does not answer.")

    with pytest.raises(LedgerUnavailable):
        intake.take_in(ledger=Away(ledger._engine))
    intake.crm.unavailable = "The CRM is down."
    with pytest.raises(CrmUnavailable):
        intake.take_in()
    assert aws.left(url) == 1
    intake.crm.unavailable = None
    intake.take_in()
    assert (aws.left(url), len(ledger.all_claims())) == (0, 1)


# --- set up ---


def test_a_sensor_is_there_when_its_queue_is_and_they_work_through_production_s_parts(
    aws: Aws, ledger: Ledger, tmp_path: Path
) -> None:
    everything = Everything(ledger, tmp_path)
    names = {"forward_dead_letters", "redrive_queue", "due_queue"}
    assert not names & {sensor.name for sensor in everything.defs.sensors or ()}
    out, back, due = (aws.make_queue(VisibilityTimeout="0") for _ in names)
    everything.settings = replace(everything.settings, dead_letter_queue=out, redrive_queue=back, due_queue=due)
    everything.use()
    assert names <= {sensor.name for sensor in everything.defs.sensors or ()}
    everything.add(1, vin="nonsense")
    aws.put(due, {"records": ["REC0001"]})
    (event,) = sensor_tick(everything, "due_queue").asset_events
    counts = {name: value.value for name, value in event.metadata.items()}
    assert counts == {"taken in": 0, "amended": 0, "refused": 1, "messages refused": 0}
    assert sensor_tick(everything, "forward_dead_letters").skip_message == "1 dead letters were forwarded."
    (message,) = aws.take_all(out)
    aws.put(back, message["Body"])
    (claim,) = ledger.all_claims()
    assert sensor_tick(everything, "redrive_queue").skip_message == f"Claim {claim.claim_id} was redriven, and is DEAD."
    assert sensor_tick(everything, "redrive_queue").skip_message == "Nothing came."
    everything.instance.dispose()


def test_settings_and_doctor_say_what_a_queue_lacks(aws: Aws, tmp_path: Path) -> None:
    given_up = aws.make_queue()
    arn = aws.sqs.get_queue_attributes(QueueUrl=given_up, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})}
    urls = {
        "DEAD_LETTER_QUEUE": given_up,
        "REDRIVE_QUEUE": aws.make_queue(**policy, VisibilityTimeout="120"),
        "DUE_QUEUE": aws.make_queue(**policy),
    }
    variables = {f"{PREFIX}{name}": url for name, url in urls.items()}
    variables |= {f"{PREFIX}HOME": str(tmp_path), f"{PREFIX}DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    said = partial(_said, variables)
    named = {name: url.rpartition("/")[2] for name, url in urls.items()}
    assert said("dead-letter queue") == (True, f"{named['DEAD_LETTER_QUEUE']} answers, 0 messages wait")
    assert said("redrive queue") == (True, f"{named['REDRIVE_QUEUE']} answers, 0 messages wait; "
                                     f"what is refused 5 times goes to {named['DEAD_LETTER_QUEUE']}")  # fmt: skip
    ok, says = said("queue of due claims")
    assert (ok, "hides a message for 30 s" in says) == (False, True)
    variables[f"{PREFIX}DUE_QUEUE"] = aws.make_queue()
    assert "has no redrive policy" in said("queue of due claims")[1]
    variables[f"{PREFIX}DUE_QUEUE"] = given_up.replace("q-", "none-")
    assert "There is no such queue" in said("queue of due claims")[1]
    for wrong in ({"DUE_QUEUE": "arn:aws:sqs:us-east-1:123456789012:x"}, {"REDRIVE_QUEUE": given_up}):
        with pytest.raises(SettingsError, match=f"^{PREFIX}{next(iter(wrong))}"):
            read_settings(variables | {PREFIX + name: value for name, value in wrong.items()})


def _said(variables: dict[str, str], part: str) -> tuple[bool, str]:
    settings = read_settings(variables)
    (found,) = [each for each in diagnose(settings, wiring.secret_source(settings)) if each.part == part]
    return found.ok, found.says
