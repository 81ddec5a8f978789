"""The base that every OEM's adapter stands on. An adapter says what differs; the procedure is in `session.py`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from oem_submissions.domain.cadence import Cadence
from oem_submissions.domain.claims import FilingLimit, models_of


class PortalAdapter:
    """One OEM's portal. Subclasses set the class attributes; the hooks are for what a pack can't say."""

    oem: ClassVar[str]
    claim_model: ClassVar[Any]
    """A subclass of `ClaimModel`, or a union of several."""
    cadence: ClassVar[Cadence]
    filing_limits: ClassVar[Mapping[str, FilingLimit]] = {}
    """By claim type, where the OEM has any; a claim that is too late is not filed, unless a person redrives it."""
    needs_approval: ClassVar[bool] = False
    """Whether a named person has to approve a release once its gate is passed; else it goes live by itself."""

    def form_values(self, claim: Any) -> Mapping[str, str]:
        """The claim as the form wants it: the pack's field names, and the values to put in. Pure.

        A select takes its option's label, a checkbox `yes` or `no`; a field that is left out stays empty.
        """
        raise NotImplementedError

    def reference_is_plausible(self, reference: str) -> bool:
        """Whether a reference's check digit is right; asked when the pack says `check: adapter`."""
        return True

    def claim_types(self) -> tuple[str, ...]:
        """What the portal takes."""
        return tuple(models_of(self.claim_model))

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the source of the adapter's package: names and bytes of its Python files."""
        package = Path(inspect.getfile(type(self))).parent
        hashed = hashlib.sha256()
        for path in sorted(package.rglob("*.py")):
            hashed.update(f"{path.relative_to(package).as_posix()}\0{path.stat().st_size}\0".encode())
            hashed.update(path.read_bytes())
        return hashed.hexdigest()
