"""How much is tried of what has more than a run of all tests has time for: a part, or all by `make test-thorough`."""

from __future__ import annotations

from hypothesis import settings

THOROUGH = settings.get_current_profile_name() == "thorough"
"""Whether everything is to be tried. Only for test modules: pytest sets the profile before it loads them."""
