"""What the fault suite has to know of the real applications: claims to try them with, and what can't be acted out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date
from typing import ClassVar

from oem_submissions.simulator import samples
from oem_submissions.simulator.faults import KINDS
from oem_submissions.simulator.samples import Made
from oem_submissions.simulator.skin import Skin

WIRED = frozenset({
    "slow", "error_before_filing", "error_after_filing", "reset_before_filing", "reset_after_filing", "lost_response",
    "login_refused", "session_expired", "expired_at_submit", "closes_connections", "history_error",
})  # fmt: skip
"""What can be done to an application from outside."""


class _RealSkin(Skin):
    """Warranty claims with one file each."""

    kinds = {"warranty": ("dealer", "repair_order", "line", "coverage")}
    telltales = {"warranty": "vin"}
    without: ClassVar[Mapping[str, str]] = {
        name: "a real application can't be made to do this from outside" for name in KINDS if name not in WIRED
    }

    @staticmethod
    def username(dealer: str) -> str:
        return dealer

    @classmethod
    def claim(cls, kind: str, dealer: str, chance: random.Random, today: date) -> Made:
        payload, files = samples.warranty(chance, dealer, today, chance.choice(samples.REPAIRS))
        return payload, files[:1]


class TracSkin(_RealSkin):
    """Trac."""

    oem = "trac"
    submit_paths = ("/newticket",)
    login_path = "/login"


class RoundupSkin(_RealSkin):
    """Roundup."""

    oem = "roundup"
    submit_paths = ("/claims/issue",)
    login_path = "/claims/"
