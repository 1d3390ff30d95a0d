"""A model endpoint on real HTTP that allows so many requests per second and answers 429 above."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

LATENCY = 0.05


class Limited:
    """At most `most` requests in any window of one second: the strictest way to count.

    `answered` and `refused` hold the times (time.monotonic) of its answers, `by` who was answered.
    """

    def __init__(self, most: int, headers: dict[str, str]) -> None:
        self.url = ""
        self.answered: list[float] = []
        self.refused: list[float] = []
        self.by: list[str] = []
        self.before: Callable[[], web.Response | None] = lambda: None
        """May answer in place of the model."""
        self.busy = 0
        self.most_busy = 0
        self._most = most
        self._headers = headers
        self._window: deque[float] = deque()

    async def chat(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        if (other := self.before()) is not None:
            return other
        while self._window and self._window[0] <= now - 1.0:
            self._window.popleft()
        if len(self._window) >= self._most:
            self.refused.append(now)
            wait = {"Retry-After": "1", **self._headers}
            return web.json_response(
                {"message": "Requests rate limit exceeded"}, status=429, headers=wait
            )
        self._window.append(now)
        self.answered.append(now)
        self.by.append(request.headers.get("X-Galerne-Key", ""))
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            await anyio.sleep(LATENCY)
        finally:
            self.busy -= 1
        message = {"role": "assistant", "content": "Yes."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 90, "completion_tokens": 10}
        body = {"id": "r", "model": "mistral-7b", "choices": [choice], "usage": usage}
        return web.json_response(body, headers=self._headers)

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "mistral-7b"}]})

    def used(self, since: float, until: float) -> float:
        """Of what it allowed between those times, the part that was used."""
        return sum(since <= at < until for at in self.answered) / (self._most * (until - since))

    def refusals(self, since: float, until: float) -> float:
        """Of the requests between those times, the part that got a 429."""
        refused = sum(since <= at < until for at in self.refused)
        answered = sum(since <= at < until for at in self.answered)
        return refused / max(1, refused + answered)


@asynccontextmanager
async def limited(
    most: int, headers: dict[str, str] | None = None, port: int = 0
) -> AsyncGenerator[Limited]:
    endpoint = Limited(most, headers or {})
    app = web.Application()
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    app.router.add_get("/v1/models", endpoint.models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield endpoint
    finally:
        await runner.cleanup()
