"""Which examples property-based tests try: the same ones in every run, or new ones on demand."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SLOW_EXAMPLES = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=SLOW_EXAMPLES
)
settings.register_profile(
    "search", print_blob=True, deadline=None, suppress_health_check=SLOW_EXAMPLES
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
