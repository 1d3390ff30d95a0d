"""A model server that answers from a can: `python -m bench.model_server PORT`.

What it sends has the form of the hosted API: heads with rate limits, a stream whose last chunk
has the usage. It reads no question. The path says which answer is wanted, and after how many
milliseconds the next chunk comes: `/stream-16/v1/chat/completions`. With a pause, each chunk of a
stream is a packet of its own, as real models write; without one, all come at once.
"""

import asyncio
import sys
from functools import partial
from http import HTTPStatus
from typing import Any, cast

import anyio
import msgspec

from galerne.cli.runner import Stopping, run_service

CHUNKS = 100
"""Chunks of a stream that hold text; the first one only names the role, the last one ends it."""
WORDS = (
    "The ",
    "report ",
    "counts ",
    "1,482 ",
    "words, ",
    "of ",
    "which ",
    "“wind” ",
    "is ",
    "7.\n",
)
TEXT = "".join(WORDS[number % len(WORDS)] for number in range(CHUNKS))
CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("D681PevKs", "text_statistics", {"path": "reports/2026-10/north.txt", "unit": "words"}),
    (
        "h7Lw2QxTa",
        "search_text",
        {"path": "reports/2026-10/north.txt", "pattern": "wind", "most": 20},
    ),
)
USAGE = {"prompt_tokens": 1043, "completion_tokens": 108, "total_tokens": 1151}
MODEL = "ministral-8b-2512"
_ID = "cmpl-5b1f64a18b2e4a0c9a4ad66a0c2c1f0e"
_HEAD = (
    "date: Mon, 02 Nov 2026 09:14:03 GMT\r\n"
    "connection: keep-alive\r\n"
    "ratelimitbysize-limit: 500000\r\n"
    "ratelimitbysize-query-cost: 32003\r\n"
    "ratelimitbysize-remaining: 467997\r\n"
    "x-ratelimit-limit-req-minute: 360\r\n"
    "x-ratelimit-remaining-req-minute: 358\r\n"
    "x-envoy-upstream-service-time: 412\r\n"
    "access-control-allow-origin: *\r\n"
    "server: bench\r\n"
)


def _whole(message: dict[str, Any], finish: str) -> bytes:
    """A plain answer with its head."""
    body = msgspec.json.encode(
        {
            "id": _ID,
            "created": 1793610843,
            "model": MODEL,
            "usage": USAGE,
            "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        }
    )
    head = f"HTTP/1.1 200 OK\r\n{_HEAD}content-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """A chunk of a stream, as HTTP sends it."""
    event = {
        "id": _ID,
        "object": "chat.completion.chunk",
        "created": 1793610843,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return _event(msgspec.json.encode(event))


def _event(payload: bytes) -> bytes:
    data = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def _calls() -> list[dict[str, Any]]:
    return [
        {
            "id": call_id,
            "function": {"name": name, "arguments": msgspec.json.encode(arguments).decode()},
            "index": index,
        }
        for index, (call_id, name, arguments) in enumerate(CALLS)
    ]


def _stream() -> tuple[bytes, ...]:
    """The head of a stream, its chunks, and its end."""
    head = f"HTTP/1.1 200 OK\r\n{_HEAD}content-type: text/event-stream; charset=utf-8\r\n"
    return (
        f"{head}transfer-encoding: chunked\r\n\r\n".encode(),
        _chunk({"role": "assistant", "content": ""}),
        *(_chunk({"content": WORDS[number % len(WORDS)]}) for number in range(CHUNKS)),
        _chunk({"content": ""}, "stop", usage=USAGE) + _event(b"[DONE]") + b"0\r\n\r\n",
    )


ANSWERS: dict[str, tuple[bytes, ...]] = {
    "text": (_whole({"role": "assistant", "tool_calls": None, "content": TEXT}, "stop"),),
    "calls": (_whole({"role": "assistant", "tool_calls": _calls(), "content": ""}, "tool_calls"),),
    "stream": _stream(),
}
"""What is sent for each kind of answer, piece by piece."""


class _Connection(asyncio.Protocol):
    """One client's connection: a request is answered when all its bytes are there."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's contract
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head):
            self._received = b""
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, path: str) -> None:
        kind, _, pause = path.split("/")[1].partition("-")
        pieces = ANSWERS.get(kind)
        if pieces is None:
            status = HTTPStatus.NOT_FOUND
            pieces = (f"HTTP/1.1 {status} Not Found\r\ncontent-length: 0\r\n\r\n".encode(),)
        if not int(pause or 0):
            pieces = (b"".join(pieces),)
        self._send(pieces, 0, int(pause or 0) / 1000)

    def _send(self, pieces: tuple[bytes, ...], place: int, pause: float) -> None:
        if self._transport is None:
            return
        self._transport.write(pieces[place])
        if place + 1 < len(pieces):
            loop = asyncio.get_running_loop()
            loop.call_later(pause, self._send, pieces, place + 1, pause)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def _serve(port: int, stopping: Stopping) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", port, backlog=1024)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        await stopping.event.wait()
    finally:
        server.close()
        with anyio.move_on_after(1):
            await server.wait_closed()
    return 0


if __name__ == "__main__":
    sys.exit(run_service(partial(_serve, int(sys.argv[1]))))
