"""What the lease log proves: two live at once is seen, one after the other is not; who never ended is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oem_submissions.domain.lease_log import LeaseEntry, orphans, overlaps

_START = datetime(2026, 11, 10, 8, tzinfo=UTC)
_NOW = _START + timedelta(hours=1)


def entry(second: float, kind: str, token: int, dealer: str = "10234", lasts: float = 24) -> LeaseEntry:
    at = _START + timedelta(seconds=second)
    expires = at + timedelta(seconds=lasts)
    return LeaseEntry(at, kind, "aurora", dealer, f"host:{token}", f"run-{token}", token, expires)


def test_one_after_the_other_does_not_overlap_however_the_first_ended() -> None:
    released = [entry(0, "acquired", 1), entry(6, "renewed", 1), entry(9, "released", 1), entry(9, "acquired", 2)]
    taken_over = [entry(0, "acquired", 1), entry(24, "expired", 1), entry(24, "acquired", 2)]
    late = [entry(0, "acquired", 1), entry(30, "acquired", 2), entry(31, "released", 1), entry(32, "released", 2)]
    assert (overlaps(released), overlaps(taken_over), overlaps(late)) == ([], [], [])


def test_two_live_at_once_are_named_with_the_time_that_they_shared() -> None:
    found = overlaps([entry(0, "acquired", 1), entry(20, "acquired", 2), entry(22, "released", 2)])
    assert [(o.first.fencing_token, o.second.fencing_token, o.seconds) for o in found] == [(1, 2, 2.0)]
    assert "aurora/10234" in found[0].sentence()
    assert "host:1" in found[0].sentence()


def test_a_renewal_after_the_lease_was_taken_over_makes_it_live_again_and_is_seen() -> None:
    log = [entry(0, "acquired", 1), entry(24, "expired", 1), entry(24, "acquired", 2), entry(25, "renewed", 1)]
    assert [(o.first.fencing_token, o.second.fencing_token) for o in overlaps(log)] == [(2, 1)]


def test_leases_of_two_accounts_never_overlap() -> None:
    assert overlaps([entry(0, "acquired", 1), entry(1, "acquired", 2, dealer="10871")]) == []


def test_a_lease_that_ran_out_and_that_nobody_ended_is_an_orphan() -> None:
    log = [entry(0, "acquired", 1), entry(5, "renewed", 1)]
    assert [o.last.fencing_token for o in orphans(log, _NOW)] == [1]
    assert "host:1" in orphans(log, _NOW)[0].sentence()


def test_a_lease_that_is_live_released_or_taken_over_is_no_orphan() -> None:
    assert orphans([entry(0, "acquired", 1)], _START + timedelta(seconds=10)) == []
    assert orphans([entry(0, "acquired", 1), entry(40, "expired", 1)], _NOW) == []
    assert orphans([entry(0, "acquired", 1), entry(9, "released", 1)], _NOW) == []
