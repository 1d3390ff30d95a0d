"""The HTTP client for MCP servers behind a URL: bounded answers, and perhaps a bearer token."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from galerne_tools.secrets import Secret

_CONNECT = 10.0
"""Seconds to connect and to send."""


class _TooLargeError(httpx2.StreamError):
    """More bytes than the settings allow."""


class _Counted(httpx2.AsyncByteStream):
    """A body that ends with an error above `most` bytes."""

    def __init__(self, body: httpx2.AsyncByteStream, most: int) -> None:
        self._body = body
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._body:
            size += len(part)
            if size > self._most:
                raise _TooLargeError(f"the answer has more than {self._most} bytes")
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


class _Bounded(httpx2.AsyncHTTPTransport):
    """Refuses compressed answers, whose size nobody knows, and counts the bytes of others.

    A stream of events has no end; there the client of `mcp` bounds each event.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed, which it was asked not to be")
        kind = response.headers.get("content-type", "").lower()
        body = response.stream
        if isinstance(body, httpx2.AsyncByteStream) and not kind.startswith("text/event-stream"):
            response.stream = _Counted(body, self._most)
        return response


@asynccontextmanager
async def http_streams(
    url: str, token: Secret, largest: int, seconds: float
) -> AsyncGenerator[Any]:
    """The streams of messages to a URL.

    `largest` is in bytes, of one answer or event; `seconds` for one call, and so between two
    pieces of an answer.
    """
    headers = {"accept-encoding": "identity"}
    if token:
        headers["authorization"] = f"Bearer {token.reveal()}"
    timeout = httpx2.Timeout(_CONNECT, read=max(seconds, 60.0) + _CONNECT)
    async with (
        httpx2.AsyncClient(transport=_Bounded(largest), headers=headers, timeout=timeout) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=largest) as streams,
    ):
        yield streams
