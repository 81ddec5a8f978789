"""What is wrong is looked up: alerts open and resolve as the ledger stands."""

from __future__ import annotations

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.reasons import REASONS, ReasonCode
from oem_submissions.domain.records import AlertKind
from oem_submissions.services.alerting import observe
from oem_submissions.services.breaking import close
from oem_submissions.services.dead_letters import dead_letters, redrive
from oem_submissions_tests.making import new_claim
from oem_submissions_tests.services.test_release import PILOTS, World, world

__all__ = ["world"]


def test_dead_letters_and_a_lost_streak_are_alerts_until_they_are_mended(world: World) -> None:
    ledger, adapters = world.ledger, {"aurora": world.rules}
    world.services().advance_release("aurora")
    world.clean_run()
    assert observe(ledger, adapters)
    assert ledger.alerts() == []

    world.portal.failures = [StepFailed(ReasonCode.SELECTOR_NOT_FOUND, "Ms Smith is not there", "fill")]
    world.run(world.come_due(PILOTS[0]))
    close(ledger.breaker("aurora"), "ana", ledger)
    ledger.add_claim(new_claim(50, reason=ReasonCode.SELECTOR_NOT_FOUND, reason_text="Ms Smith is not there"))
    with ledger.alone("observe alerts"):
        assert not observe(ledger, adapters)  # another one looks
    assert observe(ledger, adapters)
    found = {alert.kind: alert for alert in ledger.alerts()}
    assert set(found) == {AlertKind.STREAK_LOST, AlertKind.DEAD_LETTERS}
    dead, lost = found[AlertKind.DEAD_LETTERS], found[AlertKind.STREAK_LOST]
    assert dead.text.startswith("2 claims of aurora ended as dead letters with SELECTOR_NOT_FOUND: ")
    assert dead.text.endswith(REASONS[ReasonCode.SELECTOR_NOT_FOUND].action)
    assert "Smith" not in dead.text  # it goes to channels outside
    assert (dead.count, len(dead.claim_ids), lost.run_id) == (2, 2, "run-2")
    assert "back at 0: claim aurora-" in lost.text
    assert "step fill, SELECTOR_NOT_FOUND" in lost.text

    world.clean_run()
    redrive(dead_letters(ledger)[:1], "ana", ledger)
    observe(ledger, adapters)
    assert [(alert.kind, alert.count) for alert in ledger.alerts()] == [(AlertKind.DEAD_LETTERS, 1)]
    redrive(dead_letters(ledger), "ana", ledger)
    observe(ledger, adapters)
    assert ledger.alerts() == []
