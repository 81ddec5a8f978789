"""Every Dagster object, and nothing else: partitions, assets, checks, schedules, sensors.

What they do is in `services`.
"""
