"""The states of a claim and the moves between them. A pure table: the ledger enforces it by compare-and-set."""

from __future__ import annotations

from enum import StrEnum

from oem_submissions.domain.reasons import REASONS, FailureClass, ReasonCode


class State(StrEnum):
    """Where a claim is. The events are the truth; the column in the ledger is a cache of them."""

    READY = "READY"  # due, validated, payload frozen by its hash
    PREPARED = "PREPARED"  # form filled and read back, pre-submit evidence durable
    ARMED = "ARMED"  # committed before the click; from here nothing clicks again
    REJECTED = "REJECTED"  # the portal refused it, and a witness says nothing was filed
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"  # held: whether it was filed can't be told
    RECONCILING = "RECONCILING"  # being looked up in the portal's history, read-only
    PROVEN_ABSENT = "PROVEN_ABSENT"  # looked up and not there, with a positive control
    CONFIRMED = "CONFIRMED"  # exactly one valid reference, both shots durable
    AWAITING_REFERENCE = "AWAITING_REFERENCE"  # filed; this portal gives the reference later
    SEALED = "SEALED"  # evidence bundle stored and read back
    SYNCED = "SYNCED"  # CRM record written and read back
    NEEDS_REVIEW = "NEEDS_REVIEW"  # a named person must give a verdict
    DEAD = "DEAD"  # dead-lettered with a reason code
    WITHDRAWN = "WITHDRAWN"  # taken back by a named person before anything was filed


S = State

MOVES: dict[State, frozenset[State]] = {
    S.READY: frozenset({S.PREPARED, S.DEAD, S.WITHDRAWN, S.NEEDS_REVIEW}),  # to review: a look, after a restore
    S.PREPARED: frozenset({S.ARMED, S.READY, S.DEAD}),
    S.ARMED: frozenset({S.CONFIRMED, S.REJECTED, S.OUTCOME_UNKNOWN, S.AWAITING_REFERENCE}),
    S.REJECTED: frozenset(),
    S.OUTCOME_UNKNOWN: frozenset({S.RECONCILING}),
    S.RECONCILING: frozenset({S.CONFIRMED, S.PROVEN_ABSENT, S.NEEDS_REVIEW, S.OUTCOME_UNKNOWN}),
    S.PROVEN_ABSENT: frozenset({S.READY, S.NEEDS_REVIEW}),
    S.AWAITING_REFERENCE: frozenset({S.CONFIRMED, S.OUTCOME_UNKNOWN}),
    S.CONFIRMED: frozenset({S.SEALED}),
    S.SEALED: frozenset({S.SYNCED}),
    S.SYNCED: frozenset(),
    S.NEEDS_REVIEW: frozenset({S.CONFIRMED, S.PROVEN_ABSENT}),
    S.DEAD: frozenset({S.READY, S.RECONCILING, S.WITHDRAWN}),
    S.WITHDRAWN: frozenset(),
}

BEFORE_CLICK = frozenset({S.READY, S.PREPARED})
"""In these states nothing was filed, provably: no durable `ARMED` exists since the claim was last `READY`."""
WITHDRAWABLE = frozenset({S.READY, S.DEAD})
"""In these states a person may take a claim back, unless it may be filed all the same."""
UNDER_WAY = frozenset({S.READY, S.PREPARED, S.ARMED})
"""In these states an attempt may be open: begun, and not ended."""
FILED = frozenset({S.CONFIRMED, S.SEALED, S.SYNCED})
"""In these states the filing exists and its reference is known."""
LOOKED_UP = frozenset({S.OUTCOME_UNKNOWN, S.AWAITING_REFERENCE})
"""In these states the portal's history is asked, from time to time."""
HELD = frozenset({S.OUTCOME_UNKNOWN, S.RECONCILING, S.PROVEN_ABSENT, S.NEEDS_REVIEW, S.AWAITING_REFERENCE})
"""In these states a look-up or a person decides; nothing files."""
NEEDS_WORKER = frozenset({S.READY, S.PREPARED, S.ARMED, S.RECONCILING})
"""In these states a worker with the account's lease has something to do, if only to put a lost one's work right."""
TOLD_TO_CRM = frozenset({S.REJECTED, S.DEAD, S.WITHDRAWN, S.SYNCED}) | HELD
"""In these states the dealer must see in the CRM where the claim stands. `SEALED` becomes `SYNCED` by that write."""
AT_REST = frozenset({S.SYNCED, S.REJECTED, S.DEAD, S.WITHDRAWN})
"""In these states nothing happens to a claim any more unless a person or the CRM wants it."""


def crm_status(state: State) -> str:
    """The state in the words of the dealer's CRM."""
    if state in FILED:
        return "FILED"
    return "HELD" if state in HELD else str(state)


def may_move(source: State, target: State) -> bool:
    """Whether the table allows the move."""
    return target in MOVES[source]


def after_failed_attempt(reason: ReasonCode, attempts: int, budget: int) -> State:
    """Where a claim goes whose attempt failed *before* the click: `READY` again within the budget, else `DEAD`.

    `attempts` counts those made since the claim came due or was redriven, the failed one included.
    """
    rule = REASONS[reason]
    if rule.retries and rule.failure_class is FailureClass.APPLICATION and attempts < budget:
        return State.READY
    return State.DEAD
