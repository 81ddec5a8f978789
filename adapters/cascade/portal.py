"""Cascade Connect: a single-page application that answers "in process" first. What differs from the base, no more."""

from __future__ import annotations

from adapters.cascade import mapping
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import DeliveryReport, IncentiveClaim
from oem_submissions.portal.adapter import PortalAdapter


class Cascade(PortalAdapter):
    """Files delivery reports and incentive claims, every hour of the working day."""

    oem = "cascade"
    claim_model = DeliveryReport | IncentiveClaim
    cadence = Cadence("15 8-20 * * *", timezone="America/Los_Angeles", period="day", deadline_days=30)
    form_values = staticmethod(mapping.form_values)
