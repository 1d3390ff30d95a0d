"""The stand-in's HTTP server: the OpenAI chat-completions API over rules, without any LLM.

It says what it is in every model name, fingerprint and header, and it knows nothing but the
request: no files, no bus, no memory between requests except fault counters and its ledger.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from hmac import compare_digest
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from galerne.errors import UnavailableError
from galerne.models.standin.asked import RefusedError
from galerne.models.standin.completion import reported_model
from galerne.models.standin.faults import StandInSettings
from galerne.models.standin.ledger import Ledger
from galerne.models.standin.serving import Completions, error_body

HEADER = "X-Galerne-Stand-In"
NOTICE = "rule-based, no LLM"
MODELS = ("mixtral-8x22b", "mistral-7b")
"""What `GET /v1/models` lists; any other name is answered too."""
MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request: several times the context."""
SHUTDOWN_TIMEOUT = 0.2
"""Seconds that answers in flight get when the server stops; then they are cut off."""
BACKLOG = 1024
"""Connections that may wait to be accepted: a whole fleet starts at once."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """The server, from `async with` to its end. `url` is a base URL without `/v1`."""

    def __init__(
        self,
        settings: StandInSettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ledger: Path | str | None = None,
        key: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`port` 0 takes a free one; `ledger` is a file to append to; `clock` is Unix seconds.

        With `key`, only requests that carry it as a bearer token are answered.
        """
        self.settings = settings or StandInSettings()
        self.ledger = Ledger(ledger, clock)
        self._clock = clock
        self._key = key
        self._host = host
        self._port = port
        self._stack = ExitStack()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """`http://host:port`, with the port that the system gave. Raises UnavailableError."""
        if self._runner is None:
            raise UnavailableError("the stand-in is not running: enter it with `async with`")
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        """Raises UnavailableError where the address or the ledger's file cannot be had."""
        runner = web.AppRunner(
            self._application(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=SHUTDOWN_TIMEOUT,
        )
        try:
            self._stack.enter_context(self.ledger)
            await self._listen(runner)
        except BaseException as error:
            self._stack.close()
            with anyio.move_on_after(5, shield=True):
                await runner.cleanup()
            if not isinstance(error, OSError):
                raise
            raise UnavailableError(
                f"the stand-in cannot start at {self._host}:{self._port}: {error}; "
                "choose another port or ledger"
            ) from error
        self._runner = runner
        return self

    async def _listen(self, runner: web.AppRunner) -> None:
        """Raises OSError.

        To the end in a task of its own: who is cancelled while asyncio opens a server loses it.
        """
        failures: list[OSError] = []

        async def start() -> None:
            with anyio.CancelScope(shield=True):
                await runner.setup()
                try:
                    await web.TCPSite(runner, self._host, self._port, backlog=BACKLOG).start()
                except OSError as error:
                    failures.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
        if failures:
            raise failures[0]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        runner, self._runner = self._runner, None
        try:
            if runner is not None:
                with anyio.move_on_after(5, shield=True):
                    await runner.cleanup()
        finally:
            self._stack.close()

    def _application(self) -> web.Application:
        middlewares = [_errors_as_json, *([_demanding(self._key)] if self._key else [])]
        application = web.Application(client_max_size=MAX_BODY, middlewares=middlewares)
        application.on_response_prepare.append(_say_what_it_is)
        completions = Completions(self.settings, self.ledger, self._clock)
        application.router.add_get("/health", _health)
        application.router.add_get("/v1/models", _models)
        application.router.add_post("/v1/chat/completions", completions.handle)
        return application


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as error:
        return _json(error.status, error_body(error))
    except web.HTTPException as error:
        refused = RefusedError(f"{error.reason}: {request.method} {request.path[:100]}")
        allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _json(error.status, error_body(refused), allowed)


def _demanding(key: str) -> Middleware:
    """Refuses who does not have the key, in the words of the hosted API."""
    expected = f"Bearer {key}".encode()

    @web.middleware
    async def demand(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if request.path == "/health" or compare_digest(given, expected):
            return await handler(request)
        return _json(401, msgspec.json.encode({"detail": "Invalid API Key"}))

    return demand


async def _say_what_it_is(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers[HEADER] = NOTICE


async def _health(_request: web.Request) -> web.StreamResponse:
    return _json(200, msgspec.json.encode({"status": "ok", "model_server": f"stand-in: {NOTICE}"}))


async def _models(_request: web.Request) -> web.StreamResponse:
    data: list[dict[str, Any]] = [
        {"id": reported_model(name), "object": "model", "created": 0, "owned_by": "galerne"}
        for name in MODELS
    ]
    return _json(200, msgspec.json.encode({"object": "list", "data": data}))


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.StreamResponse:
    return web.Response(
        status=status, body=body, content_type="application/json", headers=headers or {}
    )
