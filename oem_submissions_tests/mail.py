"""A real IMAP server for the tests, and a portal that writes to a mailbox on it."""

from __future__ import annotations

import imaplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from oem_submissions.cli.stack import LOOPBACK, free_port

USER, PASSWORD = "dealer@example.com", "p@ss/word:7"


@dataclass(frozen=True)
class MailServer:
    """One mailbox, `INBOX`."""

    port: int

    @property
    def address(self) -> str:
        """As it stands among an account's secrets."""
        return f"imap://dealer%40example.com:p%40ss%2Fword%3A7@{LOOPBACK}:{self.port}/INBOX"

    def deliver(self, sender: str, subject: str, text: str, html: bool = False) -> None:
        """A message arrives."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, USER, subject
        message.set_content(text, subtype="html" if html else "plain")
        self.deliver_raw(message.as_bytes())

    def deliver_raw(self, raw: bytes, at: datetime | None = None) -> None:
        """Bytes arrive, now or as if it were then."""
        with imaplib.IMAP4(LOOPBACK, self.port) as connection:
            connection.login(USER, PASSWORD)
            assert connection.append("INBOX", "", imaplib.Time2Internaldate(at or time.time()), raw)[0] == "OK"

    def unread(self) -> int:
        """How many messages nobody has read."""
        with imaplib.IMAP4(LOOPBACK, self.port) as connection:
            connection.login(USER, PASSWORD)
            connection.select("INBOX", readonly=True)
            return len(connection.search(None, "UNSEEN")[1][0].split())


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """On a free port of this machine, until the end of the block."""
    port = free_port(0)
    words = ["--host", LOOPBACK, "--port", str(port), "--no-tls", "dict", "--demo-data", "--demo-user", USER,
             "--demo-password", PASSWORD]  # fmt: skip
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "pymap"), *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    break
            time.sleep(0.05)
        assert server.poll() is None, server.stderr.read() if server.stderr else ""
        yield MailServer(port)
    finally:
        server.terminate()
        server.communicate(timeout=10)
