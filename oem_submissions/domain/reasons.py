"""The published vocabulary of reason codes: one table, from which decisions, documentation and the desk's texts come.

A number is never reused. 0 and 999 are reserved: the portal said nothing, and the portal said something we don't know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    """What kind of trouble it is; class and side of the click decide what happens next, nothing else does."""

    APPLICATION = "application"  # portal down, time-out, session expired: may pass by itself
    BUSINESS = "business"  # the portal or our validation refuses this claim: a person must change something
    DRIFT = "drift"  # the portal's pages are not what the pack says
    ACCOUNT = "account"  # the log-in does not work; trying again may lock the account
    AFTER_FILING = "after_filing"  # filed, but reference, evidence or CRM is missing
    SCHEDULING = "scheduling"  # the claim was held back, nothing went wrong with it


class Stage(StrEnum):
    """Where in a claim's journey a reason arises."""

    INTAKE = "intake"
    PREPARE = "prepare"
    SUBMIT = "submit"
    SEAL = "seal"
    SYNC = "sync"
    QUEUE = "queue"


class ReasonCode(StrEnum):
    """Why a claim did not go straight through. The text of each, and what to do, is in `REASONS`."""

    PORTAL_SILENT = "PORTAL_SILENT"
    PORTAL_UNAVAILABLE = "PORTAL_UNAVAILABLE"
    PORTAL_MAINTENANCE = "PORTAL_MAINTENANCE"
    LOGIN_FAILED = "LOGIN_FAILED"
    MFA_REQUIRED = "MFA_REQUIRED"
    SECRET_MISSING = "SECRET_MISSING"  # noqa: S105 - a reason code, not a secret
    SESSION_EXPIRED = "SESSION_EXPIRED"
    SELECTOR_NOT_FOUND = "SELECTOR_NOT_FOUND"
    PAGE_CONTRACT_MISMATCH = "PAGE_CONTRACT_MISMATCH"
    UNEXPECTED_DIALOG = "UNEXPECTED_DIALOG"
    FIELD_READBACK_MISMATCH = "FIELD_READBACK_MISMATCH"
    DEALER_MISMATCH = "DEALER_MISMATCH"
    UPLOAD_FAILED = "UPLOAD_FAILED"
    ATTACHMENT_REJECTED = "ATTACHMENT_REJECTED"
    VALIDATION_REJECTED = "VALIDATION_REJECTED"
    DUPLICATE_AT_PORTAL = "DUPLICATE_AT_PORTAL"
    CUTOFF_PASSED = "CUTOFF_PASSED"
    PAYLOAD_INVALID = "PAYLOAD_INVALID"
    OEM_UNKNOWN = "OEM_UNKNOWN"
    PRE_EVIDENCE_MISSING = "PRE_EVIDENCE_MISSING"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    REFERENCE_MISSING = "REFERENCE_MISSING"
    REFERENCE_AMBIGUOUS = "REFERENCE_AMBIGUOUS"
    REFERENCE_SUSPECT = "REFERENCE_SUSPECT"
    POST_EVIDENCE_MISSING = "POST_EVIDENCE_MISSING"
    SECRET_IN_ARTIFACT = "SECRET_IN_ARTIFACT"  # noqa: S105 - a reason code, not a secret
    CRM_WRITE_FAILED = "CRM_WRITE_FAILED"
    CRM_CONFLICT = "CRM_CONFLICT"
    WORKER_LOST_PRE_INTENT = "WORKER_LOST_PRE_INTENT"
    WORKER_LOST_POST_INTENT = "WORKER_LOST_POST_INTENT"
    LEASE_LOST = "LEASE_LOST"
    GATE_CLOSED = "GATE_CLOSED"
    BREAKER_OPEN = "BREAKER_OPEN"
    PORTAL_UNRECOGNISED = "PORTAL_UNRECOGNISED"


@dataclass(frozen=True)
class Reason:
    """One row of the vocabulary."""

    number: int
    failure_class: FailureClass
    stage: Stage
    retries: bool
    """Whether the system tries again by itself while the claim is not armed. Past the click nothing is ever clicked again."""
    meaning: str
    action: str
    """What the operator does next."""


def _r(number: int, failure_class: FailureClass, stage: Stage, retries: bool, meaning: str, action: str) -> Reason:
    return Reason(number, failure_class, stage, retries, meaning, action)


_APP, _BIZ, _DRIFT, _ACC, _AFTER, _SCHED = FailureClass
_IN, _PRE, _SUB, _SEAL, _SYNC, _QUEUE = Stage

REASONS: dict[ReasonCode, Reason] = {
    ReasonCode.PORTAL_SILENT: _r(
        0,
        _APP,
        _SUB,
        False,
        "the portal said nothing",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.PORTAL_UNAVAILABLE: _r(
        101,
        _APP,
        _PRE,
        True,
        "the portal could not be reached or answered with a server error",
        "Nothing, while it retries; if it stays, ask the OEM's help desk.",
    ),
    ReasonCode.PORTAL_MAINTENANCE: _r(
        102,
        _APP,
        _PRE,
        True,
        "the portal shows its maintenance page",
        "Nothing: the claim waits until the portal is back.",
    ),
    ReasonCode.SESSION_EXPIRED: _r(
        103,
        _APP,
        _PRE,
        True,
        "the portal ended the session",
        "Nothing; if it repeats, another user may share the log-in.",
    ),
    ReasonCode.UPLOAD_FAILED: _r(
        104,
        _APP,
        _PRE,
        True,
        "an attachment did not arrive whole",
        "Nothing, while it retries; then try the file by hand.",
    ),
    ReasonCode.LEASE_LOST: _r(
        105,
        _APP,
        _PRE,
        True,
        "another worker took over the portal account",
        "Nothing; if it repeats, a worker hangs: see the run.",
    ),
    ReasonCode.WORKER_LOST_PRE_INTENT: _r(
        106,
        _APP,
        _PRE,
        True,
        "the worker died before the click",
        "Nothing: nothing was filed and the claim is requeued.",
    ),
    ReasonCode.PRE_EVIDENCE_MISSING: _r(
        107,
        _APP,
        _PRE,
        True,
        "the evidence before the click is missing or worthless",
        "Look at the run's picture of the form; nothing was filed.",
    ),
    ReasonCode.PAYLOAD_INVALID: _r(
        201,
        _BIZ,
        _IN,
        False,
        "the CRM's record is not a valid claim",
        "Correct the record in the CRM; it is taken up again by itself.",
    ),
    ReasonCode.ATTACHMENT_REJECTED: _r(
        202,
        _BIZ,
        _IN,
        False,
        "an attachment is missing, too large or of a type that is not allowed",
        "Replace the file in the CRM; the claim is taken up again by itself.",
    ),
    ReasonCode.VALIDATION_REJECTED: _r(
        203,
        _BIZ,
        _SUB,
        False,
        "the portal refused the claim's content",
        "Read the portal's text, correct the record, and submit it as a new claim.",
    ),
    ReasonCode.DUPLICATE_AT_PORTAL: _r(
        204,
        _BIZ,
        _SUB,
        False,
        "the portal says it has this claim already",
        "Look it up in the portal's history: it may be our own earlier filing.",
    ),
    ReasonCode.CUTOFF_PASSED: _r(
        205,
        _BIZ,
        _SUB,
        False,
        "the portal's deadline for this claim has passed",
        "Ask the OEM for an exception, or write the claim off.",
    ),
    ReasonCode.CRM_CONFLICT: _r(
        206,
        _BIZ,
        _IN,
        False,
        "two CRM records describe the same claim, or the record holds another reference",
        "Decide which record is right, and correct the other.",
    ),
    ReasonCode.OEM_UNKNOWN: _r(
        207,
        _BIZ,
        _IN,
        False,
        "no adapter is registered for this OEM",
        "Correct the OEM in the record, or build the adapter with `oem-submissions new-oem`.",
    ),
    ReasonCode.SELECTOR_NOT_FOUND: _r(
        301,
        _DRIFT,
        _PRE,
        False,
        "an element that the selector pack names is not on the page",
        "Run `oem-submissions probe`, and release a new pack version.",
    ),
    ReasonCode.PAGE_CONTRACT_MISMATCH: _r(
        302,
        _DRIFT,
        _PRE,
        False,
        "a page is not what its contract says",
        "Compare the page with the contract, and release a new pack version.",
    ),
    ReasonCode.UNEXPECTED_DIALOG: _r(
        303,
        _DRIFT,
        _PRE,
        False,
        "the page opened a dialog that the pack does not declare",
        "Read the dialog's text, and declare it in a new pack version.",
    ),
    ReasonCode.FIELD_READBACK_MISMATCH: _r(
        304,
        _DRIFT,
        _PRE,
        False,
        "a field does not hold what was typed into it",
        "Compare the field's format with the adapter's mapping.",
    ),
    ReasonCode.DEALER_MISMATCH: _r(
        305, _DRIFT, _PRE, False, "the page shows another dealer's code", "Check the portal account of this dealer."
    ),
    ReasonCode.LOGIN_FAILED: _r(
        401,
        _ACC,
        _PRE,
        False,
        "the portal refused the log-in",
        "Check the account's password at the portal before anything tries again: it may lock.",
    ),
    ReasonCode.MFA_REQUIRED: _r(
        402,
        _ACC,
        _PRE,
        False,
        "the portal asks for a second factor that we can't give",
        "Give the account its TOTP secret, or the mailbox that codes come to; else log in once by hand.",
    ),
    ReasonCode.SECRET_MISSING: _r(
        403, _ACC, _PRE, False, "a secret of this portal account is not set", "Set the variable that the message names."
    ),
    ReasonCode.OUTCOME_UNKNOWN: _r(
        501,
        _AFTER,
        _SUB,
        False,
        "the click was armed and its outcome can't be told",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.REFERENCE_MISSING: _r(
        502,
        _AFTER,
        _SUB,
        False,
        "the portal accepted the claim but no reference was found",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.REFERENCE_AMBIGUOUS: _r(
        503,
        _AFTER,
        _SUB,
        False,
        "more than one reference was found",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.REFERENCE_SUSPECT: _r(
        504,
        _AFTER,
        _SUB,
        False,
        "the reference was seen before the click, is malformed, or belongs to another claim",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.POST_EVIDENCE_MISSING: _r(
        505,
        _AFTER,
        _SUB,
        False,
        "the evidence after the click is missing or worthless",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.WORKER_LOST_POST_INTENT: _r(
        506,
        _AFTER,
        _SUB,
        False,
        "the worker died after the click was armed",
        "Nothing yet: it is looked up in the portal's history by itself; when it needs review, record a verdict.",
    ),
    ReasonCode.SECRET_IN_ARTIFACT: _r(
        507,
        _AFTER,
        _SEAL,
        False,
        "a secret was found in the evidence",
        "Nothing of it was kept: the text names place and encoding. Mend the pack, then redrive or run the partition again.",
    ),
    ReasonCode.CRM_WRITE_FAILED: _r(
        508,
        _AFTER,
        _SYNC,
        True,
        "the CRM did not take the outcome",
        "Nothing, while it retries; the portal is not touched again.",
    ),
    ReasonCode.GATE_CLOSED: _r(
        601, _SCHED, _QUEUE, True, "the OEM's release is not live", "See `oem-submissions release show`."
    ),
    ReasonCode.BREAKER_OPEN: _r(
        602,
        _SCHED,
        _QUEUE,
        True,
        "too many failures of one kind in a row",
        "Mend the cause; a probe closes the breaker.",
    ),
    ReasonCode.PORTAL_UNRECOGNISED: _r(
        999,
        _AFTER,
        _SUB,
        False,
        "the portal said something we don't know",
        "It is held; read the page's picture, and add the text to the pack.",
    ),
}


def reasons_table() -> str:
    """The vocabulary as a Markdown page; `docs/reason-codes.md` is this text, and a test compares them."""
    head = (
        "# Reason codes\n\n"
        "Made from `oem_submissions/domain/reasons.py` by `oem-submissions reasons`; numbers are never reused.\n\n"
        "| code | number | class | stage | tried again by itself | meaning | what to do |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = [
        f"| `{code}` | {r.number} | {r.failure_class} | {r.stage} | {'yes' if r.retries else 'no'} | {r.meaning} | {r.action} |"
        for code, r in sorted(REASONS.items(), key=lambda item: item[1].number)
    ]
    return head + "\n".join(rows) + "\n"
