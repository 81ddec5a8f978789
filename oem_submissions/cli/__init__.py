"""`oem-submissions …`: the command line. Commands are in `app`, what they start is in `stack`, the demo in `demo`."""

from oem_submissions.cli.app import main

__all__ = ["main"]
