"""What Dagster loads in a soak: everything as in production, on hurried cadences."""

from __future__ import annotations

import os

from adapters.registry import ADAPTERS
from oem_submissions.cli.soak import SPEED, hurried
from oem_submissions.wiring import definitions

defs = definitions(adapters=hurried(ADAPTERS, float(os.environ[SPEED])))
