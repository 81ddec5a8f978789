"""What a dealer files: the claim models, their natural keys and their validations. Pure; no portal, no CRM.

A claim model of one's own is a subclass of `ClaimModel` with a `claim_type`, its fields and `natural_key_fields`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from oem_submissions.domain.failures import PayloadInvalid

_VIN_TRANSLITERATION = dict(
    zip(
        "ABCDEFGHJKLMNPRSTUVWXYZ0123456789",
        (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9, *range(10)),
        strict=True,
    )
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def vin_check_digit(vin: str) -> str:
    """The character that position 9 of a 17-character VIN must hold (49 CFR 565.15, table of weights)."""
    remainder = sum(_VIN_TRANSLITERATION[c] * w for c, w in zip(vin, _VIN_WEIGHTS, strict=True)) % 11
    return "X" if remainder == 10 else str(remainder)


def _check_vin(vin: str) -> str:
    if not re.fullmatch(r"[A-HJ-NPR-Z0-9]{17}", vin):
        raise ValueError("a VIN has 17 characters, digits and capital letters without I, O and Q")
    if vin[8] != (expected := vin_check_digit(vin)):
        raise ValueError(f"the VIN's check digit (position 9) is {vin[8]}, it should be {expected}")
    return vin


def _check_text(text: str) -> str:
    if any(ord(c) < 32 and c not in "\n\t" for c in text):
        raise ValueError("the text holds control characters")
    return text


Text = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_check_text)]
Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}$")]
Vin = Annotated[str, AfterValidator(_check_vin)]
Money = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
"""US dollars, never negative; portals differ in how they want it written, so the adapter's mapping formats it."""


class AttachmentKind(StrEnum):
    """What a file shows; portals ask for particular kinds."""

    PHOTO = "photo"
    INVOICE = "invoice"
    PROOF = "proof_of_performance"
    BILL_OF_SALE = "bill_of_sale"
    OTHER = "other"


class Attachment(BaseModel):
    """A file of a claim.

    Its bytes are fetched from the CRM at intake, and hashed: a claim never files another file than the one that came
    due.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_id: Code
    """The CRM's id of the file."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._()-]{0,99}$")]
    kind: AttachmentKind = AttachmentKind.OTHER
    media_type: Literal["application/pdf", "image/jpeg", "image/png"]
    size: Annotated[int, Field(gt=0)]
    """Bytes."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


ERASED = "ERASED"
"""Stands where personal data stood: a text and a code that every personal field takes."""


class ClaimModel(BaseModel):
    """The base of every claim: strict, frozen, and identified by its natural key.

    Every claim model says which of its fields hold personal data, be it none: an erasure must not miss one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    claim_type: str
    natural_key_fields: ClassVar[tuple[str, ...]]
    personal_fields: ClassVar[tuple[str, ...]]
    """Of people, or typed freely, so that people may be in it; never one of the natural key. Each takes `ERASED`."""

    dealer_code: Code
    """The OEM's code for the dealer; it must be the one that the portal shows after log-in."""
    attachments: tuple[Attachment, ...] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Raises `TypeError` for a claim model that does not say what is personal in it."""
        super().__pydantic_init_subclass__(**kwargs)
        if "personal_fields" not in vars(cls):
            raise TypeError(f"{cls.__name__} does not say what is personal in it: set personal_fields, be it to ().")

    @model_validator(mode="after")
    def _names_differ(self) -> ClaimModel:
        names = [a.name.lower() for a in self.attachments]
        if len(set(names)) != len(names):
            raise ValueError("two attachments have the same name")
        return self

    def natural_key(self, oem: str) -> str:
        """The business identity `oem:type:dealer:…`: one string per claim over all queues, runs and time."""
        values = [str(getattr(self, name)).strip().upper().replace(":", "%3A") for name in self.natural_key_fields]
        return ":".join([oem, self.claim_type, *values])


class PartLine(BaseModel):
    """One part used in a repair."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    number: Code
    quantity: Annotated[int, Field(gt=0, le=999)]
    amount: Money
    """For the whole line."""


class WarrantyClaim(ClaimModel):
    """A repair under warranty: one line of a repair order."""

    claim_type: Literal["warranty"] = "warranty"
    natural_key_fields: ClassVar = ("dealer_code", "repair_order", "line", "coverage")
    personal_fields: ClassVar = ("complaint", "cause", "correction", "technician")

    vin: Vin
    repair_order: Code
    line: Annotated[int, Field(ge=1, le=99)]
    coverage: Literal["basic", "powertrain", "campaign", "goodwill"]
    odometer: Annotated[int, Field(ge=0, le=999_999)]
    """Miles."""
    opened_on: date
    closed_on: date
    complaint: Text
    cause: Text
    correction: Text
    causal_part: Code
    parts: Annotated[tuple[PartLine, ...], Field(min_length=1, max_length=3)]
    labour_operation: Code
    labour_hours: Annotated[Decimal, Field(gt=0, le=99, decimal_places=1)]
    labour_amount: Money
    technician: Code

    @model_validator(mode="after")
    def _dates_in_order(self) -> WarrantyClaim:
        if self.closed_on < self.opened_on:
            raise ValueError("the repair order was closed before it was opened")
        return self

    @property
    def total(self) -> Decimal:
        """Parts and labour."""
        return sum((part.amount for part in self.parts), self.labour_amount)


class CoopClaim(ClaimModel):
    """A share of an advertisement's cost, claimed from the OEM's marketing fund, with proofs."""

    claim_type: Literal["coop"] = "coop"
    natural_key_fields: ClassVar = ("dealer_code", "fund", "vendor", "vendor_invoice", "activity")
    personal_fields: ClassVar = ()

    fund: Code
    activity: Literal["digital", "print", "radio", "event"]
    activity_date: date
    vendor: Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_check_text)]
    vendor_invoice: Code
    cost: Money
    claimed_percent: Annotated[int, Field(ge=1, le=100)]
    pre_approval: Code
    attachments: Annotated[tuple[Attachment, ...], Field(min_length=1, max_length=4)]

    @property
    def claimed_amount(self) -> Decimal:
        """What the OEM is asked for, rounded to the cent as invoices are: half a cent up."""
        return (self.cost * self.claimed_percent / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)


class DeliveryReport(ClaimModel):
    """The retail delivery of a vehicle (RDR)."""

    claim_type: Literal["delivery_report"] = "delivery_report"
    natural_key_fields: ClassVar = ("vin", "sale_sequence")
    personal_fields: ClassVar = ("salesperson", "customer_name", "lender")

    vin: Vin
    sale_sequence: Annotated[int, Field(ge=1, le=9)] = 1
    """2 after an unwound sale, and so on."""
    sale_date: date
    sale_type: Literal["retail", "lease", "fleet"]
    salesperson: Code
    """The OEM's employee id."""
    customer_name: Text
    lender: Text | None = None


class IncentiveClaim(ClaimModel):
    """Money that the OEM promised for the sale of a vehicle under a programme."""

    claim_type: Literal["incentive"] = "incentive"
    natural_key_fields: ClassVar = ("vin", "programme")
    personal_fields: ClassVar = ("customer_name",)

    vin: Vin
    programme: Code
    sale_date: date
    customer_name: Text
    amount: Money


class PartsReturn(ClaimModel):
    """Parts or cores that go back to the OEM for credit: one part number of one of its invoices."""

    claim_type: Literal["parts_return"] = "parts_return"
    natural_key_fields: ClassVar = ("dealer_code", "source_invoice", "part_number", "reason")
    personal_fields: ClassVar = ("remarks",)

    source_invoice: Code
    """The OEM's, by which the part was bought."""
    invoiced_on: date
    part_number: Code
    quantity: Annotated[int, Field(gt=0, le=999)]
    reason: Literal["core", "damaged", "wrong_part", "overstock"]
    amount: Money
    """For all of them, as invoiced."""
    remarks: Text | None = None


@dataclass(frozen=True)
class FilingLimit:
    """Until when an OEM takes a claim, by a date that the claim itself holds."""

    begins: str
    """The claim model's field."""
    days: int
    """It is taken until the end of the day that so many days later is."""

    def exceeded(self, claim: ClaimModel, today: date) -> str | None:
        """Why it is too late for the claim, as a sentence; None when it is not. `today` is the OEM's."""
        began: date = getattr(claim, self.begins)
        if today <= began + timedelta(days=self.days):
            return None
        return f"{self.begins}: {began} is {(today - began).days} days ago, and the OEM takes it for {self.days} days"


def models_of(model: Any) -> dict[str, type[ClaimModel]]:
    """The claim models of an adapter's `claim_model`, one or a union, by claim type."""
    models = getattr(model, "__args__", (model,))
    return {each.model_fields["claim_type"].default: each for each in models if issubclass(each, ClaimModel)}


def parse_claim(model: Any, payload: dict[str, Any]) -> ClaimModel:
    """`payload` as the claim model (or one of a union of models) of an adapter, told by its claim type.

    Raises `PayloadInvalid` with one sentence that names every field that is wrong.
    """
    models, claim_type = models_of(model), payload.get("claim_type")
    chosen = models.get(claim_type) if isinstance(claim_type, str) else None
    if chosen is None:
        raise PayloadInvalid(f"claim_type: it is {claim_type!r:.60}, and this OEM takes {', '.join(sorted(models))}")
    try:
        return chosen.model_validate(payload)
    except ValidationError as error:
        raise PayloadInvalid(_sentence(error)) from error


def without_personal(model: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with `ERASED` for what is personal, still a valid claim; nothing at all of one that is not valid.

    Files go by a number: their names are typed by people. VIN, numbers, dates and amounts stay.
    """
    try:
        claim = parse_claim(model, payload)
    except PayloadInvalid:
        return {}
    kept = dict(payload)
    for name in claim.personal_fields:
        if kept.get(name) is not None:
            kept[name] = ERASED
    if files := payload.get("attachments"):
        kept["attachments"] = [{**file, "name": f"{ERASED}-{number}"} for number, file in enumerate(files, 1)]
    return kept


def _sentence(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in fault["loc"]) or "claim"
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{where}: {message.lower() if fault['type'] == 'missing' else message}")
    return "; ".join(dict.fromkeys(faults))
