"""`oem-submissions alerts`, and what `watch` does for alerts: look, tell, ping.

What is an alert is decided elsewhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from adapters.registry import ADAPTERS
from oem_submissions import wiring
from oem_submissions.alerts.heartbeat import Heartbeat
from oem_submissions.alerts.message import Message
from oem_submissions.cli.console import AsJson, open_ledger, print_json, show_rows
from oem_submissions.cli.errors import Exit
from oem_submissions.ledger.store import Ledger
from oem_submissions.ports import LedgerUnavailable
from oem_submissions.services.alerting import observe
from oem_submissions.settings import Settings, read_settings

_LOOK_SECONDS, _PING_SECONDS, _LATE_SECONDS = 5.0, 60.0, 120.0
_log = logging.getLogger(__name__)

alerts = typer.Typer(no_args_is_help=True, help="Alerts, and the channels that tell people of them.")


@alerts.command("list")
def list_alerts(
    everything: Annotated[bool, typer.Option("--all", help="Also those whose cause is gone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Alerts whose cause is not gone, newest first, and where the channels stand."""
    with open_ledger() as ledger:
        found, channels = ledger.alerts(only_open=not everything), ledger.alert_channels()
    if as_json:
        print_json({"alerts": [asdict(alert) for alert in found], "channels": [asdict(state) for state in channels]})
        return
    show_rows(
        [
            {
                "since": f"{alert.raised_at:%Y-%m-%d %H:%M}",
                "severity": "resolved" if alert.resolved_at else alert.severity,
                "kind": alert.kind,
                "oem": alert.oem,
                "count": alert.count,
                "text": alert.text,
            }
            for alert in found
        ],
        "No alert is open.",
    )
    names = ("channel", "waiting", "failures", "problem")
    show_rows([{name: getattr(state, name) for name in names} for state in channels], "No channel was used yet.")


@alerts.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a test message by every channel, and say what happened; 1 if one of them did not take it."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        channels = wiring.deliverer(settings, ledger, wiring.secret_source(settings), ADAPTERS).channels
    message = Message(
        "[TEST] oem_submissions", f"A test message; nothing is wrong.\nDesk: {settings.desk_url}", False, False
    )
    rows = [{"channel": channel.name, "problem": channel.send(message)} for channel in channels]
    if as_json:
        print_json({"channels": rows})
    else:
        shown = [{**row, "problem": row["problem"] or "none: it took the message"} for row in rows]
        show_rows(
            shown, f"No channel is set: {wiring.secret_source(settings).where('alerts/urls')}. Alerts are on the desk."
        )
    if any(row["problem"] for row in rows):
        raise typer.Exit(Exit.NOT_SO)


@alerts.command()
def deliver(as_json: AsJson = False) -> None:
    """Look what is wrong now, and give every channel what it was not told yet; once, for cron. 1 if one failed."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        observe(ledger, ADAPTERS)
        done = wiring.deliverer(settings, ledger, wiring.secret_source(settings), ADAPTERS).deliver()
    rows = [asdict(turn) for turn in done]
    print_json({"channels": rows}) if as_json else show_rows(rows, "No channel is set; alerts are on the desk.")
    if any(turn.problem for turn in done):
        raise typer.Exit(Exit.NOT_SO)


@contextmanager
def telling(settings: Settings, ledger: Ledger) -> Iterator[None]:
    """While this lasts, threads look what is wrong, tell people, and ping the dead man's switch.

    Threads of their own: neither a channel nor the switch's address may hold up who looks after workers.
    """
    secrets, stop, looked = wiring.secret_source(settings), threading.Event(), [time.monotonic()]
    deliverer = wiring.deliverer(settings, ledger, secrets, ADAPTERS, on_terminal=True)
    switch = wiring.heartbeat(ledger, secrets)

    def look() -> None:
        observe(ledger, ADAPTERS)
        deliverer.deliver()
        looked[0] = time.monotonic()

    jobs: list[tuple[Callable[[], Any], float]] = [(look, _LOOK_SECONDS)]
    if switch is not None:
        jobs.append((lambda: _ping(switch, time.monotonic() - looked[0]), _PING_SECONDS))
    threads = [threading.Thread(target=_again_and_again, args=(*job, stop), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)


def _ping(switch: Heartbeat, seconds: float) -> None:
    why = "nobody has looked for alerts lately" if seconds > _LATE_SECONDS else switch.beat()
    if why:
        _log.warning("The dead man's switch is not at rest: %s", why)


def _again_and_again(job: Callable[[], Any], seconds: float, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            job()
        except LedgerUnavailable as error:
            _log.warning("%s", error)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends no watch; if nobody looks, the switch rings
            _log.error("Nobody was told: %s. It is tried again.", type(error).__name__)  # its text may hold a secret
        stop.wait(seconds)
