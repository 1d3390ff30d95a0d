"""A model server that speaks at a known pace: a plan line by line, other answers late.

It knows three kinds of requests by their first words. A plan is streamed, a line every `LINE`
seconds; an executor's answer takes `THOUGHT` seconds; a job's answer
comes at once. When each line was sent and when each request came is noted, under the job that the
goal names.
"""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from aiohttp import web

LINE = 0.2
"""Seconds of a line of a plan: six of them take 1.2 s."""
THOUGHT = 0.3
"""Seconds of an executor's call."""


class Note(msgspec.Struct):
    """What was seen of one job, in seconds of the monotonic clock."""

    asked: float = 0.0
    closed: dict[str, float] = {}
    begun: dict[str, float] = {}


class PacedServer:
    """The first word of a goal is the name of its plan, written one task a line; the second is
    its job.
    """

    def __init__(self, plans: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        self.notes: dict[str, Note] = {}
        self.url = ""
        self._plans = plans

    def note(self, job: str) -> Note:
        return self.notes.setdefault(job, Note())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        came = time.monotonic()
        asked = msgspec.json.decode(await request.read(), type=dict[str, Any])
        system = str(asked["messages"][0]["content"])
        user = str(asked["messages"][-1]["content"])
        goal = user.replace("# Goal of the job\n", "# Goal\n").partition("# Goal\n")[2]
        name, job, *_ = [*goal.split(), "", ""]
        if system.startswith("You plan"):
            return await self._plan(request, self._plans[name], job, came)
        if "# Task" in user:
            task = user.partition("do ")[2].split()[0]
            self.note(job).begun[task] = came
            await anyio.sleep(THOUGHT - (time.monotonic() - came))
        if asked.get("stream"):
            return await _stream(request, ["done"], [time.monotonic()], None)
        return web.json_response(_whole("done"))

    async def _plan(
        self, request: web.Request, tasks: Sequence[dict[str, Any]], job: str, came: float
    ) -> web.StreamResponse:
        note = self.note(job)
        note.asked = came
        lines = [f"{msgspec.json.encode(task).decode()}\n" for task in tasks]
        times = [came + LINE * (n + 1) for n in range(len(tasks))]

        def sent(number: int) -> None:
            note.closed[str(tasks[number]["id"])] = time.monotonic()

        return await _stream(request, lines, times, sent)


async def _stream(
    request: web.Request, pieces: Sequence[str], times: Sequence[float], sent: Any
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number, (piece, at) in enumerate(zip(pieces, times, strict=True)):
        await anyio.sleep(max(0.0, at - time.monotonic()))
        await response.write(_event({"content": piece}))
        if sent is not None:
            sent(number)
    usage = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    await response.write(_event({}, finish="stop", usage=usage) + b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "paced", "object": "chat.completion.chunk", "model": "paced", "choices": [choice]}
    return b"data: " + msgspec.json.encode(body | more) + b"\n\n"


def _whole(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "paced",
        "object": "chat.completion",
        "model": "paced",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "paced", "object": "model"}]})


@asynccontextmanager
async def paced(
    plans: Mapping[str, Sequence[dict[str, Any]]],
) -> AsyncGenerator[PacedServer]:
    """The server, on a free port of the loopback."""
    server = PacedServer(plans)
    application = web.Application(client_max_size=2**22)
    application.router.add_post("/v1/chat/completions", server._handle)  # noqa: SLF001 - its own
    application.router.add_get("/v1/models", _models)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        with anyio.move_on_after(5, shield=True):
            await runner.cleanup()
