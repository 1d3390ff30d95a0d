"""A service that NATS tools can find: `nats micro list`, `info` and `stats` show it.

nats-py's own `micro` answers what is asked about the service ($SRV.PING, INFO, STATS) and divides
the requests among all who serve the same queue. Each request is handed over at once, because
`micro` waits for one handler before it takes the next request; the answers, any number of them, go
to the asker's inbox as whoever works on it has them.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import msgspec
import nats.errors
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER
from nats.micro.request import Request as MicroRequest
from nats.micro.service import EndpointConfig, EndpointStats, Service, ServiceConfig

from galerne.bus import mapping
from galerne.bus.connection import Bus

_CLOSING: Final = 2.0
"""Seconds for a service to say goodbye; a server that is away must not hold a process up."""
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_LONGEST: Final = 400
"""Characters of an error in a header."""


class About(msgspec.Struct, frozen=True):
    """What is said of a service.

    `version` may be any of Python's; its three numbers are what NATS tools are told.
    """

    name: str
    version: str
    description: str
    metadata: Mapping[str, str] = {}


class Endpoint(msgspec.Struct, frozen=True):
    """Where a service listens: at `subject`, in a `queue` group."""

    name: str
    subject: str
    queue: str
    metadata: Mapping[str, str] = {}


class Request(msgspec.Struct, frozen=True):
    """A request as it came. `reply` is the asker's inbox; empty where nobody waits."""

    subject: str
    data: bytes
    reply: str


def error_headers(number: int, message: str) -> dict[str, str]:
    """The headers by which NATS tools know an error; `number` is as HTTP has them."""
    line = " ".join(message.split()).encode("ascii", "backslashreplace").decode()
    printable = "".join(one for one in line if one.isprintable())
    return {ERROR_HEADER: printable[:_LONGEST], ERROR_CODE_HEADER: str(number)}


@asynccontextmanager
async def serve_endpoints(
    bus: Bus,
    about: About,
    endpoints: Iterable[tuple[Endpoint, Callable[[Request], None]]],
    stats: Callable[[str], dict[str, Any]],
) -> AsyncGenerator[None]:
    """Hand each endpoint's requests to its function, which must neither wait nor raise, while the
    context lasts.

    `stats`, by an endpoint's name, is shown beside the numbers of `micro`, which see only the
    handing over. Raises UnavailableError, DeadlineError.
    """

    def told(endpoint: EndpointStats) -> dict[str, Any]:
        return stats(endpoint.name)

    found = _VERSION.match(about.version)
    config = ServiceConfig(
        name=about.name,
        version=found[0] if found else "0.0.0",
        description=about.description,
        metadata=dict(about.metadata),
        stats_handler=told,
    )
    service = Service(bus.client, config)
    try:
        try:
            await service.start()
            for one, take in endpoints:
                await service.add_endpoint(
                    EndpointConfig(
                        one.name, _handing_over(take), one.queue, one.subject, dict(one.metadata)
                    )
                )
        except (nats.errors.Error, OSError) as error:
            raise mapping.of_exception(error, f"serving {about.name}") from error
        yield
    finally:
        with (
            anyio.move_on_after(_CLOSING, shield=True),
            suppress(nats.errors.Error, OSError),  # the connection may be gone
        ):
            await service.stop()


def _handing_over(
    take: Callable[[Request], None],
) -> Callable[[MicroRequest], Awaitable[None]]:
    async def hand_over(request: MicroRequest) -> None:
        reply: str = request._msg.reply  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - answers in a stream need it, and it is nowhere public
        take(Request(request.subject, request.data, reply))

    return hand_over
