"""What happens to a claim, in order: intake, queue, reconcile, submit, seal, sync; health and review beside them.

Services decide; nothing here knows a vendor.
"""
