"""What is the REST connector's own: a real server's ETags and lost answers; log-ins, limits, pages, hostile answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from oem_submissions.crm.mapping import RestMapping
from oem_submissions.crm.rest import RestCrm
from oem_submissions.crm.rest_api import RestApi
from oem_submissions.ports import CrmFileRefused, CrmOutage, CrmRecordConflict, CrmUnavailable
from oem_submissions_tests.crm.conftest import Served, serving
from oem_submissions_tests.crm.roundup import SECRETS, RoundupWorld, mapping_for
from oem_submissions_tests.crm.test_contract import FILED

# --- on a real Roundup ---


def between(monkeypatch: pytest.MonkeyPatch, crm: RestCrm, act: Callable[[], None]) -> None:
    """Somebody acts once, after the record was read and before it is written."""
    write = crm._write

    def acted(*arguments: Any) -> bool:
        monkeypatch.undo()
        act()
        return write(*arguments)

    monkeypatch.setattr(crm, "_write", acted)


def test_a_reference_that_a_person_types_while_we_write_is_not_overwritten(
    rest: RoundupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_id = rest.add("one", {})
    between(monkeypatch, rest.crm, lambda: rest.change(record_id, submission_reference="typed by hand"))
    with pytest.raises(CrmRecordConflict, match="typed by hand"):
        rest.crm.write_outcome(record_id, FILED)
    assert rest.writes(record_id) == 0
    assert rest.held(record_id, "submission_reference") == "typed by hand"


def test_what_else_a_person_changes_meanwhile_stays_and_the_outcome_is_written_after_all(
    rest: RoundupWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_id = rest.add("one", {})
    between(monkeypatch, rest.crm, lambda: rest.change(record_id, title="renamed"))
    rest.crm.write_outcome(record_id, FILED)
    assert rest.held(record_id, "title") == "renamed"
    assert rest.crm.read_outcome(record_id) == FILED
    assert rest.writes(record_id) == 1


def test_a_write_whose_answer_is_lost_is_not_written_again(rest: RoundupWorld) -> None:
    record_id = rest.add("one", {})
    rest.crm.close()  # a request on a new connection begins with its method
    rest.line.cut_after = b"PUT "
    with pytest.raises(CrmOutage, match="no whole answer"):
        rest.crm.write_outcome(record_id, FILED)
    rest.crm.write_outcome(record_id, FILED)
    assert rest.crm.read_outcome(record_id) == FILED
    assert rest.writes(record_id) == 1


def test_a_field_that_the_tracker_lacks_is_named(rest: RoundupWorld) -> None:
    changed = mapping_for(rest.tracker).model_dump()
    changed["outcome"]["reason_code"] = "reason_kode"
    crm = RestCrm(RestMapping.model_validate(changed), SECRETS.__getitem__)
    assert crm.missing_fields() is None
    rest.add("one", {})
    assert crm.missing_fields() == ["reason_kode"]
    crm.close()


def test_a_wrong_password_is_refused_with_a_remedy_and_not_shown(rest: RoundupWorld) -> None:
    crm = RestCrm(mapping_for(rest.tracker), {**SECRETS, "crm/password": "a-wrong-one"}.__getitem__)
    with pytest.raises(CrmOutage, match=r"^Roundup did not list records: .*401.*crm/") as caught:
        list(crm.due_records())
    assert "a-wrong-one" not in str(caught.value)
    crm.close()


# --- on a server that answers what a test wants ---


@dataclass
class Scripted:
    """An API of three records and a token, and whatever a test puts first."""

    answers: list[tuple[str, Response]] = field(default_factory=list)
    """The next request whose path holds the text gets the answer."""
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with query, authorization."""
    guards: list[str] = field(default_factory=list)
    """The times that writes were bound to."""
    tokens: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, query = request.url.path, request.url.query
        self.seen.append((request.method, path + (f"?{query}" if query else ""), request.headers.get("x-key", "")))
        self.guards += [request.headers[name] for name in ("if-unmodified-since",) if name in request.headers]
        await self._answer(request, path)(scope, receive, send)

    def _answer(self, request: Request, path: str) -> Response:
        for position, (part, answer) in enumerate(self.answers):
            if part in path:
                del self.answers[position]
                return answer
        if path == "/token":
            self.tokens += 1
            return JSONResponse({"access_token": f"token-{self.tokens}"})
        if path == "/claims":
            start = int(request.query_params.get("skip", "0"))
            return JSONResponse({"items": [row(n) for n in range(start + 1, min(start + 2, 3) + 1)], "count": 3})
        return JSONResponse({"claim": row(int(path.rpartition("/")[2]))}, headers={"ETag": '"1"'})


def row(number: int, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(RestMapping.model_validate(API).outcome.names().values())
    return {
        "id": number,
        "changed": f"2026-11-0{number}T00:00:00Z",
        "claim": {"brand": "aurora", "dealer": {"code": "10234"}, "type": "warranty", "due": "2026-11-10"},
        "payload": {"line": number},
        "files": [],
        **empty,
        **more,
    }


API: dict[str, Any] = {
    "connector": "rest",
    "url": "http://127.0.0.1:1",
    "auth": {"type": "oauth2", "token_url": "http://127.0.0.1:1/token"},
    "modified": "changed",
    "record": {"oem": "claim.brand", "dealer": "claim.dealer.code", "claim_type": "claim.type", "due_on": "claim.due"},
    "list": {
        "path": "claims",
        "records": "items",
        "total": "count",
        "since": {"changed_after": "{since}"},
        "paging": {"style": "offset", "parameter": "skip"},
    },
    "read": {"path": "claims/{id}", "record": "claim"},
    "write": {"path": "claims/{id}", "at": "data.attributes", "guard": {"type": "etag"}},
    "files": {"items": "files", "url": "href"},
    "error": "error.text",
}
CREDENTIALS = {"crm/client_id": "id", "crm/client_secret": "s3cret", "crm/token": "t0ken"}


@pytest.fixture(scope="session")
def scripted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scripted, Served]]:
    app = Scripted()
    with serving(app, tmp_path_factory.mktemp("scripted")) as one:
        yield app, one


@dataclass
class Api:
    app: Scripted
    make: Callable[..., RestCrm]
    waited: list[float] = field(default_factory=list)


@pytest.fixture
def api(scripted_server: tuple[Scripted, Served], monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    app, served = scripted_server
    vars(app).update(vars(Scripted()))
    made: list[RestCrm] = []
    waited: list[float] = []

    def make(**changes: Any) -> RestCrm:
        data = {**API, "url": served.http, "auth": {**API["auth"], "token_url": f"{served.http}/token"}, **changes}
        crm = RestCrm(RestMapping.model_validate(data), CREDENTIALS.__getitem__)
        monkeypatch.setattr(crm._api, "_wait", waited.append)
        made.append(crm)
        return crm

    yield Api(app, make, waited)
    for crm in made:
        crm.close()


def test_fields_are_found_by_paths_and_pages_by_offset(api: Api) -> None:
    records = list(api.make().due_records())
    assert [(r.record_id, r.oem, r.dealer, r.payload) for r in records] == [
        (str(n), "aurora", "10234", {"line": n}) for n in (1, 2, 3)
    ]
    later = api.make().due_records(datetime(2026, 11, 2, tzinfo=UTC))
    assert [record.record_id for record in later] == ["2", "3"]
    assert any("changed_after=2026-11-02T00%3A00%3A00Z" in path for _, path, _ in api.app.seen)


def test_a_token_is_fetched_once_and_renewed_once_when_it_has_expired(api: Api) -> None:
    crm = api.make()
    assert crm.read_outcome("1") is None
    api.app.answers.append(("/claims", Response(status_code=401)))
    assert crm.read_outcome("2") is None
    assert api.app.tokens == 2
    api.app.answers += [("/claims", JSONResponse({"error": {"text": "token-3 s3cret"}}, 401)) for _ in range(2)]
    with pytest.raises(CrmOutage) as caught:
        crm.read_outcome("3")
    assert "[secret] [secret]" in str(caught.value)


def test_a_limit_is_waited_for_as_long_as_there_is_patience(api: Api) -> None:
    crm = api.make()
    api.app.answers += [("/claims", Response(status_code=429, headers={"Retry-After": "7"})) for _ in range(2)]
    assert crm.read_outcome("1") is None
    assert api.waited == [7.0, 7.0]
    api.app.answers.append(("/claims", Response(status_code=429, headers={"Retry-After": "3600"})))
    with pytest.raises(CrmOutage, match="asks to wait 3600 s"):
        crm.read_outcome("1")
    api.app.answers.append(
        ("/claims", Response(status_code=503, headers={"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}))
    )
    assert crm.read_outcome("1") is None
    assert api.waited == [7.0, 7.0, 0.0]


@pytest.mark.parametrize(
    "answer",
    [
        Response("<h1>Welcome to the hotel's network</h1>"),
        JSONResponse([]),
        JSONResponse({"items": ["x"], "count": 1}),
        JSONResponse({"items": [row(1, id="../token")], "count": 1}),
        JSONResponse({"items": [{"id": 1}], "count": 1}),
        JSONResponse({"items": [row(1, changed="yesterday")], "count": 1}),
        JSONResponse({"items": [], "count": 3}),
        JSONResponse({"items": [], "count": "three"}),
        JSONResponse({"items": {}, "count": 0}),
        RedirectResponse("https://127.0.0.1:9/", 307),
        Response("{}", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_that_makes_no_sense_is_never_taken_for_no_claims(api: Api, answer: Response) -> None:
    api.app.answers.append(("/claims", answer))
    with pytest.raises(CrmUnavailable, match="^The CRM did not list"):
        list(api.make().due_records())


@pytest.mark.parametrize(
    ("paging", "first"),
    [
        ({"style": "next", "path": "next"}, JSONResponse({"items": [], "next": "https://elsewhere.example/claims"})),
        ({"style": "link"}, JSONResponse({"items": []}, headers={"Link": '<//elsewhere.example/>; rel="next"'})),
    ],
)
def test_a_next_page_elsewhere_never_gets_our_token(api: Api, paging: dict[str, str], first: Response) -> None:
    api.app.answers.append(("/claims", first))
    with pytest.raises(CrmUnavailable, match="leads elsewhere"):
        list(api.make(list={**API["list"], "total": None, "paging": paging}).due_records())


def test_pages_are_followed_by_the_link_in_the_header(api: Api) -> None:
    link = {"Link": f'<{api.make()._mapping.url}/claims?page=2>; rel="next", <x>; rel="last"'}
    api.app.answers += [
        ("/claims", JSONResponse({"items": [row(1)]}, headers=link)),
        ("/claims", JSONResponse({"items": [row(2)]})),
    ]
    crm = api.make(list={**API["list"], "total": None, "paging": {"style": "link"}})
    assert [record.record_id for record in crm.due_records()] == ["1", "2"]
    assert [path for _, path, _ in api.app.seen if path != "/token"] == ["/claims", "/claims?page=2"]


def test_pages_that_go_round_in_circles_end(api: Api) -> None:
    api.app.answers += [("/claims", JSONResponse({"items": [row(1)], "next": "x"})) for _ in range(5)]
    paging = {"style": "cursor", "path": "next", "parameter": "cursor"}
    with pytest.raises(CrmUnavailable, match="circles"):
        list(api.make(list={**API["list"], "total": None, "paging": paging}).due_records())


def test_nothing_is_written_that_could_not_be_compared(api: Api) -> None:
    api.app.answers.append(("/claims/1", JSONResponse({"claim": row(1)})))
    with pytest.raises(CrmUnavailable, match=r"gave no etag.*write\.guard"):
        api.make().write_outcome("1", FILED)
    assert {method for method, path, _ in api.app.seen if path != "/token"} == {"GET"}


def test_a_version_field_guards_as_an_etag_does(api: Api) -> None:
    crm = api.make(write={**API["write"], "guard": {"type": "version", "path": "rev", "name": "rev"}})
    api.app.answers += [
        ("/claims/1", JSONResponse({"claim": row(1, rev=4)})),
        ("/claims/1", Response(status_code=409)),
        ("/claims/1", JSONResponse({"claim": row(1, rev=5, submission_reference="theirs")})),
    ]
    with pytest.raises(CrmRecordConflict, match="theirs"):
        crm.write_outcome("1", FILED)


def test_a_time_guards_by_the_second(api: Api) -> None:
    crm = api.make(write={**API["write"], "guard": {"type": "unmodified_since"}})
    when = {"Last-Modified": "Tue, 10 Nov 2026 08:00:00 GMT"}
    there = JSONResponse({"claim": row(1)}, headers=when)
    api.app.answers += [("/claims/1", there), ("/claims/1", Response(status_code=204))]
    crm.write_outcome("1", FILED)
    assert api.app.guards == [when["Last-Modified"]]
    theirs = JSONResponse({"claim": row(1, submission_reference="theirs")}, headers=when)
    api.app.answers += [("/claims/1", there), ("/claims/1", Response(status_code=412)), ("/claims/1", theirs)]
    with pytest.raises(CrmRecordConflict, match="theirs"):
        crm.write_outcome("1", FILED)


def test_another_record_than_was_asked_for_is_never_written(api: Api) -> None:
    api.app.answers.append(("/claims/1", JSONResponse({"claim": row(2)}, headers={"ETag": '"1"'})))
    with pytest.raises(CrmUnavailable, match="another record"):
        api.make().write_outcome("1", FILED)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://localhost:5432/",
        "https://me:secret@example.com/x",
        "file:///etc/passwd",
        "//example.com/x",
        "https://example.com/\r\nHost: x",
        "",
    ],
)
def test_an_address_in_a_record_never_leads_into_our_own_network(api: Api, url: str) -> None:
    attached = [{"id": 1, "name": "a.pdf", "href": url}]
    api.app.answers += [("/claims/1", JSONResponse({"claim": row(1, files=attached)})) for _ in range(2)]
    crm = api.make()
    record = crm.records(["1"])["1"]
    assert record is not None
    with pytest.raises(CrmFileRefused):
        crm.download(record.files[0].file_id, 100)


def test_a_file_is_of_the_kind_that_the_record_says(api: Api) -> None:
    attached = [
        {"id": 1, "name": "C:\\scans\\a.pdf", "href": "https://a.example/a", "what": "invoice"},
        {"id": 2, "name": "b.png"},
    ]
    api.app.answers.append(("/claims/1", JSONResponse({"claim": row(1, files=attached)})))
    crm = api.make(files={**API["files"], "kind": "what"})
    record = crm.records(["1"])["1"]
    assert record is not None
    assert [(file.name, file.kind) for file in record.files] == [("a.pdf", "invoice"), ("b.png", "other")]


def test_a_private_host_that_the_installation_allows_is_asked_without_credentials(api: Api) -> None:
    crm = api.make(private_hosts=["127.0.0.1"])
    attached = [{"id": 1, "name": "a.pdf", "href": f"{crm._mapping.url}/file.pdf"}]
    api.app.answers += [("/claims/1", JSONResponse({"claim": row(1, files=attached)})) for _ in range(3)]
    api.app.answers += [("/file.pdf", Response(b"%PDF-1")), ("/file.pdf", RedirectResponse("/claims/1"))]
    record = crm.records(["1"])["1"]
    assert record is not None
    assert crm.download(record.files[0].file_id, 6) == b"%PDF-1"
    with pytest.raises(CrmUnavailable, match="answered HTTP 307"):
        crm.download(record.files[0].file_id, 6)


def test_a_token_of_ones_own_goes_into_its_header(api: Api) -> None:
    crm = api.make(auth={"type": "token", "header": "X-Key", "prefix": ""})
    crm.read_outcome("1")
    assert api.app.seen == [("GET", "/claims/1", "t0ken")]
    assert isinstance(crm._api, RestApi)
