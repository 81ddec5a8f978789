"""`python -m oem_submissions.simulator --port N [--https-port M] [--state DIR] [--skin MODULE:CLASS]… [--accounts]`.

Runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.skins import SKINS, SkinUnknown, load_skin


def _made(simulator: Simulator, oems: list[str]) -> dict[str, dict[str, str]]:
    """A log-in for each of them, without a second factor: for a person who looks at a portal."""
    log_ins = {oem: {"username": "jdoe", "password": secrets.token_urlsafe(9)} for oem in oems}
    for oem, log_in in log_ins.items():
        simulator.client.add_account(oem, "10234", **log_in, dealer_name="Lakeside Motors")
    return log_ins


def main() -> int:
    """Prints one JSON line with the addresses, and the log-ins if they were asked for, when the portals answer."""
    parser = argparse.ArgumentParser(prog="python -m oem_submissions.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="http port; 0 takes a free one (default)")
    parser.add_argument("--https-port", type=int, default=0, help="https port; 0 takes a free one (default)")
    parser.add_argument("--state", type=Path, help="folder for filings, accounts and the CA (default: in memory)")
    parser.add_argument("--skin", action="append", default=[], help="module:Class of one more portal; may be repeated")
    parser.add_argument("--accounts", action="store_true", help="make a log-in for each portal, and print it")
    chosen = parser.parse_args()
    try:
        skins = [load_skin(name) for name in chosen.skin]
    except SkinUnknown as error:
        parser.error(str(error))
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the thread starts, so that only sigwait below sees them
    with Simulator(chosen.state, chosen.port, chosen.https_port, skins) as simulator:
        ready: dict[str, Any] = {"http": simulator.http_url, "https": simulator.https_url, "ca": str(simulator.ca_path)}
        if chosen.accounts:
            ready["accounts"] = _made(simulator, [*SKINS, *(skin.oem for skin in skins)])
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
