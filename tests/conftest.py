"""What every test shares: its backend, steady properties, no settings and no logs of others."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A busy machine must not fail a property: what is judged is the answer, never how long it took.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

# A developer's own fleet stays out of the tests, and so does what was exported for it.
for _name in [name for name in os.environ if name.startswith("GALERNE_")]:
    del os.environ[_name]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _logs_are_left_as_found() -> Iterator[None]:
    """A command that ran in this process has configured them; the next test must not notice."""
    yield
    structlog.reset_defaults()
