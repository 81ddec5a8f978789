"""The registry of skins: our own, and how another one is found by its name."""

from __future__ import annotations

import importlib

from oem_submissions.simulator.aurora import Aurora
from oem_submissions.simulator.borealis import Borealis
from oem_submissions.simulator.cascade import Cascade
from oem_submissions.simulator.skin import Skin

SKINS: dict[str, type[Skin]] = {
    skin.oem: skin
    for skin in (
        Aurora,
        Borealis,
        Cascade,
    )
}


class SkinUnknown(ValueError):
    """There is no such skin; the text says why in one sentence."""


def load_skin(name: str) -> type[Skin]:
    """The skin that `package.module:Class` names. Raises `SkinUnknown`."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise SkinUnknown(f"'{name}' names no skin: write it as package.module:Class.")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SkinUnknown(f"The skin {name} can't be loaded: {error}. Is its folder on PYTHONPATH?") from error
    if not (isinstance(found, type) and issubclass(found, Skin)):
        raise SkinUnknown(f"{name} is no skin: it must be a class that stands on oem_submissions.simulator.skin.Skin.")
    return found
