"""How a command ends: exit codes, and one sentence instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import IntEnum

import typer
from rich.console import Console

from oem_submissions.domain.failures import ConfigurationError, StateConflict, SubmissionError
from oem_submissions.ports import (
    CrmUnavailable,
    EvidenceLocked,
    EvidenceLogBroken,
    EvidenceMissing,
    EvidenceUnavailable,
    LedgerUnavailable,
    QueueUnavailable,
    SecretsUnavailable,
    SigningUnavailable,
    TimestampRefused,
    TimestampUnavailable,
)
from oem_submissions.services.review import VerdictRefused
from oem_submissions.settings import SettingsError

terminal = Console(stderr=True, width=None if sys.stderr.isatty() else 120)
"""People's text; stdout belongs to results. In a log or a pipe lines are 120 characters long."""


class Exit(IntEnum):
    """What the shell, the CronJob and the tests go by."""

    DONE = 0
    NOT_SO = 1  # not found, does not verify, a check fails
    WRONG_USE = 2
    PART_MISSING = 3  # a part is missing or unreachable


class NotSo(Exception):
    """The thing asked for is not so: one sentence."""


_NOT_SO = (
    NotSo,
    VerdictRefused,
    StateConflict,
    SubmissionError,
    EvidenceLocked,
    EvidenceMissing,
    EvidenceLogBroken,
)
_PART_MISSING = (
    ConfigurationError,
    SettingsError,
    LedgerUnavailable,
    CrmUnavailable,
    EvidenceUnavailable,
    QueueUnavailable,
    SecretsUnavailable,
    SigningUnavailable,
    TimestampRefused,
    TimestampUnavailable,
)


def run_saying_errors(command: Callable[[], object], debug: bool) -> None:
    """Run a command and leave with its exit code.

    Errors that we know are one sentence, or, with `debug`, a traceback.
    """
    try:
        command()
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except (*_NOT_SO, *_PART_MISSING) as error:
        if debug:
            raise
        terminal.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(Exit.NOT_SO if isinstance(error, _NOT_SO) else Exit.PART_MISSING)
    except KeyboardInterrupt:
        terminal.print("Stopped.")
        sys.exit(130)
