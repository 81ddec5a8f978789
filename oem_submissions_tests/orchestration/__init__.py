"""Real Dagster runs, ticks and checks over the services, on a portal and a CRM that live in the test."""
