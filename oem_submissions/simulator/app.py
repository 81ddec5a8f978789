"""Puts the simulator together: portals, admin routes and the CRM over one state folder."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp

from oem_submissions.simulator import admin, aurora, borealis, cascade, crm
from oem_submissions.simulator.accounts import Accounts
from oem_submissions.simulator.clock import Clock
from oem_submissions.simulator.database import Database
from oem_submissions.simulator.faults import Faults
from oem_submissions.simulator.journal import Journal, Journalled
from oem_submissions.simulator.skin import World
from oem_submissions.simulator.truth import Truth


def open_world(state_dir: Path | None) -> World:
    """The portals' state; in memory when there is no state folder."""
    if state_dir is not None:
        state_dir.mkdir(parents=True, exist_ok=True)
    database = Database(state_dir / "portals.sqlite" if state_dir else None)
    clock = Clock(database)
    return World(database, clock, Truth(database, clock), Accounts(database, clock), Faults(database), Journal())


def build(world: World, state_dir: Path | None) -> ASGIApp:
    """The simulator as an ASGI app."""
    routes = [
        *admin.routes(world),
        *aurora.Aurora(world).routes(),
        *borealis.Borealis(world).routes(),
        *cascade.Cascade(world).routes(),
        *crm.routes(crm.CrmTruth(state_dir)),
    ]
    return Journalled(Starlette(routes=routes), world.journal, world.truth)
