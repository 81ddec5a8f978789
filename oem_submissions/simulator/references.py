"""Formats of reference numbers, with check characters, for the skins. Pure."""

from __future__ import annotations

CHECK_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
"""23 letters, without I, O and Q."""
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def aurora(number: int, year: int, kind: str = "warranty") -> str:
    """`WC-2026-004217-U`: year, six digits, and a letter: the sum of digit x position (from 1) mod 23."""
    digits = f"{year:04d}{number:06d}"
    check = sum(int(d) * position for position, d in enumerate(digits, start=1)) % len(CHECK_LETTERS)
    return f"WC-{year:04d}-{number:06d}-{CHECK_LETTERS[check]}"


def luhn_digit(digits: str) -> str:
    """The digit that makes `digits` + digit pass the Luhn test (ISO/IEC 7812-1, annex B)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def borealis(number: int, year: int, kind: str = "coop") -> str:
    """Ten digits, of which the last is a Luhn digit."""
    digits = f"{731_000_000 + number:09d}"
    return digits + luhn_digit(digits)


def cascade(number: int, year: int, kind: str = "delivery_report") -> str:
    """`RDR-` or `INC-` and eight characters of upper-case base32, scattered so that neighbours look unlike."""
    scattered = (number * 0x9E3779B97F + 0x5DEECE66D) % 2**40  # an odd factor: one-to-one modulo 2**40
    text = "".join(_BASE32[(scattered >> shift) & 31] for shift in range(35, -1, -5))
    return f"{'RDR' if kind == 'delivery_report' else 'INC'}-{text}"
