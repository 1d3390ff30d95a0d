"""A stream of tasks left in every way, in plain asyncio: the server sees it, nobody hears of it."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from galerne.errors import ModelError, TransientError
from galerne.messages.plan import TaskSpec
from galerne.planner import Planner, task_line
from galerne.planner.planner import READER, TaskStream
from unit.planner.examples import TOOLS, agent_task

ONE = agent_task("1", "first")
SECONDS = 20.0  # the longest that a test waits for what has to happen


def answer(status: str, text: str) -> bytes:
    """The head of a streamed answer and its first event."""
    choice = {"index": 0, "delta": {"content": f"{text}\n"}}
    event = json.dumps({"model": "m", "choices": [choice]})
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
    return f"{head}\r\ndata: {event}\n\n".encode()


class SlowServer:
    """Writes one task of a plan and then nothing more, until the client closes its connection."""

    def __init__(self, status: str = "200 OK", text: str = task_line(ONE)) -> None:
        self.status = status
        self.text = text
        self.asked = asyncio.Event()
        self.closed = asyncio.Event()
        self.breaks: asyncio.Event | None = None
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator["SlowServer"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(self.status, self.text))
        await writer.drain()
        self.asked.set()
        if self.breaks is not None:
            await self.breaks.wait()
        if self.breaks is not None or not self.status.startswith("200"):
            writer.close()
        while await reader.read(65536):
            pass
        writer.close()
        await writer.wait_closed()
        self.closed.set()

    def stream(self) -> TaskStream:
        return Planner(self.url, model="m").stream("goal", TOOLS)


def quietly(main: Callable[[SlowServer], Awaitable[None]]) -> None:
    """Run `main` beside a server that must see its connection close, with nothing reported."""
    reported: list[dict[str, Any]] = []

    async def beside() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
        async with asyncio.timeout(SECONDS), SlowServer().serve() as server:
            await main(server)
            await server.closed.wait()
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
            gc.collect()

    asyncio.run(beside())
    gc.collect()
    assert reported == []


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert caplog.get_records("call") == []


def readers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == READER]


async def first(server: SlowServer) -> TaskSpec:
    async for task in server.stream():
        return task
    raise AssertionError


async def fail(server: SlowServer) -> None:
    async for _ in server.stream():
        raise ZeroDivisionError


def test_returning_from_the_loop() -> None:
    async def main(server: SlowServer) -> None:
        assert await first(server) == ONE

    quietly(main)


def test_raising_in_the_loop() -> None:
    async def main(server: SlowServer) -> None:
        with pytest.raises(ZeroDivisionError):
            await fail(server)

    quietly(main)


def test_breaking_out_of_the_loop_and_dropping_the_stream_in_a_cycle() -> None:
    async def main(server: SlowServer) -> None:
        tasks = server.stream()
        cycle: list[Any] = [tasks]
        cycle.append(cycle)
        async for _ in tasks:
            break
        del tasks, cycle
        gc.collect()

    quietly(main)


def test_dropping_the_stream_in_another_thread() -> None:
    async def main(server: SlowServer) -> None:
        held = [server.stream()]
        assert await anext(held[0]) == ONE
        await asyncio.to_thread(held.clear)

    quietly(main)


@pytest.mark.parametrize("waits_for", ["the first task", "the second"])
def test_cancelling_the_task_that_waits(waits_for: str) -> None:
    async def main(server: SlowServer) -> None:
        if waits_for == "the first task":
            server.text = ""
        seen = asyncio.Event()

        async def follow() -> None:
            async for task in server.stream():
                assert task == ONE
                seen.set()

        following = asyncio.create_task(follow())
        await (server.asked if waits_for == "the first task" else seen).wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following

    quietly(main)


def test_a_deadline_in_the_loop() -> None:
    async def main(server: SlowServer) -> None:
        tasks = server.stream()
        assert await anext(tasks) == ONE
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(tasks), 0.01)
        assert [task async for task in tasks] == []

    quietly(main)


def test_closing_it_ends_it_also_for_a_task_that_waits() -> None:
    async def main(server: SlowServer) -> None:
        async with aclosing(server.stream()) as tasks:
            assert await anext(tasks) == ONE
            waiting = asyncio.create_task(anext(tasks, None))
            await asyncio.sleep(0)
        assert await waiting is None
        await tasks.aclose()
        assert await anext(tasks, None) is None

    quietly(main)


def test_the_models_error_comes_out_as_it_is_and_once() -> None:
    async def main(server: SlowServer) -> None:
        server.status = "400 Bad Request"
        tasks = server.stream()
        with pytest.raises(ModelError):
            await anext(tasks)
        assert await anext(tasks, None) is None

    quietly(main)


def test_an_error_that_nobody_awaits_is_not_reported() -> None:
    async def main(server: SlowServer) -> None:
        server.breaks = asyncio.Event()
        tasks = server.stream()
        assert await anext(tasks) == ONE
        (reader,) = readers()
        server.breaks.set()
        await asyncio.wait({reader})
        assert isinstance(reader.exception(), TransientError)

    quietly(main)


def test_the_program_may_end_right_after_the_loop_was_left() -> None:
    reported: list[dict[str, Any]] = []
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(SECONDS)
        rest = pool.submit(_answer_in_thread, listener)

        async def main() -> TaskSpec:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async for task in Planner(url, model="m").stream("goal"):
                return task
            raise AssertionError

        assert asyncio.run(main()) == ONE
        assert rest.result(SECONDS) == b""
    gc.collect()
    assert reported == []


def _answer_in_thread(listener: socket.socket) -> bytes:
    """What the client still sends after one task: nothing, but the end of the connection."""
    connection, _ = listener.accept()
    with connection:  # first it asks what server this is
        connection.settimeout(SECONDS)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < size:
            body += connection.recv(65536)
        connection.sendall(answer("200 OK", task_line(ONE)))
        return connection.recv(1)


def test_a_reader_that_somebody_else_cancels_is_no_whole_plan() -> None:
    async def main(server: SlowServer) -> None:
        tasks = server.stream()
        assert await anext(tasks) == ONE
        readers().pop().cancel()
        with pytest.raises(asyncio.CancelledError):
            await anext(tasks)

    quietly(main)


def test_a_stream_that_is_never_iterated_opens_nothing() -> None:
    async def main() -> None:
        await Planner("http://127.0.0.1:9").stream("goal").aclose()

    asyncio.run(main())
    Planner("http://127.0.0.1:9").stream("goal")
    gc.collect()
