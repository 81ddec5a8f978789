"""The portal of Eridani Motors: one plain form. What differs from the base, no more."""

from __future__ import annotations

from adapters.eridani import mapping
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import WarrantyClaim
from oem_submissions.portal.adapter import PortalAdapter


class Eridani(PortalAdapter):
    """Files warranty claims, every hour of the working day."""

    oem = "eridani"
    claim_model = WarrantyClaim
    cadence = Cadence("10 8-18 * * 1-5", timezone="America/New_York", period="day")
    form_values = staticmethod(mapping.form_values)
