"""What every test shares: the asyncio backend, steady Hypothesis runs, no settings from outside."""

import os

import pytest
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
