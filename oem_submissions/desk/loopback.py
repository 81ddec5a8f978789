"""The way in on this machine alone: no log-in, whoever reaches it is the user whose desk it is."""

from __future__ import annotations

from starlette.requests import Request

from oem_submissions.desk.access import Refused, Role, User, Visit

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class Loopback:
    """Everybody is the user of this machine who started the desk, an operator."""

    name = "loopback"
    invitation = "Nobody needs to sign in here."

    def __init__(self, person: str) -> None:
        self._visit = Visit(User(person, Role.OPERATOR), self.name, f"loopback {person}")

    def visit(self, request: Request) -> Visit:
        """The user. Raises `Refused` when a proxy passes strangers on."""
        if any(name in request.headers for name in _FORWARDED):
            raise Refused(
                403,
                "This desk is for its own machine and asks nobody who they are, so it answers no proxy: "
                "set up one of the ways to sign in first.",
            )
        return self._visit
