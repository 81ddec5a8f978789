"""The pure rules: no socket, no browser, no database."""
