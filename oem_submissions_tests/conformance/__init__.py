"""The fault suite itself: a fourth OEM that it has never seen, adapters with planted defects, and our own three."""
