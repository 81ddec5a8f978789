"""Puts the simulator together: portals, admin routes and the CRM over one state folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp

from oem_submissions.simulator import admin, crm
from oem_submissions.simulator.accounts import Accounts
from oem_submissions.simulator.clock import Clock
from oem_submissions.simulator.database import Database
from oem_submissions.simulator.faults import Faults
from oem_submissions.simulator.journal import Journal, Journalled
from oem_submissions.simulator.skin import Skin, World
from oem_submissions.simulator.truth import Truth


def open_world(state_dir: Path | None, skins: Mapping[str, type[Skin]]) -> World:
    """The portals' state; in memory when there is no state folder. `skins` by OEM."""
    if state_dir is not None:
        state_dir.mkdir(parents=True, exist_ok=True)
    database = Database(state_dir / "portals.sqlite" if state_dir else None)
    clock = Clock(database)
    faults = Faults(database, {oem: skin.without for oem, skin in skins.items()})
    return World(database, clock, Truth(database, clock, skins), Accounts(database, clock), faults, Journal())


def build(world: World, state_dir: Path | None, skins: Mapping[str, type[Skin]]) -> ASGIApp:
    """The simulator as an ASGI app."""
    routes = [
        *admin.routes(world),
        *(route for skin in skins.values() for route in skin(world).routes()),
        *crm.routes(crm.CrmTruth(state_dir)),
    ]
    return Journalled(Starlette(routes=routes), world.journal, world.truth)
