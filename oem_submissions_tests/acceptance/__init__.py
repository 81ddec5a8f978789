"""The whole system, started as a user starts it: real processes, queue, database, browser and portals."""
