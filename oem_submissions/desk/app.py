"""The desk's routes: look-up, a claim's page, the stable evidence link, downloads. Reads only, no JavaScript.

Every text is hostile until escaped; what a browser may do with a page is fixed by headers for all of them. Who may ask
is decided before (`serving.with_access`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oem_submissions.desk.pages import ClaimPage, claim_page, make_environment
from oem_submissions.desk.reader import DeskReader
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.records import Claim
from oem_submissions.ports import EvidenceMissing, EvidenceStore, EvidenceUnavailable

RECENT = 100
ALERTS = 5
"""Shown above everything else; the others are counted."""
_STATIC = Path(__file__).parent / "static"
_CLAIM = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGES = {".webp": "image/webp", ".png": "image/png"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
_UNKEPT = "private, no-store"
"""Evidence is not kept by browsers: who signed out has it no more, what was erased is gone, each download is noted."""


def create_app(reader: DeskReader, store: EvidenceStore, dagster_url: str) -> Starlette:
    """The desk as an ASGI application. `dagster_url` is where its webserver is, without a slash at the end."""
    desk = Desk(reader, store, dagster_url.rstrip("/"), make_environment())
    return Starlette(
        routes=[
            Route("/", desk.home),
            Route("/health", desk.health),
            Route("/claims/{claim_id}", desk.claim),
            Route("/e/{claim_id}/{digest}.zip", desk.download),
            Route("/e/{claim_id}/{digest}", desk.evidence),
            Route("/artifacts/{claim_id}/{attempt_id:int}/{name}", desk.artifact),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers={HTTPException: desk.refuse, EvidenceUnavailable: desk.unavailable},  # type: ignore[dict-item]
    )


@dataclass(frozen=True)
class Desk:
    """The pages on their parts. Handlers are plain functions: Starlette runs them in threads."""

    reader: DeskReader
    store: EvidenceStore
    dagster_url: str
    environment: Environment

    def home(self, request: Request) -> Response:
        """The look-up box, and what it found or what changed last. Exactly one find leads straight to the claim."""
        query = request.query_params.get("q", "").strip()[:200]
        if not query:
            recent, alerts = self.reader.recent_claims(RECENT), self.reader.alerts()
            more = max(len(alerts) - ALERTS, 0)
            return self._page("home.html.j2", query="", claims=recent, alerts=alerts[:ALERTS], more_alerts=more)
        claims = self.reader.find(query) or self._of_dealer(query)
        if len(claims) == 1:
            return RedirectResponse(f"/claims/{quote(claims[0].claim_id, safe='')}", status_code=303)
        return self._page("home.html.j2", query=query, claims=claims, alerts=[], more_alerts=0)

    def _of_dealer(self, query: str) -> list[Claim]:
        return [claim for claim in self.reader.recent_claims(RECENT) if claim.dealer.casefold() == query.casefold()]

    def health(self, _: Request) -> Response:
        """Says that the desk answers; asks nobody else."""
        return PlainTextResponse("ok\n")

    def claim(self, request: Request) -> Response:
        """A claim's story and proof."""
        return self._page("claim.html.j2", page=self._claim_page(self._known(request)), named=None)

    def evidence(self, request: Request) -> Response:
        """The link that stands in the CRM: the claim's page, if the store really has the bundle."""
        claim, digest = self._known(request), self._digest(request)
        key = bundle_key(claim.claim_id, digest)
        if key not in self.store.keys(key):
            raise HTTPException(404, "There is no bundle with this digest. Is the link whole?")
        return self._page("claim.html.j2", page=self._claim_page(claim), named=digest)

    def download(self, request: Request) -> Response:
        """The bundle's zip, byte for byte as it was stored."""
        claim, digest = self._known(request), self._digest(request)
        try:
            data = self.store.get(bundle_key(claim.claim_id, digest))
        except EvidenceMissing as error:
            raise HTTPException(404, "There is no bundle with this digest. Is the link whole?") from error
        name = f"{claim.claim_id}-{digest[:12]}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": _UNKEPT}
        return Response(data, media_type="application/zip", headers=headers)

    def artifact(self, request: Request) -> Response:
        """A picture that the ledger knows, if it is still the one that was kept."""
        claim = self._known(request)
        attempt, name = request.path_params["attempt_id"], request.path_params["name"]
        kept = [a for a in self.reader.artifacts(claim.claim_id) if (a.attempt_id, a.name) == (attempt, name)]
        media_type = _IMAGES.get(Path(name).suffix)
        if not kept or media_type is None:
            raise HTTPException(404, "There is no such picture.")
        try:
            data = self.store.get(kept[0].key)
        except EvidenceMissing as error:
            raise HTTPException(404, "The ledger knows this picture, but the evidence store has lost it.") from error
        if hashlib.sha256(data).hexdigest() != kept[0].sha256:
            raise HTTPException(500, "This picture was changed after it was kept; it is not shown.")
        return Response(data, media_type=media_type, headers={"Cache-Control": _UNKEPT})

    def refuse(self, _: Request, error: HTTPException) -> Response:
        """One sentence for people, with the status that the error has."""
        texts = {404: "There is no such page.", 405: "This page can only be read."}
        plain = error.detail in ("Not Found", "Method Not Allowed")
        text = texts.get(error.status_code, error.detail) if plain else error.detail
        return self._page("refusal.html.j2", error.status_code, text=text)

    def unavailable(self, _: Request, error: EvidenceUnavailable) -> Response:
        """The store can't be reached: nothing may be concluded from that."""
        return self._page("refusal.html.j2", 503, text=str(error))

    def _known(self, request: Request) -> Claim:
        claim_id = request.path_params["claim_id"]
        claim = self.reader.claim(claim_id) if _CLAIM.fullmatch(claim_id) else None
        if claim is None:
            raise HTTPException(404, "There is no claim with this id.")
        return claim

    @staticmethod
    def _digest(request: Request) -> str:
        digest = str(request.path_params["digest"])
        if not _DIGEST.fullmatch(digest):
            raise HTTPException(404, "A bundle’s digest has 64 hexadecimal digits. Is the link whole?")
        return digest

    def _claim_page(self, claim: Claim) -> ClaimPage:
        claim_id = claim.claim_id
        events, attempts = self.reader.events(claim_id), self.reader.attempts(claim_id)
        artifacts, standing = self.reader.artifacts(claim_id), self.reader.standing(claim_id)
        return claim_page(claim, events, attempts, artifacts, standing, self.dagster_url)

    def _page(self, template: str, status: int = 200, **context: object) -> Response:
        text = self.environment.get_template(template).render(context)
        body = text.encode("utf-8", "backslashreplace")
        return HTMLResponse(body, status_code=status, headers={"Cache-Control": "no-store"})


class FixedHeaders:
    """Puts the same security headers on every answer, also on errors."""

    def __init__(self, app: ASGIApp, more: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._fixed = [(name.lower().encode(), value.encode()) for name, value in (_HEADERS | dict(more or {})).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, with the headers added as its answer begins."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *self._fixed]
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
