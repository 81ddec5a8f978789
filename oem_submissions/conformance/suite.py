"""The run over all scenarios: one after the other on one stage; what each came to, and the evidence of what failed."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from oem_submissions.conformance.endings import Ending
from oem_submissions.conformance.scenarios import SCENARIOS, Scenario, endings_of, play, why_not
from oem_submissions.conformance.stage import Stage, Subject
from oem_submissions.conformance.trial import Trial, begin
from oem_submissions.conformance.verdict import judge, what_happened
from oem_submissions.domain.failures import ConfigurationError

log = logging.getLogger(__name__)
HIDDEN = "••••••"


class Outcome(StrEnum):
    """What a scenario came to."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    scenario: str
    portal: str
    """What the portal does."""
    expected: str
    happened: str
    outcome: Outcome
    problems: tuple[str, ...] = ()
    """What is wrong, a sentence each; why it makes no sense here, when it is not applicable."""
    evidence: Path | None = None
    """The folder with everything that is known of a failure."""
    seconds: float = 0.0


def chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names, all when there are none. Raises `ConfigurationError`."""
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if strange := [name for name in names if name not in known]:
        raise ConfigurationError(f"There is no scenario '{strange[0]}'; there are {', '.join(known)}.")
    return [known[name] for name in names] if names else list(SCENARIOS)


def run_suite(
    stage: Stage, scenarios: Sequence[Scenario], folder: Path, on_begin: Callable[[Scenario], None] = lambda _: None
) -> Iterator[Result]:
    """What each scenario came to, as soon as it is known. `folder` takes the evidence of failures.

    An adapter that can't file where nothing is wrong ends it: all others would fail for the same cause.
    """
    for scenario in scenarios:
        on_begin(scenario)
        began = time.monotonic()
        result = _run(stage, scenario, folder)
        yield Result(**{**vars(result), "seconds": round(time.monotonic() - began, 1)})
        if scenario is SCENARIOS[0] and result.outcome is Outcome.FAILED:
            return


def _run(stage: Stage, scenario: Scenario, folder: Path) -> Result:
    subject = stage.subject
    rules = [stage.portal.history_rules(kind) for kind in subject.adapter.claim_types()]
    expected = endings_of(scenario, all(each and each.settle_minutes for each in rules))
    wanted = ", then ".join(" or ".join(ending.says for ending in one) for one in expected)
    if why := why_not(scenario, subject):
        return Result(
            scenario.name, scenario.portal, wanted, "", Outcome.NOT_APPLICABLE, (f"{why[0].upper()}{why[1:]}.",)
        )
    number = SCENARIOS.index(scenario) + 1
    kinds = subject.adapter.claim_types()
    kind = scenario.kind(subject) if scenario.kind else kinds[number % len(kinds)]
    where = folder / re.sub(r"\W+", "-", scenario.name)
    shutil.rmtree(where, ignore_errors=True)  # of an earlier run
    with _logged() as log_lines, begin(stage, number, kind) as trial:
        problems = _acted_out(trial, scenario, expected)
        happened = what_happened(trial)
        problems = [*dict.fromkeys(log_lines.skin_broke), *problems]
        if not problems:
            return Result(scenario.name, scenario.portal, wanted, happened, Outcome.PASSED)
        _keep(trial, scenario, wanted, happened, problems, log_lines.lines, where)
    return Result(scenario.name, scenario.portal, wanted, happened, Outcome.FAILED, tuple(problems), where)


def _acted_out(trial: Trial, scenario: Scenario, expected: Sequence[Sequence[Ending]]) -> list[str]:
    """What is wrong, a sentence each. What adapter, pack or skin raise is their failure, not the suite's."""
    try:
        play(trial, scenario)
        return judge(trial, expected)
    except Exception as error:
        log.exception("The scenario broke off")
        return [f"The scenario broke off: {type(error).__name__}: {error}"]


# --- the evidence of a failure ---


class _Lines(logging.Handler):
    """Keeps what is logged, and why the skin broke if it did: then a failure is not the adapter's."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.lines: list[str] = []
        self.skin_broke: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        if record.name == "uvicorn.error" and record.exc_info and (error := record.exc_info[1]) is not None:
            self.skin_broke.append(f"The skin broke: {type(error).__name__}: {error}")


@contextmanager
def _logged() -> Iterator[_Lines]:
    """Our log's and the simulator's lines, instead of on the terminal."""
    kept = _Lines()
    loggers = [logging.getLogger(name) for name in ("oem_submissions", "uvicorn.error")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(kept)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield kept
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(kept)
            logger.setLevel(level)
            logger.propagate = propagate


def _keep(
    trial: Trial, scenario: Scenario, wanted: str, happened: str, problems: list[str], lines: list[str], where: Path
) -> None:
    """Everything that is known of the failure, for the engineer who has to mend it."""
    where.mkdir(parents=True)
    verdict = [f"Scenario: {scenario.name}", f"The portal: {scenario.portal}", f"Expected: {wanted}",
               f"Happened: {happened}", "", *problems]  # fmt: skip
    (where / "verdict.txt").write_text("\n".join(verdict) + "\n")
    (where / "log.txt").write_text("\n".join(lines) + "\n")
    _write_json(trial, where / "requests.json", trial.stage.simulator.client.requests())
    _write_json(trial, where / "filings.json", trial.truth())
    for claim_id in trial.claim_ids:
        own = where / claim_id
        own.mkdir()
        _write_json(trial, own / "claim.json", asdict(trial.claim(claim_id)))
        _write_json(trial, own / "events.json", [asdict(event) for event in trial.stage.ledger.events(claim_id)])
        for kept in trial.stage.ledger.artifacts(claim_id):
            name = f"attempt-{kept.attempt_id}-{kept.key.rpartition('/')[2]}"
            (own / name).write_bytes(trial.stage.evidence.get(kept.key))


def _write_json(trial: Trial, path: Path, document: Any) -> None:
    """As JSON, without the account's secrets: requests of the log-in hold them."""
    text = json.dumps(document, indent=2, default=str, ensure_ascii=False)
    for secret in filter(None, (trial.account.password, trial.account.totp_secret)):
        for written in (secret, quote(secret, safe=""), quote_plus(secret)):
            text = text.replace(written, HIDDEN)
    path.write_text(text + "\n")


# --- the whole ---


@dataclass(frozen=True)
class Report:
    """Everything that the command says."""

    subject: Subject
    results: tuple[Result, ...]
    seconds: float

    @property
    def first_failure(self) -> Result | None:
        """None when the adapter is ready for the gate."""
        return next((result for result in self.results if result.outcome is Outcome.FAILED), None)

    @property
    def complete(self) -> bool:
        """Whether every scenario was tried: "ready" means that."""
        return {result.scenario for result in self.results} == {scenario.name for scenario in SCENARIOS}

    def document(self) -> dict[str, Any]:
        """As JSON."""
        first = self.first_failure
        return {
            "oem": self.subject.oem,
            "skin": f"{self.subject.skin.__module__}:{self.subject.skin.__qualname__}",
            "adapter_digest": self.subject.adapter.digest,
            "pack": self.subject.pack.version,
            "pack_digest": self.subject.pack.digest,
            "ready": first is None and self.complete,
            "first_failure": first.scenario if first else None,
            **{outcome.replace(" ", "_"): sum(r.outcome is outcome for r in self.results) for outcome in Outcome},
            "seconds": round(self.seconds, 1),
            "scenarios": [asdict(result) for result in self.results],
        }
