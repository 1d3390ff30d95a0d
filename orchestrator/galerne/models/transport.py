"""HTTP to one endpoint: a session, the head of an answer, then its body with a limit to its size.

What goes wrong with the connection comes out as a GalerneError; what a status means is the
dialect's to say. Redirects are not followed: they would take the key elsewhere.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version

import aiohttp
import anyio

from galerne.errors import GalerneError, PermanentError, TransientError
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import (
    TRANSPORT_ERRORS,
    public_cause,
    too_long,
    too_slow,
    transport_error,
)

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes; a stream of 64k tokens, one event each, is a third of it."""
_CONNECT_TIMEOUT = 10.0  # seconds; a connection that takes longer leads to no server at all
_MAX_ERROR = 64 * 1024  # bytes
_LINGER = 0.25  # seconds for the end of the body after `[DONE]`: then the connection serves again
_UNLIMITED = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)

OnHead = Callable[[int, Mapping[str, str]], None]
"""Takes the status and the headers of an answer."""


class Transport:
    """One session, from `open` to `close`; any number of requests at once."""

    def __init__(self, endpoint: Endpoint, timeout: float, on_head: OnHead) -> None:
        """`timeout` is in seconds, for a whole answer; `on_head` hears of each answer's head."""
        self._endpoint = endpoint
        self._timeout = timeout
        self._limits = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_TIMEOUT)
        self._on_head = on_head
        self._opened: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Nothing is sent yet. Needs a running loop."""
        self._opened = aiohttp.ClientSession(
            # The worker limits how many calls run at once; a second queue here would hide it.
            connector=aiohttp.TCPConnector(limit=0),
            headers={"User-Agent": f"galerne/{version('galerne')}", **self._endpoint.headers()},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_UNLIMITED,
        )

    async def close(self) -> None:
        session, self._opened = self._opened, None
        if session is not None:
            with anyio.move_on_after(_LINGER, shield=True):
                await session.close()

    async def request(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        limited: bool = True,
    ) -> aiohttp.ClientResponse:
        """The head of an answer. Who asks without the limit has one of its own."""
        if self._opened is None:
            raise PermanentError(f"the client of {self._endpoint} is not open; use `async with`")
        try:
            response = await self._opened.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=self._limits if limited else _UNLIMITED,
                allow_redirects=False,
            )
        except TRANSPORT_ERRORS as error:
            raise self._failure(error) from public_cause(error, self._endpoint)
        self._on_head(response.status, response.headers)
        return response

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The next bytes of the body; none at its end."""
        try:
            return await response.content.readany()
        except TRANSPORT_ERRORS as error:
            raise self._failure(error) from public_cause(error, self._endpoint)

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body. Raises BadAnswerError where it is longer than any answer."""
        pieces: list[bytes] = []
        size = 0
        while not response.content.at_eof():
            pieces.append(await self.read(response))
            size += len(pieces[-1])
            if size > MAX_ANSWER:
                raise too_long(self._endpoint, MAX_ANSWER)
        return b"".join(pieces)

    async def refused(self, response: aiohttp.ClientResponse) -> bytes:
        """The start of an error's body; the response is closed after it."""
        body = b""
        try:
            while len(body) < _MAX_ERROR and (piece := await self.read(response)):
                body += piece
        except TransientError:
            return body  # the status is the message; its words are only cut
        finally:
            response.close()
        return body

    async def linger(self, response: aiohttp.ClientResponse) -> None:
        """Read the end of the body, if it comes at once: then the connection serves again."""
        if response.content.at_eof():
            return
        with anyio.move_on_after(_LINGER):
            try:
                while not response.content.at_eof():
                    await self.read(response)
            except TransientError:
                return  # the answer is whole; the connection is closed instead of used again

    def _failure(self, error: Exception) -> GalerneError:
        """What a failed request means; a bare TimeoutError is aiohttp's for the whole of one."""
        if type(error) is TimeoutError and error.errno is None:
            return too_slow(self._endpoint, self._timeout, silent=False)
        return transport_error(error, self._endpoint)


def succeeded(response: aiohttp.ClientResponse) -> bool:
    """Whether the status is one of success."""
    return 200 <= response.status < 300  # noqa: PLR2004 (the bounds are the standard's)
