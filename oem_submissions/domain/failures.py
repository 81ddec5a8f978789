"""The exceptions of the domain: each carries a reason code and one sentence for people."""

from __future__ import annotations

from oem_submissions.domain.reasons import REASONS, ReasonCode


class SubmissionError(Exception):
    """Something stopped a claim, with the reason code that decides what happens next."""

    def __init__(self, reason: ReasonCode, text: str, step: str | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.step = step

    def __str__(self) -> str:
        at = f" at step '{self.step}'" if self.step else ""
        return f"{self.reason}{at}: {self.text} What to do: {REASONS[self.reason].action}"


class PayloadInvalid(SubmissionError):
    """The CRM's record can't be a claim."""

    def __init__(self, text: str, reason: ReasonCode = ReasonCode.PAYLOAD_INVALID) -> None:
        super().__init__(reason, text, "intake")


class StepFailed(SubmissionError):
    """A step before the click did not do what it should. Nothing was filed."""

    def __init__(self, reason: ReasonCode, text: str, step: str, artifacts: tuple = ()) -> None:
        super().__init__(reason, text, step)
        self.artifacts = artifacts


class LeaseLost(SubmissionError):
    """The ledger refused a write because the lease has expired or was taken over."""

    def __init__(self, text: str) -> None:
        super().__init__(ReasonCode.LEASE_LOST, text, "lease")


class StateConflict(Exception):
    """A compare-and-set found the claim in another state: somebody else moved it."""


class ConfigurationError(Exception):
    """The configuration, a pack or a secret is missing or malformed: one sentence that names it and the remedy."""
