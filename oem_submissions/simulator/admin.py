"""The admin routes: JSON in, JSON out, one sentence when something is refused. No portal page."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pyotp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oem_submissions.simulator.accounts import Account
from oem_submissions.simulator.faults import FaultRefused
from oem_submissions.simulator.skin import World
from oem_submissions.simulator.truth import DISPOSITIONS, NewFiling

_FAULT_KEYS: dict[str, type] = {
    "oem": str,
    "fault": str,
    "match": str,
    "times": int,
    "seconds": float,
    "probability": float,
    "seed": int,
}
_ACCOUNT_KEYS = {"oem": str, "dealer": str, "username": str, "password": str, "dealer_name": str, "totp_secret": str}


class _Refused(ValueError):
    """What was asked can't be done; the text says why in one sentence."""


def _check_totp_secret(secret: str | None) -> None:
    try:
        pyotp.TOTP(secret).now() if secret else None
    except ValueError as error:
        raise _Refused(f"the TOTP secret is no base32 text of at least 23 characters: {error}") from error


async def _body(request: Request, keys: Mapping[str, type], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    try:
        received = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise _Refused(f"the body is no JSON: {error}") from error
    if not isinstance(received, dict):
        raise _Refused("the body is no JSON object")
    if unknown := sorted(set(received) - set(keys)):
        raise _Refused(f"unknown key {unknown[0]!r}; there are {', '.join(keys)}")
    for key, kind in keys.items():
        value = received.get(key)
        if value is None:
            if key not in optional:
                raise _Refused(f"the key {key!r} is missing")
        elif not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise _Refused(f"the key {key!r} must be of type {kind.__name__}, not {type(value).__name__}")
    return received


def routes(world: World) -> list[Route]:
    """Everything under `/admin` that has to do with the portals."""
    oems = tuple(world.truth.portals)

    def _oem(name: Any) -> str:
        if name not in oems:
            raise _Refused(f"there is no portal {name!r}; there are {', '.join(oems)}")
        return str(name)

    async def health(request: Request) -> Any:
        return {"ok": True, "now": world.clock.now().isoformat()}

    async def truth(request: Request) -> Any:
        wanted = request.query_params.get("oem")
        return {oem: world.truth.summary(oem) for oem in ([_oem(wanted)] if wanted else oems)}

    async def noted(request: Request) -> Any:
        return {"requests": [n.as_json() for n in world.journal.all(request.query_params.get("path"))]}

    async def wait(request: Request) -> Any:
        asked = request.query_params
        path, seconds = asked.get("path", ""), float(asked.get("timeout", 10))
        found = await world.journal.wait(path, int(asked.get("after", 0)), seconds)
        if found is None:
            raise _Refused(f"no request to {path} arrived within {seconds:g} seconds")
        return found.as_json()

    async def set_fault(request: Request) -> Any:
        keys = await _body(request, _FAULT_KEYS, ("match", "times", "seconds", "probability", "seed"))
        return world.faults.set(**keys).__dict__

    async def get_faults(request: Request) -> Any:
        return world.faults.as_json()

    async def clear_faults(request: Request) -> Any:
        wanted = request.query_params.get("oem")
        world.faults.clear(_oem(wanted) if wanted else None, request.query_params.get("fault"))
        return {}

    async def add_account(request: Request) -> Any:
        keys = await _body(request, _ACCOUNT_KEYS, ("totp_secret",))
        _oem(keys["oem"])
        _check_totp_secret(keys.get("totp_secret"))
        world.accounts.add(Account(**keys))
        return {"oem": keys["oem"], "username": keys["username"], "dealer": keys["dealer"]}

    async def get_accounts(request: Request) -> Any:
        shown = ("oem", "username", "dealer", "dealer_name")
        return {"accounts": [{name: getattr(a, name) for name in shown} for a in world.accounts.all()]}

    async def disposition(request: Request) -> Any:
        keys = await _body(request, {"oem": str, "reference": str, "disposition": str})
        if keys["disposition"] not in DISPOSITIONS:
            raise _Refused(f"there is no disposition {keys['disposition']!r}; there are {', '.join(DISPOSITIONS)}")
        if not world.truth.set_disposition(_oem(keys["oem"]), keys["reference"], keys["disposition"]):
            raise _Refused(f"{keys['oem']} has filed nothing under the reference {keys['reference']!r}")
        return {}

    async def key_in(request: Request) -> Any:
        keys = await _body(request, {"oem": str, "kind": str, "dealer": str, "fields": dict})
        kinds = world.truth.portals[_oem(keys["oem"])].kinds
        if keys["kind"] not in kinds:
            raise _Refused(f"there is no kind {keys['kind']!r}; there are {', '.join(kinds)}")
        (filing,) = world.truth.file(NewFiling(keys["oem"], keys["kind"], keys["dealer"], keys["fields"]))
        return filing.as_json()

    async def lose(request: Request) -> Any:
        keys = await _body(request, {"oem": str, "reference": str})
        if not world.truth.lose(_oem(keys["oem"]), keys["reference"]):
            raise _Refused(f"{keys['oem']} has filed nothing under the reference {keys['reference']!r}")
        return {}

    async def set_route(request: Request) -> Any:
        keys = await _body(request, {"method": str, "path": str, "status": int, "body": str, "content_type": str})
        world.journal.set_route(
            keys["method"], keys["path"], keys["status"], keys["body"].encode(), keys["content_type"]
        )
        return {}

    async def clear_routes(request: Request) -> Any:
        world.journal.clear_routes()
        return {}

    async def advance(request: Request) -> Any:
        world.clock.advance((await _body(request, {"seconds": float}))["seconds"])
        return {"now": world.clock.now().isoformat()}

    async def batch(request: Request) -> Any:
        return {"references": world.truth.run_batch(_oem((await _body(request, {"oem": str}))["oem"]))}

    async def end_sessions(request: Request) -> Any:
        world.accounts.forget_sessions()
        return {}

    async def reset(request: Request) -> Any:
        world.truth.forget()
        world.faults.clear()
        world.accounts.forget_sessions()
        world.journal.forget()
        world.clock.reset()
        return {}

    table = (
        ("GET", "/health", health), ("GET", "/truth", truth), ("GET", "/requests", noted),
        ("GET", "/requests/wait", wait), ("POST", "/faults", set_fault), ("GET", "/faults", get_faults),
        ("DELETE", "/faults", clear_faults), ("POST", "/accounts", add_account), ("GET", "/accounts", get_accounts),
        ("POST", "/dispositions", disposition), ("POST", "/filings", key_in), ("DELETE", "/filings", lose),
        ("POST", "/routes", set_route), ("DELETE", "/routes", clear_routes),
        ("POST", "/clock", advance), ("POST", "/batch", batch), ("DELETE", "/sessions", end_sessions),
        ("POST", "/reset", reset),
    )  # fmt: skip
    return [Route(f"/admin{path}", _answering(call), methods=[method]) for method, path, call in table]


def _answering(call: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return JSONResponse(await call(request))
        except (_Refused, FaultRefused) as refused:
            return JSONResponse({"error": str(refused)}, 422)

    return endpoint
