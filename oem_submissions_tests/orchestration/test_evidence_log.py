"""The evidence log's hourly run: stamped and looked at; an authority in trouble is a warning, and no claim waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dagster import AssetKey, build_schedule_context
from sqlalchemy import text

from oem_submissions import wiring
from oem_submissions.domain.evidence_log import Stamp
from oem_submissions.ports import TimestampUnavailable
from oem_submissions_tests.orchestration.test_filing_runs import Everything, everything
from oem_submissions_tests.services.fakes import NOW

__all__ = ["everything"]


class Clerk:
    """A time-stamp authority that lives in the test."""

    down = False

    def stamp(self, data: bytes) -> Stamp:
        if self.down:
            raise TimestampUnavailable("The time-stamp authority does not answer.")
        return Stamp(b"stamped " + data, "https://tsa.example", NOW)


def look(everything: Everything) -> tuple[dict[str, bool], dict[str, Any]]:
    """The checks' verdicts and the asset's facts."""
    job = everything.defs.resolve_job_def("evidence_log_job")
    result = job.execute_in_process(instance=everything.instance, raise_on_error=False)
    assert result.success
    (made,) = result.asset_materializations_for_node("evidence_log")
    return everything.evaluations(result), {name: value.value for name, value in made.metadata.items()}


def hour(everything: Everything) -> Any:
    schedule = everything.defs.resolve_schedule_def("evidence_log")
    with (
        wiring.build(everything.settings, **everything.parts) as services,
        build_schedule_context(
            instance=everything.instance,
            scheduled_execution_time=datetime(2026, 11, 10, 14, 5, tzinfo=UTC),
            resources={"services": services},
            repository_def=everything.defs.get_repository_def(),
        ) as context,
    ):
        return schedule.evaluate_tick(context)


def test_the_log_is_stamped_hourly_and_a_claim_never_waits_for_it(everything: Everything) -> None:
    clerk = Clerk()
    everything.use(timestamps=clerk)
    assert hour(everything).skip_message == "Nothing is logged yet."
    clerk.down = True
    everything.add(1)
    everything.take_in()
    filed = everything.run()
    assert (filed.success, everything.evaluations(filed)["evidence_present"]) == (True, True)

    (request,) = hour(everything).run_requests
    assert request.run_key is None, "it is asked again every hour until it is stamped"
    verdicts, facts = look(everything)
    assert verdicts == {"log_consistent": True, "log_stamped": False}
    assert (facts["bundles"], facts["time-stamped up to"]) == (1, 0)
    assert facts["trouble"] == "The time-stamp authority does not answer."

    clerk.down = False
    verdicts, facts = look(everything)
    assert verdicts == {"log_consistent": True, "log_stamped": True}
    assert (facts["time-stamped up to"], facts["time-stamped at"]) == (1, NOW.isoformat())
    (request,) = hour(everything).run_requests
    assert request.run_key == "evidence log 1", "a log that has not grown is looked at once"
    assert len(everything.ledger.stamps()) == 1

    with everything.ledger._engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE evidence_log_nodes SET hash = sha256('x')"))
    verdicts, _ = look(everything)
    assert verdicts == {"log_consistent": False, "log_stamped": True}


def test_without_an_authority_the_log_is_looked_at_all_the_same(everything: Everything) -> None:
    everything.use(timestamps=None)
    everything.add(1)
    everything.take_in()
    assert everything.run().success
    assert look(everything)[0] == {"log_consistent": True, "log_stamped": True}
    assert everything.instance.get_latest_materialization_event(AssetKey("evidence_log")) is not None
