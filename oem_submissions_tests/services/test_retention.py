"""Erasure, legal holds and pruning, on a real ledger and a real folder: what must be gone is, what must stay does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from adapters.registry import ADAPTERS
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.defs.checks import without_evidence
from oem_submissions.domain.claims import ERASED, parse_claim
from oem_submissions.domain.dispositions import Disposition, Seen
from oem_submissions.domain.evidence import artifact_key, attachment_key, bundle_key
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.keys import sha256_hex
from oem_submissions.domain.records import Claim, NewClaim
from oem_submissions.domain.states import State
from oem_submissions.evidence.master_keys import LocalMasterKey
from oem_submissions.evidence.personal import PersonalStore
from oem_submissions.evidence.store_directory import DirectoryStore
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.chain import broken_links
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import EvidenceErased, EvidenceLocked, EvidenceMissing
from oem_submissions.services.dead_letters import dead_letters
from oem_submissions.services.intake import take_in_due_claims
from oem_submissions.services.retention import Keeping, erase, hold, prune, release
from oem_submissions.services.seal import seal_claims
from oem_submissions.services.submit import Partition
from oem_submissions.services.sync import sync_claims
from oem_submissions.settings import read_settings
from oem_submissions.wiring import build
from oem_submissions_tests.desk.access import at_the_desk
from oem_submissions_tests.evidence.sealing import KEYS, SEALING
from oem_submissions_tests.making import kept, warranty_payload
from oem_submissions_tests.services.fakes import FakePortal
from oem_submissions_tests.services.runs import Clock, Killed, KilledAt, run

PHOTO = b"\xff\xd8\xff a photo with Margarete Musterfrau in it"
PERSONAL = {
    "complaint": "MRS MUSTERFRAU HEARS A RATTLE",
    "cause": "HER DOG ATE THE STRUT",
    "correction": "CALLED 555-0142, REPLACED IT",
    "technician": "T4471",
}
WHO = ("Ana", "Article 17 request of 2026-11-20")
DESK = "https://desk.example"


class World:
    """An installation: claims come from the CRM, are filed, sealed and told."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger, self.folder = ledger, folder
        self.bare = DirectoryStore(folder / "evidence")
        master = LocalMasterKey(folder / "keys" / "personal-data.key")
        self.evidence = PersonalStore(self.bare, ledger, master)
        self.crm, self.portal = MemoryCrm(), FakePortal()
        self.keeping = Keeping(ledger, self.evidence, ADAPTERS)

    def take_in(self) -> Any:
        return take_in_due_claims(self.ledger, self.crm, self.evidence, ADAPTERS, 1_000_000)

    def record(self, number: int, **changes: Any) -> str:
        files = [(f"Musterfrau {number}.jpg", "photo", PHOTO)]
        payload = warranty_payload(number, **{**PERSONAL, **changes})
        due = date(2026, 11, 10)
        return self.crm.add(
            f"REC{number:04d}", oem="aurora", dealer="10234", claim_type="warranty", due_on=due, payload=payload,
            files=files,
        )  # fmt: skip

    def of(self, number: int) -> Claim:
        claim = self.ledger.claim_of_record("aurora", f"REC{number:04d}")
        assert claim is not None
        return claim

    def file(self, *numbers: int) -> list[Claim]:
        """Filed, with a personal piece, sealed and told."""
        for number in numbers:
            self.record(number)
        self.take_in()
        partition = Partition("aurora", "10234", self.of(numbers[0]).period)
        run(self.ledger, self.portal, self.evidence, partition)
        for number in numbers:
            claim = self.of(number)
            attempt = self.ledger.attempts(claim.claim_id)[-1].attempt_id
            key = artifact_key(claim.claim_id, attempt, "personal_readback.json")
            self.evidence.put(key, str(PERSONAL).encode())
        claims = [self.of(number) for number in numbers]
        assert not seal_claims(claims, "run-1", "w", ledger=self.ledger, evidence=self.evidence, **SEALING)
        claims = [self.of(number) for number in numbers]
        assert sync_claims(claims, "run-1", "w", ledger=self.ledger, crm=self.crm, desk_url=DESK) == []
        return [self.of(number) for number in numbers]

    def age(self, claim: Claim, months: int) -> None:
        """As if the claim had come to rest so long ago."""
        with self.ledger._engine.begin() as connection:
            connection.execute(
                text("UPDATE claims SET updated_at = updated_at - make_interval(0, :m) WHERE claim_id = :c"),
                {"m": months, "c": claim.claim_id},
            )

    def keys_of(self, claim: Claim) -> list[str]:
        return [key for key in self.bare.keys("") if claim.claim_id in key]

    def kinds(self, claim: Claim) -> list[str]:
        return [event.kind for event in self.ledger.events(claim.claim_id)]

    def everything(self) -> bytes:
        """All that the installation holds: every file, and every row of every table."""
        with self.ledger._engine.connect() as connection:
            names = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
            rows = [row for name in names for row in connection.scalars(text(f"SELECT t::text FROM {name} t"))]  # noqa: S608
        files = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        return b"\n".join([*files, *(row.encode() for row in rows)])


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path)


def is_still_proven(world: World, claim: Claim) -> bool:
    """The bundle is there and verifies, the chain holds, and the claim is found."""
    assert claim.bundle_digest is not None
    verification = verify_bundle(world.evidence.get(bundle_key(claim.claim_id, claim.bundle_digest)), keys=KEYS)
    assert world.ledger.find(str(claim.reference)) == [world.ledger.claim(claim.claim_id)]
    return verification.ok and broken_links(world.ledger.events(claim.claim_id)) == []


# --- erasing -----------------------------------------------------------------------------------------------------


def test_an_erasure_leaves_nothing_personal_anywhere_and_the_claim_is_still_proven(world: World) -> None:
    (claim,) = world.file(1)
    sought = [value.encode() for value in PERSONAL.values()] + [b"Musterfrau 1.jpg"]
    assert [value for value in sought if value not in world.everything()] == []
    erased = erase(claim.claim_id, *WHO, world.keeping)
    assert erased.fields == ("attachments", "cause", "complaint", "correction", "technician")
    assert [value for value in (*sought, PHOTO) if value in world.everything()] == []
    now = world.of(1)
    assert is_still_proven(world, now)
    assert now.payload["complaint"] == ERASED
    assert parse_claim(ADAPTERS["aurora"].claim_model, now.payload).natural_key("aurora") == claim.natural_key
    assert (now.payload_sha256, now.state, now.updated_at) == (claim.payload_sha256, State.SYNCED, claim.updated_at)
    assert (now.erased_at is not None, world.ledger.untold()) == (True, [])
    assert {key.split("/")[0] for key in world.keys_of(claim)} == {"artifacts", "bundles"}
    event = world.ledger.events(claim.claim_id)[-1]
    assert (event.kind, event.actor, event.details["why"]) == ("erased", *WHO)
    with pytest.raises(EvidenceErased):
        world.evidence.get(f"personal/{claim.claim_id}/1/personal_readback.json")


def test_an_erasure_touches_no_other_claim(world: World) -> None:
    claim, other = world.file(1, 2)
    erase(claim.claim_id, *WHO, world.keeping)
    assert world.of(2) == other
    assert world.evidence.get(attachment_key(other.claim_id, sha256_hex(PHOTO))) == PHOTO
    assert PERSONAL["complaint"] in other.payload["complaint"]


def test_a_dry_run_says_what_would_go_and_changes_nothing(world: World) -> None:
    (claim,) = world.file(1)
    before = world.everything()
    would = erase(claim.claim_id, *WHO, world.keeping, dry_run=True)
    assert world.everything() == before
    assert len(would.keys) == 2
    done = erase(claim.claim_id, *WHO, world.keeping)
    assert (done.fields, done.keys) == (would.fields, would.keys)


def test_again_is_no_error_and_tells_nothing_new(world: World) -> None:
    (claim,) = world.file(1)
    for _ in range(3):
        erase(claim.claim_id, *WHO, world.keeping)
    assert world.kinds(claim).count("erased") == 1
    assert world.ledger.unswept() == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_claim_that_has_not_come_to_rest_keeps_its_data(world: World, dry_run: bool) -> None:
    world.record(1)
    world.take_in()
    for _ in range(2):  # ready, then confirmed and not sealed
        claim = world.of(1)
        with pytest.raises(StateConflict, match=f"is {claim.state}: it has not come to rest"):
            erase(claim.claim_id, *WHO, world.keeping, dry_run)
        assert world.of(1) == claim
        run(world.ledger, world.portal, world.evidence, Partition("aurora", "10234", claim.period))
    assert world.of(1).state is State.CONFIRMED
    with pytest.raises(StateConflict, match="There is no claim 'aurora-nothing'"):
        erase("aurora-nothing", *WHO, world.keeping, dry_run)


class KilledKeeping(KilledAt):
    WRITES = ("erase", "prune", "swept", "set_hold", "delete", "hold")


def killed_keeping(world: World, strike: int, after: bool) -> Keeping:
    clock = Clock(strike, after)
    return Keeping(KilledKeeping(world.ledger, clock), KilledKeeping(world.evidence, clock), ADAPTERS)


@pytest.mark.parametrize("after", [False, True])
def test_an_erasure_that_died_anywhere_is_finished_by_the_next(world: World, after: bool) -> None:
    for strike, claim in enumerate(world.file(1, 2, 3, 4), 1):  # the ledger's word, two files, and that it is done
        with pytest.raises(Killed):
            erase(claim.claim_id, *WHO, killed_keeping(world, strike, after))
        begun = (strike, after) != (1, False)
        assert ("erased" in world.kinds(claim)) is begun
        if begun:
            with pytest.raises(EvidenceErased):
                world.evidence.get(attachment_key(claim.claim_id, sha256_hex(PHOTO)))
        erase(claim.claim_id, *WHO, world.keeping)
        assert world.kinds(claim).count("erased") == 1
        assert {key.split("/")[0] for key in world.keys_of(claim)} == {"artifacts", "bundles"}
        assert is_still_proven(world, claim)
    assert world.ledger.unswept() == []


def test_an_interrupted_erasure_is_finished_by_the_next_pruning_too(world: World) -> None:
    (claim,) = world.file(1)
    with pytest.raises(Killed):
        erase(claim.claim_id, *WHO, killed_keeping(world, 2, after=False))
    assert prune(24, "Ana", world.keeping, dry_run=True).finished == (claim.claim_id,)
    assert prune(24, "Ana", world.keeping).finished == (claim.claim_id,)
    assert {key.split("/")[0] for key in world.keys_of(claim)} == {"artifacts", "bundles"}
    assert prune(24, "Ana", world.keeping).finished == ()


def test_what_was_erased_is_not_taken_in_again_nor_redriven(world: World) -> None:
    world.record(1, vin="not a VIN")
    world.take_in()
    dead = world.of(1)
    assert dead.state is State.DEAD
    erase(dead.claim_id, *WHO, world.keeping)
    assert world.of(1).payload == {}  # nobody knows what is personal in what is no claim
    world.crm.edit("REC0001", warranty_payload(1, **PERSONAL))
    assert world.take_in().amended == ()
    assert world.keys_of(dead) == []
    assert PERSONAL["complaint"].encode() not in world.everything()
    new = NewClaim(**{n: getattr(dead, n) for n in NewClaim.__dataclass_fields__})
    with pytest.raises(StateConflict, match="was erased: it is not taken in again"):
        world.ledger.amend_claim(world.of(1), new)
    with pytest.raises(StateConflict, match=r"so that it can't be filed: make a new record"):
        world.ledger.redrive(world.of(1), "Ana")
    assert dead_letters(world.ledger) == []


def test_a_correction_that_is_read_while_the_claim_is_erased_stops_nothing_else(world: World) -> None:
    world.record(1, vin="not a VIN")
    world.take_in()
    dead = world.of(1)

    class ErasedMeanwhile:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.ledger, name)

        def claim_of_record(self, oem: str, record: str) -> Claim | None:
            known = world.ledger.claim_of_record(oem, record)
            erase(dead.claim_id, *WHO, world.keeping)
            return known

    world.crm.edit("REC0001", warranty_payload(1, **PERSONAL))
    world.record(2)
    report = take_in_due_claims(ErasedMeanwhile(), world.crm, world.evidence, ADAPTERS, 1_000_000)  # type: ignore[arg-type]
    assert (report.taken_in, report.amended) == ((world.of(2).claim_id,), ())
    assert world.of(1).payload == {}


def test_the_services_of_an_installation_keep_what_people_sent_encrypted(
    world: World, database_url: str, tmp_path: Path
) -> None:
    world.record(1)
    variables = {"OEM_SUBMISSIONS_HOME": str(tmp_path / "home"), "OEM_SUBMISSIONS_DATABASE_URL": database_url}
    with build(read_settings(variables), crm=world.crm) as services:
        services.take_in()
        key = attachment_key(world.of(1).claim_id, sha256_hex(PHOTO))
        assert services.evidence.get(key) == PHOTO
    assert PHOTO not in (tmp_path / "home" / "evidence" / key).read_bytes()
    assert (tmp_path / "home" / "keys" / "personal-data.key").stat().st_mode & 0o777 == 0o600


# --- legal holds -------------------------------------------------------------------------------------------------


def test_a_held_claim_is_neither_erased_nor_pruned_nor_deleted_until_it_is_released(world: World) -> None:
    (claim,) = world.file(1)
    assert [hold(claim.claim_id, "Bo", "the OEM sues", world.keeping) for _ in range(2)] == [True, False]
    (held,) = world.ledger.holds()
    assert (held.claim_id, held.by, held.why) == (claim.claim_id, "Bo", "the OEM sues")
    before = world.keys_of(claim)
    world.age(claim, 25)
    for dry_run in (True, False):
        with pytest.raises(EvidenceLocked, match="under a legal hold .*by Bo"):
            erase(claim.claim_id, *WHO, world.keeping, dry_run)
        assert prune(24, "Ana", world.keeping, dry_run).pruned == ()
    for key in before:
        with pytest.raises(EvidenceLocked):
            world.evidence.delete(key)
    assert world.keys_of(claim) == before
    assert [release(claim.claim_id, "Bo", "settled", world.keeping) for _ in range(2)] == [True, False]
    assert world.ledger.holds() == []
    assert world.kinds(claim)[-2:] == ["hold_placed", "hold_lifted"]
    erase(claim.claim_id, *WHO, world.keeping)


@pytest.mark.parametrize("act", [hold, release])
def test_a_hold_that_died_anywhere_is_finished_by_the_next(world: World, act: Any) -> None:
    (claim,) = world.file(1)
    if act is release:
        hold(claim.claim_id, "Bo", "the OEM sues", world.keeping)
    with pytest.raises(Killed):
        act(claim.claim_id, "Bo", "why", killed_keeping(world, 2, after=True))
    act(claim.claim_id, "Bo", "why", world.keeping)
    for key in world.keys_of(claim):
        if act is hold:
            with pytest.raises(EvidenceLocked):
                world.evidence.delete(key)
        else:
            world.evidence.delete(key)


def test_what_comes_after_the_hold_is_held_by_the_next_pruning(world: World) -> None:
    (claim,) = world.file(1)
    hold(claim.claim_id, "Bo", "the OEM sues", world.keeping)
    late = f"artifacts/{claim.claim_id}/1/late.webp"
    world.evidence.put(late, b"x")
    prune(24, "Ana", world.keeping)
    with pytest.raises(EvidenceLocked):
        world.evidence.delete(late)


# --- pruning -----------------------------------------------------------------------------------------------------


def test_evidence_past_its_retention_is_given_up_and_the_ledger_says_so(world: World) -> None:
    claim, young = world.file(1, 2)
    world.age(claim, 24)
    world.age(young, 23)
    assert prune(24, "Ana", world.keeping, dry_run=True).pruned == (claim.claim_id,)
    assert world.of(1).pruned_at is None
    assert prune(24, "Ana", world.keeping) == prune(25, "Ana", world.keeping).__class__((claim.claim_id,), (), ())
    now = world.of(1)
    assert world.keys_of(claim) == []
    assert PERSONAL["complaint"] not in str(now.payload)
    event = world.ledger.events(claim.claim_id)[-1]
    assert (event.kind, event.details["digest"]) == ("pruned", claim.bundle_digest)
    assert (now.pruned_at is not None, now.erased_at is not None) == (True, True)
    assert world.ledger.find(str(claim.reference)) == [now]
    assert broken_links(world.ledger.events(claim.claim_id)) == []
    assert is_still_proven(world, young)
    assert world.of(2) == world.ledger.claim(young.claim_id)


def test_a_pruned_bundle_is_told_from_one_that_was_deleted(world: World) -> None:
    pruned, deleted = world.file(1, 2)
    world.age(pruned, 24)
    prune(24, "Ana", world.keeping)
    world.evidence.delete(bundle_key(deleted.claim_id, str(deleted.bundle_digest)))

    class Has:
        evidence = world.evidence

    claims = [world.of(1), world.of(2)]
    assert list(without_evidence(claims, Has(), lambda _: ())) == [deleted.claim_id]  # type: ignore[arg-type]
    with pytest.raises(EvidenceMissing):
        world.evidence.get(bundle_key(pruned.claim_id, str(pruned.bundle_digest)))


def test_the_oems_last_word_begins_the_retention_anew(world: World) -> None:
    (claim,) = world.file(1)
    lease = world.ledger.acquire_lease("aurora", "10234", "run", "worker", 60)
    assert lease is not None
    world.ledger.see(claim, None, Seen(Disposition.PAID, "Paid"), lease)
    world.age(world.of(1), 30)
    assert prune(24, "Ana", world.keeping).pruned == ()
    with pytest.raises(StateConflict, match="The retention of claim .* is not over"):
        world.ledger.prune(world.of(1), {}, 24, "Ana")


@pytest.mark.parametrize("after", [False, True])
def test_a_pruning_that_died_anywhere_is_finished_by_the_next(world: World, after: bool) -> None:
    claims = world.file(1, 2, 3)
    for strike, claim in zip((1, 2, 5), claims, strict=True):  # the ledger's word, the first file, one in the middle
        world.age(claim, 24)
        with pytest.raises(Killed):
            prune(24, "Ana", killed_keeping(world, strike, after))
        missing = claim.bundle_digest and bundle_key(claim.claim_id, claim.bundle_digest) not in world.keys_of(claim)
        assert not missing or "pruned" in world.kinds(claim)  # never gone without a word
        prune(24, "Ana", world.keeping)
        assert world.keys_of(claim) == []
        assert world.kinds(claim).count("pruned") == 1


def test_what_the_store_itself_does_not_let_go_is_said_and_tried_again(world: World) -> None:
    (claim,) = world.file(1)
    bundle = bundle_key(claim.claim_id, str(claim.bundle_digest))
    world.bare.hold(bundle, True)  # a lock that the ledger knows nothing of
    world.age(claim, 24)
    done = prune(24, "Ana", world.keeping)
    assert (len(done.locked), world.keys_of(claim)) == (1, [bundle])
    world.bare.hold(bundle, False)
    assert prune(24, "Ana", world.keeping).finished == (claim.claim_id,)
    assert world.keys_of(claim) == []


# --- the desk ----------------------------------------------------------------------------------------------------


def test_the_desk_shows_an_erased_claim_and_never_a_personal_piece(world: World) -> None:
    (claim,) = world.file(1)
    attempt = world.ledger.attempts(claim.claim_id)[-1]
    lease = world.ledger.acquire_lease("aurora", "10234", "run", "worker", 60)
    assert lease is not None
    for name in ("personal_readback.json", "personal_page.mhtml.gz"):
        piece = kept(claim, attempt, name)
        world.ledger.keep_artifact(replace(piece, key=artifact_key(claim.claim_id, attempt.attempt_id, name)), lease)
    app = at_the_desk(world.ledger, world.evidence)

    async def asked(path: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.get(path)

    def get(path: str) -> httpx.Response:
        return asyncio.run(asked(path))

    for _ in range(2):
        page = get(f"/claims/{claim.claim_id}")
        assert (page.status_code, PERSONAL["complaint"] in page.text) == (200, False)
        for artifact in world.ledger.artifacts(claim.claim_id):
            if artifact.name.startswith("personal"):
                url = f"/artifacts/{claim.claim_id}/{artifact.attempt_id}/{artifact.name}"
                assert get(url).status_code == 404
        assert get(f"/e/{claim.claim_id}/{claim.bundle_digest}.zip").status_code == 200
        erase(claim.claim_id, *WHO, world.keeping)
    assert "Personal data erased" in get(f"/claims/{claim.claim_id}").text
