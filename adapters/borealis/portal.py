"""Borealis' MarketFund portal: a wizard in an iframe, uploads by script, the number in a popup."""

from __future__ import annotations

from adapters.borealis import mapping
from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import CoopClaim
from oem_submissions.portal.adapter import PortalAdapter


class Borealis(PortalAdapter):
    """Files co-op advertising claims, once a day; the fund's books are weekly."""

    oem = "borealis"
    claim_model = CoopClaim
    cadence = Cadence("30 6 * * 1-5", timezone="America/Detroit", period="week", deadline_days=60)
    form_values = staticmethod(mapping.form_values)
