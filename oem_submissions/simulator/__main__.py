"""`python -m oem_submissions.simulator --port N [--https-port M] [--state DIR] [--skin MODULE:CLASS]…`.

Runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from oem_submissions.simulator.server import Simulator
from oem_submissions.simulator.skins import SkinUnknown, load_skin


def main() -> int:
    """Prints one JSON line with the addresses when the portals answer."""
    parser = argparse.ArgumentParser(prog="python -m oem_submissions.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="http port; 0 takes a free one (default)")
    parser.add_argument("--https-port", type=int, default=0, help="https port; 0 takes a free one (default)")
    parser.add_argument("--state", type=Path, help="folder for filings, accounts and the CA (default: in memory)")
    parser.add_argument("--skin", action="append", default=[], help="module:Class of one more portal; may be repeated")
    chosen = parser.parse_args()
    try:
        skins = [load_skin(name) for name in chosen.skin]
    except SkinUnknown as error:
        parser.error(str(error))
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the thread starts, so that only sigwait below sees them
    with Simulator(chosen.state, chosen.port, chosen.https_port, skins) as simulator:
        ready = {"http": simulator.http_url, "https": simulator.https_url, "ca": str(simulator.ca_path)}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        signal.sigwait(ends)
    return 0


if __name__ == "__main__":
    sys.exit(main())
