"""Delivery reports and incentive claims as Cascade's forms want them. Pure: formats and words, no page."""

from __future__ import annotations

from oem_submissions.domain.claims import DeliveryReport, IncentiveClaim

SALE_TYPES = {"retail": "Retail purchase", "lease": "Lease", "fleet": "Fleet"}


def form_values(claim: DeliveryReport | IncentiveClaim) -> dict[str, str]:
    """Dates as YYYY-MM-DD, money as 0.00."""
    match claim:
        case DeliveryReport():
            return _delivery(claim)
        case IncentiveClaim():
            return _incentive(claim)


def _delivery(claim: DeliveryReport) -> dict[str, str]:
    values = {
        "vin": claim.vin,
        "sale_sequence": str(claim.sale_sequence),
        "sale_date": claim.sale_date.isoformat(),
        "sale_type": SALE_TYPES[claim.sale_type],
        "salesperson": claim.salesperson,
        "customer_name": claim.customer_name,
    }
    return values | ({"lender": claim.lender} if claim.lender else {})


def _incentive(claim: IncentiveClaim) -> dict[str, str]:
    return {
        "vin": claim.vin,
        "programme": claim.programme,
        "sale_date": claim.sale_date.isoformat(),
        "customer_name": claim.customer_name,
        "amount": f"{claim.amount:.2f}",
    }
