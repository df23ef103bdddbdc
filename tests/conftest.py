"""Property tests try few examples in the quick check and many when `HYPOTHESIS_EXAMPLES` says so."""

import os

import structlog
from hypothesis import HealthCheck, settings

# Loaded machines are slow machines: a deadline per example would make tests flaky.
settings.register_profile(
    "quick",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("quick")

# As the hub prints them: the library's own default draws every frame with its locals, which takes seconds.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.dev.ConsoleRenderer(colors=False),
    ]
)
