"""A model server for tests that answers what the test says, plain or in chunks of any size."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from galerne.messages.chat import ToolCall

Body = dict[str, Any]


class Answer(msgspec.Struct, kw_only=True):
    """An answer's message; with `status` an error whose body is `text`."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    status: int = 200


class Replaying:
    """Asks `answers` what to say to each request's body; it keeps what it was sent."""

    def __init__(self, answers: Callable[[Body, str], Answer], size: int = 7) -> None:
        self.answers = answers
        self.size = size
        """Characters of text or arguments in a chunk."""
        self.bytes_at_once = 0
        """Bytes of a stream in one write; 0: an event each."""
        self.bodies: list[Body] = []
        self.url = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body: Body = msgspec.json.decode(await request.read())
        self.bodies.append(body)
        answer = self.answers(body, request.headers.get("X-Galerne-Key", ""))
        if answer.status != 200:
            return web.Response(text=answer.text, status=answer.status)
        if not body.get("stream"):
            message = {"role": "assistant", "content": answer.text, "tool_calls": _wire(answer)}
            choice = {"index": 0, "message": message, "finish_reason": answer.finish}
            return web.json_response({"id": "r1", "model": body["model"], "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        stream = b"".join(self._events(answer))
        step = self.bytes_at_once or len(stream)
        for at in range(0, len(stream), step):
            await response.write(stream[at : at + step])
        await response.write_eof()
        return response

    def _events(self, answer: Answer) -> list[bytes]:
        events = [_event({"content": piece}) for piece in self._pieces(answer.text)]
        for index, call in enumerate(answer.calls):
            head = {"index": index, "id": call.id, "function": {"name": call.name}}
            events.append(_event({"tool_calls": [head]}))
            events += [
                _event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
                for piece in self._pieces(call.arguments)
            ]
        return [*events, _event({}, answer.finish), b"data: [DONE]\n\n"]

    def _pieces(self, text: str) -> list[str]:
        return [text[at : at + self.size] for at in range(0, len(text), self.size)]


@asynccontextmanager
async def replaying(answers: Callable[[Body, str], Answer]) -> AsyncGenerator[Replaying]:
    server = Replaying(answers)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


def _wire(answer: Answer) -> list[Body] | None:
    calls = [
        {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.calls
    ]
    return calls or None


def _event(delta: Body, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"id": "r1", "choices": [choice]}) + b"\n\n"
