"""Make-believe claims, one at a time, as the CRM has them: payload and files. What chance says, and nothing else.

Each is one that its portal takes; `seed.py` makes a few wrong on purpose. `seed_media.py` draws the attachments.
"""

from __future__ import annotations

import base64
import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from oem_submissions.simulator.seed_media import document, photo

Made = tuple[dict[str, Any], list[dict[str, Any]]]
"""A payload, and its files: name, kind, content in base64."""
CUSTOMERS = (
    "Maria Gonzalez", "James T. Whitfield", "Siobhan O'Connor", "Nguyen Van Minh", "Acme Plumbing & Heating, Inc.",
    "Renee Dubois-Lacroix", "Darnell Washington Jr.", "Priya Raghunathan", "Jürgen Schäfer", "Hannah Lindqvist",
)  # fmt: skip
LENDERS = ("First Prairie Credit Union", "Northland Auto Finance", "Bank of the Lakes", None)
VENDORS = (
    ("Great Lakes Outdoor Media LLC", "print"), ("Brightpath Digital, Inc.", "digital"),
    ("WKLM 98.5 FM", "radio"), ("Tri-County Fair Association", "event"), ("Harbor & Pine Creative", "digital"),
    ("Valley Gazette Publishing Co.", "print"), ("Crosstown Radio Network", "radio"),
)  # fmt: skip
PROGRAMMES = (("LOYAL26", "750.00"), ("GRAD-2026", "500.00"), ("EV-BONUS-Q4", "1250.00"), ("MIL-APPREC", "500.00"))
Repair = tuple[str, str, str, tuple[tuple[str, int, str], ...], str, str]
# Complaint, cause, correction, parts (number, quantity, amount; the first is the causal one), operation, hours
REPAIRS: tuple[Repair, ...] = (
    ("Customer states rattle from front left over bumps at low speed.",
     "Road tested with customer, verified. Left front strut mount bearing worn, 3 mm of play.",
     "Replaced left front strut mount and bearing, aligned front end, retested: no noise.",
     (("51920-TVA-A01", 1, "84.20"), ("51726-TVA-A02", 1, "28.40")), "412110", "1.8"),
    ("Check engine light on, rough idle when cold.",
     "DTC P0302 stored. Swapped coils, misfire moved to cylinder 3: ignition coil failed.",
     "Replaced ignition coil no. 2, cleared codes, drove 12 miles, no codes returned.",
     (("30520-5R0-013", 1, "112.65"),), "135010", "0.7"),
    ("A/C blows warm at idle, cold on the highway.",
     "Condenser fan inoperative: 12.4 V at connector, ground good, motor open.",
     "Replaced condenser fan motor, evacuated and recharged with 1.1 lb of R-1234yf.",
     (("38616-6A0-A01", 1, "171.30"), ("80872-TLA-A11", 2, "9.80")), "616140", "2.4"),
    ("Infotainment screen goes blank & reboots while driving.",
     "Duplicated concern after 20 minutes. Head unit software 4.1.2, known per bulletin 26-031.",
     "Updated head unit to 4.3.0 per bulletin, verified operation for 45 minutes.",
     (("39101-T60-USB", 1, "0.00"),), "739205", "1.0"),
    ("Coolant smell, low coolant message.",
     "Pressure tested at 16 psi: water pump weep hole leaking, residue on timing cover.",
     "Replaced water pump and gasket, refilled and bled the system, pressure held for 15 minutes.",
     (("19200-RDV-J01", 1, "146.90"), ("19222-R70-A01", 1, "11.35"), ("OL999-9011", 2, "43.98")), "111100", "3.6"),
    ("Power liftgate stops halfway & reverses.",
     "Left spindle drive draws 11 A (limit 7 A), binding internally.",
     "Replaced left liftgate spindle drive, ran initialisation, 10 cycles OK.",
     (("74870-TLA-A04", 1, "238.75"),), "840330", "1.3"),
    ("Grinding noise on braking, steering wheel shakes above 55 mph.",
     "Front rotors out of round, 0.09 mm run-out (limit 0.04 mm).",
     "Replaced both front rotors, torqued wheels to 94 lb-ft, road test smooth.",
     (("45251-TVA-A00", 2, "158.60"),), "410103", "1.5"),
)  # fmt: skip
_COVERAGES = (("basic", 36_000), ("powertrain", 58_000), ("campaign", 72_000), ("goodwill", 48_000))


def vin_of(start: str, serial: int) -> str:
    """A VIN with its right check digit (49 CFR 565.15); `start` has eight characters."""
    values = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", [*range(1, 9), *range(1, 6), 7, *range(9, 10), *range(2, 10),
                                                            *range(10)], strict=True))  # fmt: skip
    raw = f"{start}0TK{serial:06d}"
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = sum(values[c] * w for c, w in zip(raw, weights, strict=True)) % 11
    return raw[:8] + ("X" if rest == 10 else str(rest)) + raw[9:]


def vin(chance: random.Random, maker: str) -> str:
    """A maker's VIN; `maker` has three characters."""
    body = chance.choice(("HB7F3", "MD2S8", "WC4E1", "LT9A6"))
    return vin_of(maker + body, chance.randint(100_000, 899_999))  # Cascade allocates no serial that begins with 9


def warranty(chance: random.Random, dealer: str, today: date, repair: Repair) -> Made:
    """A line of a repair order, for Aurora."""
    complaint, cause, correction, parts, operation, hours = repair
    coverage, most_miles = chance.choice(_COVERAGES)
    closed = today - timedelta(days=chance.randint(1, 21))
    order = f"RO{chance.randint(210_000, 989_999)}"
    payload = {
        "claim_type": "warranty",
        "dealer_code": dealer,
        "vin": vin(chance, "1AU"),
        "repair_order": order,
        "line": chance.randint(1, 3),
        "coverage": coverage,
        "odometer": chance.randint(1_200, most_miles),
        "opened_on": (closed - timedelta(days=chance.randint(0, 4))).isoformat(),
        "closed_on": closed.isoformat(),
        "complaint": complaint,
        "cause": cause,
        "correction": correction,
        "causal_part": parts[0][0],
        "parts": [{"number": number, "quantity": many, "amount": amount} for number, many, amount in parts],
        "labour_operation": operation,
        "labour_hours": hours,
        "labour_amount": _money(Decimal(hours) * chance.choice((128, 141, 156))),
        "technician": f"T{chance.randint(1_000, 9_999)}",
    }
    files = [file_of("odometer.jpg", "photo", photo("JPEG", f"{payload['odometer']} mi", chance.random()))]
    if chance.random() < 0.6:
        files.append(file_of("failed-part.png", "photo", photo("PNG", parts[0][0], chance.random())))
    lines = [f"Repair order {order}", complaint, cause, correction]
    files.append(file_of(f"{order}.pdf", "invoice", document("REPAIR ORDER", lines)))
    return payload, files


def too_old(made: Made, today: date) -> Made:
    """Aurora takes repair orders for 60 days: AUR-417."""
    closed = today - timedelta(days=75)
    late = {"opened_on": (closed - timedelta(days=2)).isoformat(), "closed_on": closed.isoformat()}
    return made[0] | late, made[1]


def coop(chance: random.Random, dealer: str, today: date, vendor: str, activity: str) -> Made:
    """An advertisement, for Borealis."""
    invoice, cost = (
        f"{vendor[:2].upper()}-{chance.randint(10_000, 99_999)}",
        Decimal(chance.randint(48_000, 920_000)) / 100,
    )
    day = today - timedelta(days=chance.randint(5, 40))
    payload = {
        "claim_type": "coop",
        "dealer_code": dealer,
        "fund": "2026",
        "activity": activity,
        "activity_date": day.isoformat(),
        "vendor": vendor,
        "vendor_invoice": invoice,
        "cost": _money(cost),
        "claimed_percent": chance.choice((50, 50, 75, 100)),
        "pre_approval": f"PA-{chance.randint(10_000, 99_999)}",
    }
    lines = [
        f"Invoice {invoice}",
        f"Date {day}",
        f"{activity} campaign for dealer {dealer}",
        f"Total USD {cost:.2f}",
    ]
    files = [file_of(f"invoice-{invoice}.pdf", "invoice", document(vendor, lines))]
    kind, ending = chance.choice((("JPEG", "jpg"), ("PNG", "png")))
    proof = photo(kind, f"{activity} {day}", chance.random())
    files.append(file_of(f"proof-{activity}.{ending}", "proof_of_performance", proof))
    return payload, files


def closed_fund(made: Made) -> Made:
    """Borealis closed this fund: BOR-21."""
    return made[0] | {"fund": "2024"}, made[1]


def delivery(chance: random.Random, dealer: str, customer: str, today: date) -> dict[str, Any]:
    """The sale of a vehicle, for Cascade."""
    return {
        "claim_type": "delivery_report",
        "dealer_code": dealer,
        "vin": vin(chance, "5CS"),
        "sale_sequence": 1,
        "sale_date": (today - timedelta(days=chance.randint(0, 6))).isoformat(),
        "sale_type": chance.choice(("retail", "retail", "lease", "fleet")),
        "salesperson": f"E{chance.randint(10_000, 99_999)}",
        "customer_name": customer,
        "lender": chance.choice(LENDERS),
    }


def incentive(chance: random.Random, report: dict[str, Any]) -> Made:
    """Money that Cascade promised for a reported sale."""
    programme, amount = chance.choice(PROGRAMMES)
    same = {key: report[key] for key in ("dealer_code", "vin", "sale_date", "customer_name")}
    payload = {"claim_type": "incentive", **same, "programme": programme, "amount": amount}
    lines = [f"Vehicle {report['vin']}", f"Sold on {report['sale_date']}", f"Buyer {report['customer_name']}"]
    return payload, [file_of(f"bill-of-sale-{programme}.pdf", "bill_of_sale", document("BILL OF SALE", lines))]


def parts_return(chance: random.Random, dealer: str, today: date) -> Made:
    """A part that goes back for credit."""
    parts = chance.choice(REPAIRS)[3]
    number, many, amount = chance.choice(parts)
    payload = {
        "claim_type": "parts_return",
        "dealer_code": dealer,
        "source_invoice": f"PI{chance.randint(100_000, 999_999)}",
        "invoiced_on": (today - timedelta(days=chance.randint(2, 25))).isoformat(),
        "part_number": number,
        "quantity": many,
        "reason": chance.choice(("core", "damaged", "wrong_part", "overstock")),
        "amount": amount,
    }
    return payload, [file_of("part.jpg", "photo", photo("JPEG", number, chance.random()))]


def _money(amount: Decimal) -> str:
    return str(amount.quantize(Decimal("0.01")))


def file_of(name: str, kind: str, content: bytes) -> dict[str, Any]:
    """A file as the CRM takes it."""
    return {"name": name, "kind": kind, "content": base64.b64encode(content).decode()}
