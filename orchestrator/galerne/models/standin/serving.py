"""One request, from its body to its last byte.

    read body → check (400) → respond (pure) → faults → wait → send → ledger

The handler is cancelled when the client goes away, so no work is done for an answer that nobody
reads; the ledger then says `aborted`. Every wait is bounded.
"""

import hashlib
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio
import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from galerne.models.standin.answers import CallTools, Say
from galerne.models.standin.asked import Asked, RefusedError, read_asked
from galerne.models.standin.completion import (
    TOKEN,
    Completion,
    chunks,
    complete,
    malformed,
    whole,
)
from galerne.models.standin.faults import (
    SLOW_FACTOR,
    SLOW_LEAST,
    FaultCounters,
    StandInSettings,
    Struck,
)
from galerne.models.standin.ledger import Event, Ledger
from galerne.models.standin.prompts import role_of, section
from galerne.models.standin.rules import respond
from galerne.models.standin.truncating import truncated

KEY_HEADER = "X-Galerne-Key"
READ_TIMEOUT = 30.0
"""Seconds for a client to send its body."""
WRITE_TIMEOUT = 60.0
"""Seconds for a client to take the next piece."""
PIECE = 64
"""Characters of a streamed piece where there is no pace."""
PIECES_A_SECOND = 50
"""With a pace, a piece is as long as what is spoken in so much of a second, at least a token."""
RATE_LIMITED = RefusedError("Rate limit exceeded", ("rate_limited", "1300"), 429)
BROKEN = RefusedError("Service unavailable, on purpose", ("internal_server_error", "1000"), 500)


class Completions:
    """The handler of `POST /v1/chat/completions`. `clock` gives Unix seconds."""

    def __init__(
        self, settings: StandInSettings, ledger: Ledger, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._faults = FaultCounters(settings.faults)
        self._prefix = secrets.token_hex(4)
        self._requests = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer, and write the ledger's two lines whatever happens in between."""
        body = await _body(request)
        asked = _asked_or_refused(body)
        self._requests += 1
        started = self._ledger.start(
            request=f"standin-{self._prefix}-{self._requests}",
            key=request.headers.get(KEY_HEADER),
            role=role_of(asked.request.messages) if isinstance(asked, Asked) else "other",
            model=asked.model if isinstance(asked, Asked) else "",
            body=hashlib.sha256(body).hexdigest(),
        )
        delivery = _Delivery(request)
        try:
            if isinstance(asked, Asked):
                await self._answer(asked, started.request, delivery)
            else:
                await delivery.refuse(asked)
        except (ConnectionError, TimeoutError):
            delivery.hang_up()
        finally:
            self._ledger.end(started, delivery.event, delivery.status)
        return delivery.response

    async def _answer(self, asked: Asked, response_id: str, delivery: "_Delivery") -> None:
        answer = respond(asked.request)
        struck = self._faults.strike(
            Struck(
                role=role_of(asked.request.messages),
                model=asked.model,
                task=section(asked.request, "Task"),
                calls_tools=isinstance(answer, CallTools),
            )
        )
        if "truncate" in struck:
            asked = truncated(asked)
            answer = respond(asked.request)
        await anyio.sleep(self._latency(slow="slow" in struck))
        if "429" in struck:
            return await delivery.refuse(RATE_LIMITED, {"Retry-After": "1"})
        if "500" in struck:
            return await delivery.refuse(BROKEN)
        if "cannot" in struck:
            answer = Say(f"I cannot: this is too hard for {asked.model}, on purpose.")
        completion = complete(asked, answer, response_id, int(self._clock()))
        if "malformed_call" in struck:
            completion = malformed(completion, struck["malformed_call"])
        if asked.stream:
            return await self._stream(asked, completion, delivery, cut="cut" in struck)
        if self._settings.pace:
            await anyio.sleep(completion.completion_tokens / self._settings.pace)
        return await delivery.send(whole(completion), cut="cut" in struck)

    async def _stream(
        self, asked: Asked, completion: Completion, delivery: "_Delivery", *, cut: bool
    ) -> None:
        pace = self._settings.pace
        size = TOKEN * max(1, math.ceil(pace / PIECES_A_SECOND)) if pace else PIECE
        events = list(chunks(completion, size, usage_apart=asked.usage_apart))
        if cut:
            events = events[: len(events) // 2]
        await delivery.stream(events, size / TOKEN / pace if pace else 0.0, cut=cut)

    def _latency(self, *, slow: bool) -> float:
        latency = self._settings.latency
        return max(latency * SLOW_FACTOR, SLOW_LEAST) if slow else latency


def error_body(error: RefusedError) -> bytes:
    """An error in Mistral's own flat shape."""
    body: dict[str, Any] = {"object": "error", "message": str(error), "type": error.type}
    return msgspec.json.encode({**body, "param": None, "code": error.code})


class _Delivery:
    """Hands bytes to the socket and knows how far it got: `aborted` until the last one is over."""

    def __init__(self, request: web.Request) -> None:
        self.event: Event = "aborted"
        self.status: int | None = None
        self.response: web.StreamResponse = web.Response(status=500)
        self._request = request

    async def refuse(self, error: RefusedError, headers: Mapping[str, str] | None = None) -> None:
        self.response = _json(error_body(error), error.status, headers)
        await self._begin()
        await self._finish("refused")

    async def send(self, body: bytes, *, cut: bool) -> None:
        """One JSON body with its length announced; `cut` sends the first half of it."""
        if not cut:
            self.response = _json(body, 200)
            await self._begin()
            return await self._finish("finished")
        self.response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self.response.content_length = len(body)
        await self._begin()
        await self._write(body[: len(body) // 2])
        return self._cut()

    async def stream(self, events: Iterable[bytes], interval: float, *, cut: bool) -> None:
        """Server-sent events, one each `interval` seconds; `cut` ends without a proper end."""
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await self._begin()
        due = anyio.current_time()
        for event in events:
            await self._write(event)
            due += interval
            await anyio.sleep_until(due)
        return self._cut() if cut else await self._finish("finished")

    def hang_up(self) -> None:
        """Drop a connection that takes nothing any more."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _begin(self) -> None:
        with anyio.fail_after(WRITE_TIMEOUT):
            await self.response.prepare(self._request)

    async def _write(self, data: bytes) -> None:
        with anyio.fail_after(WRITE_TIMEOUT):
            await self.response.write(data)

    async def _finish(self, event: Event) -> None:
        with anyio.fail_after(WRITE_TIMEOUT):
            await self.response.write_eof()
        self.event, self.status = event, self.response.status

    def _cut(self) -> None:
        self.event, self.status = "cut", self.response.status
        if self._request.transport is not None:
            self._request.transport.close()  # what is buffered still goes out


def _json(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    return web.Response(
        body=body, status=status, content_type="application/json", headers=headers or {}
    )


def _asked_or_refused(body: bytes) -> Asked | RefusedError:
    try:
        return read_asked(body)
    except RefusedError as error:
        return error


async def _body(request: web.Request) -> bytes:
    """Raises RefusedError for a body that is late or broken on its way."""
    try:
        with anyio.fail_after(READ_TIMEOUT):
            return await request.read()
    except TimeoutError as error:
        raise RefusedError("the body did not arrive in time", status=408) from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise RefusedError(f"the body cannot be read: {type(error).__name__}") from error
