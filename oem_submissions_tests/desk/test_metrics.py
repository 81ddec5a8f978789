"""What `/metrics` says, to whom, and what it never says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import httpx
import psycopg
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from oem_submissions.desk.access import Role
from oem_submissions.desk.metrics import Kept
from oem_submissions.desk.serving import access_for, with_access
from oem_submissions.desk.tokens import new_token
from oem_submissions.domain.overview import DeadKind, Measures, QueueLine
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.domain.records import AlertKind, NewAlert
from oem_submissions.ledger.embedded import EmbeddedPostgres
from oem_submissions.ledger.store import Ledger, open_ledger
from oem_submissions.ports import LedgerUnavailable
from oem_submissions.settings import EnvironmentSecrets, read_settings
from oem_submissions_tests.conftest import own_database
from oem_submissions_tests.desk.access import KEY, MemoryLog, at_the_desk, deciding, listening
from oem_submissions_tests.desk.conftest import RunningDesk
from oem_submissions_tests.desk.ledger import MadeUpLedger, made_up
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.many_claims import fill

Values = dict[tuple[str, ...], float]


def values(text: str, family: str, *labels: str) -> Values:
    """The samples of a family by the values of these labels, or by their OEM."""
    found: dict[str, Metric] = {metric.name: metric for metric in plain_text(text)}
    samples = found[f"oem_submissions_{family}"].samples
    return {tuple(sample.labels[name] for name in labels or ("oem",)): sample.value for sample in samples}


def scrape(url: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}/metrics", headers=headers, timeout=20)


@pytest.fixture(scope="module")
def full(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[Ledger]:
    """A ledger with many claims, some of the last hour; and with two accounts' workers, and one that was lost."""
    with own_database(postgres, migrated_template) as url, open_ledger(url) as ledger:
        _fill(url, ledger)
        yield ledger


@pytest.fixture(scope="module")
def scraped(full: Ledger) -> str:
    """What a desk says of it."""
    with listening(at_the_desk(full, made_up().store)) as url:
        answer = scrape(url)
    assert answer.status_code == 200, answer.text
    return answer.text


def _fill(database_url: str, ledger: Ledger) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        fill(connection, 2000)
        connection.execute("UPDATE attempts SET ended_as = 'CONFIRMED' WHERE ended_as = 'SYNCED'")
        connection.execute(
            """
            UPDATE attempts SET started_at = now() - interval '40 minutes', armed_at = now() - interval '38 minutes',
                sent_at = now() - interval '38 minutes', responded_at = now() - interval '37 minutes',
                ended_at = now() - interval '36 minutes'
            WHERE claim_id IN (SELECT claim_id FROM claims WHERE oem = 'aurora' AND state IN ('SYNCED', 'DEAD')
                               ORDER BY state, claim_id LIMIT 10)
            """
        )
        ledger.add_claim(new_claim(1, dealer="d-new"))
        connection.execute("UPDATE claims SET created_at = now() - interval '2 hours' WHERE dealer = 'd-new'")
        connection.execute("DELETE FROM claims WHERE state = 'READY' AND dealer <> 'd-new'")
    ledger.acquire_lease("aurora", "10001", "run-a", "worker-1", 3600)
    ledger.acquire_lease("aurora", "10002", "run-b", "worker-2", 0.001)
    for run in ("run-c", "run-d"):  # the second takes the account over
        ledger.acquire_lease("borealis", "20001", run, "worker-3", 0.001)
    for dealer in ("10001", "10002"):
        ledger.raise_alert(NewAlert(f"account aurora/{dealer}", AlertKind.ACCOUNT_REFUSED, "No.", "aurora", dealer))


def test_figures_are_the_ledgers(scraped: str, full: Ledger) -> None:
    queues = {line.oem: line for line in full.queue_lines(["aurora", "borealis", "cascade"])}
    assert values(scraped, "claims_ready") == {("aurora",): 1, ("borealis",): 0, ("cascade",): 0}
    age = values(scraped, "queue_age_seconds")
    assert 7200 <= age.pop(("aurora",)) < 7260
    assert set(age.values()) == {0}
    for name in ("running", "unknown"):
        found = values(scraped, f"claims_{name}")
        assert found == {(oem,): getattr(line, name) for oem, line in queues.items()}
    assert sum(values(scraped, "claims_unknown").values()) > 0
    letters = values(scraped, "dead_letters", "oem", "reason")
    assert sum(letters.values()) == sum(line.dead for line in queues.values()) > 0
    assert {reason for _, reason in letters} <= set(ReasonCode)
    assert values(scraped, "open_alerts", "oem", "kind") == {("aurora", "account_refused"): 2}


def test_what_is_not_counted_for_ever_is_counted_over_the_last_hour(scraped: str) -> None:
    ended = values(scraped, "attempts_last_hour", "oem", "outcome", "reason")
    assert sum(ended.values()) == 10
    assert {outcome for _, outcome, _ in ended} == {"CONFIRMED", "DEAD"}
    assert {oem for oem, _, _ in ended} == {"aurora"}
    steps = values(scraped, "step_seconds_last_hour", "oem", "step", "quantile")
    assert (steps["aurora", "fill", "0.5"], steps["aurora", "click", "0.95"]) == (120, 0)
    assert (steps["aurora", "answer", "0.5"], steps["aurora", "confirm", "0.5"]) == (60, 60)


def test_leases_are_held_overdue_or_lost(scraped: str) -> None:
    assert values(scraped, "leases_held") == {("aurora",): 2, ("borealis",): 1, ("cascade",): 0}
    assert values(scraped, "leases_overdue") == {("aurora",): 1, ("borealis",): 1, ("cascade",): 0}
    assert values(scraped, "leases_lost") == {("aurora",): 0, ("borealis",): 1, ("cascade",): 0}


def test_the_gate_is_told(desk: RunningDesk) -> None:
    text = scrape(desk.url).text
    assert values(text, "clean_runs") == {("aurora",): 3}
    states = values(text, "release_state", "oem", "state")
    assert sum(states.values()) == 1
    assert states["aurora", "verifying"] == 1
    assert values(text, "last_tick_timestamp_seconds")["aurora",] == 1772442840


def test_no_label_names_a_dealer_a_claim_or_a_person(desk: RunningDesk) -> None:
    families = list(plain_text(scrape(desk.url).text))
    labels = {name for family in families for sample in family.samples for name in sample.labels}
    assert labels == {"oem", "state", "reason", "outcome", "step", "quantile", "kind"}
    assert all(family.name.startswith("oem_submissions_") for family in families)


def test_a_scraper_that_asks_for_open_metrics_gets_it(desk: RunningDesk) -> None:
    answer = scrape(desk.url, Accept="application/openmetrics-text;version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = {family.name: family.type for family in open_metrics(answer.text)}
    assert families["oem_submissions_leases_lost"] == "counter"
    assert families["oem_submissions_queue_age_seconds"] == "gauge"


def test_the_ledger_is_asked_once_however_many_scrape() -> None:
    reads: list[str] = []

    class Counting(MadeUpLedger):
        def measures(self, oems: Sequence[str]) -> Measures:
            reads.append("figures")
            return super().measures(oems)

        def dead_kinds(self) -> list[DeadKind]:
            reads.append("dead letters")
            return super().dead_kinds()

    with listening(at_the_desk(Counting(), made_up().store)) as url:
        assert [scrape(url).status_code for _ in range(3)] == [200, 200, 200]
    assert sorted(reads) == ["dead letters", "figures"]


def test_what_is_old_is_read_anew_and_an_error_is_no_figure() -> None:
    answers: Iterator[int] = iter((1, 2))

    def fails() -> int:
        raise LedgerUnavailable("The ledger's database does not answer.")

    kept = Kept[int](0.0)
    assert [kept.fresh(lambda: next(answers)) for _ in range(2)] == [1, 2]
    with pytest.raises(LedgerUnavailable):
        kept.fresh(fails)


def test_a_ledger_that_does_not_answer_has_no_figures() -> None:
    class Away(MadeUpLedger):
        def queue_lines(self, oems: Sequence[str]) -> list[QueueLine]:
            raise LedgerUnavailable("The ledger's database does not answer.")

    with listening(at_the_desk(Away(), made_up().store)) as url:
        answer = scrape(url)
    assert answer.status_code == 503
    assert "oem_submissions_" not in answer.text


def test_a_token_of_monitoring_opens_it_by_address_and_nothing_else_does() -> None:
    token, entry = new_token("prometheus", Role.VIEWER)
    environment = {"OEM_SUBMISSIONS_DESK_URL": "https://desk.example", "OEM_SUBMISSIONS_SECRET_DESK_TOKENS": entry}
    access = access_for(read_settings(environment), EnvironmentSecrets(environment), "0.0.0.0", KEY, "", MemoryLog())
    with listening(with_access(deciding().pages, access)) as url:
        mine = {"Authorization": f"Bearer {token}"}
        assert scrape(url, **mine).status_code == 200
        assert scrape(url, Host="desk.example", **mine).status_code == 200
        assert scrape(url, Authorization="Bearer oemdesk_" + "x" * 43).status_code == 401
        assert scrape(url, Host="desk.example").status_code == 401
        assert scrape(url).status_code == 400
        assert httpx.get(url, headers=mine, timeout=20).status_code == 400
