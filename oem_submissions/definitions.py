"""What Dagster loads; `workspace.yaml` names it."""

from oem_submissions.wiring import definitions

defs = definitions()
