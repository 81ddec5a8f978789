"""Clients of the `Crm` port, one module per CRM, and the fake that unit tests use. Nothing here decides."""
