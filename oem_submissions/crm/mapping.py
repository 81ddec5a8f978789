"""What `crm.yaml` may say: which CRM, which objects and fields, which words of status. Strict data, nothing executable.

Secrets are not in it: they come from the `Secrets` port, by the names that each connector says. Reading a row by the
mapping is `rows.py`'s, speaking to the CRM the connectors'.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from oem_submissions.domain import strict_yaml
from oem_submissions.domain.failures import ConfigurationError
from oem_submissions.settings import is_safe_url


class Strict(BaseModel):
    """The base of everything in the file: frozen, and a key that is not declared is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_path(expression: str) -> str:
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"not a JMESPath expression: {' '.join(str(error).split())}") from error
    return expression


def _check_url(url: str) -> str:
    if not is_safe_url(url) or urlsplit(url).username is not None:
        raise ValueError("it should begin with https:// (http:// only on this machine), and hold no password")
    return url.rstrip("/")


def _check_page(template: str) -> str:
    if "{id}" not in template:
        raise ValueError("it should hold {id}, where the record's id goes")
    return template


def _check_ids(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if unsafe := next(
        (text for text in ("..", "a/b", "a?b", "a#b", "a%2fb", "a b", "") if compiled.fullmatch(text)), None
    ):
        raise ValueError(f"it matches {unsafe!r}, which would lead to another address than a record's")
    return pattern


def _check_word(text: str) -> str:
    if text != text.strip() or not text:
        raise ValueError("it should be a word or more, without space around it")
    return text


_SQL = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"
_API = r"^[A-Za-z][A-Za-z0-9_]{0,79}$"


def _check_names(mapping: Mapping, pattern: str) -> None:
    for name in (*mapping.record.names(), *mapping.outcome.names().values()):
        if re.fullmatch(pattern, name) is None:
            raise ValueError(f"{name!r:.80} can't be the name of a field there")


Path_ = Annotated[str, AfterValidator(_check_path)]
"""A JMESPath expression (jmespath.org)."""
Url = Annotated[str, AfterValidator(_check_url)]
Page = Annotated[str, AfterValidator(_check_page)]
Name = Annotated[str, Field(pattern=r"^\S(.{0,198}\S)?$")]
"""Of a field, as the CRM has it."""
Word = Annotated[str, AfterValidator(_check_word), Field(max_length=200)]
Sql = Annotated[str, Field(pattern=_SQL)]
"""An SQL name; it is quoted as it stands."""
Identifier = Annotated[str, Field(pattern=_API)]
"""An API name of Salesforce, or of HubSpot: it is joined into queries and addresses."""


class Source(Strict):
    """Where a text of a claim comes from: a field; its CRM words may be told in ours; or always the same."""

    field: Name | None = None
    values: dict[str, str] = {}
    """The CRM's word → ours; what is not in it is taken as it is."""
    always: Word | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.field is None) == (self.always is None):
            raise ValueError("it should have either field or always")
        return self


def _short(value: Any) -> Any:
    return {"field": value} if isinstance(value, str) else value


From = Annotated[Source, BeforeValidator(_short)]
"""A field's name, or a `Source`."""


class RecordFields(Strict):
    """What a due claim is read from."""

    oem: From = Source(field="oem")
    dealer: From = Source(field="dealer")
    claim_type: From = Source(field="claim_type")
    due_on: From = Source(field="due_on")
    payload: Name | dict[str, Name] = "payload"
    """The field that holds a JSON object; or the claim's keys, each with the field that holds it."""

    def names(self) -> list[str]:
        """The fields that are read."""
        sources = (self.oem, self.dealer, self.claim_type, self.due_on)
        payload = [self.payload] if isinstance(self.payload, str) else list(self.payload.values())
        return list(dict.fromkeys([*(one.field for one in sources if one.field is not None), *payload]))


class OutcomeFields(Strict):
    """What is written on the record, each with its field. All are needed: the outcome is read back and compared."""

    claim_id: Name = "submission_claim_id"
    """Unique in the CRM."""
    status: Name = "submission_status"
    reference: Name = "submission_reference"
    reference_kind: Name = "reference_kind"
    reason_code: Name = "reason_code"
    reason_text: Name = "reason_text"
    evidence_url: Name = "evidence_url"
    evidence_digest: Name = "evidence_digest"
    run_id: Name = "submission_run_id"
    confirmed_at: Name = "confirmed_at"
    updated_at: Name = "submission_updated_at"
    disposition: Name = "disposition"
    disposition_text: Name = "disposition_text"
    disposition_at: Name = "disposition_at"

    def names(self) -> dict[str, str]:
        """Each attribute of `CrmOutcome` with the field that holds it."""
        return {attribute: getattr(self, attribute) for attribute in type(self).model_fields}

    @model_validator(mode="after")
    def _fields_differ(self) -> Self:
        names = list(self.names().values())
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the field {twice} is given twice")
        return self


class Words(Strict):
    """How the CRM calls where a claim stands."""

    FILED: Word = "FILED"
    HELD: Word = "HELD"
    REJECTED: Word = "REJECTED"
    DEAD: Word = "DEAD"
    WITHDRAWN: Word = "WITHDRAWN"


class Mapping(Strict):
    """What the files of all CRMs have in common."""

    record: RecordFields = RecordFields()
    outcome: OutcomeFields = OutcomeFields()
    status: Words = Words()
    due: tuple[Word, ...] = ()
    """Words in the field of the status that people give to a record that is to be filed, beside none at all."""
    page: Page | None = None
    """Where a person opens a record; `{id}` stands for its id."""
    private_hosts: tuple[Name, ...] = ()
    """Hosts in private networks that attachments may be fetched from, when a record names their address."""

    @model_validator(mode="after")
    def _words_differ(self) -> Self:
        words = [*self.status.model_dump().values(), *self.due]
        if twice := next((word for word in words if words.count(word) > 1), None):
            raise ValueError(f"the word {twice} of status and due has two meanings")
        return self

    @property
    def waiting(self) -> tuple[str, ...]:
        """Words of status that make a record due, beside an empty one: those of people, and that of a dead claim."""
        return (*self.due, self.status.DEAD)


# --- Salesforce ---------------------------------------------------------------------------------------------------


class SalesforceRecord(RecordFields):
    """The names of our own object."""

    oem: From = Source(field="OEM__c")
    dealer: From = Source(field="Dealer_Code__c")
    claim_type: From = Source(field="Claim_Type__c")
    due_on: From = Source(field="Due_On__c")
    payload: Name | dict[str, Name] = "Payload__c"


class SalesforceOutcome(OutcomeFields):
    """The names of our own object."""

    claim_id: Name = "Submission_Claim_Id__c"
    """The external id, unique."""
    status: Name = "Submission_Status__c"
    reference: Name = "Submission_Reference__c"
    reference_kind: Name = "Reference_Kind__c"
    reason_code: Name = "Reason_Code__c"
    reason_text: Name = "Reason_Text__c"
    evidence_url: Name = "Evidence_URL__c"
    evidence_digest: Name = "Evidence_Digest__c"
    run_id: Name = "Submission_Run_Id__c"
    confirmed_at: Name = "Confirmed_At__c"
    updated_at: Name = "Submission_Updated_At__c"
    disposition: Name = "Disposition__c"
    disposition_text: Name = "Disposition_Text__c"
    disposition_at: Name = "Disposition_At__c"


class ClientCredentials(Strict):
    """A connected app's own log-in: the secrets `crm/client_id` and `crm/client_secret`."""

    type: Literal["client_credentials"] = "client_credentials"


class JwtBearer(Strict):
    """A connected app's certificate speaks for a user: the secrets `crm/client_id` and `crm/private_key` (PEM)."""

    type: Literal["jwt_bearer"]
    username: Word
    audience: Url = "https://login.salesforce.com"


class SalesforceMapping(Mapping):
    """A Salesforce org."""

    connector: Literal["salesforce"] = "salesforce"
    url: Url | None = None
    """The instance; without it, OEM_SUBMISSIONS_CRM_URL."""
    auth: Annotated[ClientCredentials | JwtBearer, Field(discriminator="type")] = ClientCredentials()
    object: Identifier = "OEM_Claim__c"
    record: SalesforceRecord = SalesforceRecord()
    outcome: SalesforceOutcome = SalesforceOutcome()
    file_kind: Identifier | None = "Attachment_Kind__c"
    """On ContentVersion: photo, invoice, proof_of_performance, bill_of_sale; empty is other."""

    @model_validator(mode="after")
    def _are_api_names(self) -> Self:
        _check_names(self, _API)
        return self


# --- HubSpot ------------------------------------------------------------------------------------------------------


class HubSpotMapping(Mapping):
    """A HubSpot account: tickets or an object of one's own. The secret is `crm/token`, of a private app."""

    connector: Literal["hubspot"]
    url: Url = "https://api.hubapi.com"
    object: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}$")] = "tickets"
    """`tickets`, or the type id of an object of one's own, like 2-1234567."""

    @model_validator(mode="after")
    def _are_api_names(self) -> Self:
        _check_names(self, _API)
        return self


# --- a table ------------------------------------------------------------------------------------------------------


class TableFiles(Strict):
    """A table of attachments; either the bytes are in it, or the addresses where they are."""

    table: Sql
    schema_: Sql = Field("public", alias="schema")
    record: Sql = "record_id"
    id: Sql = "id"
    name: Sql = "name"
    kind: Sql | None = None
    content: Sql | None = None
    """bytea"""
    url: Sql | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.content is None) == (self.url is None):
            raise ValueError("it should have either content or url")
        return self


class TableMapping(Mapping):
    """A PostgreSQL table. The secret is `crm/database_url`."""

    connector: Literal["table"]
    table: Sql
    schema_: Sql = Field("public", alias="schema")
    key: Sql = "id"
    modified: Sql = "updated_at"
    """timestamptz, moved by whatever changes a row."""
    version: Sql | None = None
    """A whole number that others compare before they write; we raise it with every write."""
    files: TableFiles | None = None

    @model_validator(mode="after")
    def _are_sql_names(self) -> Self:
        _check_names(self, _SQL)
        return self


# --- any JSON API -------------------------------------------------------------------------------------------------


class NoAuth(Strict):
    """Nobody is asked."""

    type: Literal["none"]


class BasicAuth(Strict):
    """HTTP Basic: the secrets `crm/username` and `crm/password`."""

    type: Literal["basic"]


class TokenAuth(Strict):
    """A token that does not change, in a header: the secret `crm/token`."""

    type: Literal["token"]
    header: Name = "Authorization"
    prefix: str = "Bearer "


class OAuth(Strict):
    """A token that is fetched and renewed: the secrets `crm/client_id`, `crm/client_secret`, for one grant also
    `crm/refresh_token`."""

    type: Literal["oauth2"]
    token_url: Url
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    scope: str | None = None


class NoPages(Strict):
    """The list is whole."""

    style: Literal["none"]


class NextUrl(Strict):
    """The answer has the address of the next page; null or nothing on the last."""

    style: Literal["next"]
    path: Path_


class LinkHeader(Strict):
    """The header `Link: <…>; rel="next"`."""

    style: Literal["link"]


class Cursor(Strict):
    """The answer has a cursor, which goes into a parameter."""

    style: Literal["cursor"]
    path: Path_
    parameter: Name


class Numbered(Strict):
    """Pages by number, or by how many records went before; the first empty one is the end."""

    style: Literal["page", "offset"]
    parameter: Name
    first: int = 1
    """Of pages."""


class ListCall(Strict):
    """Due records, the oldest change first. What else it lists is left out; `total` catches a list that broke off."""

    path: str
    query: dict[str, str] = {}
    since: dict[str, str] = {}
    """Parameters when only later changes are asked for; `{since}` stands for the time."""
    by_claim: dict[str, str] = {}
    """Parameters that find records by the claim's id, `{claim_id}`; for it alone, instead of `query`'s filter."""
    records: Path_
    values: Path_ = "@"
    """From a record to the object that has its fields."""
    total: Path_ | None = None
    paging: Annotated[NoPages | NextUrl | LinkHeader | Cursor | Numbered, Field(discriminator="style")]


class ReadCall(Strict):
    """One record."""

    path: str
    query: dict[str, str] = {}
    record: Path_ = "@"
    values: Path_ = "@"


class ETagGuard(Strict):
    """The answer has an ETag, as header or at `path`; a write sends it as If-Match."""

    type: Literal["etag"]
    path: Path_ | None = None


class VersionGuard(Strict):
    """The record has a version at `path`; a write sends it back in the field `name`."""

    type: Literal["version"]
    path: Path_
    name: Name


class TimeGuard(Strict):
    """The header Last-Modified; a write sends it as If-Unmodified-Since. Good for whole seconds only."""

    type: Literal["unmodified_since"]


class WriteCall(Strict):
    """Writes fields of one record, unless it was changed meanwhile."""

    method: Literal["PATCH", "PUT", "POST"] = "PATCH"
    path: str
    at: str = ""
    """Keys, with dots between, that lead to where the fields go in what is sent."""
    empty: Literal["", None] = None
    """How a field is emptied."""
    guard: Annotated[ETagGuard | VersionGuard | TimeGuard, Field(discriminator="type")]
    changed: tuple[int, ...] = (409, 412)
    """Answers that mean: changed meanwhile, nothing was written."""


class RestFiles(Strict):
    """Attachments of a record: in it, or by a call of their own; their bytes by a call, or at an address."""

    path: str | None = None
    """Without it, `items` is looked for among the record's fields."""
    items: Path_
    id: Path_ = "id"
    name: Path_ = "name"
    size: Path_ | None = None
    kind: Path_ | None = None
    download: str | None = None
    """`{id}` stands for the file's."""
    url: Path_ | None = None
    """An address that the record's item has: never fetched from a private network, but for `private_hosts`."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.download is None) == (self.url is None):
            raise ValueError("it should have either download or url")
        return self


class RestMapping(Mapping):
    """Any CRM with a JSON API that can tell whether a record was changed meanwhile."""

    connector: Literal["rest"]
    name: Word = "The CRM"
    """Begins the sentences about it."""
    url: Url
    auth: Annotated[NoAuth | BasicAuth | TokenAuth | OAuth, Field(discriminator="type")]
    headers: dict[str, str] = {}
    id: Path_ = "id"
    """From a record."""
    ids: Annotated[str, AfterValidator(_check_ids)] = r"[A-Za-z0-9_-]{1,64}"
    """What an id looks like: it is joined into addresses."""
    modified: Path_
    """From a record's fields: when it was changed last."""
    time_format: str | None = None
    """Of `modified`, in UTC, by strftime's signs; without it ISO 8601 with a zone."""
    list: ListCall
    read: ReadCall
    write: WriteCall
    files: RestFiles | None = None
    error: Path_ = "message"
    """From what it answers when it refuses: a sentence."""


# --- the file -----------------------------------------------------------------------------------------------------


AnyMapping = SalesforceMapping | HubSpotMapping | TableMapping | RestMapping


CONNECTORS: dict[str, type[AnyMapping]] = {
    "salesforce": SalesforceMapping,
    "hubspot": HubSpotMapping,
    "table": TableMapping,
    "rest": RestMapping,
}


def read_mapping(path: Path) -> AnyMapping:
    """The mapping that a file holds. Raises `ConfigurationError` with one sentence that names file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(f"The CRM's mapping {path} can't be read: {why}.") from error
    return _valid(path, text)


@lru_cache(maxsize=8)
def _valid(path: Path, text: str) -> AnyMapping:
    """Kept by its text: every tick asks, and reading YAML takes its time."""
    raw = strict_yaml.read(path, text, "mapping")
    model = CONNECTORS.get(str(raw.get("connector")))
    if model is None:
        known = ", ".join(CONNECTORS)
        line = strict_yaml.line_of(text, ["connector"])
        raise ConfigurationError(f"{path} line {line}, key 'connector' (mapping): it should be one of {known}.")
    return strict_yaml.checked(model, path, text, raw, "mapping")
