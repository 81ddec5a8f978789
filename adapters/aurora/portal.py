"""Aurora Motors' dealer portal: one long server-rendered form with a native confirm()."""

from __future__ import annotations

from adapters.aurora import mapping
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import WarrantyClaim
from oem_submissions.portal.adapter import PortalAdapter


class Aurora(PortalAdapter):
    """Files warranty claims, every two hours on working days and Saturdays."""

    oem = "aurora"
    claim_model = WarrantyClaim
    cadence = Cadence("0 */2 * * 1-6", timezone="America/Chicago", period="day", deadline_days=30)
    form_values = staticmethod(mapping.form_values)
    reference_is_plausible = staticmethod(mapping.reference_is_plausible)
