"""`python -m oem_submissions.cli` is `oem-submissions`."""

from oem_submissions.cli.app import main

main()
