"""Portal accounts from the secrets: one log-in per OEM and dealer."""

from __future__ import annotations

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import ReasonCode
from oem_submissions.ports import Account, Secrets


def account_part(oem: str, dealer: str, part: str) -> str:
    """What a part of the log-in is called among the secrets: `username`, `password`, `totp` or `mailbox`."""
    return f"portal/{oem}/{dealer}/{part}"


def portal_account(secrets: Secrets, oem: str, dealer: str) -> Account:
    """The dealer's log-in. Raises `StepFailed` with `SECRET_MISSING`, naming the variable to set."""

    def required(part: str) -> str:
        name = account_part(oem, dealer, part)
        value = secrets.find(name)
        if value is None:
            text = f"The {part} of dealer {dealer}'s account at {oem} is not set: set {secrets.where(name)}."
            raise StepFailed(ReasonCode.SECRET_MISSING, text, "log in")
        return value

    totp, mailbox = (secrets.find(account_part(oem, dealer, part)) for part in ("totp", "mailbox"))
    return Account(oem, dealer, required("username"), required("password"), totp, mailbox)
