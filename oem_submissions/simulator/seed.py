"""Due claims and portal accounts of make-believe dealers: the same for the same seed and day, as varied as real ones.

The first dealer of each OEM is its pilot: claims of its have come due in five periods, one after the other.
Three claims are wrong on purpose: one that Aurora refuses (too old), one that Borealis refuses (closed fund), and one
of Cascade whose VIN can't be. `samples.py` makes the claims.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

from oem_submissions.simulator import samples

_DEALERS = {
    "aurora": (("10234", "Lakeside Motors"), ("10871", "Prairie Auto Group"), ("11560", "Harbor Point Cars")),
    "borealis": (("B2207", "Lakeside Motors"), ("B2391", "Summit Ridge Imports"), ("B2448", "O'Hara & Sons")),
    "cascade": (("CA0417", "Prairie Auto Group"), ("CA0552", "Cedar Valley Cars"), ("CA0613", "Bayfront Motors")),
}


def accounts(seed: int) -> list[dict[str, Any]]:
    """The dealers' log-ins: oem, dealer, dealer_name, username, password, totp_secret (base32, Borealis only)."""
    made: list[dict[str, Any]] = []
    for oem, dealers in _DEALERS.items():
        for dealer, name in dealers:
            chance = random.Random(f"{seed}:{oem}:{dealer}")
            word = "".join(chance.choices("abcdefghjkmnpqrstuvwxyz23456789", k=14))
            secret = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=32)) if oem == "borealis" else None
            log_in = {"username": f"claims{dealer.lower()}", "password": f"{word}!7"}
            made.append({"oem": oem, "dealer": dealer, "dealer_name": name, **log_in, "totp_secret": secret})
    return made


PILOTS = {oem: dealers[0] for oem, dealers in _DEALERS.items()}
"""By OEM: the dealer that proves what is new, and its name."""
_PILOT_CLAIMS = 5
_PERIOD_DAYS = {"aurora": 1, "borealis": 7, "cascade": 1}
Records = list[samples.Made]


def seed_claims(seed: int, today: date, pilots: bool = True) -> list[dict[str, Any]]:
    """Due records for `PUT /admin/crm/records`: two or three for each dealer, but five for each pilot dealer.

    Without `pilots` they are dealers like the others.

    Each has name, oem, dealer, claim_type, due_on, payload, files (name, kind, content in base64). What they say
    follows from the seed alone.
    """
    records: list[dict[str, Any]] = []
    makers = {"aurora": _warranty, "borealis": _coop, "cascade": _deliveries}
    for oem, dealers in _DEALERS.items():
        records += pilot_claims(oem, seed, today) if pilots else []
        for number, (dealer, _) in enumerate(dealers):
            if number == 0 and pilots:
                continue
            chance = random.Random(f"{seed}:{oem}:{dealer}:claims")
            made = makers[oem](chance, dealer, today, number == 1)
            records += _records(seed, oem, dealer, made, [today] * len(made))
    return records


def pilot_claims(oem: str, seed: int, today: date) -> list[dict[str, Any]]:
    """Five due records of the OEM's pilot dealer, each in a period of its own, and none that a portal would refuse."""
    dealer, _ = PILOTS[oem]
    chance = random.Random(f"{seed}:{oem}:{dealer}:claims")
    made: Records
    match oem:
        case "aurora":
            repairs = chance.sample(samples.REPAIRS, _PILOT_CLAIMS)
            made = [samples.warranty(chance, dealer, today, repair) for repair in repairs]
        case "borealis":
            adverts = chance.sample(samples.VENDORS, _PILOT_CLAIMS)
            made = [samples.coop(chance, dealer, today, vendor, activity) for vendor, activity in adverts]
        case _:
            customers = chance.sample(samples.CUSTOMERS, _PILOT_CLAIMS)
            reports = [samples.delivery(chance, dealer, customer, today) for customer in customers]
            made = [(report, []) for report in reports]
            made[-1] = samples.incentive(chance, reports[0])
    due = [today - timedelta(days=_PERIOD_DAYS[oem] * count) for count in range(_PILOT_CLAIMS)]
    return _records(seed, oem, dealer, made, due)


def _records(seed: int, oem: str, dealer: str, made: Records, due: list[date]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"CLM-{seed}-{oem[:3].upper()}-{dealer}-{count:02d}",
            "oem": oem,
            "dealer": dealer,
            "claim_type": payload["claim_type"],
            "due_on": due_on.isoformat(),
            "payload": payload,
            "files": files,
        }
        for count, ((payload, files), due_on) in enumerate(zip(made, due, strict=True), start=1)
    ]


def _warranty(chance: random.Random, dealer: str, today: date, with_faulty: bool) -> Records:
    repairs = chance.sample(samples.REPAIRS, chance.choice((2, 3)))
    made = [samples.warranty(chance, dealer, today, repair) for repair in repairs]
    return [*made[:-1], samples.too_old(made[-1], today)] if with_faulty else made


def _coop(chance: random.Random, dealer: str, today: date, with_faulty: bool) -> Records:
    adverts = chance.sample(samples.VENDORS, chance.choice((2, 3)))
    made = [samples.coop(chance, dealer, today, vendor, activity) for vendor, activity in adverts]
    return [*made[:-1], samples.closed_fund(made[-1])] if with_faulty else made


def _deliveries(chance: random.Random, dealer: str, today: date, with_faulty: bool) -> Records:
    made: Records = []
    for customer in chance.sample(samples.CUSTOMERS, chance.choice((1, 2))):
        report = samples.delivery(chance, dealer, customer, today)
        made.append((report, []))
        if len(made) == 1:
            made.append(samples.incentive(chance, report))
    if with_faulty:  # the CRM's user mistyped the VIN: its check digit does not fit
        report = samples.delivery(chance, dealer, chance.choice(samples.CUSTOMERS), today)
        right = report["vin"]
        wrong = right[:8] + ("4" if right[8] != "4" else "7") + right[9:]
        made = [*made[:2], (report | {"vin": wrong}, [])]
    return made
