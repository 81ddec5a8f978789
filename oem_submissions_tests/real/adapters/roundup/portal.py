"""A Roundup tracker that takes warranty claims: one page, table layout, and the number among two others."""

from __future__ import annotations

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import WarrantyClaim
from oem_submissions.portal.adapter import PortalAdapter
from oem_submissions_tests.real.adapters.roundup import mapping


class Roundup(PortalAdapter):
    """Files warranty claims, every two hours from Monday to Saturday."""

    oem = "roundup"
    claim_model = WarrantyClaim
    cadence = Cadence("0 */2 * * 1-6", timezone="America/Chicago", period="day")
    form_values = staticmethod(mapping.form_values)
