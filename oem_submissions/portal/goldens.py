"""Recorded pages and the results that a person wrote beside them. A pack that judges otherwise does not load."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from playwright.sync_api import Browser, Page
from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from oem_submissions import pdf
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.domain.outcomes import Refused, Unknown
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.portal import papers, references
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions.portal.classify import Accepted, AcceptedForLater, InProcess, NothingYet, classify
from oem_submissions.portal.locators import Name, Strict
from oem_submissions.portal.mailbox import mail_text
from oem_submissions.portal.packs import FILL_IN, Pack, unfilled
from oem_submissions.portal.schema import Form, Key, PaperRule

log = logging.getLogger(__name__)
INDEX = "golden.yaml"
_CODE = Path(__file__).parent.parent


class Golden(Strict):
    """A recorded page and what must come of it."""

    page: Name
    """The file, beside `golden.yaml`."""
    form: Name
    status: int
    """HTTP status of the submit request's answer."""
    why: Name
    """What the page is."""
    expect: Literal["filed", "refused", "pending", "in process", "unknown", "nothing"]
    reference: str | None = None
    reason: ReasonCode | None = None
    document: Name | None = None
    """The PDF or e-mail (`.eml`) that came with the page, beside it: they are judged together."""
    claim: dict[Key, str] = {}
    """What the form held of the claim, and `dealer_code`, as far as the document has to say it."""
    seen: tuple[str, ...] = ()
    """Numbers that stood on the page before the click."""


class Index(Strict):
    """`golden.yaml`."""

    goldens: Annotated[tuple[Golden, ...], Field(min_length=2)]


def read_goldens(pack: Pack) -> tuple[Golden, ...]:
    """The pack's goldens. Raises `ConfigurationError` when there are none, or none positive or none negative."""
    path = pack.golden / INDEX
    if not path.exists():
        raise ConfigurationError(
            f"Pack {pack.version} of {pack.oem} has no golden pages: record them and describe them in {path}."
        )
    raw = YAML(typ="safe", pure=True).load(path.read_text())
    if places := list(unfilled(raw)):
        key, wanted = ".".join(map(str, places[0][0])), places[0][1]
        raise ConfigurationError(f"{path}, key '{key}' (pack {pack.version}): still to be filled in: {wanted}.")
    try:
        goldens = Index.model_validate(raw).goldens
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ConfigurationError(f"{path}, key '{where}' (pack {pack.version}): {fault['msg']}.") from error
    kinds = {golden.expect == "filed" for golden in goldens}
    if kinds != {True, False}:
        raise ConfigurationError(f"{path} (pack {pack.version}) needs a page that is a filing, and one that is none.")
    return goldens


def check_goldens(pack: Pack, adapter: PortalAdapter, browser: Browser) -> None:
    """Judges every golden page offline, without scripts. Raises `ConfigurationError` at the first that is wrong."""
    context = browser.new_context(java_script_enabled=False, offline=True, service_workers="block")
    try:
        page = context.new_page()
        for golden in read_goldens(pack):
            _check(pack, adapter, page, golden)
    finally:
        context.close()


def came_out_right(pack: Pack, adapter: PortalAdapter, browser: Browser, remembered: Path | None) -> None:
    """As `check_goldens`, but no second time for the same everything: eleven pages cost a run more than a claim.

    `remembered` is a folder with an empty file for each set of pages, pack, adapter, browser and code that came out
    right; only what came out right is remembered, and any change asks for a new judgement. None remembers nothing.
    """
    proof = remembered / _everything(pack, adapter, browser) if remembered else None
    if proof is not None and proof.exists():
        return
    check_goldens(pack, adapter, browser)
    log.info("Pack %s of %s judges its golden pages as it should.", pack.version, pack.oem)
    if proof is not None:
        try:
            proof.parent.mkdir(parents=True, exist_ok=True)
            proof.touch()
        except OSError as error:  # a full disk: then the next run judges them again
            log.warning("That the golden pages came out right is not remembered: %s", error)


def _everything(pack: Pack, adapter: PortalAdapter, browser: Browser) -> str:
    """A digest of all that a judgement follows from."""
    libraries = [browser.version, version("playwright"), version("pypdf")]
    pins = [pack.oem, pack.version, pack.digest, adapter.digest, *libraries]
    said = hashlib.sha256(canonical_json(pins).encode())
    code = [path for folder in (_CODE / "portal", _CODE / "domain") for path in sorted(folder.glob("*.py"))]
    code.append(Path(pdf.__file__))
    for path in [*sorted(pack.golden.iterdir()), *code]:
        said.update(f"{path.name} {sha256_hex(path.read_bytes())}\n".encode())
    return said.hexdigest()


def _check(pack: Pack, adapter: PortalAdapter, page: Page, golden: Golden) -> None:
    path: Path = pack.golden / golden.page
    if not path.is_file():
        raise ConfigurationError(f"The golden page {path} (pack {pack.version}) is missing: restore it from git.")
    text = path.read_text(encoding="utf-8")
    if FILL_IN in text:
        raise ConfigurationError(
            f"The golden page {path} (pack {pack.version}) is still to be filled in: {golden.why}."
        )
    page.set_content(text, wait_until="domcontentloaded")
    got = judge(pack, adapter, page, golden)
    wanted = (golden.expect, golden.reference, golden.reason)
    if got != wanted:
        raise ConfigurationError(
            f"Pack {pack.version} of {pack.oem} judges the golden page {golden.page} ({golden.why}) as {_words(got)},"
            f" it should be {_words(wanted)}: correct the pack in a new version."
        )


def judge(pack: Pack, adapter: PortalAdapter, page: Page, golden: Golden) -> tuple[str, str | None, ReasonCode | None]:
    """What comes of the page that is loaded, as (ending, reference, reason)."""
    form = pack.form(golden.form)
    verdict = classify(page.main_frame, form, pack.markers, golden.status)
    match verdict:
        case Accepted():
            rule = form.confirmation.reference
            if rule.pdf is not None:
                return _document(pack, adapter, golden, form, rule.pdf)
            place = references.anchored(page.main_frame, rule)
            found = references.decide(rule, place, golden.seen, adapter.reference_is_plausible)
            return ("unknown", None, found.reason) if isinstance(found, Unknown) else ("filed", found.value, None)
        case AcceptedForLater():
            email = form.confirmation.email
            return (
                _document(pack, adapter, golden, form, email) if email and golden.document else ("pending", None, None)
            )
        case InProcess():
            return ("in process", None, None)
        case NothingYet():
            return ("nothing", None, None)
        case Refused(reason):
            return ("refused", None, reason)
        case Unknown(reason):
            return ("unknown", None, reason)


def _document(
    pack: Pack, adapter: PortalAdapter, golden: Golden, form: Form, rule: PaperRule
) -> tuple[str, str | None, ReasonCode | None]:
    if golden.document is None:
        return ("unknown", None, ReasonCode.REFERENCE_MISSING)
    path = pack.golden / golden.document
    try:
        data = path.read_bytes()
        said = mail_text(data) if path.suffix == ".eml" else pdf.read(data).text
    except (OSError, pdf.PdfUnreadable) as why:
        raise ConfigurationError(f"The golden document {path} (pack {pack.version}) can't be read: {why}.") from why
    what = papers.filled(rule, golden.claim)
    if papers.lacks(said, what):
        return ("unknown", None, ReasonCode.REFERENCE_SUSPECT)
    found = papers.reference_in("It", said, form.confirmation, golden.seen, adapter)
    return ("unknown", None, found.reason) if isinstance(found, Unknown) else ("filed", found.value, None)


def _words(result: tuple[str, str | None, ReasonCode | None]) -> str:
    return " ".join(str(part) for part in result if part)
