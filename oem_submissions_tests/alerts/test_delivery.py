"""Alerts on their way to people: through the ledger's outbox and Apprise to real servers."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from oem_submissions.alerts import channels as channel_module
from oem_submissions.alerts.channels import Channel, read_channels
from oem_submissions.alerts.delivery import Backoff, Deliverer
from oem_submissions.alerts.heartbeat import Heartbeat
from oem_submissions.alerts.message import Links, message_of
from oem_submissions.domain.alerting import RULES
from oem_submissions.domain.records import AlertKind, AlertSeverity, NewAlert
from oem_submissions.ledger.store import Ledger
from oem_submissions_tests.alerts.receivers import hanging, mailbox, webhook

LINKS = Links("https://desk.example", "https://dagster.example")
BREAKER = NewAlert("breaker aurora", AlertKind.BREAKER_OPEN, "The portal is left alone.", "aurora", None, "run-1")
PROBE = NewAlert("probe aurora", AlertKind.PROBE_RED, "The probe is red.", "aurora")


def deliverer(ledger: Ledger, *entries: str, first_seconds: float = 0.0) -> Deliverer:
    return Deliverer(ledger, read_channels(" ".join(entries), ["aurora"]), LINKS, Backoff(first_seconds))


def hour(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=number)


def test_failures_of_one_cause_are_one_alert_and_at_most_one_message_per_interval(ledger: Ledger) -> None:
    with webhook() as hook, mailbox() as (port, mails):
        to_all = deliverer(ledger, hook.url, f"mailto://127.0.0.1:{port}?mode=insecure&from=a@d.example&to=b@d.example")
        ledger.raise_alert(PROBE)
        to_all.deliver()
        for _ in range(49):
            ledger.raise_alert(PROBE)
        ledger.advance_alerts()
        to_all.deliver()
        (alert,) = ledger.alerts()
        assert (alert.count, hook.titles) == (50, ["[WARNING] Probe red · aurora"])

        ledger.advance_alerts(hour(6.1))
        ledger.advance_alerts(hour(6.2))
        ledger.resolve_alert(PROBE.key)
        to_all.deliver()
        to_all.deliver()
        # Open for more than two hours, it is critical: that is told first, with the count.
        assert hook.titles[1:] == ["[CRITICAL] Probe red · aurora (escalated)", "[RESOLVED] Probe red · aurora"]
        assert "50 times since" in hook.got[1]["message"]
        assert RULES[AlertKind.PROBE_RED].next in hook.got[0]["message"]
        assert [mail["Subject"] for mail in mails] == hook.titles
        assert "The probe is red." in mails[0].get_content()
        assert mails[0].get_content_type() == "text/plain"


def test_counts_are_told_again_and_a_rise_of_severity_at_once(ledger: Ledger) -> None:
    with webhook() as hook:
        everything = hook
        with webhook() as only_critical:
            both = deliverer(ledger, everything.url, f"critical,aurora={only_critical.url}")
            key, kind = "unknown aurora", AlertKind.UNKNOWN_OUTCOME
            ledger.settle_alerts("unknown ", [NewAlert(key, kind, "One.", "aurora", count=1)])
            ledger.settle_alerts("unknown ", [NewAlert(key, kind, "Three.", "aurora", count=3)])
            both.deliver()
            assert (len(everything.got), only_critical.got) == (1, [])
            ledger.settle_alerts(
                "unknown ", [NewAlert(key, kind, "3!", "aurora", severity=AlertSeverity.CRITICAL, count=3)]
            )
            ledger.settle_alerts(
                "unknown ", [NewAlert(key, kind, "7!", "aurora", severity=AlertSeverity.CRITICAL, count=7)]
            )
            ledger.advance_alerts(hour(6.5))
            ledger.settle_alerts("unknown ", [])
            both.deliver()
            titles = [re.sub(" · aurora", "", title) for title in everything.titles]
            assert titles[1:] == [
                "[CRITICAL] Unknown outcome (escalated)",
                "[CRITICAL] Unknown outcome (7 times by now)",
                "[RESOLVED] Unknown outcome",
            ]
            assert only_critical.titles == everything.titles[1:]
    (alert,) = ledger.alerts(only_open=False)
    told = ledger.alert_transitions([alert.alert_id])
    assert [str(line.change) for line in told] == ["raised", "escalated", "repeated", "resolved"]
    assert [len(line.channels) for line in told] == [1, 2, 2, 2]


def test_a_channel_that_is_down_gets_everything_later_and_holds_nobody_up(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "SEND_SECONDS", 1.5)
    with webhook() as good, webhook() as bad, hanging() as port:
        bad.status = 500
        silent = f"json://127.0.0.1:{port}/?cto=60&rto=60"
        three = deliverer(ledger, good.url, bad.url, silent, "nonsense", "jsons//oops", "warnin=json://127.0.0.1")
        ledger.raise_alert(BREAKER)
        turns = {turn.channel: turn for turn in three.deliver()}
        assert turns[bad.name].problem == "it answered 500"
        assert turns[f"json://127.0.0.1:{port}"].problem == "it did not take a message within 1.5 seconds"
        assert "'warnin' is no severity" in turns["entry 6"].problem
        assert len(good.got) == 1  # one failure of a channel is nobody's business

        ledger.resolve_alert(BREAKER.key)
        three.deliver()
        three.deliver()  # and tells of the broken ones
        told = " ".join(body["message"] for body in good.got)
        assert f"The alert channel {bad.name.replace('://', ' :// ')} does not work: it answered 500" in told
        assert good.titles[1] == "[RESOLVED] Breaker open · aurora"
        broken = {alert.key for alert in ledger.alerts()}
        assert broken >= {f"channel {bad.name}", f"channel json://127.0.0.1:{port}", "channel entry 4"}

        bad.status = 200
        three.deliver()
        assert bad.titles[:2] == ["[CRITICAL] Breaker open · aurora", "[RESOLVED] Breaker open · aurora"]
        assert f"channel {bad.name}" not in {alert.key for alert in ledger.alerts()}
        assert not any(bad.name.replace("://", " :// ") in body["message"] for body in bad.got)


def test_a_channel_that_fails_is_left_alone_for_a_while(ledger: Ledger) -> None:
    with webhook() as hook:
        hook.status = 503
        one = deliverer(ledger, hook.url, first_seconds=60)
        ledger.raise_alert(BREAKER)
        for minutes in (0, 0.5, 1.1, 2, 3.2):  # tried at once, after 1 minute, after 2 more
            one.deliver(hour(minutes / 60))
        assert hook.refused == 3
        hook.status = 200
        one.deliver(hour(1))
        assert len(hook.got) == 1


def test_a_message_that_a_channel_never_takes_is_told_barely_and_holds_up_no_other(ledger: Ledger) -> None:
    with webhook() as hook:
        hook.never = "left alone"
        one = deliverer(ledger, hook.url)
        ledger.raise_alert(BREAKER)
        ledger.raise_alert(PROBE)
        for _ in range(5):
            one.deliver()
        assert hook.got == []
        one.deliver()
        assert hook.titles == ["[CRITICAL] Breaker open", "[WARNING] Probe red · aurora"]
        (alert,) = [alert for alert in ledger.alerts() if alert.key == BREAKER.key]
        assert f"https://desk.example/alerts#alert-{alert.alert_id}" in hook.got[0]["message"]


def test_two_deliverers_at_once_send_once_and_a_crash_before_the_note_sends_at_most_twice(ledger: Ledger) -> None:
    sent: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    def slow(message: object) -> str:
        began.set()
        go_on.wait(10)
        sent.append(str(message))
        return ""

    one = Deliverer(ledger, [Channel("slow", slow)], LINKS)
    ledger.raise_alert(BREAKER)
    other = threading.Thread(target=one.deliver)
    other.start()
    began.wait(10)
    assert [turn.sent for turn in one.deliver()] == [0]  # somebody is at it
    go_on.set()
    other.join()
    one.deliver()
    assert len(sent) == 1

    class Crash(BaseException):
        """As a kill: nothing is caught."""

    def dies(message: object) -> str:
        sent.append(str(message))
        raise Crash

    ledger.resolve_alert(BREAKER.key)
    with pytest.raises(Crash):
        Deliverer(ledger, [Channel("slow", dies)], LINKS).deliver()
    one.deliver()
    one.deliver()
    assert len(sent) == 3


def test_a_new_channel_begins_with_what_is_open(ledger: Ledger) -> None:
    ledger.raise_alert(BREAKER)
    ledger.raise_alert(PROBE)
    ledger.resolve_alert(PROBE.key)
    with webhook() as hook:
        deliverer(ledger, hook.url).deliver()
        assert hook.titles == ["[CRITICAL] Breaker open · aurora"]


def test_what_a_portal_wrote_stays_text_and_the_links_are_ours(ledger: Ledger) -> None:
    hostile = (
        "<b>Sign in</b> at https://evil.example/x [here](http://evil) @everyone\x1b[31m\u202e\nRun: https://evil `x` "
    )
    ledger.raise_alert(replace(BREAKER, text=hostile * 40, claim_ids=("aurora-abc", "../../x\n"), dealer="<D1>"))
    with webhook() as hook:
        deliverer(ledger, hook.url).deliver()
        body, title = hook.got[0]["message"], hook.got[0]["title"]
    assert title == "[CRITICAL] Breaker open · aurora · ‹D1›"
    assert len(body) < 1500
    first, rest = body.split("\n", 1)
    assert not re.search(r"[<>`\[\]\x1b\u202e]|://\w|@\w", first)
    assert re.findall(r"https?://\S+", rest) == [
        "https://desk.example/alerts#alert-1",
        "https://desk.example/claims/aurora-abc",
        "https://dagster.example/runs/run-1",
    ]


def test_nothing_of_a_url_but_scheme_and_host_is_logged_kept_or_said(
    ledger: Ledger, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    with webhook() as hook:
        hook.status = 404
        entries = (hook.url, "slack://T1JJ3S3CRET/A1BRS3CRET/TIiajkdnlazkcOXrIdeS3CRET", "jsons://u:s3cret@[bad/s3cret")
        for channel in read_channels(" ".join(entries), []):
            said.append(channel.name)
            if not channel.name.startswith("slack"):
                said.append(channel.send(message_of(_told(ledger), LINKS)))
        deliverer(ledger, hook.url).deliver()
        deliverer(ledger, hook.url).deliver()
    said += [repr(ledger.alerts()), repr(ledger.alert_channels()), caplog.text]
    with psycopg.connect(database_url) as connection:
        for table in ("alerts", "alert_transitions", "alert_channels", "alert_deliveries"):
            said.append(repr(connection.execute(sql.SQL("TABLE {}").format(sql.Identifier(table))).fetchall()))
    assert "slack://" in said
    assert hook.name in " ".join(said)
    assert "s3cret" not in " ".join(said).lower()


def _told(ledger: Ledger):  # type: ignore[no-untyped-def]
    ledger.raise_alert(BREAKER)
    return ledger.alert_transitions([ledger.alerts()[0].alert_id])[0]


def test_the_dead_mans_switch_is_pinged_only_while_all_is_well(ledger: Ledger) -> None:
    scheduling: Callable[[], bool] = lambda: well  # noqa: E731
    well = True
    with webhook() as health, webhook() as hook:
        switch = Heartbeat(ledger, f"http://127.0.0.1:{health.port}/s3cret-check", scheduling)
        assert switch.beat() == ""
        assert health.paths == ["/s3cret-check"]
        well = False
        assert switch.beat() == "Dagster's daemon is silent"
        well = True

        hook.status = 500
        one = deliverer(ledger, hook.url)
        ledger.raise_alert(BREAKER)
        one.deliver()
        assert switch.beat() == ""  # one failure is not yet a broken chain
        one.deliver(hour(0.1))
        assert "fails since" in switch.beat(hour(0.1))
        hook.status = 200
        one.deliver(hour(0.1))
        assert switch.beat(hour(0.1)) == ""

        health.status = 500
        assert [switch.beat() for _ in range(3)][2] == (
            "The dead man's switch at http://127.0.0.1 answered 500: it will ring although all is well."
        )
        one.deliver()
        assert hook.titles[-1] == "[WARNING] Heartbeat failed"
        health.status = 200
        assert switch.beat() == ""
        assert len(health.got) == 4
    assert "does not answer" in switch.beat()
    assert [alert.kind for alert in ledger.alerts()].count(AlertKind.HEARTBEAT_FAILED) == 1


def test_every_kind_has_its_rule_and_its_paragraph_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    rows = re.findall(
        r'^\| <a id="(\w+)"></a>`(\w+)` \| (\w+) \| ([\d.]+) h \| ([\d.]+) h \| (.+?) \| (.+?) \|$', page, re.M
    )
    assert [(row[0], *row[2:]) for row in rows] == [
        (str(kind), str(rule.severity), f"{rule.escalate_hours:g}", f"{rule.repeat_hours:g}", rule.when, rule.next)
        for kind, rule in RULES.items()
    ]
    assert set(RULES) == set(AlertKind)
