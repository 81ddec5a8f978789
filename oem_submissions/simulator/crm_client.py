"""Scripts the simulated CRM over its admin routes: what tests, demo and command line use."""

from __future__ import annotations

from typing import Any

import requests

from oem_submissions.simulator.client import SimulatorRefused


class CrmAdmin:
    """Speaks to the simulator at `base_url` (http). Not for use by several threads at once."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._session.request(method, f"{self.base_url}/admin/crm{path}", json=body, timeout=30)
        answer = response.json()
        if response.status_code >= 400:
            raise SimulatorRefused(answer["error"])
        return answer

    def close(self) -> None:
        """Lets go of the connection."""
        self._session.close()

    def seed(self, records: list[dict[str, Any]]) -> list[str]:
        """Adds records with their files (`seed.py`); those whose name exists are left untouched. Returns all ids."""
        ids: list[str] = self._call("PUT", "/records", {"records": records})["ids"]
        return ids

    def records(self) -> list[dict[str, Any]]:
        """Every record: id, fields by API name, files, and how often the API wrote it (`writes`)."""
        found: list[dict[str, Any]] = self._call("GET", "/records")["records"]
        return found

    def record(self, record_id: str) -> dict[str, Any]:
        """One of `records()`."""
        return next(record for record in self.records() if record["id"] == record_id)

    def edit(self, record_id: str, **change: Any) -> None:
        """A person edits: payload (object: merged; text: replaced), fields (by API name), files (all anew)."""
        self._call("POST", f"/records/{record_id}", change)

    def set_fault(self, fault: str, *, times: int | None = None, seconds: float | None = None) -> None:
        """Sets a fault (names: `crm.FAULTS`); `seconds` is the delay of `slow`, else how long the fault lasts."""
        self._call("POST", "/faults", {"fault": fault, "times": times, "seconds": seconds})

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are set, with how often each fired."""
        answer: list[dict[str, Any]] = self._call("GET", "/faults")["faults"]
        return answer

    def clear_faults(self) -> None:
        """Takes all faults away."""
        self._call("DELETE", "/faults")

    def set_page_size(self, records: int) -> None:
        """Records per page of a query."""
        self._call("POST", "/settings", {"page_size": records})

    def set_certificate(self, public_key: str) -> None:
        """The connected app's, PEM: log-ins by JWT are signed with its key."""
        self._call("POST", "/settings", {"certificate": public_key})

    def requests(self) -> dict[str, int]:
        """How many requests of each kind arrived: token, query, query_more, read, write, create, download, describe."""
        answer: dict[str, int] = self._call("GET", "/requests")
        return answer

    def reset(self) -> None:
        """Empties records, files, faults and counters; log-ins stay."""
        self._call("POST", "/reset")
