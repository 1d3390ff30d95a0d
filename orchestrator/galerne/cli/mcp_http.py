"""An ASGI application on a socket until somebody asks it to stop; uvicorn comes with `mcp`."""

import contextlib
import socket
from collections.abc import Generator

import anyio
import uvicorn
from starlette.types import ASGIApp

from galerne.bus.background import background
from galerne.cli.output import answer
from galerne.errors import UnavailableError

_FAREWELL = 5
"""Seconds for the streams that hosts still read."""


class _Server(uvicorn.Server):
    """Leaves the signals to the command, which has its own way to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(app: ASGIApp, host: str, port: int, stop: anyio.Event) -> None:
    """Serve until `stop`; prints the address. Raises UnavailableError where it cannot listen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --http"
        ) from error
    with listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=_FAREWELL,
        )
        server = _Server(config)

        async def watch() -> None:
            await stop.wait()
            server.should_exit = True

        shown = f"[{host}]" if ":" in host else host
        answer(f"http://{shown}:{listening.getsockname()[1]}/mcp")
        async with background(watch):
            await server.serve(sockets=[listening])
