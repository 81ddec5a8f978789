"""A claim's page, the stable evidence link, the pictures, the download."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from oem_submissions.desk.pages import ClaimPage, Proof, claim_page, shot_of
from oem_submissions.desk.room import Room, outcome_in_words, posting, see_other, text_field
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.failures import StateConflict
from oem_submissions.domain.records import Claim, KeptArtifact
from oem_submissions.domain.states import WITHDRAWABLE
from oem_submissions.ports import EvidenceErased, EvidenceMissing

_DIGEST = re.compile(r"[0-9a-f]{64}")
_IMAGES = {".webp": "image/webp", ".png": "image/png"}
_UNKEPT = "private, no-store"
"""Evidence is not kept by browsers: who signed out has it no more, what was erased is gone, each download is noted."""
_GONE = "There is no bundle with this digest. Is the link whole?"
_DONE = {
    "filed": "Your verdict is recorded: filed. The next run seals the evidence and tells the CRM.",
    "not-filed": "Your verdict is recorded: not filed. The claim is in the queue again.",
    "cannot-tell": "Your note is recorded. The claim still needs a verdict.",
    "withdrawn": "It is withdrawn, and never filed. The next run tells the CRM.",
}


class Proofs(Protocol):
    """What signature and log say of bundles."""

    def proof(self, claim_id: str, digest: str) -> Proof | None:
        """Of a sealed bundle; None when it is neither signed nor logged."""
        ...

    def public_key(self, fingerprint: str) -> bytes | None:
        """The key of that fingerprint, as PEM, if this installation signs with it, or did."""
        ...


@dataclass(frozen=True)
class Claims(Room):
    """`/claims/…`, `/e/…` and `/artifacts/…`."""

    proofs: Proofs | None = None

    def routes(self) -> list[Route]:
        """The room's addresses."""
        return [
            Route("/claims/{claim_id}", self.claim),
            Route("/claims/{claim_id}/withdraw", self.ask_withdraw, methods=["GET"]),
            posting("/claims/{claim_id}/withdraw", self.withdraw),
            Route("/claims/{claim_id}/shots/{attempt_id:int}/{name}", self.shot),
            Route("/e/{claim_id}/{digest}.zip", self.download),
            Route("/e/{claim_id}/{digest}", self.evidence),
            Route("/artifacts/{claim_id}/{attempt_id:int}/{name}", self.artifact),
            Route("/keys/{fingerprint}.pem", self.public_key),
        ]

    def claim(self, request: Request) -> Response:
        """A claim's story and proof."""
        return self._shown(request, self.known_claim(request), None)

    def ask_withdraw(self, request: Request) -> Response:
        """What withdrawing means, and the form for it. Changes nothing."""
        return self._ask_withdraw(request, self.known_claim(request), "")

    def _ask_withdraw(self, request: Request, claim: Claim, refusal: str, status: int = 200) -> Response:
        possible = claim.state in WITHDRAWABLE
        return self.page(request, "withdraw.html.j2", status, claim=claim, possible=possible, refusal=refusal)

    def withdraw(self, request: Request, form: FormData, name: str) -> Response:
        """Take the claim back, as it was seen."""
        claim, why = self.known_claim(request), text_field(form, "why")
        if not why:
            return self._ask_withdraw(request, claim, "Say why.", 422)
        if text_field(form, "version") != str(claim.version):
            return self._ask_withdraw(request, claim, "It was moved in the meantime. Nothing was changed.", 409)
        try:
            self.operating.withdraw(claim, name, why)
        except StateConflict as refused:
            return self._ask_withdraw(request, claim, str(refused), 409)
        return see_other(f"/claims/{claim.claim_id}", done="withdrawn")

    def evidence(self, request: Request) -> Response:
        """The link that stands in the CRM: the claim's page, if the store really has the bundle."""
        claim, digest = self.known_claim(request), _digest(request)
        key = bundle_key(claim.claim_id, digest)
        if key not in self.store.keys(key):
            raise self._gone(claim)
        return self._shown(request, claim, digest)

    def _shown(self, request: Request, claim: Claim, named: str | None) -> Response:
        done = outcome_in_words(request, _DONE)
        return self.page(request, "claim.html.j2", page=self._gathered(claim), named=named, done=done)

    def _gathered(self, claim: Claim) -> ClaimPage:
        claim_id, reader = claim.claim_id, self.reader
        sealed = self.proofs is not None and claim.bundle_digest is not None
        return claim_page(
            claim,
            reader.events(claim_id),
            reader.attempts(claim_id),
            reader.artifacts(claim_id),
            reader.standing(claim_id),
            reader.captured_reference(claim_id),
            self.proofs.proof(claim_id, str(claim.bundle_digest)) if sealed and self.proofs else None,
        )

    def download(self, request: Request) -> Response:
        """The bundle's zip, byte for byte as it was stored."""
        claim, digest = self.known_claim(request), _digest(request)
        try:
            data = self.store.get(bundle_key(claim.claim_id, digest))
        except EvidenceMissing as error:
            raise self._gone(claim) from error
        name = f"{claim.claim_id}-{digest[:12]}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": _UNKEPT}
        return Response(data, media_type="application/zip", headers=headers)

    def _gone(self, claim: Claim) -> HTTPException:
        """Why there is no such bundle: on purpose, or not."""
        pruned = [event for event in self.reader.events(claim.claim_id) if event.kind == "pruned"]
        if not pruned:
            return HTTPException(404, _GONE)
        return HTTPException(410, f"The retention of this bundle was over: it was removed on {pruned[0].at:%Y-%m-%d}.")

    def public_key(self, request: Request) -> Response:
        """The public half of the signing key, for auditors."""
        fingerprint = str(request.path_params["fingerprint"])
        key = self.proofs.public_key(fingerprint) if self.proofs and _DIGEST.fullmatch(fingerprint) else None
        if key is None:
            raise HTTPException(404, "This installation signs with no such key.")
        headers = {"Content-Disposition": 'attachment; filename="evidence-pub.pem"'}
        return Response(key, media_type="application/x-pem-file", headers=headers)

    def shot(self, request: Request) -> Response:
        """One picture, large, with those before and after it."""
        claim, kept = self._kept(request)
        pictures = [a for a in self.reader.artifacts(claim.claim_id) if Path(a.name).suffix in _IMAGES]
        at = pictures.index(kept)
        before, after = pictures[:at][-1:], pictures[at + 1 :][:1]
        return self.page(
            request, "shot.html.j2", claim=claim, shot=shot_of(kept),
            before=[shot_of(a) for a in before], after=[shot_of(a) for a in after],
        )  # fmt: skip

    def artifact(self, request: Request) -> Response:
        """A picture that the ledger knows, if it is still the one that was kept."""
        _, kept = self._kept(request)
        try:
            data = self.store.get(kept.key)
        except EvidenceErased as error:
            raise HTTPException(410, "This picture was erased on purpose, and nobody can bring it back.") from error
        except EvidenceMissing as error:
            raise HTTPException(404, "The ledger knows this picture, but the evidence store has lost it.") from error
        if hashlib.sha256(data).hexdigest() != kept.sha256:
            raise HTTPException(500, "This picture was changed after it was kept; it is not shown.")
        media_type = _IMAGES[Path(kept.name).suffix]
        return Response(data, media_type=media_type, headers={"Cache-Control": _UNKEPT})

    def _kept(self, request: Request) -> tuple[Claim, KeptArtifact]:
        """A picture that the ledger knows. Nothing else of a claim's evidence is ever shown one by one."""
        claim = self.known_claim(request)
        wanted = (request.path_params["attempt_id"], request.path_params["name"])
        kept = [a for a in self.reader.artifacts(claim.claim_id) if (a.attempt_id, a.name) == wanted]
        if not kept or Path(kept[0].name).suffix not in _IMAGES:
            raise HTTPException(404, "There is no such picture.")
        return claim, kept[0]


def _digest(request: Request) -> str:
    digest = str(request.path_params["digest"])
    if not _DIGEST.fullmatch(digest):
        raise HTTPException(404, "A bundle’s digest has 64 hexadecimal digits. Is the link whole?")
    return digest
