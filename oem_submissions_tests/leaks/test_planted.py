"""Claims are filed, refused, held and found again at a portal that tells everything; then everything stored is read."""

from __future__ import annotations

import asyncio
import base64
import email
import gzip
import html
import io
import json
import logging
import random
import re
import urllib.parse
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from dagster import DagsterInstance

from oem_submissions import wiring
from oem_submissions.alerts.message import Links, message_of
from oem_submissions.crm.memory import MemoryCrm
from oem_submissions.defs.alerting import findings_since
from oem_submissions.defs.partitions import add_dealers, partition_key
from oem_submissions.domain.records import Claim, Pins
from oem_submissions.domain.states import State
from oem_submissions.evidence.verify import verify_bundle
from oem_submissions.ledger.store import Ledger
from oem_submissions.portal.packs import load_pack
from oem_submissions.portal.runtime import BrowserRuntime
from oem_submissions.portal.steps import Limits
from oem_submissions.services.release import OpenGate, declare_live
from oem_submissions.services.submit import Partition
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions.simulator.server import Simulator
from oem_submissions_tests.desk.access import at_the_desk
from oem_submissions_tests.leaks.gossip import CUSTOMER, PASSWORD, PIN, TOTP_SECRET, Gossip, GossipPortal, packs

OEM, DEALER, PERIOD = "dakota", "10234", "2026-11-10"
SHORT = Limits(page_seconds=15, action_seconds=3, sent_seconds=2, answer_seconds=4)


# --- the run ---


class Everything:
    """Real parts all the way, but for the CRM."""

    def __init__(self, ledger: Ledger, simulator: Simulator, folder: Path) -> None:
        selectors = packs(folder)
        adapter, pack = Gossip(), load_pack(selectors, OEM)
        self.ledger, self.crm, self.simulator = ledger, MemoryCrm(), simulator
        self.home, self.dagster = folder / "home", folder / "dagster"
        self.dagster.mkdir()
        self.instance = DagsterInstance.local_temp(str(self.dagster))
        self.settings = replace(read_settings({}), home=self.home, retry_seconds=0.0)
        self.evidence = wiring.evidence_store(self.settings, ledger)
        account = {"username": "jdoe", "password": PASSWORD, "totp": TOTP_SECRET}
        secret = {EnvironmentSecrets.where(f"portal/{OEM}/{DEALER}/{part}"): text for part, text in account.items()}

        @contextmanager
        def portals(run_id: str) -> Iterator[BrowserRuntime]:
            urls = {OEM: simulator.http_url}
            with BrowserRuntime(lambda _: adapter, selectors, urls, limits=SHORT, log_extra={"run_id": run_id}) as made:
                yield made

        self.parts: dict[str, Any] = {
            "ledger": ledger, "crm": self.crm, "evidence": self.evidence, "secrets": EnvironmentSecrets(secret),
            "adapters": {OEM: adapter}, "portals": portals, "released_packs": lambda _: [(pack.version, pack.digest)],
        }  # fmt: skip
        self.parts["gate"] = OpenGate()  # without a probe, which the dialog would turn red
        declare_live(ledger, OEM, Pins(adapter.digest, pack.version, pack.digest), "test", "the gate is not tested")
        self.defs = wiring.definitions(self.settings, **self.parts)
        simulator.client.add_account(OEM, DEALER, "jdoe", PASSWORD, "Lakeside Motors", TOTP_SECRET)

    def add(self, record_id: str, **changes: Any) -> str:
        payload, _ = GossipPortal.claim("parts_return", DEALER, random.Random(record_id), date(2026, 11, 10))
        payload |= changes
        self.crm.add(record_id, oem=OEM, dealer=DEALER, claim_type="parts_return", due_on=date(2026, 11, 10),
                     payload=payload)  # fmt: skip
        return str(payload["invoice"])

    def run(self) -> None:
        with wiring.build(self.settings, **self.parts) as services:
            services.take_in()
        add_dealers(self.instance, OEM, [DEALER])
        job = self.defs.resolve_job_def(f"{OEM}_filing_job")
        key = partition_key(DEALER, PERIOD)
        job.execute_in_process(partition_key=key, instance=self.instance, raise_on_error=False)

    def look_again(self) -> None:
        """What the next run does first, and last: the claim whose answer was lost is found, and sealed."""
        partition = Partition(OEM, DEALER, PERIOD)
        with wiring.build(self.settings, **self.parts) as services:
            with services.portals("run-2") as portals:
                services.submit(partition, "run-2", "worker-2", portals.portal(OEM))
            services.seal(partition, "run-2", "worker-2")

    def look_for_alerts(self) -> str:
        """What became of the run's checks and claims, and what people are told of it."""
        found, _ = findings_since(self.instance, {}, [OEM])
        self.ledger.note_findings(found)
        with wiring.build(self.settings, **self.parts) as services:
            services.observe_alerts()
        told = self.ledger.alert_transitions([alert.alert_id for alert in self.ledger.alerts()])
        assert len(told) >= 3
        return repr([message_of(line, Links("https://desk.example", "https://dagster.example")) for line in told])

    def claim(self, record_id: str) -> Claim:
        found = self.ledger.claim_of_record(OEM, record_id)
        assert found is not None
        return found


# --- a scanner of its own: it shares nothing with the one that it checks ---


def writings(value: str) -> set[bytes]:
    """The value as it may be written."""
    raw = value.encode()
    plain = [raw, urllib.parse.quote(value).encode(), urllib.parse.quote(value, safe="").encode(),
             urllib.parse.quote_plus(value).encode(), html.escape(value).encode(), json.dumps(value)[1:-1].encode(),
             html.escape(json.dumps(value)[1:-1]).encode(), raw.hex().encode(),
             value.encode("utf-16-le"), value.encode("utf-16-be")]  # fmt: skip
    coded = [base64.b64encode(b"x" * n + raw)[(0, 2, 3)[n] : (n + len(raw)) * 8 // 6] for n in range(3)]
    return {text.lower() for text in plain} | {text.lower() for text in coded if len(text) >= 9}


def opened(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes and everything in them, in small letters."""
    yield data.lower()
    assert depth < 5
    if data[:2] == b"\x1f\x8b":
        yield from opened(gzip.decompress(data), depth + 1)
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from opened(archive.read(name), depth + 1)
    elif b"multipart/related" in data[:1000]:
        for part in email.message_from_bytes(data).walk():
            body = part.get_payload(decode=True)
            if isinstance(body, bytes):
                yield from opened(body, depth + 1)


def found_in(data: bytes, values: dict[str, set[bytes]]) -> set[str]:
    pieces = list(opened(data))
    return {name for name, ways in values.items() for way in ways if any(way in piece for piece in pieces)}


# --- everything that is stored ---


def evidence_files(home: Path) -> Iterator[tuple[str, bytes]]:
    for path in home.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(home)), path.read_bytes()


def tables(database_url: str) -> Iterator[tuple[str, bytes]]:
    """Every table, as COPY gives it; the claims' payload is where personal values belong, and PINs come from."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT table_name, string_agg(quote_ident(column_name), ',') FROM information_schema.columns"
            " WHERE table_schema = 'public' AND (table_name, column_name) <> ('claims', 'payload') GROUP BY 1"
        ).fetchall()
        for table, columns in rows:
            copied = f'COPY (SELECT {columns} FROM "{table}") TO STDOUT'  # noqa: S608 - names from the catalogue
            with connection.cursor().copy(copied) as copy:  # type: ignore[call-overload]
                # COPY writes a backslash as two: one is what the row holds.
                yield f"table {table}", b"".join(bytes(block) for block in copy).replace(b"\\\\", b"\\")


async def desk_pages(everything: Everything) -> list[tuple[str, bytes]]:
    desk = httpx.ASGITransport(at_the_desk(everything.ledger, everything.evidence))
    pages = []
    async with httpx.AsyncClient(transport=desk, base_url="http://127.0.0.1") as client:
        for claim in everything.ledger.all_claims():
            paths = [f"/claims/{claim.claim_id}", f"/?q={claim.crm_record_id}"]
            if claim.bundle_digest:
                page = f"/e/{claim.claim_id}/{claim.bundle_digest}"
                paths += [page, f"{page}.zip"]
            for path in paths:
                answer = await client.get(path, follow_redirects=True)
                assert answer.status_code == 200
                pages += [(f"desk {path}", answer.content), (f"headers of {path}", str(answer.headers).encode())]
    return pages


def dagster(everything: Everything) -> Iterator[tuple[str, bytes]]:
    instance = everything.instance
    for run in instance.get_runs():
        yield f"run {run.run_id}", repr((run.tags, run.run_config)).encode()
        for number, entry in enumerate(instance.all_logs(run.run_id)):
            yield f"event {number} of {run.run_id}", str(entry).encode()
    for path in everything.dagster.rglob("*"):
        if path.is_file():
            yield f"dagster/{path.name}", path.read_bytes()


def test_nothing_that_is_secret_or_personal_is_stored_anywhere(
    ledger: Ledger, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG, "oem_submissions")
    with Simulator(skins=[GossipPortal]) as simulator:
        everything = Everything(ledger, simulator, tmp_path)
        everything.add("FILED")
        everything.add("REFUSED", quantity=999)
        everything.add("ODD", quantity=888)
        everything.add("SPOKE", part="DK-10000-Z")  # the last one, by its name: it opens the breaker
        lost = everything.add("LOST")
        simulator.client.set_fault(OEM, "error_after_filing", times=1, match=lost)
        everything.run()
        told = everything.look_for_alerts()
        _check_texts(everything)
        everything.look_again()
        filed = simulator.client.truth(OEM)["filed"]
    try:
        _check(everything, filed)
        stored = [
            *evidence_files(everything.home), *tables(database_url), *dagster(everything),
            *asyncio.run(desk_pages(everything)),
            ("told", told.encode()),
            ("alerts", repr(ledger.alerts(only_open=False)).encode()), ("log", caplog.text.encode()),
            ("records", "\n".join(repr(vars(record)) for record in caplog.records).encode()),
            ("outcomes", repr([everything.crm.read_outcome(c.crm_record_id) for c in ledger.all_claims()]).encode()),
            ("printed", "".join(capfd.readouterr()).encode()),
        ]  # fmt: skip
    finally:
        everything.instance.dispose()
    _search(stored, [everything.evidence.get(key) for key in everything.evidence.keys("personal/")])


def _check_texts(everything: Everything) -> None:
    """What the portal said can be read, but for what nobody may read."""
    for name in ("REFUSED", "SPOKE", "ODD"):
        text = everything.claim(name).reason_text or ""
        assert "[secret]" in text, (name, text)
        assert "[personal]" in text, (name, text)
    assert "The quantity is more than was invoiced." in (everything.claim("REFUSED").reason_text or "")


def _check(everything: Everything, filed: int) -> None:
    """Hiding cost no filing and no proof."""
    claims = {name: everything.claim(name) for name in ("FILED", "REFUSED", "SPOKE", "ODD", "LOST")}
    assert {name: claim.state for name, claim in claims.items()} == {
        "FILED": State.SYNCED, "REFUSED": State.REJECTED, "SPOKE": State.DEAD, "ODD": State.OUTCOME_UNKNOWN,
        "LOST": State.SEALED,
    }  # fmt: skip
    assert filed == 2
    for name in ("FILED", "REFUSED", "LOST"):
        claim = claims[name]
        bundle = everything.evidence.get(f"bundles/{claim.claim_id}/{claim.bundle_digest}.zip")
        assert verify_bundle(bundle, keys=wiring.trusted_keys(everything.settings)).findings == ()
        if name == "FILED":
            names = zipfile.ZipFile(io.BytesIO(bundle)).namelist()
            assert {f"{claim.claim_id}/data/post_confirm.{end}" for end in ("mhtml.gz", "aria.yml")} <= set(names)


def _search(stored: list[tuple[str, bytes]], apart: list[bytes]) -> None:
    told = GossipPortal.told
    secret = {"password": PASSWORD, "TOTP secret": TOTP_SECRET, "PIN": PIN}
    secret |= {f"{kind} {n}": value for kind in ("cookie", "page token") for n, value in enumerate(told[kind])}
    looked_for = {name: writings(value) for name, value in secret.items()}
    personal = {"customer": writings(CUSTOMER) | writings(CUSTOMER.upper())}
    leaks = {where: found for where, data in stored if (found := found_in(data, looked_for))}
    assert leaks == {}
    assert [where for where, data in stored if found_in(data, personal)] == []
    assert any(found_in(data, personal) for data in apart), "kept apart, encrypted, and this scanner would find them"
    codes = {code.encode() for code in told["code"]}
    texts = [(where, piece) for where, data in stored for piece in opened(data) if b"\0" not in piece]
    said = [
        re.compile(rb"(?<![0-9a-z.-])" + code + rb"(?![0-9a-z])") for code in codes
    ]  # by chance in hex, and in times
    assert [(where, found[0]) for where, text in texts for code in said if (found := code.search(text))] == []
    assert len(stored) > 60
