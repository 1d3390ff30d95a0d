"""The only I/O of an examination: one request, the whole answer with its times, or why none came.

Each request has a connection of its own. Some servers close one without saying so, and a request
that failed for that reason would be taken for a trait of the model.
"""

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Self

import aiohttp
import anyio
import msgspec

from galerne.errors import GalerneError
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import (
    TRANSPORT_ERRORS,
    public_cause,
    too_long,
    too_slow,
    transport_error,
)

_MAX_ANSWER = 8 * 1024 * 1024  # bytes; no question of an examination has a long answer
_LIST_PATIENCE = 10.0  # seconds for a list of models


class Ask(msgspec.Struct, frozen=True):
    """A request: a chat with `body`, or the list of models. `keyless` leaves the key out."""

    body: bytes | None = None
    keyless: bool = False


class Heard(msgspec.Struct, frozen=True):
    """An answer. `arrivals` are its bytes as they came, each with the seconds since the request."""

    status: int
    headers: Mapping[str, str]
    arrivals: tuple[tuple[float, bytes], ...]

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.arrivals)

    @property
    def seconds(self) -> float:
        return self.arrivals[-1][0]


class Unheard(msgspec.Struct, frozen=True):
    """No answer: nobody there, a broken connection, or none in time."""

    error: GalerneError


Answer = Heard | Unheard


class Exchange:
    """Sends what probes ask. An async context manager."""

    def __init__(self, endpoint: Endpoint, patience: float) -> None:
        """`patience`: seconds for an answer; a list of models gets 10 at most."""
        self._endpoint = endpoint
        self._patience = patience
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            headers={"User-Agent": f"galerne/{version('galerne')}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, ask: Ask) -> Answer:
        """What came of one request. Raises nothing that the server can cause."""
        limit = self._patience if ask.body is not None else min(self._patience, _LIST_PATIENCE)
        try:
            with anyio.fail_after(limit):
                return await self._heard(ask)
        except TimeoutError:
            return Unheard(too_slow(self._endpoint, limit, silent=False))
        except GalerneError as error:
            return Unheard(error)

    async def _heard(self, ask: Ask) -> Heard:
        assert self._session is not None
        method, url = ("POST", self._endpoint.chat_url) if ask.body else ("GET", self._list_url)
        headers = {} if ask.keyless else self._endpoint.headers()
        if ask.body:
            headers["Content-Type"] = "application/json"
        began = time.monotonic()
        arrivals: list[tuple[float, bytes]] = []
        size = 0
        try:
            async with self._session.request(
                method, url, data=ask.body, headers=headers, allow_redirects=False
            ) as response:
                while piece := await response.content.readany():
                    arrivals.append((time.monotonic() - began, piece))
                    size += len(piece)
                    if size > _MAX_ANSWER:
                        raise too_long(self._endpoint, _MAX_ANSWER)
                arrivals.append((time.monotonic() - began, b""))
                return Heard(response.status, dict(response.headers), tuple(arrivals))
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, self._endpoint) from public_cause(error, self._endpoint)

    @property
    def _list_url(self) -> str:
        return self._endpoint.models_url
