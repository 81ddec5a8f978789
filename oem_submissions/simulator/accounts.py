"""Accounts of the portals and their live sessions. One account is one dealer code at one OEM."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import pyotp

from oem_submissions.simulator.clock import Clock
from oem_submissions.simulator.database import Database

IDLE_SECONDS = 20 * 60.0


@dataclass(frozen=True)
class Account:
    """A log-in of a dealer."""

    oem: str
    username: str
    password: str
    dealer: str
    dealer_name: str
    totp_secret: str | None = None


@dataclass
class Session:
    """Someone on the way into a portal (stage password, code, mailed, elsewhere), in it (in) or out (ended)."""

    token: str
    oem: str
    username: str
    dealer: str
    dealer_name: str
    stage: str
    seen: float
    page_token: str
    data: dict[str, Any] = field(default_factory=dict)


class Accounts:
    """Accounts and sessions, both surviving a restart."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, account: Account) -> None:
        """Adds an account, or replaces the one of the same name."""
        self._database.write(
            "INSERT OR REPLACE INTO accounts (oem, username, password, dealer, dealer_name, totp_secret)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            account.oem, account.username, account.password, account.dealer, account.dealer_name, account.totp_secret,
        )  # fmt: skip

    def all(self) -> list[Account]:
        """Every account."""
        return [Account(**dict(row)) for row in self._database.rows("SELECT * FROM accounts ORDER BY oem, username")]

    def find(self, oem: str, username: str) -> Account | None:
        """The account of that name."""
        row = self._database.row("SELECT * FROM accounts WHERE oem = ? AND username = ?", oem, username)
        return Account(**dict(row)) if row else None

    def check(self, oem: str, username: str, password: str) -> Account | None:
        """The account, if the password is its own."""
        account = self.find(oem, username)
        return account if account and secrets.compare_digest(account.password.encode(), password.encode()) else None

    @staticmethod
    def code_is_right(account: Account, code: str) -> bool:
        """RFC 6238, one step of tolerance. Real time: authenticators know nothing of the simulated clock."""
        return account.totp_secret is not None and pyotp.TOTP(account.totp_secret).verify(code.strip(), valid_window=1)

    def open(self, account: Account, stage: str) -> Session:
        """A new session."""
        session = Session(
            secrets.token_hex(16), account.oem, account.username, account.dealer, account.dealer_name,
            stage, self._clock.now().timestamp(), secrets.token_hex(8),
        )  # fmt: skip
        self.save(session)
        return session

    def save(self, session: Session) -> None:
        """Keeps the session as it is now."""
        self._database.write(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            session.token, session.oem, session.username, session.dealer, session.dealer_name,
            session.stage, session.seen, session.page_token, json.dumps(session.data),
        )  # fmt: skip

    def session(self, oem: str, token: str | None) -> Session | None:
        """The session that a cookie names."""
        row = self._database.row("SELECT * FROM sessions WHERE token = ? AND oem = ?", token or "", oem)
        return Session(**{**dict(row), "data": json.loads(row["data"])}) if row else None

    def idle(self, session: Session, limit: float = IDLE_SECONDS) -> bool:
        """Whether the session timed out; `limit` in seconds."""
        return self._clock.now().timestamp() - session.seen > limit

    def touch(self, session: Session) -> None:
        """The account did something."""
        session.seen = self._clock.now().timestamp()
        self._database.write("UPDATE sessions SET seen = ? WHERE token = ?", session.seen, session.token)

    def end(self, session: Session) -> None:
        """The session is over."""
        self._database.write("DELETE FROM sessions WHERE token = ?", session.token)

    def others(self, account: Account, own_token: str = "") -> list[Session]:
        """Other live sessions of the account."""
        rows = self._database.rows(
            "SELECT token FROM sessions WHERE oem = ? AND username = ? AND stage = 'in' AND token != ?",
            account.oem, account.username, own_token,
        )  # fmt: skip
        sessions = [self.session(account.oem, row["token"]) for row in rows]
        return [s for s in sessions if s and not self.idle(s)]

    def forget_sessions(self) -> None:
        """Logs everyone out."""
        self._database.write("DELETE FROM sessions")
