"""Roundup and Trac, real applications that nobody here wrote, as portals (and as a CRM)."""
