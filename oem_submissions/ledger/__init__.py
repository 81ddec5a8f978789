"""The ledger in PostgreSQL: tables, migrations, and the store that moves claims. Nothing else knows SQLAlchemy."""
