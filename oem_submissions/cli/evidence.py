"""`oem-submissions evidence …`: the group; its commands stand with what they do."""

from __future__ import annotations

import typer

from oem_submissions.cli.erasure import add_commands

evidence = typer.Typer(no_args_is_help=True, help="Evidence: what may go, and what must stay.")
add_commands(evidence)
