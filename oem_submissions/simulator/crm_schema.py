"""What objects the simulated CRM has, their fields, and its ids, times and errors. No storage, no routes.

The shapes follow Salesforce's REST API; texts of errors are near to Salesforce's, not equal to them.
"""

from __future__ import annotations

import hashlib
import re
import string
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

CLAIM = "OEM_Claim__c"
LINK = "ContentDocumentLink"
VERSION = "ContentVersion"
LONGEST_TEXT = 131_072
"""Characters: what a long text area of Salesforce holds at most."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SUFFIX = string.ascii_uppercase + "012345"


class ApiError(Exception):
    """What the API answers instead of data: HTTP status, Salesforce's error code, a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Field:
    """One field of an object, as `describe` tells it."""

    name: str
    type: str
    length: int = 0
    updateable: bool = True
    external_id: bool = False

    @property
    def filterable(self) -> bool:
        """Long text areas can't stand in a WHERE or an ORDER BY."""
        return self.type != "textarea"

    def as_json(self) -> dict[str, Any]:
        """Its part of the answer to `describe`."""
        return {
            "name": self.name,
            "label": self.name.removesuffix("__c").replace("_", " "),
            "type": self.type,
            "length": self.length,
            "updateable": self.updateable,
            "createable": self.updateable,
            "filterable": self.filterable,
            "sortable": self.filterable,
            "externalId": self.external_id,
            "idLookup": self.external_id or self.type == "id",
            "unique": self.external_id,
            "nillable": self.updateable,
            "custom": self.name.endswith("__c"),
        }


def _fields(*fields: Field) -> dict[str, Field]:
    return {field.name: field for field in fields}


OBJECTS: dict[str, dict[str, Field]] = {
    CLAIM: _fields(
        Field("Id", "id", 18, updateable=False),
        Field("Name", "string", 80),
        Field("OEM__c", "string", 80),
        Field("Dealer_Code__c", "string", 80),
        Field("Claim_Type__c", "string", 80),
        Field("Due_On__c", "date"),
        Field("Payload__c", "textarea", LONGEST_TEXT),
        Field("Submission_Status__c", "string", 40),
        Field("Submission_Reference__c", "string", 255),
        Field("Reference_Kind__c", "string", 80),
        Field("Reason_Code__c", "string", 80),
        Field("Reason_Text__c", "textarea", LONGEST_TEXT),
        Field("Evidence_URL__c", "url", 255),
        Field("Evidence_Digest__c", "string", 80),
        Field("Submission_Run_Id__c", "string", 80),
        Field("Submission_Claim_Id__c", "string", 80, external_id=True),
        Field("Confirmed_At__c", "datetime"),
        Field("Submission_Updated_At__c", "datetime"),
        Field("Disposition__c", "string", 40),
        Field("Disposition_Text__c", "textarea", LONGEST_TEXT),
        Field("Disposition_At__c", "datetime"),
        Field("LastModifiedDate", "datetime", updateable=False),
        Field("SystemModstamp", "datetime", updateable=False),
    ),
    LINK: _fields(
        Field("Id", "id", 18, updateable=False),
        Field("ContentDocumentId", "reference", 18, updateable=False),
        Field("LinkedEntityId", "reference", 18, updateable=False),
    ),
    VERSION: _fields(
        Field("Id", "id", 18, updateable=False),
        Field("ContentDocumentId", "reference", 18, updateable=False),
        Field("Title", "string", 255, updateable=False),
        Field("PathOnClient", "string", 500, updateable=False),
        Field("FileExtension", "string", 40, updateable=False),
        Field("FileType", "string", 20, updateable=False),
        Field("ContentSize", "int", updateable=False),
        Field("IsLatest", "boolean", updateable=False),
        Field("Attachment_Kind__c", "string", 80, updateable=False),
    ),
}


def fields_of(name: str) -> dict[str, Field]:
    """The fields of an object. Raises `ApiError` when there is no such object."""
    if name not in OBJECTS:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    return OBJECTS[name]


def checked(object_name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values of a write as they are stored: blanks become null, times whole seconds. Raises `ApiError`."""
    fields = fields_of(object_name)
    stored = {}
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {object_name}")
        if not field.updateable:
            text = f"Unable to create/update fields: {name}. Please check the security settings of this field."
            raise ApiError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", text)
        stored[name] = None if value is None else _stored(field, value)
    return stored


def _stored(field: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        raise ApiError(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.type} from {value!r}")
    try:
        if field.type == "date":
            return date.fromisoformat(value).isoformat()
        if field.type == "datetime":
            return time_text(parse_time(value))
    except ValueError as error:
        text = f"Cannot deserialize instance of {field.type} from VALUE_STRING value {value}"
        raise ApiError(400, "JSON_PARSER_ERROR", text) from error
    if field.length and len(value) > field.length:
        text = f"{field.name}: data value too large: {value[:40]} (max length={field.length})"
        raise ApiError(400, "STRING_TOO_LONG", text)
    return value if value.strip() else None


def parse_time(text: str) -> datetime:
    """An ISO 8601 time with its zone, UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time has a zone")
    return moment.astimezone(UTC)


def time_text(moment: datetime) -> str:
    """A time as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def make_id(prefix: str, seed: str) -> str:
    """An 18-character id that follows from `seed`; `prefix` has three characters and says the object."""
    number = int.from_bytes(hashlib.sha256(f"{prefix}\0{seed}".encode("utf-8", "replace")).digest(), "big")
    body = ""
    for _ in range(12):
        number, digit = divmod(number, 62)
        body += _BASE62[digit]
    return long_id(prefix + body)


def long_id(text: str) -> str:
    """The 18-character form of an id: three characters say which of the 15 are capitals. Other texts stay."""
    if not re.fullmatch(r"[A-Za-z0-9]{15}", text):
        return text
    parts = (text[start : start + 5] for start in (0, 5, 10))
    return text + "".join(_SUFFIX[sum(1 << at for at, c in enumerate(part) if c.isupper())] for part in parts)
