"""Scripts a running simulator over its admin routes: what tests, demo and command line use."""

from __future__ import annotations

from typing import Any

import requests


class SimulatorRefused(RuntimeError):
    """The simulator did not do what was asked; the text says why in one sentence."""


class SimulatorClient:
    """Speaks to the simulator at `base_url`. Not for use by several threads at once."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._seen: dict[str, int] = {}

    def close(self) -> None:
        """Lets go of its connection."""
        self._session.close()

    def _call(self, method: str, path: str, timeout: float = 30.0, **arguments: Any) -> Any:
        response = self._session.request(method, f"{self.base_url}/admin{path}", timeout=timeout, **arguments)
        answer = response.json()
        if response.status_code >= 400:
            raise SimulatorRefused(answer["error"])
        return answer

    def wait_until_up(self, seconds: float) -> None:
        """Returns when the simulator answers; the listening socket makes the first request wait instead of fail."""
        self._call("GET", "/health", timeout=seconds)

    def truth(self, oem: str | None = None) -> dict[str, Any]:
        """What was filed, by OEM; with `oem` that portal's part alone: filings, filed, submit_posts, duplicates."""
        answer: dict[str, Any] = self._call("GET", "/truth", params={"oem": oem} if oem else {})
        return answer[oem] if oem else answer

    def requests(self, path: str | None = None) -> list[dict[str, Any]]:
        """The requests that arrived, oldest first: number, method, path, query, scheme, body, status."""
        answer: list[dict[str, Any]] = self._call("GET", "/requests", params={"path": path} if path else {})["requests"]
        return answer

    def expect_request(self, path: str, timeout: float = 10.0) -> dict[str, Any]:
        """The next request to `path` that this client was not handed yet, waiting for it up to `timeout` seconds."""
        after = self._seen.get(path, 0)
        found: dict[str, Any] = self._call(
            "GET", "/requests/wait", timeout=timeout + 10, params={"path": path, "after": after, "timeout": timeout}
        )
        self._seen[path] = found["number"]
        return found

    def set_fault(
        self,
        oem: str,
        fault: str,
        *,
        match: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        probability: float | None = None,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """Sets a fault (names: `faults.py`). `match` is part of a submitted value, of the user or of the dealer."""
        fault_set = {"oem": oem, "fault": fault, "match": match, "times": times, "seconds": seconds}
        chance = {"probability": probability, "seed": seed}
        answer: dict[str, Any] = self._call("POST", "/faults", json={**fault_set, **chance})
        return answer

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are set, with how often each fired."""
        answer: list[dict[str, Any]] = self._call("GET", "/faults")["faults"]
        return answer

    def fault_kinds(self) -> dict[str, str]:
        """What faults there are, each with a sentence."""
        answer: dict[str, str] = self._call("GET", "/faults")["kinds"]
        return answer

    def clear_faults(self, oem: str | None = None, fault: str | None = None) -> None:
        """Takes faults away: those of a portal, those of a name, both, or all."""
        asked = {"oem": oem, "fault": fault}
        self._call("DELETE", "/faults", params={name: value for name, value in asked.items() if value})

    def add_account(
        self, oem: str, dealer: str, username: str, password: str, dealer_name: str, totp_secret: str | None = None
    ) -> None:
        """Adds a log-in of a dealer, or replaces the one of that name. The TOTP secret is base32."""
        account = {"oem": oem, "dealer": dealer, "username": username, "password": password}
        self._call("POST", "/accounts", json={**account, "dealer_name": dealer_name, "totp_secret": totp_secret})

    def accounts(self) -> list[dict[str, Any]]:
        """The log-ins, without passwords and secrets."""
        answer: list[dict[str, Any]] = self._call("GET", "/accounts")["accounts"]
        return answer

    def set_disposition(self, oem: str, reference: str, disposition: str) -> None:
        """Decides a filed claim (words: `truth.DISPOSITIONS`)."""
        self._call("POST", "/dispositions", json={"oem": oem, "reference": reference, "disposition": disposition})

    def key_in(self, oem: str, kind: str, dealer: str, fields: dict[str, str]) -> str:
        """A person files a claim by hand, past every check of the form; returns the reference."""
        keys = {"oem": oem, "kind": kind, "dealer": dealer, "fields": fields}
        reference: str = self._call("POST", "/filings", json=keys)["reference"]
        return reference

    def lose(self, oem: str, reference: str) -> None:
        """The portal forgets a filing, for ever."""
        self._call("DELETE", "/filings", json={"oem": oem, "reference": reference})

    def set_route(
        self, method: str, path: str, status: int = 200, body: str | bytes = "", content_type: str = "text/html"
    ) -> None:
        """From now on `method path` answers just this, until reset. A POST to a submit path is still counted."""
        text = body.decode() if isinstance(body, bytes) else body
        route = {"method": method, "path": path, "status": status, "body": text, "content_type": content_type}
        self._call("POST", "/routes", json=route)

    def clear_routes(self) -> None:
        """The portals answer again."""
        self._call("DELETE", "/routes")

    def advance(self, seconds: float) -> str:
        """Moves the simulated clock forward; returns the new time, ISO 8601 UTC."""
        now: str = self._call("POST", "/clock", json={"seconds": seconds})["now"]
        return now

    def run_batch(self, oem: str) -> int:
        """Runs the portal's nightly batch: filings that wait for a reference get one; returns how many."""
        references: int = self._call("POST", "/batch", json={"oem": oem})["references"]
        return references

    def expire_sessions(self) -> None:
        """Logs everyone out of every portal."""
        self._call("DELETE", "/sessions")

    def reset(self) -> None:
        """Empties filings, faults, sessions, requests, scripted routes; accounts stay, no reference is given twice."""
        self._call("POST", "/reset")
