"""A co-op claim as Borealis' wizard wants it. Pure: formats and words, no page."""

from __future__ import annotations

from oem_submissions.domain.claims import CoopClaim

ACTIVITIES = {"digital": "Digital advertising", "print": "Print advertising", "radio": "Radio", "event": "Event"}


def form_values(claim: CoopClaim) -> dict[str, str]:
    """Dates as YYYY/MM/DD, money as 0.00, the percentage without its sign."""
    return {
        "fund": claim.fund,
        "activity": ACTIVITIES[claim.activity],
        "activity_date": f"{claim.activity_date:%Y/%m/%d}",
        "pre_approval": claim.pre_approval,
        "vendor": claim.vendor,
        "vendor_invoice": claim.vendor_invoice,
        "cost": f"{claim.cost:.2f}",
        "claimed_percent": str(claim.claimed_percent),
        "claimed_amount": f"{claim.claimed_amount:.2f}",
        "certify": "yes",
    }
