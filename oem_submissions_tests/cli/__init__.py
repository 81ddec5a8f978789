"""The command line as a shell sees it: words in, exit code, stdout and stderr out."""
