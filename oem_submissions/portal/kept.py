"""What is kept of a signed-in session for the account's next run: written down, read back, and what of it is secret.

Encrypting and keeping it is others' business (`ports.SessionShelf`); when a session is kept, and used, is `session`'s.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import StorageState

from oem_submissions.domain.failures import StepFailed
from oem_submissions.domain.keys import canonical_json, sha256_hex
from oem_submissions.domain.needles import Kind, Needles, looks_like_token
from oem_submissions.portal.packs import Pack
from oem_submissions.portal.scrubbing import Scrubber
from oem_submissions.portal.steps import Walk, learn_cookies
from oem_submissions.ports import Account

log = logging.getLogger(__name__)
_MOST_BYTES = 500_000
"""Of cookies and local storage: a portal that stores more is logged in to every time."""
_NEEDLES = 64
"""So many tokens of the local storage are looked at, and so many pieces of them hidden, at the most."""
_RUN = re.compile(r"[A-Za-z0-9_.~+/=-]{16,4096}")


def fits(pack: Pack, adapter_digest: str, account: Account, base_url: str) -> str:
    """A digest of all that a session belongs to: another pack, adapter, address, user, password, or TOTP secret.

    It is kept inside of what is encrypted: from a digest a password may be guessed.
    """
    log_in = [account.oem, account.dealer, account.username, account.password, account.totp_secret]
    return sha256_hex(canonical_json([pack.digest, adapter_digest, base_url, *log_in]))


def write_down(walk: Walk, fitting: str) -> bytes | None:
    """Cookies and local storage; None when they are in doubt, can't be read, or are too much to keep."""
    walk.watch.alive()
    try:
        walk.check_dialogs()
        state = walk.context.storage_state()
    except (StepFailed, PlaywrightError) as error:
        log.info("The session of %s is not kept: %s", walk.pack.oem, str(error).splitlines()[0])
        return None
    finally:
        walk.watch.rest()
    data = json.dumps({"fits": fitting, "state": state}).encode()
    if len(data) > _MOST_BYTES:
        log.info("The session of %s is not kept: it has %d bytes.", walk.pack.oem, len(data))
        return None
    return data


def read_back(data: bytes, fitting: str) -> StorageState | None:
    """For a new context; None when it belongs to something else."""
    document = json.loads(data)
    if document["fits"] == fitting:
        return cast(StorageState, document["state"])
    log.info("The kept session is of another pack, adapter, address or log-in: it is thrown away.")
    return None


def learn(scrubber: Scrubber, state: StorageState) -> None:
    """What of it must not be told, before a page of it is opened."""
    named = (("a token in the local storage", token) for token in islice(_tokens(state), _NEEDLES))
    scrubber.know(Needles(Needles.of(Kind.SECRET, named).all[:_NEEDLES]))
    learn_cookies(scrubber, cast(list[dict[str, Any]], state.get("cookies", [])))


def learn_storage(walk: Walk) -> bool:
    """As `learn`, of the context as it is now; False when it can't be read."""
    try:
        learn(walk.scrubber, walk.context.storage_state())
    except PlaywrightError as error:
        log.info("The local storage can't be read: %s", error.message.splitlines()[0])
        return False
    return True


def _tokens(state: StorageState) -> Iterator[str]:
    """A value may be a token, or JSON that holds some. Of a JWT (RFC 7519) the signature: the rest opens nothing."""
    for origin in state.get("origins", []):
        for item in origin["localStorage"]:
            for token in _RUN.findall(item["value"]):
                if looks_like_token(token):
                    yield token.rpartition(".")[2] if token.startswith("ey") and token.count(".") == 2 else token
