"""What happens to a claim, in order: intake, queue, submit, seal, sync, and health beside them.

Services decide; nothing here knows a vendor.
"""
