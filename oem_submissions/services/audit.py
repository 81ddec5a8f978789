"""The audit of the evidence log: everything is computed anew from the leaves and held against what was signed.

It trusts no table: the leaves must lead to the roots of the signed checkpoints, every leaf's bundle must be in the
store, and every bundle in the store, and every sealed claim, must be in the log. It goes through the log page by page
and repairs nothing. What an auditor holds from earlier, a checkpoint, shows a log that was cut off or made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from oem_submissions.domain.checkpoints import Checkpoint, Malformed, Trust, leaf_of, opened
from oem_submissions.domain.evidence import bundle_key
from oem_submissions.domain.evidence_log import KeptCheckpoint, LogEntry
from oem_submissions.domain.merkle import Growing, Place, is_consistent, leaf_hash
from oem_submissions.ports import EvidenceLogBroken, EvidenceMissing, EvidenceStore, Ledger

PAGE = 500
SEALING = timedelta(hours=1)
"""For so long a bundle may be logged and not yet sealed: a run may be at it, or one that died is tried again."""

VerifyStored = Callable[[bytes, str], Sequence[str]]
"""A bundle's bytes and digest to what is wrong with it, sentences."""
VerifyStamp = Callable[[bytes, bytes], str | None]
"""(response, stamped bytes) to what is wrong with the time-stamp; None when nothing is."""


@dataclass
class AuditReport:
    """What an audit saw."""

    entries: int = 0
    checkpoints: int = 0
    bundles: int = 0
    """Bundles that were read and verified; 0 when only their presence was asked."""
    pruned: int = 0
    """Bundles that are not there because their retention is over, as the claims' chains say."""
    stamps: int = 0
    findings: list[str] = field(default_factory=list)
    """Sentences; none when all is well."""


@dataclass(frozen=True)
class Auditor:
    """What an audit needs to know."""

    ledger: Ledger
    evidence: EvidenceStore
    trust: Trust
    verify: VerifyStored | None
    """None: bundles are not read, only looked for."""
    verify_stamp: VerifyStamp | None
    """None: nobody said which authority is trusted."""

    def audit(
        self, held: Mapping[str, str] | None = None, progress: Callable[[int, int], None] | None = None
    ) -> AuditReport:
        """Audit the whole log. `held` are signed checkpoints from earlier, by a name for them."""
        stored = self.evidence.keys("bundles/")  # before the log is read: what is stored was logged before
        walk = _Walk(self, set(stored), *self._opened(held or {}))
        size, now = self.ledger.log_size(), self.ledger.now()
        for first in range(0, size, PAGE):
            last = min(first + PAGE, size)
            walk.page(first, last, now)
            if progress is not None:
                progress(last, size)
        walk.end(size)
        walk.found(f"{key}: is in the store, but not in the log." for key in stored if key not in walk.logged_keys)
        walk.found(
            f"Claim {claim_id}: is sealed with bundle {digest}, which is not in the log: it was cut off, or never"
            " logged."
            for claim_id, digest in self.ledger.unlogged()
        )
        self._stamps(walk.report)
        return walk.report

    def _opened(self, held: Mapping[str, str]) -> tuple[dict[str, Checkpoint], list[str]]:
        known, problems = {}, []
        for name, note in held.items():
            try:
                known[name] = opened(note, self.trust)
            except Malformed as error:
                problems.append(f"{name}: {error}")
        return known, problems

    def _stamps(self, report: AuditReport) -> None:
        for kept in self.ledger.stamps():
            report.stamps += 1
            checkpoint = self.ledger.checkpoint(kept.size)
            if checkpoint is None:
                report.findings.append(f"Checkpoint {kept.size}: was time-stamped, and is gone.")
            elif self.verify_stamp and (problem := self.verify_stamp(kept.stamp.response, checkpoint.note.encode())):
                report.findings.append(f"Checkpoint {kept.size}: its time-stamp does not verify: {problem}")


def glance(ledger: Ledger, trust: Trust) -> list[str]:
    """What is wrong with the log's head, in O(log n): signature, root, and that it continues what was stamped."""
    newest, stamp = ledger.newest_checkpoint(), next(iter(ledger.stamps(limit=1)), None)
    if newest is None:
        return ["The log lost what was time-stamped."] if stamp else []
    earlier = ledger.checkpoint(stamp.size) if stamp else newest
    if earlier is None or earlier.size > newest.size:
        return [f"Checkpoint {stamp.size if stamp else 0} was time-stamped, and is gone."]
    try:
        new, old = opened(newest.note, trust), opened(earlier.note, trust)
        root, last = ledger.log_root(newest.size), ledger.log_proof(newest.size - 1, newest.size)
        entries, _, _ = ledger.log_page(newest.size - 1, newest.size)
        steps = ledger.log_consistency(old.size, new.size)
    except Malformed as error:
        return [f"A checkpoint {error}"]
    except EvidenceLogBroken as error:
        return [str(error)]
    if root != new.root:
        return [f"Checkpoint {new.size} was signed for another log than the one that is kept."]
    if not entries or not last.shows(leaf_of(entries[0].claim_id, entries[0].bundle_digest), new):
        return [f"Checkpoint {new.size} was not signed for the newest entry."]
    if not is_consistent(old.size, old.root, new.size, new.root, steps):
        return [f"Checkpoint {new.size} does not continue checkpoint {old.size}, which was time-stamped."]
    return []


class _Walk:
    """Through the log, from the first leaf to the last."""

    def __init__(self, of: Auditor, stored: set[str], held: dict[str, Checkpoint], findings: list[str]) -> None:
        self._of = of
        self._stored = stored
        self._held = held
        self._tree = Growing()
        self._origin: str | None = None
        self._unlike: list[int] = []
        self._nodes_unlike: list[Place] = []
        self.logged_keys: set[str] = set()
        self.report = AuditReport(findings=findings)

    def found(self, findings: Iterator[str]) -> None:
        """Add to what is wrong."""
        self.report.findings += findings

    def page(self, first: int, last: int, now: datetime) -> None:
        """The leaves `first` to `last - 1`."""
        entries, checkpoints, nodes = self._of.ledger.log_page(first, last)
        by_index, by_size = {entry.index: entry for entry in entries}, {kept.size: kept for kept in checkpoints}
        sealed = self._of.ledger.sealed_digests(sorted({entry.claim_id for entry in entries}))
        for index in range(first, last):
            entry = by_index.get(index)
            self._grow(index, entry, nodes)
            self._checkpoint(index + 1, by_size.get(index + 1))
            self._compare_held(index + 1)
            if entry is not None:
                self.report.entries += 1
                late = now - entry.at > SEALING
                self.found(self._bundle(entry, late or sealed.get(entry.claim_id) is not None))
                self.found(_claim(entry, sealed.get(entry.claim_id), late))

    def end(self, size: int) -> None:
        """What only the whole log shows."""
        if self._unlike:
            self.report.findings.append(
                f"Checkpoint {self._unlike[0]}: was signed for another log than this one, and so were"
                f" {len(self._unlike) - 1} after it: an entry below {self._unlike[0]} was rewritten, moved or removed."
            )
        if self._nodes_unlike:
            level, position = self._nodes_unlike[0]
            self.report.findings.append(
                f"Subtree {position} of level {level}: is not what its leaves give, and so are"
                f" {len(self._nodes_unlike) - 1} more: no proof through them holds."
            )
        self.found(
            f"{name}: is of size {checkpoint.size}, but the log has {size} entries: it was cut off."
            for name, checkpoint in self._held.items()
            if checkpoint.size > size
        )

    def _grow(self, index: int, entry: LogEntry | None, nodes: Mapping[Place, bytes]) -> None:
        known = nodes.get((0, index))
        computed = leaf_hash(leaf_of(entry.claim_id, entry.bundle_digest)) if entry else None
        if entry is None:
            self.report.findings.append(f"Entry {index}: is missing.")
        elif known is not None and computed != known:
            self.report.findings.append(
                f"Entry {index}: was rewritten: claim {entry.claim_id} with bundle {entry.bundle_digest} is not what"
                " was logged there."
            )
        # What was logged, as far as it is known: so that one rewritten row does not make every later root wrong.
        for place, item in self._tree.add(known or computed or bytes(32)).items():
            if nodes.get(place) != item:
                self._nodes_unlike.append(place)

    def _checkpoint(self, size: int, kept: KeptCheckpoint | None) -> None:
        if kept is None:
            self.report.findings.append(f"Checkpoint {size}: is missing.")
            return
        self.report.checkpoints += 1
        try:
            checkpoint = opened(kept.note, self._of.trust)
        except Malformed as error:
            self.report.findings.append(f"Checkpoint {size}: {error}")
            return
        self._origin = self._origin or checkpoint.origin
        if checkpoint != Checkpoint(self._origin, size, kept.root):
            self.report.findings.append(f"Checkpoint {size}: says another origin, size or root than the log has there.")
        if checkpoint.root != self._tree.root:
            self._unlike.append(size)

    def _compare_held(self, size: int) -> None:
        for name, checkpoint in self._held.items():
            if checkpoint.size == size and checkpoint.root != self._tree.root:
                self.report.findings.append(f"{name}: was signed for another log of {size} entries than this one.")

    def _bundle(self, entry: LogEntry, due: bool) -> Iterator[str]:
        """`due`: it must be in the store by now."""
        key, where = bundle_key(entry.claim_id, entry.bundle_digest), _where(entry)
        self.logged_keys.add(key)
        if key in self._stored and self._of.verify is None:
            return
        try:
            data = self._of.evidence.get(key)
        except EvidenceMissing:
            if any(event.kind == "pruned" for event in self._of.ledger.events(entry.claim_id)):
                self.report.pruned += 1
            elif due:
                yield f"{where}: its bundle {entry.bundle_digest} is not in the store."
            return
        if self._of.verify is not None:
            self.report.bundles += 1
            yield from (f"{where}: {problem}" for problem in self._of.verify(data, entry.bundle_digest))


def _claim(entry: LogEntry, sealed_with: str | None, late: bool) -> Iterator[str]:
    """Whether the ledger's claim and the log say the same."""
    if sealed_with is None and late:
        yield f"{_where(entry)}: was logged, but the claim is not sealed: run its partition again, or see who undid it."
    elif sealed_with is not None and sealed_with != entry.bundle_digest:
        yield f"{_where(entry)}: the claim is sealed with another bundle, {sealed_with}: see who sealed it twice."


def _where(entry: LogEntry) -> str:
    return f"Entry {entry.index}, claim {entry.claim_id}"
