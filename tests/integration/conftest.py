"""A real nats-server for each test that asks for one, and settings that make leases short."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import structlog

from galerne.bus.server import NatsServer
from galerne.settings import (
    BusSettings,
    CoordinatorSettings,
    Settings,
    ToolSettings,
    WorkerSettings,
)


@pytest.fixture(autouse=True)
def plain_tracebacks() -> Generator[None]:
    """The default ones take half a second each, which stops the event loop of a whole fleet."""
    before = structlog.get_config()
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*before["processors"][:-1], renderer])
    yield
    structlog.configure(**before)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[NatsServer]:
    """On a free port, with its store under `tmp_path`; it may be killed and started again."""
    one = NatsServer(tmp_path / "nats")
    await one.start()
    try:
        yield one
    finally:
        await one.kill()  # sooner than a clean stop, and nobody needs its store again


@pytest.fixture
def settings(server: NatsServer, tmp_path: Path) -> Settings:
    """For that server: few parts, leases and heartbeats of a fraction of their defaults."""
    return Settings(
        bus=BusSettings(server=server.url, partitions=2),
        worker=WorkerSettings(
            concurrency=4,
            lease=2.0,
            clock_margin=0.2,
            heartbeat=0.3,
            max_attempts=3,
            retry_away="0.02..0.2",
            retry_deadline="0.02..0.2",
            retry_bad_answer="0.02..0.2",
            retry_other="0.02..0.2",
            drain=5.0,
            spool=str(tmp_path / "spool"),
        ),
        # Scripted workers plan once: what comes of a failure is then what their test says.
        coordinator=CoordinatorSettings(presence=0.3, ack_wait=1.5, sweep=3.0, revisions=0),
        tools=ToolSettings(concurrency=4, heartbeat=0.1),
    )
